"""Move objects: copied by the server, looked at, and deleted a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from botocore.exceptions import ClientError

from lockstep.domain.errors import DataError
from lockstep.domain.progress import Change
from lockstep.domain.quarantine import Quarantined
from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.copying import copy
from lockstep.stores.s3.errors import FAILED_CONDITION, MISSING, code_of
from lockstep.stores.s3.guarding import Outcome, delete, guards
from lockstep.stores.s3.state import State, body_digest, is_still, look, same_description

#: objects that are deleted by one request. More would leave more time between the look at a source and its end.
MOVED_AT_ONCE = 50


def is_move(change: Change) -> bool:
    return change.before is not None and "at" in change.before


def move(connection: Connection, before: State, after: State, may_write: Callable[[], None]) -> Outcome:
    """Copy, look at the copy, and only then delete the source; cut off anywhere, it can be done again.

    COPIED where the source is to be deleted along with others.
    """
    source, target = before["at"], after["at"]
    here, there = look(connection, source), look(connection, target)
    if here is None:
        return Outcome.ALREADY if there and is_still(connection, target, after, there) else Outcome.CONFLICT
    if not is_still(connection, source, before, here):
        return Outcome.CONFLICT
    may_write()
    if there is None:
        try:
            copy(connection, source, target, after, **guards(connection, None))
        except ClientError as problem:
            if code_of(problem) not in FAILED_CONDITION | MISSING:
                raise
        there = look(connection, target)
    if there is None or not _same_object(connection, source, here, target, there):
        return Outcome.CONFLICT
    may_write()
    if connection.capabilities.deletes_many:
        return Outcome.COPIED
    delete(connection, source, here)
    return Outcome.WRITTEN


def _same_object(connection: Connection, source: str, here: State, target: str, there: State) -> bool:
    """Whether the copy is the source in every byte; where ETags cannot tell, the bodies are read."""
    if here["size"] != there["size"] or not same_description(here, there):
        return False
    if here["etag"] == there["etag"]:
        return True
    if not (here["opaque"] or there["opaque"]):
        return False
    return body_digest(connection, source) == body_digest(connection, target)


def delete_moved(
    connection: Connection,
    changes: Sequence[Change],
    outcomes: Sequence[Outcome | Quarantined],
    may_write: Callable[[], None],
) -> list[Outcome | Quarantined]:
    """Delete the sources of what was copied, by one request; return the outcomes as they then are."""
    sources = [
        change.before["at"]
        for change, outcome in zip(changes, outcomes, strict=True)
        if outcome is Outcome.COPIED
    ]
    if sources:
        may_write()
        with connection.translate("deleting what was moved"):
            answer = connection.client.delete_objects(
                Bucket=connection.bucket,
                Delete={"Objects": [{"Key": key} for key in sources], "Quiet": True},
            )
        for problem in answer.get("Errors", ()):
            raise DataError(
                f"{connection.translate.where} has not deleted object {problem['Key']!r}, which was moved: "
                f"{problem.get('Code')}: {problem.get('Message')}. Mend that, then clear the failed task.",
                key=problem["Key"],
                code=problem.get("Code"),
            )
    return [Outcome.WRITTEN if outcome is Outcome.COPIED else outcome for outcome in outcomes]
