"""Work in fresh processes, started together, as Airflow's LocalExecutor has its tasks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
#: Who looks on while children work: a block for the time in which they do, and what is told of their answers.
WATCH: ContextVar[tuple[Callable[[], AbstractContextManager[None]], Callable[[list[Answer]], None]] | None]
WATCH = ContextVar("WATCH", default=None)
#: seconds that a process which was told to end may take
GRACE = 10


class ChildFailedError(RuntimeError):
    """A process ended without an answer."""

    def __init__(self, function: str, said: str) -> None:
        super().__init__(f"{function} failed:\n{said}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A function as `module:name`, and its arguments, which JSON can carry."""

    function: str
    arguments: Mapping[str, Any]
    #: folders that are searched first for modules
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    #: by a clock that all processes share
    began: float
    ended: float
    #: seconds of CPU of the process and its threads
    cpu: float
    value: Any
    #: bytes held before the work, and the most while it lasted
    before: int
    peak: int

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def run(job: Job) -> Answer:
    """Do one job in a process of its own."""
    return run_together([job])[0]


def run_together(jobs: Sequence[Job]) -> list[Answer]:
    """Do jobs at the same time, each in a process of its own; all begin once all are ready."""
    with ExitStack() as opened:
        children = [_Child(job, opened) for job in jobs]
        for child in children:
            child.wait_until_ready()
        watch = WATCH.get()
        with watch[0]() if watch else nullcontext():
            for child in children:
                child.go()
            answers = [child.answer() for child in children]
        if watch:
            watch[1](answers)
        return answers


def seconds_of(answers: Sequence[Answer]) -> float:
    """Return how long it took from the first one's begin to the last one's end."""
    return max(answer.ended for answer in answers) - min(answer.began for answer in answers)


class _Child:
    def __init__(self, job: Job, opened: ExitStack) -> None:
        self.job = job
        self.complaints: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the others
        opened.callback(self.complaints.close)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
            cwd=ROOT,
        )
        opened.callback(self.end)
        self.write({"function": job.function, "arguments": job.arguments, "paths": job.paths})

    def write(self, line: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(line) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self.failed() from None

    def read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self.failed()
        return line

    def wait_until_ready(self) -> None:
        self.read()

    def go(self) -> None:
        self.write("go")

    def answer(self) -> Answer:
        return Answer(**json.loads(self.read()))

    def failed(self) -> ChildFailedError:
        self.end()
        self.complaints.seek(0)
        return ChildFailedError(self.job.function, self.complaints.read()[-4000:])

    def end(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
