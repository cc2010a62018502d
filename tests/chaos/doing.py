"""What a worker does: one shard of one step, one direction in one transaction, or putting backups back."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from driver import PlainLog
from world import World, factory_of

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import LockstepError
from lockstep.domain.resources import Bucket
from lockstep.domain.revision import Revision
from lockstep.engine.atomic import run_atomic
from lockstep.engine.opening import current_run
from lockstep.engine.putting_back import put_back
from lockstep.engine.services import Services
from lockstep.engine.steps import plan_step, run_step_shard
from lockstep.stores.s3 import applying, connection

_TELLING = threading.Lock()


def tell(event: str, **more: Any) -> None:
    """Say what happened, in one write."""
    with _TELLING:
        sys.stdout.write(json.dumps({"event": event, **more}, default=str) + "\n")
        sys.stdout.flush()


class Reached:
    """Told of each place; stops the whole process at the n-th time that it reaches one of them."""

    def __init__(self, freeze: dict[str, Any] | None) -> None:
        self._freeze = freeze
        self._seen = 0
        self._lock = threading.Lock()

    @property
    def stops(self) -> bool:
        return self._freeze is not None

    def __call__(self, place: str) -> None:
        tell(place)
        if self._freeze is None or place != self._freeze["at"]:
            return
        with self._lock:
            self._seen += 1
            here = self._seen == self._freeze["times"]
        if here:
            # As by kill -STOP from outside, but at a known place: every thread stands still until SIGCONT.
            os.kill(os.getpid(), signal.SIGSTOP)
            tell("awake")


def do(task: dict[str, Any]) -> None:
    """Do the task, and say how it ended."""
    log = PlainLog()
    world = World(**{**task["world"], **_paths(task["world"])})
    reached = Reached(task["freeze"])
    services = factory_of(world, log, **task["settings"])(reached)
    revision = load_chain(world.migrations)[task["revision"]]
    _watch_objects(services, revision, reached)
    tell("ready", time=time.time(), now=datetime.now(timezone.utc).isoformat())
    try:
        facts = _work(services, revision, task)
    except LockstepError as problem:
        tell("end", how=type(problem).__name__, said=str(problem), log=log.lines)
    except BaseException as problem:
        tell("end", how="crash", said=repr(problem), log=log.lines)
        raise
    else:
        tell("end", how="done", said=facts, log=log.lines)


def _work(services: Services, revision: Revision, task: dict[str, Any]) -> dict[str, Any]:
    run = current_run(services, task["dag_id"], task["dag_run_id"])
    phase, holder = task["phase"], f"worker {os.getpid()}"
    if phase == "put back":
        return put_back(services, revision, run)
    if revision.is_atomic("downgrade" if phase == "downgrade" else "upgrade"):
        return run_atomic(services, revision, run, phase, holder=holder)
    # Planned once, whatever number a later attempt asks for.
    plan_step(services, revision, run, phase, task["step"], shards=task["shards"])
    return run_step_shard(services, revision, run, phase, task["step"], task["shard"], holder=holder)


def _paths(world: dict[str, Any]) -> dict[str, Any]:
    return {name: Path(world[name]) if world[name] is not None else None for name in ("migrations", "pg_bin")}


def _watch_objects(services: Services, revision: Revision, reached: Reached) -> None:
    """Reach a place as each object's turn comes, and another right before it is copied to its key."""
    really = applying._write

    def begun(*given: Any, **more: Any) -> Any:
        reached("object begun")
        return really(*given, **more)

    applying._write = begun
    if reached.stops:
        # One at a time: a worker that stops itself is to be at one place, and not at eight.
        connection.WORKERS = 1
    for database in revision.databases:
        if isinstance(database, Bucket):
            client, _ = services.objects(database).handle()
            client.meta.events.register("before-call.s3.CopyObject", lambda **given: reached("object sent"))
