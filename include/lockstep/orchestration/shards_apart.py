"""Do the shards of a rehearsal in a process of their own, as Airflow's tasks do: `python -m` this.

What it takes to reach the copies comes pickled on standard input, so that no password is on a command line; then
jobs come, one at a time, and what came of each goes out, pickled too. Nothing of Airflow is imported.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.domain.resources import Database
    from lockstep.domain.revision import Revision
    from lockstep.engine.rehearsing.crew import Job, Worked
    from lockstep.engine.services import Services, Settings, Store
    from lockstep.stores.gauges.reach import Reach


@dataclass(frozen=True, kw_only=True)
class Place:
    """All that such a process is given."""

    #: folder of the revisions, and what is searched for modules
    migrations: str
    paths: tuple[str, ...]
    ledger: str = field(repr=False)
    #: the client's arguments, the bucket, and the arguments of every upload
    vault: tuple[dict[str, Any], str, dict[str, Any]] = field(repr=False)
    #: below which the rehearsal writes
    folder: str
    copies: tuple[Reach, ...]
    settings: Settings


class Quiet:
    """A log of a process that nobody reads along with: what matters is in the answer."""

    def info(self, event: str, **fields: Any) -> None:
        pass

    def warning(self, event: str, **fields: Any) -> None:
        print(event, file=sys.stderr)  # noqa: T201 - what the task's log shows of this process

    error = warning

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        yield


def services_at(place: Place) -> Services:
    """Return what the engine works with in this process: the copies, and nothing else."""
    from lockstep.engine.rehearsing.stage import only
    from lockstep.engine.rehearsing.vault import FolderVault
    from lockstep.engine.services import Services
    from lockstep.stores.gauges.reach import reached
    from lockstep.stores.ledger.ledger import PostgresLedger
    from lockstep.stores.vault import S3Vault

    stores: Mapping[Database, Store] = {reach.database: reached(reach) for reach in place.copies}
    kwargs, bucket, puts = place.vault
    return Services(
        ledger=PostgresLedger(place.ledger),
        vault=FolderVault(vault=S3Vault(kwargs, bucket, put_arguments=puts), folder=place.folder),
        stores=only(stores),
        log=Quiet(),
        settings=place.settings,
    )


def main() -> None:
    source: IO[bytes] = sys.stdin.buffer
    answers: IO[bytes] = sys.stdout.buffer
    # What a revision's function prints must not get among the answers.
    sys.stdout = sys.stderr
    paths: tuple[str, ...] = pickle.load(source)  # noqa: S301 - from the process that started this one
    sys.path[:0] = [path for path in paths if path not in sys.path]
    place: Place = pickle.load(source)  # noqa: S301
    services = services_at(place)
    revisions = _revisions(Path(place.migrations))
    _answer(answers, None)
    while True:
        try:
            job: Job = pickle.load(source)  # noqa: S301
        except EOFError:
            return
        _answer(answers, _work(services, revisions, job))


def _work(services: Services, revisions: Any, job: Job) -> Worked:
    from lockstep.engine.rehearsing.crew import work

    return work(services, revisions(job.stem), job)


def _revisions(folder: Path) -> Any:
    from lockstep.domain.loading import load_revision

    @cache
    def revision_of(stem: str) -> Revision:
        return load_revision(folder / f"{stem}.py")

    return revision_of


def _answer(answers: IO[bytes], what: object) -> None:
    pickle.dump(what, answers)
    answers.flush()


if __name__ == "__main__":
    from lockstep.orchestration.shards_apart import main as main_by_its_name

    # Under its own name, and not as __main__: what is pickled here is unpickled there.
    main_by_its_name()
