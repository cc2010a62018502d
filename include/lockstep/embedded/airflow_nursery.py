"""Import Airflow once and become its components: `-m …airflow_nursery LOGS [--migrate] COMPONENT...`.

To import Airflow takes seconds of processor time, and four components would each pay it. This process imports
it for all of them, makes the metadata's schema if told to, and forks. It runs in Airflow's environment, behind
a guard that ends whatever comes from it. Fork is safe here: no thread and no connection exists yet.
"""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import FrameType

from lockstep.embedded.launch import PR_SET_PDEATHSIG

#: Component → its arguments. Task logs are read from the folder, so nobody has to serve them.
COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
MIGRATE = ("db", "migrate")
#: What components or their tasks would import, beside Airflow's own entry. Tasks are forks of the scheduler's
#: workers, and DAG files are parsed in forks of the dag-processor: for them it is there already.
SHARED = (
    "airflow.cli.commands.scheduler_command",
    "airflow.cli.commands.dag_processor_command",
    "airflow.cli.commands.triggerer_command",
    "airflow.cli.commands.api_server_command",
    "airflow.providers.standard.operators.trigger_dagrun",
    "boto3",
    "psycopg",
    "pymongo",
)
#: Ours, with everything below them. Not the user's resources and revisions: those may change at any time.
OURS = ("lockstep.domain", "lockstep.engine", "lockstep.stores", "lockstep.orchestration")


class Family:
    """Fork components and pass the request to end on to them."""

    def __init__(self, run: Callable[[], object], logs: Path) -> None:
        self._run = run
        self._logs = logs
        self._names: dict[int, str] = {}

    def fork(self, name: str, arguments: tuple[str, ...]) -> int:
        """Start `airflow ARGUMENTS` with a log of its own and return its pid; the child never returns."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            become(name, arguments, self._logs, parent)
            self._run()
            sys.exit()
        self._names[pid] = name
        return pid

    def pass_on(self, signum: int, frame: FrameType | None) -> None:
        """Pass a signal on to every component (a signal handler)."""
        for pid in self._names:
            os.kill(pid, signum)

    def wait(self) -> tuple[str, int]:
        """Wait until one of the family ends, and return its name and exit code."""
        while True:
            pid, status = os.wait()
            if pid in self._names:
                return self._names.pop(pid), os.waitstatus_to_exitcode(status)


def become(name: str, arguments: tuple[str, ...], logs: Path, parent: int) -> None:
    """Make this forked process look like one that was started as `airflow ARGUMENTS`."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the nursery ended while this component was starting")
    log = os.open(logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    sys.argv = ["airflow", *arguments]
    # What was imported is here to stay, so that looking for garbage in it would be a waste; a component makes
    # its own objects by the ten thousand while it starts.
    gc.enable()
    gc.set_threshold(20_000, 20, 20)


def main(logs: Path, words: list[str]) -> int:
    """Run the family until one of it ends; return that one's exit code."""
    gc.disable()
    run = import_module("airflow.__main__").main
    share()
    gc.freeze()
    family = Family(run, logs)
    signal.signal(signal.SIGTERM, family.pass_on)
    if "--migrate" in words:
        family.fork("airflow-db", MIGRATE)
        _, code = family.wait()
        if code:
            tell("airflow-db", code, logs)
            return code
    for name in COMPONENTS:
        if name in words:
            family.fork(name, COMPONENTS[name])
    name, code = family.wait()
    tell(name, code, logs)
    return code


def share() -> None:
    """Import what the components and their tasks have in common."""
    for module in SHARED:
        import_module(module)
    for package in OURS:
        for found in walk_packages(import_module(package).__path__, f"{package}."):
            import_module(found.name)
    runtime = import_module("airflow.sdk.providers_manager_runtime")
    runtime.ProvidersManagerTaskRuntime().taskflow_decorators  # noqa: B018  (a property that imports)


def tell(name: str, code: int, logs: Path, lines: int = 12) -> None:
    """Say which component ended, and what it said last."""
    log = logs / f"{name}.log"
    last = "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""
    sys.stderr.write(f"'{name}' ended with exit code {code}. Its log {log} ends with:\n{last}\n")


if __name__ == "__main__":
    sys.exit(abs(main(Path(sys.argv[1]), sys.argv[2:])))
