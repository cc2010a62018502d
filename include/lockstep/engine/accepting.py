"""Accept that the file of an applied revision was edited, once a person has seen what changed."""

from __future__ import annotations

import difflib
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lockstep.domain.chain import Chain
from lockstep.domain.errors import DataError, LockstepError, Refused
from lockstep.domain.loading import load_revision
from lockstep.domain.revision import Revision
from lockstep.domain.run import Caller, RevisionState, Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine.auditing.archiving import archive_history
from lockstep.engine.care import decided, decided_before, given_reason, keep
from lockstep.engine.services import Services

#: characters of the new checksum that a person writes down
FIRST = 12
#: runs of a revision that may have kept its source, latest first
_KEPT = 200


@dataclass(frozen=True, kw_only=True)
class Edit:
    """An applied revision's file, as it was and as it is."""

    revision: str
    file: str
    before: str
    after: str
    #: lines that came and went; empty where nobody has the file as it was
    diff: tuple[str, ...]
    #: how the declared operations and expectations differ; None where that cannot be told
    differs: tuple[str, ...] | None

    def lines(self) -> list[str]:
        """Say it as a person reads it."""
        first = f"{self.file} had the checksum {self.before[:FIRST]} as the ledger knows it, and has {self.after[:FIRST]}"
        if self.differs is None:
            return [first, "the vault has not kept the file as it was: compare it in your version control"]
        same = "it declares the same operations" if not self.differs else "it declares other operations:"
        return [first, *self.diff, same, *self.differs]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Edit:
        differs = kept["differs"]
        return Edit(
            revision=kept["revision"],
            file=kept["file"],
            before=kept["before"],
            after=kept["after"],
            diff=tuple(kept["diff"]),
            differs=None if differs is None else tuple(differs),
        )


def plan_acceptance(
    services: Services, chain: Chain, states: Mapping[str, RevisionState], *, revision: str
) -> Edit | None:
    """Return what changed in the file of an applied revision; None where nothing did. Reads only.

    Raises Refused for a revision that is not applied, and for one that was put elsewhere in the chain.
    """
    now = chain[revision]
    state = states.get(revision)
    if state is None or state.status is not Status.APPLIED:
        is_now = "pending" if state is None else state.status
        raise Refused(
            f"revision {revision!r} is {is_now}: its file may change as it likes until it is applied. There is nothing "
            "to accept.",
            revision=revision,
        )
    if state.down_revision != now.down_revision:
        raise Refused(
            f"revision {revision!r} ({now.file}) was applied after {state.down_revision!r} and now says down_revision = "
            f"{now.down_revision!r}. That is no harmless edit: put down_revision back.",
            revision=revision,
        )
    if state.checksum == now.checksum:
        return None
    source = kept_source(services, state)
    return Edit(
        revision=revision,
        file=now.file,
        before=state.checksum,
        after=now.checksum,
        diff=() if source is None else tuple(_diff(source, now)),
        differs=None if source is None else _differs(source, now),
    )


def refuse_unseen(edit: Edit, *, checksum: str, operations: bool) -> None:
    """Raise Refused unless the person names the new checksum, and for other operations says that they may differ."""
    given = checksum.strip().lower()
    if len(given) < FIRST or not edit.after.startswith(given):
        raise Refused(
            f"checksum is {checksum!r}, and the file of revision {edit.revision!r} has another one. Nothing was changed. "
            f"Read in the log of this task what changed, then trigger it again with the first {FIRST} characters of "
            "the checksum that the log names.",
            revision=edit.revision,
        )
    if edit.differs is None and not operations:
        raise Refused(
            f"nobody can tell whether revision {edit.revision!r} still declares the operations that were applied, since "
            "the vault has not kept its file. Nothing was changed. Compare it yourself, then trigger it again with "
            "operations_may_differ = true.",
            revision=edit.revision,
        )
    if edit.differs and not operations:
        raise Refused(
            f"revision {edit.revision!r} declares other operations than those that were applied: "
            f"{'; '.join(edit.differs)}. Nothing was changed. Put them back and make the change a new revision, or "
            "trigger it again with operations_may_differ = true.",
            revision=edit.revision,
        )


