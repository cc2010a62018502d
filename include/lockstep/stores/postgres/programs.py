"""PostgreSQL's client programs: found, given no secret on their command lines, and ended when nobody needs them."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from shutil import which
from typing import IO, Any

from psycopg.conninfo import make_conninfo

from lockstep.domain.errors import LockstepError, Refused, Unavailable
from lockstep.stores.postgres.connect import Connector

#: lines of a program's complaints that are kept
TAIL = 20
#: seconds that a program which was told to stop may take
STOP_TIMEOUT = 10

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
_LOST = re.compile(
    r"connection to server|could not connect|no connection to the server"
    r"|terminating connection|server closed"
)
#: what a program inherits of our environment: enough to run and to find certificates, nothing of Airflow's
_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "KRB5CCNAME",
)
_SECRET = ("password", "sslpassword")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A client program that was found."""

    name: str
    path: str
    major: int
    version: str

    def require(self, server: int, said: str, connector: Connector) -> None:
        """Raise Refused where it is older than the server: of version number `server`, that says `said`."""
        if self.major < server // 10000:
            raise Refused(
                f"{self.path} is {self.name} {self.version}, and the server of {connector.address} is "
                f"PostgreSQL {said}: {self.name} must not be older. Install PostgreSQL {server // 10000}'s client "
                "programs, and have them found first on PATH.",
                program=self.name,
                version=self.version,
                server=said,
            )


def find_program(pg_bin: Path | None, name: str = "pg_dump") -> Program:
    """Find a program in `pg_bin`, then on PATH; Refused where there is none."""
    folders = [str(pg_bin)] if pg_bin else []
    path = next(filter(None, (which(name, path=folder) for folder in [*folders, None])), None)
    if path is None:
        raise Refused(
            f"No {name} in {', '.join([*folders, 'PATH'])}: backups and what is restored from them need it. "
            "Install PostgreSQL's client programs.",
        )
    return _asked(path, name)


@lru_cache(maxsize=8)
def _asked(path: str, name: str) -> Program:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    found = _VERSION.search(said)
    if found is None:
        raise Refused(f"{path} does not say which {name} it is. Install PostgreSQL's client programs again.")
    return Program(name=name, path=path, major=int(found[1]), version=found[1] + found[2])


def environment(params: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return what a program inherits, and the password of these libpq parameters."""
    found = {
        name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("PG")
    }
    if params and params.get("password"):
        found["PGPASSWORD"] = str(params["password"])
    return found


def dbname(params: Mapping[str, Any], **more: Any) -> str:
    """Return the option that says where the database is: everybody on the machine can read a command line."""
    shown = {name: value for name, value in {**params, **more}.items() if name not in _SECRET}
    return f"--dbname={make_conninfo(**shown)}"


@dataclass(kw_only=True)
class Running:
    """A program at work."""

    process: subprocess.Popen[bytes]
    #: the last of its complaints, once it has ended
    complaints: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))

    @property
    def out(self) -> IO[bytes]:
        return self.process.stdout  # type: ignore[return-value]

    @property
    def into(self) -> IO[bytes]:
        return self.process.stdin  # type: ignore[return-value]


@contextmanager
def running(command: Sequence[str], params: Mapping[str, Any], *, fed: bool = False) -> Iterator[Running]:
    """Run a program for the length of a block, fed by us or read by us; leave no process and no pipe behind."""
    process = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if fed else subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(params),
    )
    one = Running(process=process)
    listener = threading.Thread(target=_listen, args=(process.stderr, one.complaints), daemon=True)
    listener.start()
    try:
        yield one
        process.wait()
    finally:
        _end(process)
        listener.join()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def failed(
    program: Program, one: Running, connector: Connector, params: Mapping[str, Any], then: str
) -> LockstepError:
    """Return the error for a program that ended badly: what it said, and what to do then."""
    code = one.process.returncode
    past = ""
    if params is not connector.params:
        past = f" It went past the pooler, to the server at {params['hostaddr']}:{params['port']}."
    said = " ".join(one.complaints) or "it said nothing"
    kind = Unavailable if _LOST.search(said) or code < 0 else Refused
    return kind(
        f"{program.name} of {connector.address} ended with code {code}: {said}{past} {then}",
        conn_id=connector.address.conn_id,
        code=code,
    )


def _listen(complaints: IO[bytes], kept: deque[str]) -> None:
    for line in complaints:
        kept.append(line[:1000].decode(errors="replace").strip())


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT)
    if process.poll() is None:
        process.kill()
        process.wait()
