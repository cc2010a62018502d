"""What a statement's own words say of the locks that it takes."""

from __future__ import annotations

import pytest

from lockstep.domain.locking import Locks, lock_timeout_of, locks_of


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users ADD COLUMN extra int",
        "  -- add it\n/* now */ alter table users add extra int",
        "TRUNCATE users",
        "DROP TABLE users",
        "CREATE INDEX by_name ON users (name)",
        "CREATE INDEX by_name ON users (name) WHERE note <> 'CONCURRENTLY'",
        'CREATE INDEX "CONCURRENTLY" ON users (name)',
        "CREATE TRIGGER t BEFORE UPDATE ON users EXECUTE FUNCTION f()",
        "REINDEX TABLE users",
        "CLUSTER users USING by_name",
        "VACUUM FULL users",
        "VACUUM (FULL, ANALYZE) users",
        "LOCK TABLE users",
        "DO $$ BEGIN ALTER TABLE users ADD extra int; END $$",
        "REFRESH MATERIALIZED VIEW totals",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (x > 0), VALIDATE CONSTRAINT d",
        "UPDATE users SET x = 1; ALTER TABLE users DROP y",
        "UPDATE users SET note = E'it\\'s'; DROP TABLE users",
        "something that nobody has heard of",
    ],
)
def test_what_makes_others_queue_is_strong(statement: str) -> None:
    assert locks_of(statement) is Locks.STRONG
    assert lock_timeout_of(statement, None) == 2.0


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY by_name ON users (name)",
        "create unique index concurrently if not exists by_name on users (name);",
        "DROP INDEX CONCURRENTLY by_name",
        "REINDEX (VERBOSE) INDEX CONCURRENTLY by_name",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY totals",
        "ALTER TABLE parts DETACH PARTITION parts_1 CONCURRENTLY",
        "ALTER TABLE users VALIDATE CONSTRAINT c",
        "VACUUM (ANALYZE) users",
        "ANALYZE users",
    ],
)
def test_what_holds_nobody_up_may_wait_long(statement: str) -> None:
    assert locks_of(statement) is Locks.CONCURRENT


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET note = 'ALTER TABLE; DROP TABLE'",
        "INSERT INTO users VALUES ('it''s; TRUNCATE')",
        "WITH old AS (SELECT 1) DELETE FROM users",
        "(SELECT 1)",
        "SELECT $x$ ; DROP TABLE users $x$",
        "COMMENT ON TABLE users IS 'people'",
        "GRANT SELECT ON users TO reader",
        "",
    ],
)
def test_what_waits_for_rows_is_plain(statement: str) -> None:
    assert locks_of(statement) is Locks.PLAIN


def test_what_the_author_says_stands() -> None:
    assert lock_timeout_of("ALTER TABLE users ADD extra int", 7.5) == 7.5
