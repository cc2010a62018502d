"""DDL against sessions that hold what it needs: nobody queues behind it for long, and it goes on until it has it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from driver import Driver
from revisions import write
from world import World

from lockstep.domain.errors import Held
from lockstep.domain.locking import Locks
from lockstep.domain.status import RunStatus

#: seconds that another session holds the table; LOCKSTEP_TEST_HOLD=60 makes it a whole minute
HOLD = float(os.environ.get("LOCKSTEP_TEST_HOLD", "7"))
LOCK_TIMEOUT = Locks.STRONG.value

USERS = "CREATE TABLE users (id text PRIMARY KEY, n int, old int); INSERT INTO users VALUES ('u1', 1, 1), ('u2', 2, 2)"
OTHERS = "CREATE TABLE others (id int PRIMARY KEY)"

REVISIONS = {
    "sql in batches": """
transaction = "batched"
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN nick text", touches=Users)
def downgrade():
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN nick", touches=Users)
""",
    "sql in one transaction": """
transaction = "atomic"
def upgrade():
    yield ops.sql(Db, "ALTER TABLE others ADD COLUMN x int", "ALTER TABLE users ADD COLUMN nick text")
def downgrade():
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN nick", "ALTER TABLE others DROP COLUMN x")
""",
    "drop_column": """
transaction = "batched"
def upgrade():
    yield ops.drop_column(Users, "old")
def downgrade():
    yield ops.restore(Users)
""",
    "sql outside a transaction": """
def upgrade():
    yield ops.sql_outside_transaction(Db, "ALTER TABLE users ADD COLUMN nick text", touches=Users)
def downgrade():
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN nick", touches=Users)
""",
}


@dataclass
class Reader:
    """A session of the application that only reads, again and again."""

    uri: str
    table: str
    longest: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Reader:
        self.thread = threading.Thread(target=self.read)
        self.thread.start()
        return self

    def read(self) -> None:
        with psycopg.connect(self.uri, autocommit=True) as conn:
            while not self.done.wait(0.02):
                began = time.monotonic()
                conn.execute(f"SELECT count(*) FROM {self.table}".encode())
                self.longest = max(self.longest, time.monotonic() - began)

    def __exit__(self, *error: Any) -> None:
        self.done.set()
        self.thread.join()


@dataclass
class Holder:
    """Another session, which read the table and does not end its transaction for some seconds."""

    uri: str
    seconds: float
    pid: int = 0
    released: float = 0.0

    @contextmanager
    def holding(self, statement: str = "SELECT count(*) FROM users") -> Iterator[None]:
        with psycopg.connect(self.uri, application_name="nightly-report") as conn:
            conn.execute(statement.encode())
            self.pid = conn.info.backend_pid

            def release() -> None:
                self.released = time.monotonic()
                conn.rollback()

            timer = threading.Timer(self.seconds, release)
            timer.start()
            try:
                yield
            finally:
                timer.join()


def upgrade_with_a_hold(
    driver: Driver, world: World, revision: str, seconds: float
) -> tuple[Any, Holder, float]:
    """Run a revision; its upgrade meets a table that is held. Return the run, the holder, and when it was through."""
    write(world.migrations, "0001", None, REVISIONS[revision])
    _, found, run = driver.open("0001")
    holder = Holder(world.auth_uri, seconds)
    through: list[float] = []
    upgraded: Callable[..., bool] = driver.phase

    def phase(*args: Any) -> bool:
        with holder.holding():
            ended = upgraded(*args)
            through.append(time.monotonic())
            return ended

    driver.phase = phase
    return driver.finish(found, run), holder, through[0]


@pytest.mark.parametrize("revision", list(REVISIONS))
def test_ddl_makes_nobody_wait_longer_than_its_timeout_and_is_done_soon_after_the_release(
    driver: Driver, world: World, revision: str
) -> None:
    world.run(USERS)
    world.run(OTHERS)
    with Reader(world.auth_uri, "users") as reader, Reader(world.auth_uri, "others") as other:
        run, holder, through = upgrade_with_a_hold(driver, world, revision, HOLD)
    assert run.status is RunStatus.APPLIED
    assert 0 <= through - holder.released < 10
    assert reader.longest < LOCK_TIMEOUT + 1
    # What the transaction had locked before it came to wait is free again too while it sleeps.
    assert other.longest < LOCK_TIMEOUT + 1
    told = [line for line in driver.log.lines if f"pid {holder.pid}" in line]
    assert told
    assert all("nightly-report" in line and "SELECT count(*) FROM users" in line for line in told)
    assert "idle in transaction" in told[0]


def test_an_author_s_attempts_and_patience_bound_what_is_tried(driver: Driver, world: World) -> None:
    world.run(USERS)
    write(
        world.migrations,
        "0001",
        None,
        """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN nick text", touches=Users, lock_timeout=0.2, attempts=2)
