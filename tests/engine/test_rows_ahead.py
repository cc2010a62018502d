"""Rows that are transformed ahead of their batch: changed, gone or failing meanwhile, and crashes in between."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from driver import Bomb, Driver
from revisions import write
from world import World

from lockstep.domain.errors import LockstepError
from lockstep.domain.status import RunStatus
from lockstep.stores.postgres.reader import Reader

USERS = """
CREATE TABLE users (id text PRIMARY KEY, n int NOT NULL, name text);
INSERT INTO users SELECT 'u' || lpad(i::text, 5, '0'), i, 'name ' || i FROM generate_series(1, 450) i;
"""

ADD = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"]{reverse})

def downgrade():
    yield {back}

def more(row):
    return {{**row, "n": row["n"] + 1000}}

def less(row):
    return {{**row, "n": row["n"] - 1000}}
"""

INVERSE = {"reverse": ", reverse=less", "back": "ops.transform_rows(Users, less, columns=['n'])"}
JOURNAL = {"reverse": "", "back": "ops.restore(Users)"}
WAYS = [pytest.param(INVERSE, id="inverse"), pytest.param(JOURNAL, id="journal")]


@pytest.mark.parametrize("way", WAYS)
def test_rows_changed_since_they_were_read_are_transformed_from_what_they_are(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch, way: dict[str, str]
) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, ADD.format(**way))
    read = Reader.page
    pages: list[Any] = []

    def interfered(self: Reader, *args: Any, **more: Any) -> Any:
        page = read(self, *args, **more)
        pages.append(page)
        if page.records:
            first, second = page.records[0]["id"], page.records[1]["id"]
            world.run(f"UPDATE users SET n = n + 5000 WHERE id = '{first}'")
            world.run(
                f"DELETE FROM users WHERE id = '{second}'; INSERT INTO users VALUES ('{second}', 7, 'again')"
            )
        return page

    monkeypatch.setattr(Reader, "page", interfered)
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    changed = [page.records[0]["id"] for page in pages if page.records]
    replaced = [page.records[1]["id"] for page in pages if page.records]
    assert len(changed) > 3

    def wrong(more: int) -> int:
        rows = world.rows("SELECT id, n FROM users")
        former = {id: 7 if id in replaced else int(id[1:]) + 5000 * (id in changed) for id, _ in rows}
        return sum(n != former[id] + more for id, n in rows)

    assert wrong(1000) == 0
    monkeypatch.setattr(Reader, "page", read)
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text
    assert wrong(0) == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["batch opened", "batch written", "batch committed"])
def test_a_crash_leaves_no_thread_and_every_row_is_transformed_once(
    world: World, driver: Driver, place: str, way: dict[str, str]
) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, ADD.format(**way))
    threshold, frozen = gc.get_threshold(), gc.get_freeze_count()
    driver.bomb = Bomb(place, 2)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, driver.log.text
    assert world.rows("SELECT count(*) FROM users WHERE n = substr(id, 2)::int + 1000") == [(450,)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lockstep-ahead")]
    assert (gc.get_threshold(), gc.get_freeze_count()) == (threshold, frozen)


def test_a_reader_that_fails_ends_the_batch_that_wanted_its_page(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, ADD.format(**INVERSE))
    before = world.hashes()
    read = Reader.page
    asked: list[object] = []

    def broken(self: Reader, *args: Any, **more: Any) -> Any:
        asked.append(more)
        if len(asked) == 2:
            raise LockstepError("the page cannot be read.")
        return read(self, *args, **more)

    monkeypatch.setattr(Reader, "page", broken)
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert "the page cannot be read" in (run.error or "")
    assert world.hashes() == before
