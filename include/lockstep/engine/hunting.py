"""Find the record that a batch fails on: by halves, until it is alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lockstep.domain.errors import BadRecords, DataError, RecordError, ValueRefused
from lockstep.domain.progress import Cursor, Progress
from lockstep.domain.quarantine import Quarantined
from lockstep.engine.context import StepContext

#: (context, progress so far) → the next record's place, and its key as people write it
NextRecord = Callable[[StepContext, Progress], "tuple[Cursor, str]"]


@dataclass
class Hunt:
    """The search for one record. `suspects`: the next so many records have one that fails among them."""

    suspects: int | None = None
    splits: int = 0

    def limit(self, usual: int) -> int:
        """Return how many records the next batch takes: half of the suspects."""
        return usual if self.suspects is None else min(usual, max(1, self.suspects // 2))

    def passed(self, tried: int) -> None:
        """Take in that the next batch went through: the culprit is among the rest."""
        if self.suspects is not None:
            self.suspects = max(1, self.suspects - tried)
            self.splits += 1

    def failed(self, tried: int) -> bool:
        """Take in that a batch failed; return whether the record is found: it was alone."""
        if tried == 1:
            return True
        if self.suspects is not None:
            self.splits += 1
        self.suspects = tried
        return False

    def found(self) -> int:
        """End the search and return how often the batch was split."""
        splits, self.suspects, self.splits = self.splits, None, 0
        return splits


def is_for_a_record(problem: DataError) -> bool:
    """Whether some record of the batch is to blame, and not the statement or the function as such."""
    return isinstance(problem, (RecordError, ValueRefused))


def culprit(
    context: StepContext, progress: Progress, problem: DataError, next_record: NextRecord, splits: int
) -> BadRecords:
    """Return the error that names the one record which is left of a batch."""
    resource = str(context.operation.writes[0])
    key, shown = next_record(context, progress)
    said = problem.problem if isinstance(problem, RecordError) else problem.message
    context.log.warning(
        f"{resource}, record {shown}: found alone after {splits} split(s) of the batch: {said}"
    )
    return BadRecords(resource=resource, records=(Quarantined(key=key, shown=shown, error=said),))
