"""Which statements of downgrade() take back which opaque statements of upgrade().

After a failure, what the journal, a park or a declared inverse cannot take back is opaque: ops.sql and its
kin without `reverse=`. Their way back is written in downgrade(), which mirrors upgrade(): its last
structural operation on a database undoes the first one of upgrade() there, and so on outwards.
"""

from __future__ import annotations

from collections.abc import Collection

from lockstep.domain.operations.base import Operation, WayBack
from lockstep.domain.operations.drop_column import DropColumn
from lockstep.domain.operations.drop_table import DropTable
from lockstep.domain.operations.sql import Sql
from lockstep.domain.operations.sql_outside_transaction import SqlOutsideTransaction
from lockstep.domain.revision import Revision

_STRUCTURAL = (Sql, SqlOutsideTransaction, DropTable, DropColumn)


def statements_back(revision: Revision, step: int, done: Collection[int]) -> tuple[Operation, ...] | None:
    """Return the operations of downgrade() that take back step `step` (from 1) of upgrade().

    `done`: the steps that were done. An empty tuple means: the way back of a later step has covered it. None
    means: downgrade() has nothing for it. With fewer ways back than statements, the first to run covers all
    that remain (dropping the column drops its constraint), at the last of them that was done; with more, the
    last statement gets all that remain.
    """
    operation = revision.upgrade[step - 1]
    opaque = [
        number
        for number, candidate in enumerate(revision.upgrade, 1)
        if candidate.way_back is WayBack.STATEMENT and candidate.database == operation.database
    ]
    back = [
        candidate
        for candidate in reversed(revision.downgrade)
        if isinstance(candidate, _STRUCTURAL) and candidate.database == operation.database
    ]
    if not back:
        return None
    place = opaque.index(step)
    if len(back) >= len(opaque):
        last = place == len(opaque) - 1
        return tuple(reversed(back[place:])) if last else (back[place],)
    if place < len(back) - 1:
        return (back[place],)
    covered = [number for number in opaque[len(back) - 1 :] if number in done]
    return (back[-1],) if covered and step == covered[-1] else ()
