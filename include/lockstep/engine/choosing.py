"""What follows a failure: by the run's policy, or by the choice of a person who is asked.

After a failed upgrade the policy is `on_failure`, after a way back that failed `on_undo_failure`. Where it says
`ask`, the run waits, with nobody at work, until somebody chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from lockstep.domain.errors import Refused
from lockstep.domain.progress import Phase
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.guard import guarded
from lockstep.engine.services import Services
from lockstep.engine.steps import total

#: retry: what failed goes on where it stopped · downgrade: what was done is taken back · restore: the backups are
#: put back · leave: everything stays as it is, and the run ends as failed
Choice = Literal["retry", "downgrade", "restore", "leave"]
#: which failure is being asked about
Failure = Literal["upgrade", "way_back"]

#: fact of a run → what a person chose after which failure
FACTS: dict[Failure, str] = {"upgrade": "choice", "way_back": "choice_back"}
#: characters of an error, and errors, that a question shows
_MOST_OF_AN_ERROR = 1000
_MOST_ERRORS = 6


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a person is asked, in the words that they see."""

    subject: str
    #: Markdown
    body: str
    choices: tuple[Choice, ...]


def policy(services: Services, run: Run, name: Literal["on_failure", "on_undo_failure"]) -> str:
    """Return what the run was asked to do after a failure."""
    return str(run.params.get(name) or getattr(services.settings, name))


def question_after_upgrade(services: Services, revision: Revision, run: Run) -> Question | None:
    """Return what to ask now that an upgrade has failed; None where it has not, or where nobody is to be asked.

    From then on the run waits: an answer to an earlier question counts no more.
    """
    run = services.ledger.run(run.id)
    if not _unsettled(run) or run.direction != "upgrade" or run.facts.get("undoing"):
        return None
    if policy(services, run, "on_failure") != "ask":
        return None
    return _ask(services, revision, run, "upgrade", ("retry", "downgrade", "restore", "leave"))


def question_after_way_back(
    services: Services, revision: Revision, run: Run, *, tried: bool = False
) -> Question | None:
    """Return what to ask now that a way back has failed; None where it has not, or where nobody is to be asked.

    `tried`: putting the backups back was tried just now, and failed.
    """
    run = services.ledger.run(run.id)
    if not _unsettled(run) or run.facts.get("restored"):
        return None
    if policy(services, run, "on_undo_failure") != "ask":
        return None
    if run.facts.get("putting_back"):
        return _ask(services, revision, run, "way_back", ("retry", "leave")) if tried else None
    if run.direction == "downgrade":
        return _ask(services, revision, run, "way_back", ("retry", "leave"))
    if not run.facts.get("undoing"):
        return None
    return _ask(services, revision, run, "way_back", ("retry", "restore", "leave"))


def choose(
    services: Services,
    revision: Revision,
    run: Run,
    failure: Failure,
    choice: str,
    *,
    by: str,
    at: datetime | None,
) -> bool:
    """Record what a person chose, and who and when; return whether this answer is new.

    Airflow may bring the same answer twice. After `retry` the errors so far are forgotten: the next one counts.
    """
    run = guarded(services, revision, run)
    when = at.isoformat() if at else None
    if when is not None and run.facts.get("answered_at") == when:
        return False
    facts: dict[str, Any] = {FACTS[failure]: choice, "answered_at": when}
    with services.ledger.unit() as unit:
        unit.note(
            run.id,
            "chosen",
            {"after": failure, "choice": choice, "by": by, "at": when, "because": run.error},
            who=by,
        )
        if choice == "retry":
            unit.change_run(run.id, error=None, facts=facts)
        else:
            unit.change_run(run.id, facts=facts)
    services.log.info(f"{by} chose {choice!r} after {_named(failure)}", run=run.id)
    return True


def way_after_failure(services: Services, run: Run) -> Literal["downgrade", "restore", "leave"]:
    """Return what is to follow a failed upgrade, by what was begun, chosen, or asked for beforehand."""
    if run.facts.get("putting_back"):
        return "restore"
    if run.facts.get("undoing"):
        return "downgrade"
    wanted = policy(services, run, "on_failure")
    if wanted == "ask":
        wanted = str(run.facts.get(FACTS["upgrade"]) or "leave")
    if wanted == "downgrade":
        return "downgrade"
    if wanted == "restore":
        return "restore"
    if wanted not in ("leave", "retry"):
        raise Refused(f"run {run.id}: on_failure is {wanted!r}, which nobody knows.", run=run.id)
    return "leave"


def way_after_way_back(
    services: Services, revision: Revision, run: Run
) -> Literal["none", "restore", "leave"]:
    """Return what is to follow the way back: nothing where it ended well, else what the policy or a person says.

    Choosing to put the backups back is recorded, so that no undo goes on beside it.
    """
    run = services.ledger.run(run.id)
    if not _unsettled(run) or run.facts.get("restored"):
        return "none"
    if run.facts.get("putting_back"):
        return "restore"
    if run.direction == "downgrade":
        return "leave"  # its backup may hold less than the journal that it took from: a person decides
    if not run.facts.get("undoing"):
        return "none"
    wanted = policy(services, run, "on_undo_failure")
    if wanted == "ask":
        wanted = str(run.facts.get(FACTS["way_back"]) or "leave")
    if wanted != "restore":
        return "leave"
    run = guarded(services, revision, run)
    with services.ledger.unit() as unit:
        unit.note(run.id, "restore_begins", {"because": run.error})
        unit.change_run(run.id, facts={"putting_back": True})
    services.log.warning("the undo failed: the backups of this run are put back instead", run=run.id)
    return "restore"