def downgrade():
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN nick", touches=Users)
""",
    )
    driver.attempts = 1
    _, found, run = driver.open("0001")
    with psycopg.connect(world.auth_uri, application_name="nightly-report") as conn:
        conn.execute("SELECT count(*) FROM users")
        ended = driver.finish(found, run)
    assert ended.status is not RunStatus.APPLIED
    assert "waited 0.2 s for a lock" in str(ended.error)
    assert "Tried 2 times" in str(ended.error)


def test_a_pause_is_honoured_between_two_attempts(driver: Driver, world: World) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, REVISIONS["sql in batches"])
    services, found, run = driver.open("0001")
    held: list[Held] = []

    def phase(revision: Any, run: Any, way: Any) -> bool:
        with Holder(world.auth_uri, 3.0).holding():
            timer = threading.Timer(1.0, lambda: services.ledger.pause(run.id, by="ada", reason="lunch"))
            timer.start()
            try:
                return Driver.phase(driver, revision, run, way)
            except Held as problem:
                held.append(problem)
                raise
            finally:
                timer.join()

    driver.phase = phase
    task = driver.task

    def let_held_through(run: Any, where: str, work: Callable[..., Any], *args: Any, **more: Any) -> bool:
        if "step 1 shard" not in where:
            return task(run, where, work, *args, **more)
        work(driver.services(driver.bomb), *args, **more)
        return True

    driver.task = let_held_through
    with pytest.raises(Held, match="ada paused the run"):
        driver.finish(found, run)
    assert held
    assert world.rows(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'nick'"
    ) == [(0,)]
    services.ledger.resume(run.id, by="ada")
    driver.phase, driver.task = replace(driver).phase, task
    assert driver.finish(found, run).status is RunStatus.APPLIED


def test_a_failed_build_leaves_no_invalid_index_when_the_run_is_undone(driver: Driver, world: World) -> None:
    """The worker was killed in the middle of the build, and nobody tries again: the undo drops what is left."""
    world.run(USERS)
    statement = "CREATE INDEX CONCURRENTLY users_n ON users (n)"
    write(
        world.migrations,
        "0001",
        None,
        f"""
def upgrade():
    yield ops.sql_outside_transaction(Db, "{statement}", touches=Users)
def downgrade():
    yield ops.sql_outside_transaction(Db, "DROP INDEX CONCURRENTLY IF EXISTS users_n", touches=Users)
""",
    )
    _, found, run = driver.open("0001")
    task = driver.task

    def killed(run: Any, where: str, work: Callable[..., Any], *args: Any, **more: Any) -> bool:
        if not where.startswith("upgrade step 1 shard"):
            return task(run, where, work, *args, **more)
        store = driver.services(driver.bomb).tables(found.databases[0])
        fence, _ = driver.services(driver.bomb).ledger.claim(run.id, "upgrade", 1, 0, "killed")
        store.claim(fence)
        with psycopg.connect(world.auth_uri) as old, psycopg.connect(world.auth_uri, autocommit=True) as conn:
            old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            old.execute("SELECT 1")
            conn.execute("SET statement_timeout = '500ms'")
            with pytest.raises(psycopg.errors.QueryCanceled):
                conn.execute(statement.encode())
        return False

    driver.task = killed
    invalid = "SELECT count(*) FROM pg_index WHERE indrelid = 'users'::regclass AND NOT indisvalid"
    ended = driver.finish(found, run)
    assert ended.status is RunStatus.ROLLED_BACK
    assert world.rows(invalid) == [(0,)]
    assert "dropped the index that this left unfinished" in driver.log.text
