"""What can be said against a revision from its file alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from revisions import write

from lockstep.cli import main
from lockstep.domain.chain import load_chain
from lockstep.domain.linting.finding import Severity
from lockstep.domain.linting.rules import findings
from lockstep.domain.loading import load_revision
from lockstep.engine import squawk
from lockstep.engine.linting import Finding, lint

EXAMPLE = Path(__file__).parents[2] / "migrations"
#: what a revision needs so that nothing else is found
VERIFY = '\n\ndef verify():\n    yield ops.expect_none(Users, where="id IS NULL")\n'
DOWN = "\n\ndef downgrade():\n    yield ops.restore(Users)\n"


def linted(folder: Path, up: str, down: str = "", more: str = "") -> list[Finding]:
    """Return what Lockstep's own rules find in a revision with these operations, locks aside."""
    body = f"def upgrade():\n{_lines(up)}\n\ndef downgrade():\n{_lines(down or 'return')}\n{more or VERIFY}"
    revision = load_revision(write(folder, "0001", None, body))
    return [one for one in findings(revision) if one.code != "locks"]


def codes(folder: Path, up: str, down: str = "", more: str = "") -> list[str]:
    return [one.code for one in linted(folder, up, down, more)]


def _lines(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def sql(*statements: str, outside: bool = False) -> str:
    verb = "sql_outside_transaction" if outside else "sql"
    return f"yield ops.{verb}(Db, {', '.join(map(repr, statements))}, touches=[Users])"


BACK = sql("SELECT 1")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("CREATE INDEX users_name ON users (name)", "blocking-index"),
        ("create unique index users_name on only users (name)", "blocking-index"),
        ("DROP INDEX users_name", "blocking-index"),
        ("REINDEX TABLE users", "blocking-index"),
        ("ALTER TABLE users ADD CONSTRAINT positive CHECK (id > 0)", "validates-under-lock"),
        ("ALTER TABLE users ADD FOREIGN KEY (id) REFERENCES people", "validates-under-lock"),
        ("ALTER TABLE users ADD CONSTRAINT one UNIQUE (name)", "validates-under-lock"),
        ("ALTER TABLE users ALTER COLUMN name SET NOT NULL", "validates-under-lock"),
        ("ALTER TABLE users ALTER name TYPE varchar(10)", "rewrites-under-lock"),
        ("ALTER TABLE users SET UNLOGGED", "rewrites-under-lock"),
        ("CLUSTER users USING users_pkey", "rewrites-under-lock"),
        ("ALTER TABLE users DROP COLUMN name", "data-dropped"),
        ("ALTER TABLE users DROP name", "data-dropped"),
        ("DROP TABLE IF EXISTS users, people", "data-dropped"),
        ("TRUNCATE users", "data-dropped"),
        ("DELETE FROM users WHERE id > 3", "data-dropped"),
    ],
)
def test_statements_that_hurt_are_found(tmp_path: Path, statement: str, code: str) -> None:
    [found] = linted(tmp_path, sql(statement), BACK)
    assert found.code == code
    assert found.where.endswith("/0001_step.py: upgrade 1")
    assert found.fix


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users ADD COLUMN nick text",
        "ALTER TABLE users ADD CONSTRAINT positive CHECK (id > 0) NOT VALID",
        "ALTER TABLE users ADD CONSTRAINT one UNIQUE USING INDEX users_name",
        "ALTER TABLE users ALTER COLUMN name DROP NOT NULL",
        "ALTER TABLE users DROP CONSTRAINT positive",
        "ALTER TABLE users ALTER COLUMN name DROP DEFAULT",
        "INSERT INTO users VALUES (1, 'DROP TABLE users')",
        "COMMENT ON TABLE users IS 'x; TRUNCATE users'",
        "-- DROP TABLE users\nSELECT 1",
    ],
)
def test_statements_that_do_not_hurt_are_not(tmp_path: Path, statement: str) -> None:
    assert codes(tmp_path, sql(statement), BACK) == []


def test_a_table_that_the_revision_makes_is_nobodys_yet(tmp_path: Path) -> None:
    up = sql(
        "CREATE TABLE people (id int PRIMARY KEY, name text)",
        "CREATE INDEX people_name ON people (name)",
        "ALTER TABLE people ADD CHECK (id > 0)",
        "ALTER TABLE people DROP COLUMN name",
    )
    assert codes(tmp_path, up, BACK) == []


