"""What has to be true after a revision failed and was undone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lockstep.demo import yapper
from lockstep.demo.session import Session
from lockstep.demo.yapper import Heard
from lockstep.domain.revision import Revision
from lockstep.domain.status import Status
from lockstep.embedded.airflow_api import DagRun

ROLLED_BACK = "migration.rolled_back"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that has to be true, and what was seen."""

    what: str
    holds: bool
    seen: str


def run_is_red(dag_run: DagRun) -> Check:
    """Airflow does not call it a success."""
    return Check(
        what="the DAG run is red", holds=dag_run.state == "failed", seen=f"{dag_run.dag_id}: {dag_run.state}"
    )


def nothing_changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Check]:
    """Each store's content has the hash that it had."""
    for store in sorted({**before, **after}):
        was, now = before.get(store, "absent"), after.get(store, "absent")
        seen = f"{was[:16]}… before and after" if was == now else f"{was[:16]}… before, {now[:16]}… after"
        yield Check(what=f"{store} holds what it held", holds=was == now, seen=seen)


def ledger_says_why(session: Session, failing: Revision) -> Check:
    """The ledger says rolled_back, and keeps the error."""
    state = session.ledger.revisions().get(failing.id)
    what = "the ledger says rolled_back, and why"
    if state is None:
        return Check(what=what, holds=False, seen=f"it does not know revision {failing.id}")
    why = state.error_message or ""
    return Check(
        what=what,
        holds=state.status is Status.ROLLED_BACK and bool(why),
        seen=f"{state.status}: {why or 'no reason'}",
    )


def yapper_was_told(session: Session, heard: Sequence[Heard]) -> Check:
    """One event says so, and every subscriber of it has it unread."""
    wanted = yapper.subscribers(session.servers.postgres_uri("campus_yapper"), ROLLED_BACK)
    told = [event for event in heard if event.label == ROLLED_BACK]
    unread = ", ".join(sorted({client for event in told for client in event.unread_by})) or "nobody"
    return Check(
        what=f"{ROLLED_BACK} is in Yapper once, for all who subscribe to it",
        holds=len(told) == 1 and bool(wanted) and told[0].unread_by == wanted,
        seen=f"{len(told)} event(s), unread by {unread}",
    )
