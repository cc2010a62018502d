"""Start and stop PostgreSQL, a MongoDB-protocol server and an S3 server below one folder."""

import fcntl
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from lockstep.embedded import mongo, postgres, s3
from lockstep.embedded.errors import RootInUseError, ServerMissingError
from lockstep.embedded.interrupts import Interrupts, held_interrupts
from lockstep.embedded.process import Child, end, end_leftover, free_port, spawn, wait_until_ready

HOST = "127.0.0.1"
ALL = frozenset({"postgres", "mongo", "s3"})
DEFAULT_ROOT = Path(".lockstep")


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Say where the servers of one session are, and how to reach them."""

    root: Path
    #: Part → port, of the parts that were started.
    ports: Mapping[str, int]
    #: PostgreSQL's password.
    password: str = field(repr=False)
    pg_bin: Path
    host: str = HOST
    #: PostgreSQL's user.
    user: str = postgres.USER
    s3_access_key: str = s3.ACCESS_KEY
    s3_secret_key: str = field(default=s3.SECRET_KEY, repr=False)
    s3_region: str = s3.REGION
    children: tuple[Child, ...] = field(default=(), repr=False, compare=False)
    #: The open file whose lock keeps other sessions off the folder.
    lock: BinaryIO | None = field(default=None, repr=False, compare=False)

    @property
    def port(self) -> int:
        """Return PostgreSQL's port."""
        return self._port("postgres")

    def postgres_uri(self, dbname: str) -> str:
        """Return the libpq URI of a database."""
        return postgres.uri(self.port, self.password, dbname)

    def airflow_db_uri(self) -> str:
        """Return the SQLAlchemy URI of Airflow's own database, over psycopg 3 (Airflow's default driver)."""
        return self.postgres_uri("airflow").replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def mongo_uri(self) -> str:
        """Return the document server's URI."""
        return mongo.uri(self._port("mongo"))

    @property
    def s3_endpoint(self) -> str:
        """Return the S3 server's address."""
        return s3.endpoint(self._port("s3"))

    def airflow_connections(self) -> dict[str, str]:
        """Return AIRFLOW_CONN_* variables, as JSON, for the parts that were started."""
        found: dict[str, dict[str, Any]] = {}
        if "postgres" in self.ports:
            found["campus_auth"] = self._postgres_connection("campus_auth")
            found["campus_api"] = self._postgres_connection("campus_api")
            found["lockstep_ledger"] = self._postgres_connection("campus_admin")
            found["lockstep_yapper"] = self._postgres_connection("campus_yapper")
        if "mongo" in self.ports:
            found["campus_documents"] = self._mongo_connection(mongo.DATABASE)
        if "s3" in self.ports:
            found["campus_objects"] = self._s3_connection("campus")
            found["lockstep_vault"] = self._s3_connection("lockstep-vault")
        return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in found.items()}

    def _port(self, part: str) -> int:
        if part not in self.ports:
            raise ServerMissingError(part)
        return self.ports[part]

    def _postgres_connection(self, dbname: str) -> dict[str, Any]:
        address = {"host": self.host, "port": self.port, "schema": dbname}
        return {"conn_type": "postgres", "login": self.user, "password": self.password, **address}

    def _mongo_connection(self, dbname: str) -> dict[str, Any]:
        address = {"host": self.host, "port": self._port("mongo"), "schema": dbname}
        return {"conn_type": "mongo", **address, "extra": {"srv": False, "ssl": False}}

    def _s3_connection(self, bucket: str) -> dict[str, Any]:
        extra = {
            "endpoint_url": self.s3_endpoint,
            "region_name": self.s3_region,
            "service_config": {"s3": {"bucket_name": bucket}},
        }
        keys = {"login": self.s3_access_key, "password": self.s3_secret_key}
        return {"conn_type": "aws", **keys, "extra": extra}


def start(
    root: Path = DEFAULT_ROOT,
    *,
    parts: Collection[str] = ALL,
    ports: Mapping[str, int] = MappingProxyType({}),
) -> Servers:
    """Start the parts, on free ports unless told which, and wait until each answers.

    Call it from a thread that lives as long as the servers should: Linux ends them with the thread that
    started them. Raises ServerFailedError, or RootInUseError when another living session holds the folder.
    """
    if unknown := set(parts) - ALL:
        raise ServerMissingError(", ".join(sorted(unknown)))
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    chosen = {part: ports.get(part) or free_port() for part in sorted(parts)}
    with held_interrupts() as interrupts:
        lock = _lock(root)
        children: list[Child] = []
        try:
            secret = postgres.password(root)
            _start_all(root, chosen, secret, children, interrupts)
            interrupts.check()
        except BaseException:
            end(children)
            lock.close()
            raise
        return Servers(
            root=root,
            ports=MappingProxyType(chosen),
            password=secret,
            pg_bin=postgres.pg_bin(),
            children=tuple(children),
            lock=lock,
        )


def stop(servers: Servers) -> None:
    """End the servers of a session, and nothing else; Ctrl-C waits until that is done."""
    with held_interrupts():
        try:
            end(servers.children)
        finally:
            if servers.lock is not None:
                servers.lock.close()


@contextmanager
def running(
    root: Path = DEFAULT_ROOT,
    *,
    parts: Collection[str] = ALL,
    ports: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Servers]:
    """Run the parts for the length of a block."""
    servers = start(root, parts=parts, ports=ports)
    try:
        yield servers
    finally:
        stop(servers)


def _start_all(
    root: Path, ports: Mapping[str, int], secret: str, children: list[Child], interrupts: Interrupts
) -> None:
    """Spawn every part, then wait for each: they start side by side."""
    waits: list[Callable[[], None]] = []
    for part, port in ports.items():
        spec = {"postgres": postgres.spec, "mongo": mongo.spec, "s3": s3.spec}[part](root, port)
        end_leftover(spec)
        if part == "postgres":
            postgres.prepare(spec, interrupts)
        else:
            spec.data.mkdir(exist_ok=True)
        interrupts.check()
        child = spawn(spec)
        children.append(child)
        waits.append(_wait(part, child, port, secret, interrupts))
    for wait in waits:
        wait()


def _wait(part: str, child: Child, port: int, secret: str, interrupts: Interrupts) -> Callable[[], None]:
    """Return the step that waits for one part and creates what is missing in it."""

    def wait() -> None:
        if part == "postgres":
            wait_until_ready(child, lambda: postgres.ready(child, port, secret), interrupts)
            postgres.create_missing_databases(port, secret)
        elif part == "mongo":
            wait_until_ready(child, lambda: mongo.ready(child, port), interrupts)
        else:
            wait_until_ready(child, lambda: s3.ready(child, port), interrupts)
            s3.create_missing_buckets(port)

    return wait


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep sessions off the folder for the length of a block."""
    with _lock(root):
        yield


def _lock(root: Path) -> BinaryIO:
    """Keep other sessions off the folder for as long as this process lives."""
    handle = (root / "session.lock").open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise RootInUseError(root) from None
    return handle
