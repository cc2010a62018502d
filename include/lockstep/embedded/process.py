"""Start, find and end server processes; end exactly those that were started."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lockstep.embedded.errors import ServerFailedError
from lockstep.embedded.interrupts import Interrupts

LAUNCHER = Path(__file__).with_name("launch.py")
#: Seconds that a server gets to start, and to end by itself before it is killed.
START_LIMIT = 60.0
STOP_LIMIT = 20.0
POLL = 0.05


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Say how to run one server."""

    name: str
    command: tuple[str, ...]
    #: An argument of the command that no other server on this machine has: its data folder.
    data: Path
    log: Path
    #: Where the pid is written down for the next session; None for a helper that ends by itself.
    record: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    #: The system user to run as; empty for the present one.
    user: str = ""
    cwd: Path | None = None
    #: The whole environment; None for this session's.
    env: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Child:
    """Hold one process that this session started."""

    spec: Spec
    process: subprocess.Popen[bytes] = field(repr=False, compare=False)

    @property
    def pid(self) -> int:
        return self.process.pid


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def spawn(spec: Spec) -> Child:
    """Start the server in a process group of its own and write its pid down."""
    bond = (str(os.getpid()), str(int(spec.stop_signal)), spec.user)
    spec.log.parent.mkdir(parents=True, exist_ok=True)
    with spec.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(LAUNCHER), *bond, *spec.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=spec.cwd,
            env=spec.env,
            start_new_session=True,
        )
    if spec.record is not None:
        spec.record.parent.mkdir(parents=True, exist_ok=True)
        spec.record.write_text(json.dumps({"pid": process.pid, "command": spec.command}))
    return Child(spec=spec, process=process)


def wait_until_ready(child: Child, ready: Callable[[], bool], interrupts: Interrupts) -> None:
    """Poll a server until it answers; raise with the end of its log when it dies or takes too long."""
    limit = time.monotonic() + START_LIMIT
    while not (alive(child) and ready()):
        interrupts.check()
        if not alive(child):
            raise failure(child.spec, f"it ended with exit code {child.process.returncode}")
        if time.monotonic() > limit:
            raise failure(child.spec, f"it did not answer within {START_LIMIT:.0f} s")
        time.sleep(POLL)


def wait_until_done(child: Child, interrupts: Interrupts) -> None:
    """Wait for a helper that ends by itself; raise with the end of its log when it fails."""
    limit = time.monotonic() + START_LIMIT
    while alive(child):
        interrupts.check()
        if time.monotonic() > limit:
            raise failure(child.spec, f"it did not finish within {START_LIMIT:.0f} s")
        time.sleep(POLL)
    if child.process.returncode != 0:
        raise failure(child.spec, f"it ended with exit code {child.process.returncode}")


def alive(child: Child) -> bool:
    """Tell whether the process still runs."""
    return child.process.poll() is None


def listens(child: Child, port: int) -> bool:
    """Tell whether the child itself, not a stranger on the same port, listens there."""
    try:
        sockets = psutil.Process(child.pid).net_connections(kind="tcp")
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets)


def end(children: Iterable[Child]) -> None:
    """Ask every child to end, then wait for each, and kill what does not listen."""
    asked = list(children)
    for child in asked:
        if alive(child):
            child.process.send_signal(child.spec.stop_signal)
    for child in asked:
        try:
            child.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.process.wait()
        if child.spec.record is not None:
            child.spec.record.unlink(missing_ok=True)


def end_leftover(spec: Spec) -> None:
    """End the server that a session which died left running on the same data."""
    if spec.record is None or not spec.record.exists():
        return
    with contextlib.suppress(ValueError, KeyError, TypeError):
        end_stranger(int(json.loads(spec.record.read_text())["pid"]), spec.data, spec.stop_signal)
    spec.record.unlink(missing_ok=True)


def end_stranger(pid: int, data: Path, stop_signal: signal.Signals) -> None:
    """End a process by its pid, but only if its command line names our data folder."""
    try:
        process = psutil.Process(pid)
        if str(data) not in process.cmdline():
            return  # the pid was given to someone else in the meantime
        process.send_signal(stop_signal)
        try:
            process.wait(STOP_LIMIT)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_LIMIT)
    except psutil.NoSuchProcess:
        return


def failure(spec: Spec, reason: str, lines: int = 15) -> ServerFailedError:
    """Describe a failed server by the end of its log."""
    with contextlib.suppress(OSError):
        last = spec.log.read_text(errors="replace").splitlines()[-lines:]
        return ServerFailedError(spec.name, reason, spec.log, tuple(last))
    return ServerFailedError(spec.name, reason, spec.log)
