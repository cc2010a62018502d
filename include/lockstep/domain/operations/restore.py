"""What this revision's upgrade did to a resource, taken back from the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.operations.base import Operation, WayBack, expect_kind
from lockstep.domain.resources import Collection, Database, Prefix, Resource, Table


@dataclass(frozen=True)
class Restore(Operation):
    verb: ClassVar[str] = "restore"
    resource: Resource

    @property
    def database(self) -> Database:
        return self.resource.database

    @property
    def writes(self) -> tuple[Resource, ...]:
        return (self.resource,)

    @property
    def fits_in_transaction(self) -> bool:
        return False

    @property
    def way_back(self) -> WayBack:
        return WayBack.NONE

    def describe(self) -> str:
        return f"take back what the upgrade did to {self.resource}, from the journal and what is parked"


def restore(resource: Resource) -> Restore:
    """Take back what this revision's upgrade did to `resource`: for use in `downgrade()`.

    Journaled records get their former state, inserted and copied ones are removed, moved objects go home,
    parked things get their names back. A record that was changed since is left as it is, and counted.
    """
    expect_kind("restore", resource, Table, Collection, Prefix)
    return Restore(resource)
