"""PgBouncer in transaction mode, in front of the tests' PostgreSQL: where the machine has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lockstep.embedded.postgres import system_user
from lockstep.embedded.process import free_port

#: Debian puts it where ordinary users do not look
PROGRAM = shutil.which(
    "pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
)
#: server connections of each database: fewer than the clients of most tests here
POOL = 4

SETTINGS = """
[databases]
* = host={host} port={port} user={user} password='{password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 200
query_wait_timeout = 60
server_reset_query =
ignore_startup_parameters = extra_float_digits
logfile = {log}
pidfile =
"""


@contextmanager
def pooled(postgres: str, root: Path) -> Iterator[str]:
    """Start a pooler in front of a server; yield the conninfo that goes through it."""
    assert PROGRAM is not None
    given = conninfo_to_dict(postgres)
    own, log, config = free_port(), root / "pgbouncer.log", root / "pgbouncer.ini"
    password = str(given.get("password") or "").replace("'", "''")
    config.touch(mode=0o600)
    config.write_text(
        SETTINGS.format(
            host=given.get("host", "127.0.0.1"),
            port=given.get("port", 5432),
            user=given["user"],
            password=password,
            own=own,
            pool=POOL,
            log=log,
        )
    )
    log.touch()
    user = system_user() or None  # it refuses to run as root
    if user is not None:
        for path in (root, config, log):
            shutil.chown(path, user)
    process = subprocess.Popen([PROGRAM, "-q", str(config)], user=user, extra_groups=[] if user else None)
    through = make_conninfo(postgres, host="127.0.0.1", port=own)
    try:
        _wait_until_ready(process, through, log)
        yield through
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_ready(process: subprocess.Popen[bytes], through: str, log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(through, connect_timeout=5):
                return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"pgbouncer does not answer: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