def test_one_that_may_have_been_there_is_not(tmp_path: Path) -> None:
    up = sql("CREATE TABLE IF NOT EXISTS people (id int)", "CREATE INDEX people_id ON people (id)")
    [found] = linted(tmp_path, up, BACK)
    assert (found.code, found.where.partition(": ")[2]) == ("blocking-index", "upgrade 1, statement 2")


def test_a_drop_on_the_way_down_loses_what_was_written_since(tmp_path: Path) -> None:
    [found] = linted(
        tmp_path, sql("ALTER TABLE users ADD COLUMN nick text"), sql("ALTER TABLE users DROP COLUMN nick")
    )
    assert (found.code, found.severity) == ("data-dropped", Severity.WARNING)
    assert "DROP COLUMN nick of users: a downgrade loses" in found.message
    assert "ops.drop_column" in found.fix


def test_statements_outside_a_transaction_must_bear_a_second_time(tmp_path: Path) -> None:
    assert codes(tmp_path, sql("CREATE EXTENSION citext", outside=True), BACK) == ["not-repeatable"]
    assert codes(tmp_path, sql("CREATE EXTENSION IF NOT EXISTS citext", outside=True), BACK) == []
    assert codes(tmp_path, sql("CREATE INDEX CONCURRENTLY i ON users (name)", outside=True), BACK) == []


def test_a_statement_that_nothing_takes_back_is_an_error(tmp_path: Path) -> None:
    up = f'{sql("SELECT 1")}\nyield ops.update_rows(Users, {{"name": "upper(name)"}})'
    [found] = linted(tmp_path, up, "yield ops.restore(Users)")
    assert (found.code, found.severity) == ("no-way-back", Severity.ERROR)
    assert (
        codes(tmp_path, up.replace("touches=", "reverse='SELECT 2', touches="), "yield ops.restore(Users)")
        == []
    )


def test_a_function_without_a_reverse_is_named(tmp_path: Path) -> None:
    more = VERIFY + "\n\ndef work(hands):\n    pass\n"
    up = "yield ops.run_python(work, touches=[Users], reverse=ops.NO_REVERSE)"
    assert codes(tmp_path, up, more=more) == ["no-reverse"]


def test_what_the_way_down_forgets_is_named(tmp_path: Path) -> None:
    [found] = linted(tmp_path, 'yield ops.update_rows(Users, {"name": "upper(name)"})')
    assert found.code == "left-behind"
    assert "table users (campus_auth)" in found.message


def test_a_revision_that_verifies_nothing_is_named(tmp_path: Path) -> None:
    assert codes(
        tmp_path, 'yield ops.update_rows(Users, {"name": "1"})', "yield ops.restore(Users)", "\n"
    ) == ["no-verify"]


def test_what_is_dropped_is_not_used_afterwards(tmp_path: Path) -> None:
    drop = 'yield ops.drop_column(Users, "name")'
    assert "used-after-drop" in codes(
        tmp_path, drop + '\nyield ops.update_rows(Users, {"nick": "upper(name)"})', DOWN
    )
    assert "used-after-drop" in codes(
        tmp_path,
        "yield ops.drop_collection(Notes)\nyield ops.create_index(Notes, 'x')",
        "yield ops.restore(Notes)",
    )
    fine = drop + '\nyield ops.update_rows(Users, {"nick": "upper(names)"})'
    assert codes(tmp_path, fine, "yield ops.restore(Users)") == []


def test_sql_that_touches_who_knows_what_is_named(tmp_path: Path) -> None:
    assert codes(tmp_path, 'yield ops.sql(Db, "SELECT 1")', 'yield ops.sql(Db, "SELECT 2")') == [
        "whole-database",
        "whole-database",
    ]


def test_each_operation_says_which_locks_it_takes(tmp_path: Path) -> None:
    body = (
        "def upgrade():\n"
        '    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN a int", "UPDATE users SET a = 1", touches=[Users])\n'
        '    yield ops.sql_outside_transaction(Db, "CREATE INDEX CONCURRENTLY i ON users (a)", touches=[Users])\n'
        '    yield ops.update_rows(Users, {"a": "2"})\n'
        '    yield ops.drop_column(Users, "b")\n\n'
        "def downgrade():\n    yield ops.restore(Users)\n"
    )
    found = [
        one for one in findings(load_revision(write(tmp_path, "0001", None, body))) if one.code == "locks"
    ]
    told = [(one.where.partition(": ")[2], one.message.partition(" takes ")[2][:13]) for one in found]
    assert told == [
        ("upgrade 1, statement 1", "a lock that e"),
        ("upgrade 1, statement 2", "locks of rows"),
        ("upgrade 2", "a weak lock: "),
        ("upgrade 3", "locks of rows"),
        ("upgrade 4", "a lock that e"),
        ("downgrade 1", "a lock that e"),
    ]
    assert {one.severity for one in found} == {Severity.INFO}


