"""Back up what a restore overwrites, before it overwrites anything."""

from __future__ import annotations

from typing import Any

from lockstep.domain.run import Run
from lockstep.engine.backup import back_up, manifest_json
from lockstep.engine.lease import kept
from lockstep.engine.proving import prove, read_back
from lockstep.engine.restoring.work import restoring, works
from lockstep.engine.services import Services


def back_up_overwritten(services: Services, run: Run, place: int) -> dict[str, Any]:
    """Read the backup that is to be put back, and write and prove one of what its database holds now.

    Return its size and place. `place`: which of the restore's databases. Once anything was overwritten, what an
    earlier attempt wrote stays, and that is said. Raises BackupNotProven, naming the object.
    """
    run = restoring(services, run)
    work = works(services, run)[place]
    if run.backed_up:
        return {"skipped": "what is overwritten was backed up before"}
    with kept(services, run):
        # Read before anything else: a backup that is not what was written would be found later, by its copy.
        read_back(services, work.manifest)
        manifest = back_up(services, run, work.into, work.resources)
        services.vault.put(manifest.path, manifest_json(manifest), "application/json")
        services.ledger.save_backup(manifest, proof=None)
        services.reached("overwritten backed up")
        proven = prove(services, work.into, manifest)
    services.ledger.save_backup(manifest, proof=proven.proof)
    records = sum(held.count for held in manifest.fingerprints.values())
    services.log.info(
        f"{work.into.conn_id}: {records} record(s) that are there now are backed up, proven by {proven.proof}",
        manifest=services.vault.uri(manifest.path),
    )
    return {
        "bytes": manifest.size,
        "records": records,
        "proof": proven.proof.value,
        "manifest": services.vault.uri(manifest.path),
    }
