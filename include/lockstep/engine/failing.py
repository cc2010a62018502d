"""Gather the records that a batch fails on, so that they are left, or named, all at once."""

from __future__ import annotations

from lockstep.domain.errors import BadRecords, DataError, RecordError
from lockstep.domain.progress import Cursor
from lockstep.domain.quarantine import Quarantined


class Failing:
    """The records of one batch that cannot be carried."""

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self._records: list[Quarantined] = []
        self._first: DataError | None = None

    def add(self, key: object, cursor: Cursor, problem: DataError) -> None:
        """Take down what failed as the record with this key, at this place."""
        self._first = self._first or problem
        self._records.append(Quarantined(key=cursor, shown=repr(key), error=said(problem)))

    def check(self) -> None:
        """Raise BadRecords where there are any."""
        if self._records:
            raise BadRecords(resource=self._resource, records=tuple(self._records)) from self._first


def said(problem: DataError) -> str:
    """Return what is wrong with a record, without the record's own name, which stands before it."""
    if isinstance(problem, RecordError):
        return f"{problem.problem} Fix: {problem.fields['fix']}"
    return problem.message
