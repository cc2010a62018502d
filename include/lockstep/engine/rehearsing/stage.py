"""The stage of a rehearsal: scratch copies in the place of every live database, and nothing else within reach."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.domain.errors import Refused
from lockstep.domain.rehearsal import Rehearsal
from lockstep.domain.resources import Database
from lockstep.domain.scratch import refuse_live, scratch_name
from lockstep.engine.ports import Ledger, NoMeter
from lockstep.engine.ports.gauges import Gauge
from lockstep.engine.rehearsing.recorder import Recorder
from lockstep.engine.rehearsing.vault import FolderVault
from lockstep.engine.rehearsing.wanted import Wanted
from lockstep.engine.services import Services, Store

if TYPE_CHECKING:
    from lockstep.engine.rehearsing.crew import Crew

LEDGER = "ledger"


@dataclass(frozen=True, kw_only=True)
class Backstage:
    """What a rehearsal needs of the outside besides services; the wiring makes it."""

    #: names of the databases and buckets that connections lead to
    live: Collection[str]
    #: makes an empty ledger in a scratch database of this name, on the real ledger's server
    make_ledger: Callable[[str], Ledger]
    drop_ledger: Callable[[str], None]
    #: names of the scratch databases on that server
    ledger_scratches: Callable[[], list[str]]
    #: what measures a copy
    gauge: Callable[[Database, Store], Gauge]
    #: opens who does the shards of the revisions in a folder
    crew: Callable[[Stage, Path], AbstractContextManager[Crew]]
    #: tasks that Airflow has room for at once
    slots: int = 2
    #: what Airflow adds to each task, in seconds
    task_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The copies of one try, once they are made."""

    rehearsal: Rehearsal
    #: tells this try's scratch spaces from those of another, which may still be at work
    mark: str
    names: Mapping[Database, str]
    ledger_name: str
    #: what the engine works with: scratch stores, a scratch ledger, a folder of the vault, no sink
    services: Services
    log: Recorder
    #: stores on the copies
    copies: Mapping[Database, Store] = field(default_factory=dict)

    def close(self) -> None:
        """Close connections to what is about to be dropped."""
        for opened in (self.services.ledger, *self.copies.values()):
            with suppress(Exception):
                opened.close()  # type: ignore[union-attr]


def mark_of(rehearsal_id: str, attempt: int) -> str:
    return f"{rehearsal_id}_{attempt}"


def name_of(mark: str, part: str, live: Collection[str]) -> str:
    """Return a scratch space's name; Refused for one that is a live database's."""
    return refuse_live(scratch_name(mark, part), live)


def set_stage(
    services: Services,
    backstage: Backstage,
    rehearsal: Rehearsal,
    wanted: Collection[Wanted],
    *,
    attempt: int,
) -> Stage:
    """Make an empty scratch space for each database and for the ledger.

    Whatever the engine opens from here on is one of these, or Refused.
    """
    mark = mark_of(rehearsal.id, attempt)
    names = {one.database: name_of(mark, one.label, backstage.live) for one in wanted}
    ledger_name = name_of(mark, LEDGER, backstage.live)
    copies: dict[Database, Store] = {}
    for database, name in names.items():
        # Not services.store(): its check() would make Lockstep's schema in the live database.
        live = services.stores(database)
        copies[database] = live.open_scratch(name)
        if copies[database] is live:
            raise Refused(
                f"the scratch space {name} is {database.conn_id} itself. Nothing was loaded.", name=name
            )
    ledger = backstage.make_ledger(ledger_name)
    log = Recorder(log=services.log)
    return Stage(
        rehearsal=rehearsal,
        mark=mark,
        names=names,
        ledger_name=ledger_name,
        services=on_copies(services, copies, ledger, f"{rehearsal.folder}/try-{attempt}", log),
        log=log,
        copies=copies,
    )


def on_copies(
    services: Services, copies: Mapping[Database, Store], ledger: Ledger, folder: str, log: Any
) -> Services:
    """Return services that reach the copies alone: no live store, not the real ledger, nobody to tell."""
    return replace(
        services,
        ledger=ledger,
        vault=FolderVault(vault=services.vault, folder=folder),
        stores=only(copies),
        sinks=tuple,
        announcers=tuple,
        meter=NoMeter(),
        log=log,
        settings=replace(
            services.settings,
            window="",
            on_failure="downgrade",
            on_undo_failure="leave",
            # The second upgrade is to take what the first one took.
            reuse_backups=False,
        ),
    )


def only(copies: Mapping[Database, Store]) -> Callable[[Database], Store]:
    """Return what opens copies, and refuses every database that has none."""

    def opened(database: Database) -> Store:
        if database not in copies:
            raise Refused(
                f"a rehearsal has no copy of {database.conn_id}, and does not open the live one. Something uses it "
                "that no operation and no expectation declares: name it in touches= or reads=.",
                conn_id=database.conn_id,
            )
        return copies[database]

    return opened