def _unsettled(run: Run) -> bool:
    """Whether a run may have effects that nobody has settled."""
    return (
        run.status in (RunStatus.OPEN, RunStatus.FAILED) and run.backed_up and not run.facts.get("verified")
    )


def _ask(
    services: Services, revision: Revision, run: Run, failure: Failure, choices: tuple[Choice, ...]
) -> Question:
    """Word a question, and say in the ledger that the run waits for its answer."""
    run = guarded(services, revision, run)
    waits = f"a person to choose what follows {_named(failure)}: {', '.join(choices)}"
    for phase in ("upgrade", "downgrade", "undo"):
        for shard in services.ledger.shards(run.id, phase):
            if shard.state == "running":
                # A run whose worker has let its lease run out could be taken over; one that waits is not silent.
                fence, _ = services.ledger.claim(run.id, phase, shard.step, shard.shard, "asking")
                services.ledger.hold(fence, waits)
    with services.ledger.unit() as unit:
        unit.note(run.id, "asked", {"after": failure, "choices": list(choices), "because": run.error})
        if run.facts.get(FACTS[failure]):
            unit.change_run(run.id, facts={FACTS[failure]: None})
    services.log.warning(f"{_named(failure)} ended badly: this run waits for {waits}", run=run.id)
    return Question(
        subject=f"Revision {revision.id}: {_named(failure)} failed. What next?",
        body=_body(services, revision, run, failure, choices),
        choices=choices,
    )


def _named(failure: Failure) -> str:
    return "the upgrade" if failure == "upgrade" else "the way back"


def _body(
    services: Services, revision: Revision, run: Run, failure: Failure, choices: tuple[Choice, ...]
) -> str:
    lines = [
        f"**{revision.id} · {revision.description}** (run `{run.id}`)",
        "",
        "```",
        *(_short(error) for error in _errors(services, revision, run)),
        "```",
        "",
        "How far it got:",
        "",
        *_how_far(services, revision, run),
        "",
        "| Choose | What happens |",
        "|---|---|",
        *(f"| `{choice}` | {_meaning(services, run, choice, failure)} |" for choice in choices),
        "",
        # Airflow takes the text of a task's first question for all that follow.
        "Asked more than once, Airflow goes on showing the first text: the log of this task has the latest.",
    ]
    return "\n".join(lines)


def _errors(services: Services, revision: Revision, run: Run) -> list[str]:
    """Return what failed since the run was last asked about, the first failures and the last."""
    found: list[str] = []
    for entry in services.ledger.history(revision.id):
        if entry.get("run_id") != run.id:
            continue
        if entry["kind"] == "chosen":
            found.clear()
        elif entry["kind"] == "task_failed":
            found.append(f"{entry['detail']['where']}: {entry['detail']['error']}")
    if len(found) > _MOST_ERRORS:
        found = [*found[: _MOST_ERRORS - 2], "…", *found[-2:]]
    return found or [run.error or "no task left a reason; look for the first red task"]


def _short(error: str) -> str:
    text = error.replace("```", "'''")
    return text if len(text) <= _MOST_OF_AN_ERROR else f"{text[:_MOST_OF_AN_ERROR]}…"


def _how_far(services: Services, revision: Revision, run: Run) -> list[str]:
    phases: tuple[Phase, ...] = ("downgrade",) if run.direction == "downgrade" else ("upgrade", "undo")
    lines = []
    for phase in phases:
        shards = services.ledger.shards(run.id, phase)
        operations = revision.operations("downgrade" if phase == "downgrade" else "upgrade")
        for step in sorted({shard.step for shard in shards}):
            mine = [shard for shard in shards if shard.step == step]
            done, sum_ = sum(shard.state == "done" for shard in mine), total(mine)
            title = operations[step - 1].title if step else "in one transaction"
            lines.append(
                f"* {phase}, {title}: {done} of {len(mine)} shard(s) done, {sum_.batches} batch(es) committed, "
                f"{sum_.written} record(s) written"
            )
    return lines or ["* nothing had begun"]


def _meaning(services: Services, run: Run, choice: Choice, failure: Failure) -> str:
    if choice == "retry":
        if run.facts.get("putting_back"):
            return "the backups are put back once more; mend the cause first"
        what = "the upgrade" if failure == "upgrade" else "it"
        return f"{what} goes on where it stopped; mend the cause first"
    if choice == "downgrade":
        return "what was done is taken back in reverse, and compared with what was there before"
    if choice == "restore":
        taken = services.ledger.backups(run.id)
        when = min((manifest.taken_at for manifest in taken), default=run.started_at)
        return (
            "what was done is not taken back; instead all that the revision touches becomes what it was when it "
            f"was backed up, at {when:%Y-%m-%d %H:%M:%S} UTC: whatever anybody else wrote there since is lost"
        )
    return "everything stays as it is; the run ends as failed, and every other is refused until it is resumed"
