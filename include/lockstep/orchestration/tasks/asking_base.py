"""What every task does that may ask a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.orchestration.tasks.base import Desk, LockstepTask

if TYPE_CHECKING:
    from lockstep.orchestration.asking import Answer


class AskingTask(LockstepTask):
    """A task whose `work` may raise what parks it, and whose `said` goes on with the answer.

    An answer is heard once it is given, whatever becomes of the process that was to hear it; so `said` may be called
    with the same answer again.
    """

    def execute(self, context: Any) -> Any:
        return self.guarded(context, self.begin)

    def begin(self, desk: Desk) -> Any:
        """Ask, where an earlier try has not."""
        from lockstep.orchestration.asking import has_asked, waiting_on

        kept = has_asked(desk)
        if kept is not None:
            raise waiting_on(desk, kept)
        return self.work(desk)

    def answered(self, context: Any, event: Any = None, **kept: Any) -> Any:
        """Go on as somebody chose."""
        return self.guarded(context, lambda desk: self.hear(desk, event, kept))

    def hear(self, desk: Desk, event: Any, kept: dict[str, Any]) -> Any:
        from lockstep.orchestration.asking import answer_of, has_asked, still_waiting, unanswered

        if has_asked(desk) is None:
            return self.work(desk)  # Airflow calls a run that starts over with the answer of the time before
        if unanswered(event):
            raise still_waiting(desk, kept)
        return self.said(desk, answer_of(event), kept)

    def said(self, desk: Desk, answer: Answer, kept: Mapping[str, Any]) -> Any:
        """Go on with an answer and what was kept with its question."""
        raise NotImplementedError
