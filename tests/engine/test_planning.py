"""What a plan says, what its checks find, and that looking writes nothing: by the servers' own word."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest
from driver import Driver
from looking import look, looking, quiet, settle, unchanged, witness
from psycopg.conninfo import make_conninfo
from revisions import write
from three_stores import DOCUMENTS, OBJECTS, PLAN, ROWS, fill
from world import World

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import Refused, Unavailable
from lockstep.domain.plan import Plan, State
from lockstep.domain.rehearsal import Prediction, Rehearsal, Verdict
from lockstep.domain.run import Caller
from lockstep.engine.planning.planning import make_plan
from lockstep.engine.preflight import preflight, refuse
from lockstep.engine.routing import plan_route
from lockstep.engine.services import Services

INDEX = """
def upgrade():
    yield ops.sql(Users.database, "ALTER TABLE users ADD COLUMN seen boolean", touches=Users)

def downgrade():
    yield ops.sql(Users.database, "ALTER TABLE users DROP COLUMN seen", touches=Users)
"""


def plan(services: Services, world: World, target: str = "head", direction: Any = "upgrade") -> Plan:
    chain = load_chain(world.migrations)
    hops = plan_route(services, chain, target=target, direction=direction)
    steps = [(chain[hop.revision_id], hop.direction) for hop in hops]
    checks = preflight(services, steps, look=look(world))
    return make_plan(
        services, chain, hops, target=target, direction=direction, look=look(world), checks=checks
    )


@pytest.fixture
def two(world: World) -> World:
    fill(world)
    world.run("ANALYZE users")
    write(world.migrations, "0001", None, PLAN, name="0001.py")
    write(world.migrations, "0002", "0001", INDEX)
    return world


def rehearsed(services: Services, world: World, revision: str, body: bytes = b"{}") -> Rehearsal:
    """Keep a green rehearsal of a revision's file, with its report in the vault."""
    chain = load_chain(world.migrations)
    rehearsal = Rehearsal(
        id=f"r-{revision}-{len(services.ledger.rehearsals())}",
        target=revision,
        caller=Caller(dag_id="rehearse", dag_run_id="r1", by="olga"),
        started_at=datetime.now(timezone.utc),
        revisions={revision: chain[revision].checksum},
    )
    services.ledger.add_rehearsal(rehearsal)
    services.vault.put(f"{rehearsal.folder}/report.json", body)
    return services.ledger.change_rehearsal(
        rehearsal.id,
        verdict=Verdict.GREEN,
        predicted={revision: Prediction(seconds=12, low=10, high=15)},
        report_path=f"{rehearsal.folder}/report.json",
        report_sha256=hashlib.sha256(body).hexdigest(),
    )


def test_before_the_ledger_has_tables_everything_is_pending_and_looking_makes_none(
    two: World, driver: Driver
) -> None:
    made = plan(looking(driver, two), two)

    assert [one.revision for one in made.revisions] == ["0001", "0002"]
    first, second = made.revisions
    assert [(op.records, op.lock, op.lossy, op.batched) for op in first.operations] == [
        (ROWS, "rows", True, True),
        (DOCUMENTS, "none", True, True),
        (OBJECTS, "none", True, True),
    ]
    assert [backup.conn_id for backup in first.backups] == [
        "campus_auth",
        "campus_documents",
        "campus_objects",
    ]
    assert all(backup.bytes for backup in first.backups if backup.conn_id != "campus_documents")
    assert [op.lock for op in second.operations] == ["strong"]
    assert {check.state for check in made.checks} == {State.OK} or {
        check.place for check in made.checks if check.state is State.WARNING
    } == {"campus_documents"}
    told = json.loads(json.dumps(made.as_json()))
    assert told["plan"][0]["operations"][0]["records"] == ROWS
    assert told["plan"][0]["predicted"] is None
    assert told["plan"][0]["approval"]["needed"] is False
    tables = "SELECT count(*) FROM pg_class WHERE relname LIKE E'\\\\_migration%'"
    assert two.rows(tables, two.ledger_uri) == [(0,)]
    assert two.rows("SELECT count(*) FROM pg_namespace WHERE nspname = 'lockstep_state'") == [(0,)]


def test_a_plan_writes_nothing_by_the_servers_own_counters(two: World, driver: Driver) -> None:
    driver.go("0001")
    services = looking(driver, two)

    def look_both_ways() -> None:
        made = [plan(services, two), plan(services, two, "previous", "downgrade")]
        assert [[one.revision for one in each.revisions] for each in made] == [["0002"], ["0001"]]

    with quiet(two):
        unchanged(two, look_both_ways)


