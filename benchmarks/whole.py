"""A whole run by the engine alone, task by task in the order that the DAG has, and what each took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import children
from benchmarks.ours import Opened
from lockstep.engine.backup import take_backup
from lockstep.engine.emitting import emit
from lockstep.engine.proving import prove_backups
from lockstep.engine.recording import record
from lockstep.engine.steps import settle


class Clock:
    """Seconds of what was done, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began


def alone(one: Opened, shards: int) -> dict[str, float]:
    """Do everything after open_run; return seconds by task.

    What takes long is done in fresh processes, whose start is not counted: starting tasks is Airflow's work.
    """
    clock = Clock()
    services, revision, run = one.services, one.revision, one.run
    with clock.of("backup"):
        for database in revision.databases:
            take_backup(services, revision, run, database)
    with clock.of("prove"):
        prove_backups(services, revision, run)
    with clock.of("plan"):
        labels = one.plan(shards)
    clock.seconds["shards"] = children.seconds_of(one.shards(len(labels)))
    with clock.of("settle"):
        settle(services, revision, run, "upgrade", {})
    clock.seconds["verify"] = children.run(one.job("verified")).seconds
    with clock.of("record"):
        record(services, revision, run)
    with clock.of("emit"):
        emit(services)
    return clock.seconds
