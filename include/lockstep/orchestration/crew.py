"""The crew of a rehearsal: as many processes as Airflow would run shards at once, kept for the whole of it."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import IO, Any

from lockstep.domain.errors import LockstepError
from lockstep.engine.rehearsing.crew import Job, Worked
from lockstep.orchestration.shards_apart import Place

#: seconds that a process which was told to end may take
GRACE = 10


class Processes:
    """A Crew. Processes are started when they are first needed; each does one job at a time."""

    def __init__(self, place: Place, most: int) -> None:
        self._place = place
        self._most = max(1, most)
        self._processes: list[_Process] = []
        self._open = ExitStack()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def together(self, jobs: Sequence[Job]) -> list[Worked]:
        """Do jobs as side by side as there are processes; a further one begins when one is done."""
        wanted = min(len(jobs), self._most)
        while len(self._processes) < wanted:
            self._processes.append(_Process(self._place, self._open))
        for process in self._processes[:wanted]:
            process.wait_until_ready()
        return _shared_out(self._processes[:wanted], jobs)


def _shared_out(processes: Sequence[_Process], jobs: Sequence[Job]) -> list[Worked]:
    from concurrent.futures import ThreadPoolExecutor
    from queue import SimpleQueue

    free: SimpleQueue[_Process] = SimpleQueue()
    for process in processes:
        free.put(process)

    def do(job: Job) -> Worked:
        process = free.get()
        try:
            return process.do(job)
        finally:
            free.put(process)

    with ThreadPoolExecutor(max(1, len(processes)), thread_name_prefix="lockstep-crew") as pool:
        return list(pool.map(do, jobs))


class _Process:
    def __init__(self, place: Place, opened: ExitStack) -> None:
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the others
        opened.callback(self._complaints.close)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lockstep.orchestration.shards_apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )
        opened.callback(self._end)
        self._ready = False
        self._send(place.paths)
        self._send(place)

    def wait_until_ready(self) -> None:
        if not self._ready:
            self._receive()
            self._ready = True

    def do(self, job: Job) -> Worked:
        self._send(job)
        answer: Worked = self._receive()
        return answer

    def _send(self, what: object) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(what, self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)  # noqa: S301 - from the process that was started here
        except EOFError:
            raise self._ended() from None

    def _ended(self) -> LockstepError:
        self._end()
        self._complaints.seek(0)
        said = self._complaints.read()[-2000:].decode(errors="replace")
        return LockstepError(
            f"a process that does shards of the rehearsal ended by itself (exit {self._process.returncode}). "
            f"It said: {said or 'nothing'}"
        )

    def _end(self) -> None:
        process = self._process
        if process.stdin is not None and not process.stdin.closed:
            with suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
