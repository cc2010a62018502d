"""Start workers as processes, hear what they reach, and stop, wake or kill them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
from world import World

from lockstep.domain.progress import Phase
from lockstep.domain.run import Run

TESTS = Path(__file__).parent.parent
#: seconds after which a worker that says nothing is a failure of the test
PATIENCE = 90.0


@dataclass
class Worker:
    """One process, and what it has said so far."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    #: the monotonic time of each event, as it was heard
    heard: list[float] = field(default_factory=list)
    ended: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                # A line that a kill cut in two is none.
                if line.endswith("}\n"):
                    self.events.append(json.loads(line))
                    self.heard.append(time.monotonic())
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait_for(self, happened: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Return whether it happened before the worker ended or the time was over."""
        with self._changed:
            self._changed.wait_for(lambda: happened() or self.ended, timeout=seconds)
            return happened()

    def reached(self, place: str) -> int:
        return sum(event["event"] == place for event in self.events)

    def kill(self) -> bool:
        """Kill it; return whether it still lived."""
        self.process.kill()
        return self.process.wait() == -signal.SIGKILL

    def end(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait for the worker's own end; return what it said of it."""
        code = self.process.wait(timeout=seconds)
        self.wait_for(lambda: False, 10)
        last = self.events[-1] if self.events else {}
        assert code == 0, f"the worker exited with {code} after {last}\n{self.complaint()}"
        assert last.get("event") == "end", f"the worker said no end: {last}\n{self.complaint()}"
        return last

    def wait_until_frozen(self) -> None:
        """Return once every thread of it stands still."""
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            if psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED:
                return
            time.sleep(0.02)
        raise AssertionError(f"the worker did not stop itself: {self.events[-3:]}\n{self.complaint()}")

    def wait_until_told(self, place: str, times: int) -> None:
        """Return once what it said of a place has arrived: it comes through a pipe, later than its state."""
        until = time.monotonic() + PATIENCE
        while self.reached(place) < times:
            assert time.monotonic() < until, (
                f"it did not come to {place!r} {times} time(s): {self.events[-3:]}"
            )
            time.sleep(0.02)

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def complaint(self) -> str:
        """Return what an ended worker wrote on standard error."""
        if self.process.poll() is None or self.process.stderr is None or self.process.stderr.closed:
            return ""
        return self.process.stderr.read()[-4000:]


@dataclass(kw_only=True)
class Herd:
    """The workers of one world; none of them outlives it."""

    world: World
    #: where the revision's functions note their calls
    calls: Path
    workers: list[Worker] = field(default_factory=list)

    def start(
        self,
        run: Run,
        phase: Phase | Literal["put back"] = "upgrade",
        *,
        step: int = 1,
        shard: int = 0,
        shards: int = 1,
        clock: float = 0.0,
        freeze: tuple[str, int] | None = None,
        **settings: Any,
    ) -> Worker:
        """Start a worker on a shard. `freeze`: stop itself at the n-th time at a place; `clock`: seconds off."""
        task = {
            "world": {name: _plain(value) for name, value in asdict(self.world).items()},
            "dag_id": run.caller.dag_id,
            "dag_run_id": run.caller.dag_run_id,
            "revision": run.revision,
            "phase": phase,
            "step": step,
            "shard": shard,
            "shards": shards,
            "clock": clock,
            "freeze": None if freeze is None else {"at": freeze[0], "times": freeze[1]},
            "settings": settings,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": _path(), "LOCKSTEP_CALLS": str(self.calls)},
        )
        worker = Worker(process)
        self.workers.append(worker)
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(json.dumps(task))
        threading.Thread(target=worker.listen, daemon=True).start()
        return worker

    def called(self) -> int:
        """Return how often the revision's function was called."""
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@contextmanager
def herd_in(world: World, folder: Path) -> Iterator[Herd]:
    """Give a herd, and end what is left of it."""
    herd = Herd(world=world, calls=folder / "calls")
    try:
        yield herd
    finally:
        for worker in herd.workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()
            for pipe in (worker.process.stdout, worker.process.stderr):
                worker.wait_for(lambda: False, 10)
                if pipe is not None:
                    pipe.close()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _path() -> str:
    return os.pathsep.join(str(TESTS / part) for part in (".", "unit", "engine", "acceptance"))
