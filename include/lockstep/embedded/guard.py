"""Run a command, and end everything that came from it: `guard.py GRACE HOME COMMAND...`.

Airflow's components fork workers, and those fork tasks. Told to end (SIGTERM), a scheduler waits until its
tasks are done, which may take hours, and a killed one leaves its workers behind. The guard adopts what is
orphaned below it, asks the command to end, and kills what is left after GRACE seconds.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import psutil

PR_SET_CHILD_SUBREAPER = 36
LAUNCHER = Path(__file__).with_name("launch.py")
POLL = 0.05


class Told(Exception):
    """The session asked for the end, or is gone."""


def main(grace: float, home: str, command: list[str]) -> int:
    """Return the exit code of the command."""
    os.chdir(home)
    adopt_orphans()
    signal.signal(signal.SIGTERM, told)
    code = 0
    try:
        code = wait_for(start(command))
    except Told:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ask(grace)
    finally:
        kill()
    return code


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ended (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def told(signum: int, frame: FrameType | None) -> None:
    """Raise in the main line (a signal handler)."""
    raise Told


def start(command: list[str]) -> int:
    """Start the command, tied to the guard's life, and return its pid."""
    bond = (str(os.getpid()), str(int(signal.SIGTERM)), "")
    words = [sys.executable, "-I", "-S", str(LAUNCHER), *bond, *command]
    return os.posix_spawn(sys.executable, words, os.environ)


def wait_for(pid: int) -> int:
    """Reap whatever ends until it is this process, and return its exit code."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def ask(grace: float) -> None:
    """Ask the direct children to end and give them time."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()
    limit = time.monotonic() + grace
    while reap() and time.monotonic() < limit:
        time.sleep(POLL)


def kill() -> None:
    """Kill every descendant, until there is none: one that forks may be faster than one look."""
    while reap():
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        time.sleep(POLL)


def reap() -> bool:
    """Collect the children that ended; tell whether any is left."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(abs(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:])))
