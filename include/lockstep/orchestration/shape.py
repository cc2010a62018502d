"""What is drawn for a revision: the tasks of each step, both ways, as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lockstep.domain.operations.base import Operation
from lockstep.domain.progress import Phase
from lockstep.domain.resources import Database
from lockstep.domain.revision import Direction, Revision

#: stands for a step number where a whole direction is one transaction
WHOLE = 0
ATOMIC = "in_one_transaction"

OPEN_RUN = "open_run"
BACKUP = "backup"
PROVE = "prove"
UPGRADE = "upgrade"
SETTLE = "settle"
VERIFY = "verify"
DOWNGRADE = "downgrade"
ASK = "ask"
DECIDE = "decide"
VERIFY_RESTORED = "verify_restored"
PUT_BACK = "put_back"
RECORD = "record"
EMIT = "emit"
OUTCOME = "outcome"
PLAN_SHARDS = "plan_shards"
SHARD = "shard"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One step as drawn: a task, or a group of plan_shards and mapped shards."""

    name: str
    batched: bool
    #: phase → step number of the engine, WHOLE where the direction is one transaction
    moves: Mapping[Phase, int]
    #: connection id of the database that it writes to; None where it does nothing
    conn_id: str | None
    tip: str = ""

    def tasks(self, group: str) -> tuple[str, ...]:
        """Return the ids of its tasks, the last of which is its end."""
        if self.batched:
            return (f"{group}.{self.name}.{PLAN_SHARDS}", f"{group}.{self.name}.{SHARD}")
        return (f"{group}.{self.name}",)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Everything between open_run and outcome that depends on the revision."""

    backups: tuple[str, ...]
    upgrade: tuple[Piece, ...]
    downgrade: tuple[Piece, ...]

    @property
    def backup_tasks(self) -> tuple[str, ...]:
        return (*(f"{BACKUP}.{name}" for name in self.backups), f"{BACKUP}.{PROVE}")

    @property
    def upgrade_tasks(self) -> tuple[str, ...]:
        return tuple(task for piece in self.upgrade for task in piece.tasks(UPGRADE))

    @property
    def downgrade_tasks(self) -> tuple[str, ...]:
        """Return the tasks that take back, without the decision before and what comes after them."""
        return tuple(task for piece in self.downgrade for task in piece.tasks(DOWNGRADE))

    def idle(self, phase: Phase) -> tuple[str, ...]:
        """Return the tasks of the downgrade group that have nothing to do in this phase."""
        return tuple(
            t for piece in self.downgrade if phase not in piece.moves for t in piece.tasks(DOWNGRADE)
        )

    @property
    def all_but_outcome(self) -> tuple[str, ...]:
        """Return every task after open_run that a run with nothing to do leaves out."""
        return (
            *self.backup_tasks,
            *self.upgrade_tasks,
            SETTLE,
            VERIFY,
            *self.downgrade_branch,
            RECORD,
            EMIT,
        )

    @property
    def downgrade_branch(self) -> tuple[str, ...]:
        """Return the tasks that run only where something may have to be taken back."""
        return (f"{DOWNGRADE}.{ASK}", f"{DOWNGRADE}.{DECIDE}", *self.after_decision)

    @property
    def after_decision(self) -> tuple[str, ...]:
        return (*self.taking_back, PUT_BACK)

    @property
    def taking_back(self) -> tuple[str, ...]:
        """Return the tasks that are left out where the backups are put back instead."""
        return (*self.downgrade_tasks, VERIFY_RESTORED)


def slug(text: str) -> str:
    """Return text as part of a task id: letters, digits, '_' and '-', at most 80 of them."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:80]


def backup_names(databases: tuple[Database, ...]) -> tuple[str, ...]:
    """Return one task name for each database, told apart where connection ids collide."""
    names: list[str] = []
    for database in databases:
        name = slug(database.conn_id)
        while name in names or name == PROVE:
            name += "_"
        names.append(name)
    return tuple(names)


def shape_of(revision: Revision) -> Shape:
    """Return what to draw for a revision."""
    return Shape(
        backups=backup_names(revision.databases),
        upgrade=_upgrade(revision),
        downgrade=_downgrade(revision),
    )


def _upgrade(revision: Revision) -> tuple[Piece, ...]:
    if revision.is_atomic("upgrade"):
        tip = "; ".join(operation.title for operation in revision.upgrade)
        conn_id = _written(revision.upgrade)
        return (Piece(name=ATOMIC, batched=False, moves={"upgrade": WHOLE}, conn_id=conn_id, tip=tip),)
    return tuple(
        Piece(
            name=f"op_{number}_{slug(operation.title)}",
            batched=operation.batched,
            moves={"upgrade": number},
            conn_id=operation.database.conn_id,
            tip=operation.describe(),
        )
        for number, operation in enumerate(revision.upgrade, 1)
    )


def _downgrade(revision: Revision) -> tuple[Piece, ...]:
    """Draw one step for each that an undo or a downgrade may need, in the order in which they run."""
    undo = _steps(revision, "upgrade")[::-1]
    down = _steps(revision, "downgrade")
    if {step for step, _ in undo} | {step for step, _ in down} == {WHOLE}:
        moves: dict[Phase, int] = {"undo": WHOLE, "downgrade": WHOLE}
        conn_id = _written((*revision.downgrade, *revision.upgrade))
        return (Piece(name=ATOMIC, batched=False, moves=moves, conn_id=conn_id),)
    whole = _written((*revision.downgrade, *revision.upgrade))
    return tuple(
        _either(number, undo[number - 1 : number], down[number - 1 : number], whole)
        for number in range(1, max(len(undo), len(down)) + 1)
    )


_Steps = tuple[tuple[int, Operation | None], ...]


def _steps(revision: Revision, direction: Direction) -> _Steps:
    if revision.is_atomic(direction):
        return ((WHOLE, None),)
    return tuple(enumerate(revision.operations(direction), 1))


def _either(number: int, undo: _Steps, down: _Steps, whole: str | None) -> Piece:
    """Draw the step that takes back one of upgrade() after a failure, or runs one of downgrade().

    `whole`: the database of a direction in one transaction.
    """
    moves: dict[Phase, int] = {}
    tips: list[str] = []
    if undo:
        moves["undo"] = undo[0][0]
        tips.append(f"after a failure: take back {_title(undo[0][1], 'the upgrade')}")
    if down:
        moves["downgrade"] = down[0][0]
        tips.append(f"when asked for: {_title(down[0][1], 'the downgrade')}")
    named = next((operation for _, operation in (*down, *undo) if operation is not None), None)
    return Piece(
        name=f"step_{number}_{slug(named.title)}" if named else f"step_{number}",
        batched=any(operation is not None and operation.batched for _, operation in (*undo, *down)),
        moves=moves,
        conn_id=named.database.conn_id if named else whole,
        tip="; ".join(tips),
    )


def _written(operations: tuple[Operation, ...]) -> str | None:
    """Return the database that operations in one transaction share."""
    return next((operation.database.conn_id for operation in operations), None)


def _title(operation: Operation | None, otherwise: str) -> str:
    return operation.title if operation else f"{otherwise} in one transaction"