def test_what_only_looks_can_write_nothing(two: World, driver: Driver) -> None:
    driver.go("0001")
    services = looking(driver, two)
    chain = load_chain(two.migrations)
    auth, documents, objects = chain["0001"].databases
    with services.ledger.unit() as unit, pytest.raises(Refused, match="only looked at"):
        unit.note(None, "told", {})
    with pytest.raises(Unavailable, match="read-only"):
        services.ledger.next_epoch()
    with pytest.raises(Refused, match="only looked at"):
        services.vault.put("x", b"")
    with pytest.raises(Unavailable, match="read-only"), services.store(auth).handle() as conn:
        conn.execute("CREATE TABLE x ()")
    with pytest.raises(Refused, match="only looked at"):
        _ = services.store(documents).capabilities
    client, bucket = services.store(objects).handle()
    with pytest.raises(Refused, match="only looked at"):
        client.put_object(Bucket=bucket, Key="x", Body=b"")


def test_the_last_rehearsal_of_this_very_file_says_how_long_it_takes(two: World, driver: Driver) -> None:
    services = driver.services(driver.bomb)
    services.ledger.check()
    rehearsal = rehearsed(services, two, "0001")

    one = plan(looking(driver, two), two).revisions[0]

    assert one.predicted == Prediction(seconds=12, low=10, high=15)
    assert one.rehearsal is not None
    assert (one.rehearsal.id, one.rehearsal.verdict, one.rehearsal.current) == (
        rehearsal.id,
        Verdict.GREEN,
        True,
    )
    assert one.mark.report_sha256 == rehearsal.report_sha256
    path = two.migrations / "0001.py"
    path.write_text(path.read_text() + "\n# another word\n")
    edited = plan(looking(driver, two), two).revisions[0]
    assert edited.predicted is None
    assert edited.rehearsal is not None
    assert not edited.rehearsal.current
    assert edited.mark.report_sha256 is None


def test_a_rehearsals_report_with_a_byte_changed_is_refused_by_name(two: World, driver: Driver) -> None:
    services = driver.services(driver.bomb)
    services.ledger.check()
    rehearsal = rehearsed(services, two, "0001", b'{"verdict": "green"}')
    services.vault.put(f"{rehearsal.folder}/report.json", b'{"verdict": "Green"}')

    with pytest.raises(Refused, match=f"rehearsal '{rehearsal.id}'.*is not what the rehearsal wrote"):
        plan(looking(driver, two), two)


def test_an_edited_applied_revision_is_refused_before_any_write(two: World, driver: Driver) -> None:
    driver.go("0001")
    path = two.migrations / "0001.py"
    path.write_text(path.read_text() + "\n# another word\n")
    settle(two)
    before = witness(two)

    with pytest.raises(Refused, match=r"'0001'.*was edited after it was applied"):
        plan(looking(driver, two), two)
    with pytest.raises(Refused, match=r"'0001'.*was edited after it was applied"):
        driver.open("0002")

    after = witness(two)
    assert (after.documents, after.objects) == (before.documents, before.objects)
    assert two.rows("SELECT count(*) FROM _migration_runs", two.ledger_uri) == [(1,)]


def test_all_that_stands_against_a_plan_is_named_at_once(two: World, driver: Driver) -> None:
    two.run("DROP ROLE IF EXISTS weak")
    two.run("CREATE ROLE weak LOGIN PASSWORD 'weak'; GRANT SELECT ON users TO weak")
    dbname = two.rows("SELECT current_database()")[0][0]
    services = looking(driver, two)
    chain = load_chain(two.migrations)
    steps: Any = [(one, "upgrade") for one in chain.revisions]
    try:
        looks = look(
            two,
            campus_auth=make_conninfo(two.auth_uri, user="weak", password="weak"),
            campus_documents="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200",
        )
        checks = preflight(services, steps, look=looks)
        told = {(check.check, check.place): check for check in checks if check.state is not State.OK}
        assert told["connection", "campus_documents"].transient
        missing = [check.words for check in checks if check.state is State.REFUSED]
        assert any("CREATE on the database" in words for words in missing)
        assert any("write table users" in words and "GRANT INSERT" in words for words in missing)
        assert any("own table users" in words for words in missing)
        with pytest.raises(Refused, match=r"(?s)4 thing\(s\) stand against.*campus_auth.*campus_documents"):
            refuse(checks)
        with pytest.raises(Unavailable):
            refuse([check for check in checks if check.transient])
        refuse([check for check in checks if check.state is not State.REFUSED])
    finally:
        with psycopg.connect(make_conninfo(two.auth_uri, dbname=dbname), autocommit=True) as conn:
            conn.execute("DROP OWNED BY weak")
            conn.execute("DROP ROLE weak")
