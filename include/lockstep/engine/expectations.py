"""Check what verify() declares, by reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.domain.errors import VerificationFailed
from lockstep.domain.expectations import Check, Expectation, ExpectCount, ExpectNone, ExpectSameCount
from lockstep.domain.progress import Cursor
from lockstep.domain.resources import Collection, Resource, Table
from lockstep.engine.context import StepContext
from lockstep.engine.operations.run_python import call_with_hands
from lockstep.engine.ports import TableUnit
from lockstep.engine.services import Services

#: (connection id, slug of the resource) → places of records in quarantine
Left = Mapping[tuple[str, str], Sequence[Cursor]]


def count(
    services: Services,
    resource: Resource,
    where: Any = None,
    unit: TableUnit | None = None,
    excluding: Sequence[Cursor] = (),
) -> int:
    """Count a resource's records that match."""
    if isinstance(resource, Table):
        home = unit or services.tables(resource.database)
        return home.count(resource, where, excluding=excluding)
    if isinstance(resource, Collection):
        return services.documents(resource.database).count(resource, where, excluding=excluding)
    return services.objects(resource.database).count(resource, where or "", excluding=excluding)


def check(
    services: Services, expectation: Expectation, unit: TableUnit | None = None, left: Left | None = None
) -> str | None:
    """Return what is wrong, or None where the expectation holds.

    That no record is left as it was does not speak of those in quarantine; every other expectation counts all.
    """
    if isinstance(expectation, ExpectNone):
        resource = expectation.resource
        excluding = (left or {}).get((resource.database.conn_id, resource.slug), ())
        found = count(services, resource, expectation.where, unit, excluding)
        return f"{found} record(s) match" if found else None
    if isinstance(expectation, ExpectCount):
        found = count(services, expectation.resource, expectation.where, unit)
        return f"there are {found}" if found != expectation.count else None
    if isinstance(expectation, ExpectSameCount):
        first = count(services, expectation.first, unit=unit)
        second = count(services, expectation.second, unit=unit)
        return f"there are {first} and {second}" if first != second else None
    return _call(services, expectation, unit)


def _call(services: Services, expectation: Check, unit: TableUnit | None) -> str | None:
    if unit is not None:
        inside = unit

        class Inside:
            def open(self, resource: Any) -> Any:
                return inside.handle

        result = expectation.function(Inside())
    else:
        result = call_with_hands(services, expectation.function)
    if result is None or result is True:
        return None
    return str(result) if result is not False else "it returned False"


def check_inside(context: StepContext, unit: TableUnit) -> None:
    """Check every expectation inside the transaction, before it commits."""
    for expectation in context.revision.expectations:
        refuse(expectation, check(context.services, expectation, unit))
        context.log.info(f"holds: {expectation.describe()}")


def refuse(expectation: Expectation, wrong: str | None) -> None:
    """Raise VerificationFailed where something is wrong."""
    if wrong is not None:
        raise VerificationFailed(
            f"expected {expectation.describe()}, but {wrong}. The data is not what the revision promises: look at "
            "the operation that should have made it so.",
            expectation=expectation.describe(),
        )
