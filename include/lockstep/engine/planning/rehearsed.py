"""What the last rehearsal of a revision said, and whether its report still is what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lockstep.domain.errors import DataError, Refused
from lockstep.domain.plan import Rehearsed
from lockstep.domain.rehearsal import Prediction, Rehearsal, Verdict
from lockstep.domain.revision import Revision
from lockstep.engine.services import Services

#: rehearsals that are looked through, latest first
MOST = 200


@dataclass(frozen=True, kw_only=True)
class Known:
    """What rehearsals say of one revision."""

    last: Rehearsed | None = None
    predicted: Prediction | None = None


class Rehearsals:
    """The latest rehearsals; each report that is used is read once and compared with the ledger."""

    def __init__(self, services: Services, url: Callable[[str], str] | None = None) -> None:
        self._services = services
        self._url = url
        self._latest: Sequence[Rehearsal] = services.ledger.rehearsals(MOST)
        self._problems: dict[str, str | None] = {}

    def of(self, revision: Revision) -> Known:
        """Return what is known of a revision's upgrade. Refused, by name, for a report that was changed."""
        tried = [one for one in self._latest if revision.id in one.revisions]
        same = [one for one in tried if one.revisions[revision.id] == revision.checksum]
        last = next((one for one in same if one.verdict is not None), None) or next(
            iter([*same, *tried]), None
        )
        green = [one for one in same if one.verdict is Verdict.GREEN and revision.id in one.predicted]
        return Known(
            last=self._shown(last, current=last in same) if last else None,
            predicted=self._predicted(green[0], revision) if green else None,
        )

    def _predicted(self, rehearsal: Rehearsal, revision: Revision) -> Prediction:
        self._problem(rehearsal)
        return rehearsal.predicted[revision.id]

    def _shown(self, rehearsal: Rehearsal, *, current: bool) -> Rehearsed:
        return Rehearsed(
            id=rehearsal.id,
            verdict=rehearsal.verdict,
            current=current,
            ended_at=rehearsal.ended_at,
            report_sha256=rehearsal.report_sha256,
            url=self._url(rehearsal.id) if self._url else None,
            problem=self._problem(rehearsal),
        )

    def _problem(self, rehearsal: Rehearsal) -> str | None:
        if rehearsal.id not in self._problems:
            self._problems[rehearsal.id] = report_problem(self._services, rehearsal)
        return self._problems[rehearsal.id]


def report_problem(services: Services, rehearsal: Rehearsal) -> str | None:
    """Return why a rehearsal's report cannot be used; None where it can, or where there is none yet.

    Raises Refused for one whose bytes are not those that the rehearsal wrote.
    """
    path = rehearsal.report_path
    if path is None:
        return None
    try:
        kept = services.vault.get(path)
    except DataError:
        return f"its report {services.vault.uri(path)} is gone"
    found = hashlib.sha256(kept).hexdigest()
    if found != rehearsal.report_sha256:
        raise Refused(
            f"the report of rehearsal {rehearsal.id!r} ({services.vault.uri(path)}) is not what the rehearsal wrote: "
            f"its SHA-256 was {str(rehearsal.report_sha256)[:12]} and is {found[:12]}. Nothing was changed. Look who "
            "writes to the vault, then trigger the DAG rehearse again: nothing leans on this report from then on.",
            rehearsal=rehearsal.id,
            path=path,
        )
    return None
