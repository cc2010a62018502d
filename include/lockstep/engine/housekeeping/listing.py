"""The backups, runs and rehearsals that the concerns look at."""

from __future__ import annotations

from lockstep.domain.backups import StoredBackup
from lockstep.domain.chain import Chain
from lockstep.domain.rehearsal import Rehearsal
from lockstep.domain.resources import Database
from lockstep.domain.run import Run
from lockstep.engine.services import Services

#: more rows than a ledger has
ALL = 1_000_000


def backups_of(services: Services, *, removed: bool = False) -> list[StoredBackup]:
    """Return every backup, latest first, without the list of its files: that may be long."""
    return services.ledger.stored_backups(removed=removed, limit=ALL, files=False)


def whole(services: Services, backup: StoredBackup) -> StoredBackup:
    """Return a backup with the list of its files, as the ledger has it now."""
    manifest = backup.manifest
    found = services.ledger.stored_backups(
        conn_id=manifest.conn_id, run_id=manifest.run_id, removed=True, limit=ALL
    )
    return next(one for one in found if one.manifest.path == manifest.path)


def runs_of(services: Services) -> list[Run]:
    return services.ledger.runs(limit=ALL)


def rehearsals_of(services: Services) -> list[Rehearsal]:
    return services.ledger.rehearsals(limit=ALL)


def databases_of(chain: Chain) -> list[Database]:
    """Return the databases that the chain's revisions touch, each once."""
    found = {database for revision in chain.revisions for database in revision.databases}
    return sorted(found, key=lambda database: (database.conn_id, str(database)))
