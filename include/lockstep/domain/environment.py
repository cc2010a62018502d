"""Environments: the sets of connections that one Airflow migrates, such as staging and production."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from lockstep.domain.errors import DeclarationError, Refused

#: which revisions wait for a person's approval
APPROVE = ("all", "lossy", "above", "never")
#: environments of these names ask for every revision, unless they say otherwise
GUARDED = frozenset({"production", "prod"})
#: logical connection ids that no two environments may share, whatever they are called in a project
LEDGER = "lockstep_ledger"
VAULT = "lockstep_vault"

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_CONN_ID = re.compile(r"[A-Za-z0-9_.-]+")


def _check(environment: Environment) -> None:
    where = f"the environment {environment.name!r}"
    if not _NAME.fullmatch(environment.name):
        raise DeclarationError(
            f"{where} needs another name: a lower-case letter, then lower-case letters, digits, _ and -."
        )
    if environment.prefix and not _CONN_ID.fullmatch(environment.prefix):
        raise DeclarationError(
            f"the prefix {environment.prefix!r} of {where} cannot begin a connection id: it takes letters, digits, "
            "_, - and '.'."
        )
    for logical, conn_id in environment.connections.items():
        if not _CONN_ID.fullmatch(logical) or not _CONN_ID.fullmatch(conn_id):
            raise DeclarationError(
                f"{where} calls {logical!r} {conn_id!r}: both are connection ids, of letters, digits, _, - and '.'."
            )
    if environment.approve not in APPROVE:
        raise DeclarationError(
            f"{where} has approve={environment.approve!r}. It is one of {', '.join(map(repr, APPROVE))}."
        )
    above = environment.approve_above
    if (environment.approve == "above") != (above is not None):
        raise DeclarationError(
            f"{where} has approve={environment.approve!r} and approve_above={above!r}: the number of records belongs "
            "to 'above', and 'above' needs it."
        )
    if above is not None and (not isinstance(above, int) or isinstance(above, bool) or above < 0):
        raise DeclarationError(f"{where} has approve_above={above!r}: it is a number of records, 0 or more.")


@dataclass(frozen=True)
class Environment:
    """One set of connections, and which revisions ask a person there.

    Raises DeclarationError for a name, a prefix or a policy that cannot be.
    """

    name: str
    #: put before a logical connection id, such as "staging_"; empty where the ids are used as they are
    prefix: str = ""
    #: "all", "lossy", "above" or "never"; left empty it is "all" for production and "never" for others
    approve: str = ""
    #: records above which "above" asks
    approve_above: int | None = None
    #: whether a form that says nothing means this one
    default: bool = False
    #: logical connection id → Airflow's, where the prefix does not say it
    connections: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "connections", dict(self.connections))
        if not self.approve:
            object.__setattr__(self, "approve", "all" if self.name in GUARDED else "never")
        _check(self)

    def conn_id(self, logical: str) -> str:
        """Return Airflow's connection id of what resources.py or Lockstep calls `logical`."""
        return self.connections.get(logical) or f"{self.prefix}{logical}"


#: where a project declares none: the connections are called what resources.py calls them
DEFAULT = Environment("default")


class Environments:
    """What a project declares, in its order.

    `apart`: logical connection ids that no two may share. Raises DeclarationError for two of one name, two
    defaults, or two that would share a ledger, a vault or a mapped database.
    """

    def __init__(
        self, declared: Iterable[Environment] = (DEFAULT,), *, apart: Iterable[str] = (LEDGER, VAULT)
    ) -> None:
        self._all = tuple(declared) or (DEFAULT,)
        _check_names(self._all)
        for one, other in combinations(self._all, 2):
            _check_apart(one, other, tuple(apart))

    def __iter__(self) -> Iterator[Environment]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(environment.name for environment in self._all)

    def default(self, named: str = "") -> Environment:
        """Return what a form means that says nothing: the declared default, else the one named, else the first.

        Raises Refused where no environment has that name.
        """
        for environment in self._all:
            if environment.default:
                return environment
        return self.get(named) if named else self._all[0]

    def get(self, name: str) -> Environment:
        """Return the environment of that name, or raise Refused."""
        for environment in self._all:
            if environment.name == name:
                return environment
        raise Refused(
            f"there is no environment {name!r}: this project has {', '.join(map(repr, self.names))}. "
            "Environments are declared in include/environments.py.",
            environment=name,
        )


def _check_names(declared: tuple[Environment, ...]) -> None:
    names = [environment.name for environment in declared]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DeclarationError(
            f"the environment {twice[0]!r} is declared {names.count(twice[0])} times: each has one name."
        )
    defaults = [environment.name for environment in declared if environment.default]
    if len(defaults) > 1:
        raise DeclarationError(
            f"the environments {', '.join(map(repr, defaults))} all say default=True: only one can be the default."
        )


def _check_apart(one: Environment, other: Environment, apart: tuple[str, ...]) -> None:
    """Refuse what would let two environments write to the same place: their locks do not know each other."""
    mapped = {name for name in (*one.connections, *other.connections) if not name.startswith("lockstep_")}
    for logical in (*apart, *sorted(mapped)):
        if one.conn_id(logical) == other.conn_id(logical):
            raise DeclarationError(
                f"the environments {one.name!r} and {other.name!r} both call {logical!r} {one.conn_id(logical)!r}: "
                "ledger, vault and databases are each environment's own. Give one another prefix, or another "
                f"connections={{{logical!r}: …}}."
            )
