"""The backups that could be put back, one choice for each run that took some."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lockstep.domain.backups import Proof, StoredBackup
from lockstep.domain.run import Way
from lockstep.domain.status import RunStatus
from lockstep.engine.services import Services

#: backups that are looked through, latest first
MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The backup of one database."""

    conn_id: str
    kind: str
    #: slugs of what was there to be backed up, or of what was not there yet
    resources: tuple[str, ...]
    bytes: int
    proof: Proof | None
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What one run backed up, of every database that it touched."""

    run_id: str
    revision: str
    way: Way
    run_status: RunStatus
    taken_at: datetime
    databases: tuple[Stored, ...]

    @property
    def bytes(self) -> int:
        return sum(stored.bytes for stored in self.databases)

    @property
    def proof(self) -> Proof | None:
        """The weakest proof of its parts; None where one was never proven."""
        proofs = {stored.proof for stored in self.databases}
        if None in proofs:
            return None
        return Proof.CHECKSUM if Proof.CHECKSUM in proofs else Proof.RESTORE

    @property
    def problem(self) -> str | None:
        """What is wrong with its parts, as far as somebody looked."""
        told = [f"{stored.conn_id}: {stored.problem}" for stored in self.databases if stored.problem]
        return "; ".join(told) or None

    @property
    def before(self) -> str:
        """Say what the backup was taken before."""
        if self.way == "restore":
            return f"before a restore (of revision {self.revision})"
        return f"before the {self.way} of {self.revision}"

    @property
    def words(self) -> str:
        """The choice on one line; the run's id comes first, up to a space."""
        places = ", ".join(stored.conn_id for stored in self.databases)
        proof = f"proven by {self.proof}" if self.proof else "not proven"
        problem = ", CANNOT BE READ" if self.problem else ""
        return (
            f"{self.run_id} · {self.before}, which ended {self.run_status} · {self.taken_at:%Y-%m-%d %H:%M} UTC · "
            f"{places} · {size(self.bytes)}, {proof}{problem}"
        )


def restorable(services: Services, *, most: int = MOST) -> list[Choice]:
    """Return every backup whose files are still there, grouped by run, latest first.

    `most`: backups that are looked through; a run whose backups lie across that line is left out.
    """
    found = services.ledger.stored_backups(limit=most)
    by_run: dict[str, list[StoredBackup]] = {}
    for one in found:
        by_run.setdefault(one.manifest.run_id, []).append(one)
    if len(found) == most and len(by_run) > 1:
        del by_run[found[-1].manifest.run_id]
    return [_choice(backups) for backups in by_run.values()]


def _choice(backups: list[StoredBackup]) -> Choice:
    first = backups[0]
    return Choice(
        run_id=first.manifest.run_id,
        revision=first.revision,
        way=first.way,
        run_status=first.run_status,
        taken_at=max(one.manifest.taken_at for one in backups),
        databases=tuple(_stored(one) for one in sorted(backups, key=lambda one: one.manifest.conn_id)),
    )


def _stored(one: StoredBackup) -> Stored:
    return Stored(
        conn_id=one.manifest.conn_id,
        kind=one.manifest.kind,
        resources=tuple(sorted(one.manifest.fingerprints)),
        bytes=one.manifest.size,
        proof=one.proof,
        problem=one.problem,
    )


def size(count: int) -> str:
    """Say a number of bytes as a person reads it."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
