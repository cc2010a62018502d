"""Runs whose stores, ledger and broker are all behind PgBouncer in transaction mode."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from driver import Bomb, Driver
from revisions import write
from world import World

from addresses import Addresses
from lockstep.domain.chain import load_chain
from lockstep.domain.errors import Refused, StaleEpoch
from lockstep.domain.run import Caller, Run
from lockstep.domain.status import RunStatus
from lockstep.engine.opening import open_run
from pooler import PROGRAM, pooled

if PROGRAM is None:
    pytest.skip("this machine has no pgbouncer (Debian's package has it)", allow_module_level=True)

SETUP = """CREATE TABLE users (id text PRIMARY KEY, n int);
INSERT INTO users SELECT lpad(i::text, 4, '0'), i FROM generate_series(1, 500) i"""

REVISION = """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN m int", touches=Users)
    yield ops.transform_rows(Users, more, columns=["n", "m"])
    yield ops.sql_outside_transaction(Db, "CREATE INDEX CONCURRENTLY IF NOT EXISTS users_m ON users (m)", touches=Users)

def downgrade():
    yield ops.sql_outside_transaction(Db, "DROP INDEX CONCURRENTLY IF EXISTS users_m", touches=Users)
    yield ops.restore(Users)
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN m", touches=Users)

def verify():
    yield ops.expect_none(Users, where="m IS DISTINCT FROM n + 1")

def more(row):
    return {**row, "m": row["n"] + 1}
"""


@pytest.fixture(scope="module")
def servers(servers: Addresses) -> Iterator[Addresses]:
    """The servers, PostgreSQL by way of the pooler."""
    with tempfile.TemporaryDirectory(prefix="lockstep-pooler-") as root:
        Path(root).chmod(0o755)
        with pooled(servers.postgres, Path(root)) as through:
            yield replace(servers, postgres=through)


def test_a_revision_goes_up_down_and_up_again_through_a_pooler(driver: Driver, world: World) -> None:
    world.run(SETUP)
    before = world.rows("SELECT * FROM users ORDER BY id")
    write(world.migrations, "0001", None, REVISION)
    assert driver.go("0001").status is RunStatus.APPLIED
    assert world.rows("SELECT sum(m - n), count(*) FROM users") == [(500, 500)]
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED
    assert world.rows("SELECT * FROM users ORDER BY id") == before
    assert driver.go("0001").status is RunStatus.APPLIED
    assert world.labels().count("applied") == 2


@pytest.mark.parametrize("place", ["batch written", "batch committed"])
def test_a_crash_behind_a_pooler_repeats_nothing(driver: Driver, world: World, place: str) -> None:
    world.run(SETUP)
    write(
        world.migrations,
        "0001",
        None,
        'def upgrade():\n    yield ops.update_rows(Users, {"n": "n + 1"})\n\n'
        "def downgrade():\n    yield ops.restore(Users)\n",
    )
    driver.bomb = Bomb(place, 3)
    assert driver.go("0001").status is RunStatus.APPLIED
    assert world.rows("SELECT sum(n) FROM users") == [(500 * 501 // 2 + 500,)]


def test_of_ten_that_start_at_once_one_runs_and_nine_are_told_which(driver: Driver, world: World) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, REVISION)
    chain = load_chain(world.migrations)
    together = Barrier(10)

    def start(number: int) -> Run | Refused:
        services = driver.services(driver.bomb)
        caller = Caller(dag_id="revision_0001", dag_run_id=f"run-{number}", by="olga")
        more: dict[str, Any] = {"params": {}, "alive": lambda other: True, "direction": "upgrade"}
        together.wait(timeout=30)
        try:
            return open_run(services, chain, chain["0001"], caller=caller, **more)
        except Refused as problem:
            return problem

    began = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        ended = list(pool.map(start, range(10)))
    assert time.monotonic() - began < 30
    (won,) = [run for run in ended if isinstance(run, Run)]
    refused = [str(problem) for problem in ended if isinstance(problem, Refused)]
    assert len(refused) == 9
    assert all(won.id in problem or won.caller.dag_run_id in problem for problem in refused)
    assert world.rows("SELECT count(*) FROM _migration_runs", world.ledger_uri) == [(1,)]
    ledger = driver.services(driver.bomb).ledger
    ledger.heartbeat(won.id, won.epoch, 60)
    assert (ledger.lease_age(won.id) or 0) < 0
    with pytest.raises(StaleEpoch):
        ledger.heartbeat(won.id, won.epoch - 1, 60)
    assert driver.finish(chain["0001"], won).status is RunStatus.APPLIED