def accept(
    services: Services,
    chain: Chain,
    edit: Edit,
    *,
    caller: Caller,
    params: Mapping[str, Any],
    reason: str,
) -> Run:
    """Let the ledger know the file as it is now. A second call by the same Airflow run changes nothing more."""
    reason = given_reason(reason)
    services.ledger.check()
    before = decided_before(services, caller, RunStatus.CHECKSUM_ACCEPTED)
    run = before[-1] if before else _accepted(services, chain, edit, caller, params, reason)
    keep(services, chain[edit.revision], run)
    archive_history(services)
    services.log.info(
        f"revision {edit.revision}: the checksum {edit.after[:FIRST]} is accepted in place of {edit.before[:FIRST]}",
        run=run.id,
        by=caller.by,
    )
    return run


def _accepted(
    services: Services,
    chain: Chain,
    edit: Edit,
    caller: Caller,
    params: Mapping[str, Any],
    reason: str,
) -> Run:
    revision = chain[edit.revision]
    with services.ledger.unit() as unit:
        held = unit.open_run()
        if held is not None and held.revision == edit.revision:
            raise Refused(
                f"run {held.id} moves revision {edit.revision!r} just now. Nothing was changed; wait for it to end.",
                run=held.id,
            )
        state = unit.revisions()[edit.revision]
        if (state.status, state.checksum, revision.checksum) != (Status.APPLIED, edit.before, edit.after):
            raise Refused(
                f"revision {edit.revision!r} or its file has moved since this was planned. Nothing was changed; trigger "
                "it again.",
                revision=edit.revision,
            )
        facts = {
            "before": edit.before,
            "after": edit.after,
            "reason": reason,
            "operations": None if edit.differs is None else list(edit.differs),
            "diff": list(edit.diff[:200]),
        }
        run = decided(
            edit.revision,
            "accept",
            RunStatus.CHECKSUM_ACCEPTED,
            checksum=edit.after,
            caller=caller,
            params=params,
            facts=facts,
        )
        unit.add_run(run)
        unit.accept_checksum(edit.revision, edit.after)
        unit.note(run.id, "checksum_accepted", facts)
        return unit.run(run.id)


def accepted_since(services: Services, revision: str, checksum: str) -> set[str]:
    """Return the checksums that a revision's file may have: the one given, and what was accepted in its place."""
    found = {checksum}
    for run in reversed(services.ledger.runs(revision, limit=_KEPT)):
        if run.status is RunStatus.CHECKSUM_ACCEPTED and run.facts["before"] in found:
            found.add(str(run.facts["after"]))
    return found


def kept_source(services: Services, state: RevisionState) -> str | None:
    """Return a revision's file as it was applied, from the archive; None where nobody kept it.

    What the archive holds counts only where it has the checksum that the ledger knows.
    """
    runs = [run.id for run in services.ledger.runs(state.id, limit=_KEPT)]
    for run_id in dict.fromkeys([*([state.applied_run] if state.applied_run else []), *runs]):
        source = _archived(services, run_id)
        if source is not None and hashlib.sha256(source.encode()).hexdigest() == state.checksum:
            return source
    return None


def _archived(services: Services, run_id: str) -> str | None:
    try:
        kept = json.loads(services.vault.get(f"archive/{run_id}.json"))
    except (DataError, Refused, ValueError):
        return None
    source = (kept.get("revision") or {}).get("source")
    return source if isinstance(source, str) else None


def _diff(source: str, now: Revision) -> list[str]:
    return [
        line.rstrip("\n")
        for line in difflib.unified_diff(
            source.splitlines(), now.source.splitlines(), "as applied", "now", lineterm="", n=2
        )
    ]


def _differs(source: str, now: Revision) -> tuple[str, ...] | None:
    """Return the declared lines that came and went; None where the file as it was cannot be loaded any more."""
    try:
        with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
            path = Path(folder) / f"{now.stem}.py"
            path.write_bytes(source.encode())
            before = load_revision(path)
    except LockstepError:
        return None
    return tuple(
        line
        for line in difflib.unified_diff(_declared(before), _declared(now), lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    )


def _declared(revision: Revision) -> list[str]:
    """Return what a revision declares, a line each."""
    return [
        f"transaction: {revision.transaction}",
        *(f"upgrade: {operation.describe()}" for operation in revision.upgrade),
        *(f"downgrade: {operation.describe()}" for operation in revision.downgrade),
        *(f"verify: {expectation.describe()}" for expectation in revision.expectations),
    ]