def with_ignore(folder: Path, ignore: str) -> list[str]:
    body = (
        f"lint_ignore = {ignore}\n\n"
        "def upgrade():\n    yield ops.sql(Db, 'CREATE INDEX users_name ON users (name)', touches=[Users])\n\n"
        f"def downgrade():\n    {BACK}\n{VERIFY}"
    )
    revision = load_revision(write(folder, "0001", None, body))
    return [one.code for one in lint(revision) if one.severity is not Severity.INFO]


def test_a_finding_is_accepted_with_a_reason(tmp_path: Path) -> None:
    assert "blocking-index" in with_ignore(tmp_path, "{}")
    assert "blocking-index" not in with_ignore(tmp_path, '{"blocking-index": "ten rows"}')


def test_without_a_reason_it_is_not(tmp_path: Path) -> None:
    for wrong in ('{"blocking-index": " "}', '["blocking-index"]', "dict(a=1)", '{"blocking-index": 1}'):
        found = with_ignore(tmp_path, wrong)
        assert "bad-ignore" in found
        assert "blocking-index" in found


def test_a_reason_for_what_is_not_there_is_told(tmp_path: Path) -> None:
    assert "unused-ignore" in with_ignore(tmp_path, '{"blocking-index": "ten rows", "data-dropped": "no"}')


def test_the_example_chain_is_clean_or_says_why() -> None:
    chain = load_chain(EXAMPLE)
    left = [
        one for revision in chain.revisions for one in lint(revision) if one.severity is not Severity.INFO
    ]
    assert left == []
    assert not chain.faults


def test_the_command_prints_findings_and_fails_with_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = f"def upgrade():\n    {sql('TRUNCATE users')}\n\ndef downgrade():\n    {BACK}\n"
    write(tmp_path, "0001", None, body)
    assert main(["--migrations", str(tmp_path), "lint"]) == 1
    shown = capsys.readouterr().out
    assert "0001_step.py: upgrade 1: error [data-dropped] TRUNCATE users" in shown
    assert "warning [no-verify]" in shown
    assert "[locks]" not in shown

    assert main(["--migrations", str(tmp_path), "lint", "--json", "0001"]) == 1
    listed = json.loads(capsys.readouterr().out)
    assert {"revision", "code", "severity", "where", "message", "fix"} == set(listed[0])
    assert {"error", "warning", "info"} == {one["severity"] for one in listed}


def test_the_command_is_content_with_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "0001", None)
    assert main(["--migrations", str(tmp_path), "lint"]) == 0
    assert "no-verify" in capsys.readouterr().out


def test_squawk_is_asked_about_sql(tmp_path: Path) -> None:
    up = sql("ALTER TABLE users ADD COLUMN age int NOT NULL", "ALTER TABLE users RENAME COLUMN name TO title")
    revision = load_revision(
        write(tmp_path, "0001", None, f"def upgrade():\n    {up}\n\ndef downgrade():\n    {BACK}\n")
    )
    program = squawk.program()
    assert program is not None, "the extra `dev` brings squawk"
    found = {(one.code, one.where.partition(": ")[2]) for one in squawk.opinions(revision, program)}
    assert ("squawk:adding-required-field", "upgrade 1, statement 1") in found
    assert ("squawk:renaming-column", "upgrade 1, statement 2") in found


def test_without_squawk_that_is_said_and_its_ignores_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squawk, "program", lambda: None)
    found = with_ignore(
        tmp_path, '{"blocking-index": "ten rows", "squawk:renaming-column": "nobody reads it"}'
    )
    assert found == []
    revision = load_chain(tmp_path)["0001"]
    assert "no-squawk" in [one.code for one in lint(revision)]


def test_a_squawk_that_does_not_work_is_said_and_the_other_rules_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "squawk"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'no such rule' >&2\nexit 2\n")
    broken.chmod(0o755)
    monkeypatch.setattr(squawk, "program", lambda: broken)
    folder = tmp_path / "migrations"
    folder.mkdir()
    write(folder, "0001", None)
    found = {one.code: one for one in lint(load_chain(folder)["0001"])}
    assert "no such rule" in found["no-squawk"].message
    assert found["no-squawk"].severity is Severity.WARNING
    assert "no-verify" in found
