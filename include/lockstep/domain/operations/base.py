"""What every operation says of itself."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.resources import (
    KINDS,
    Bucket,
    Collection,
    Database,
    Everything,
    Mongo,
    Postgres,
    Prefix,
    Resource,
    Table,
    Touched,
)


class WayBack(str, Enum):
    """How a failed run takes an operation back."""

    JOURNAL = "its before-images are put back from the journal"
    INVERSE = "its declared inverse runs over what was done"
    PARKED = "the parked thing gets its name back"
    STATEMENT = "the matching statements of downgrade() run"
    NONE = "it has none, by the author's word"


class Operation(ABC):
    """One verb of a revision: data that says what to do, to which resource.

    Subclasses are frozen dataclasses, one a file, named after their verb.
    """

    verb: ClassVar[str]
    #: whether it is cut into shards and batches
    batched: ClassVar[bool] = False

    @property
    @abstractmethod
    def database(self) -> Database:
        """Where its effect commits."""

    @property
    @abstractmethod
    def writes(self) -> tuple[Touched, ...]:
        """What it may change: backed up before, compared after."""

    @property
    def reads(self) -> tuple[Touched, ...]:
        """What it reads besides."""
        return ()

    @property
    def fits_in_transaction(self) -> bool:
        """Whether it can sit with others inside one PostgreSQL transaction."""
        return isinstance(self.database, Postgres)

    @property
    def way_back(self) -> WayBack:
        return WayBack.JOURNAL

    @property
    def lossy(self) -> bool:
        """Whether only the journal knows what it overwrote."""
        return self.way_back is WayBack.JOURNAL

    @property
    def title(self) -> str:
        """Verb and resource, as the graph and the logs show it."""
        return f"{self.verb} {' '.join(touched.slug for touched in self.writes)}".strip()

    def describe(self) -> str:
        """One line for a person who reviews the plan."""
        return self.title


class OnTable(Operation):
    """An operation whose effect is in one table."""

    table: Table

    @property
    def database(self) -> Postgres:
        return self.table.database

    @property
    def writes(self) -> tuple[Touched, ...]:
        return (self.table,)


class OnCollection(Operation):
    """An operation whose effect is in one collection."""

    collection: Collection

    @property
    def database(self) -> Mongo:
        return self.collection.database

    @property
    def writes(self) -> tuple[Touched, ...]:
        return (self.collection,)


class OnPrefix(Operation):
    """An operation whose effect is in one prefix."""

    prefix: Prefix

    @property
    def database(self) -> Bucket:
        return self.prefix.database

    @property
    def writes(self) -> tuple[Touched, ...]:
        return (self.prefix,)


class Statements(Operation):
    """An operation that is SQL of the author's own: opaque, so that downgrade() says how it is taken back."""

    at: Postgres
    statements: tuple[str, ...]
    touches: tuple[Table, ...] | None
    reverse: tuple[str, ...] | None

    @property
    def database(self) -> Postgres:
        return self.at

    @property
    def writes(self) -> tuple[Touched, ...]:
        return (Everything(self.at),) if self.touches is None else self.touches

    @property
    def way_back(self) -> WayBack:
        return WayBack.INVERSE if self.reverse else WayBack.STATEMENT

    @property
    def lossy(self) -> bool:
        return False

    @property
    def title(self) -> str:
        named = " ".join(table.slug for table in self.touches or ())
        return f"{self.verb} {named or self.at.conn_id}"

    def describe(self) -> str:
        return "; ".join(" ".join(text.split()) for text in self.statements)


_INSTEAD = {
    ("transform_rows", "Collection"): "transform_documents",
    ("transform_rows", "Prefix"): "transform_objects",
    ("transform_documents", "Table"): "transform_rows",
    ("transform_documents", "Prefix"): "transform_objects",
    ("transform_objects", "Table"): "transform_rows",
    ("transform_objects", "Collection"): "transform_documents",
    ("update_rows", "Collection"): "update_documents",
    ("update_documents", "Table"): "update_rows",
    ("rewrite_table", "Collection"): "update_documents",
    ("insert_rows", "Collection"): "insert_documents",
    ("insert_documents", "Table"): "insert_rows",
    ("drop_table", "Collection"): "drop_collection",
    ("drop_table", "Prefix"): "drop_objects",
    ("drop_collection", "Table"): "drop_table",
    ("drop_objects", "Table"): "drop_table",
    ("drop_objects", "Collection"): "drop_collection",
}


def expect_kind(verb: str, resource: Any, *wanted: type) -> None:
    """Raise OperationError unless `resource` is one of the `wanted` kinds."""
    if isinstance(resource, wanted):
        return
    names = " or a ".join(kind.__name__ for kind in wanted)
    kind = type(resource).__name__
    instead = _INSTEAD.get((verb, kind))
    advice = f"Use ops.{instead} for it" if instead else f"Give it a {names} from resources.py"
    shown = str(resource) if type(resource) in KINDS else repr(resource)
    raise OperationError(
        f"ops.{verb} works on a {names}, and {shown} is a {kind}. {advice}.", verb=verb, got=kind
    )


def expect_function(verb: str, argument: str, function: Any, parameters: int = 1) -> None:
    """Raise OperationError unless `function` can be called with that many arguments."""
    if not callable(function):
        raise OperationError(
            f"ops.{verb}: {argument} must be a function, got {type(function).__name__}. "
            "Define a top-level function in the revision's file and name it here.",
            verb=verb,
        )
    try:
        inspect.signature(function).bind(*([None] * parameters))
    except TypeError as problem:
        name = getattr(function, "__name__", repr(function))
        raise OperationError(
            f"ops.{verb}: {name}() is called with {parameters} argument(s), and it cannot be: {problem}. "
            "Change its parameters.",
            verb=verb,
        ) from problem
    except ValueError:
        return  # a builtin without a signature: its first call will tell


def function_name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def expect_database(verb: str, database: Any, *wanted: type) -> None:
    """Raise OperationError unless `database` is one of the `wanted` databases."""
    if isinstance(database, wanted):
        return
    names = " or a ".join(kind.__name__ for kind in wanted)
    raise OperationError(
        f"ops.{verb} works on a {names} database, and {database!r} is a {type(database).__name__}. "
        "Give it a database from resources.py.",
        verb=verb,
    )


def touched_of(verb: str, database: Database, touches: Any) -> tuple[Resource, ...] | None:
    """Return what `touches` names, as a tuple, checked to live in `database`."""
    if touches is None:
        return None
    named = tuple(touches) if isinstance(touches, (list, tuple, set, frozenset)) else (touches,)
    for resource in named:
        if type(resource) not in KINDS:
            raise OperationError(
                f"ops.{verb}: touches names {resource!r}, which is no resource. "
                "Name tables that resources.py declares.",
                verb=verb,
            )
        if resource.database != database:
            raise OperationError(
                f"ops.{verb}: touches names {resource}, which does not live in {database.conn_id}. "
                "Give each database an operation of its own.",
                verb=verb,
            )
    return named


def statements_of(verb: str, argument: str, given: Any) -> tuple[str, ...]:
    """Return SQL statements as a tuple of non-empty strings."""
    statements = (given,) if isinstance(given, str) else tuple(given or ())
    if not statements or any(not isinstance(text, str) or not text.strip() for text in statements):
        raise OperationError(
            f"ops.{verb}: {argument} must be one or more SQL statements, as strings.", verb=verb
        )
    return tuple(text.strip() for text in statements)
