"""Tables are made what they are in a copy of them: by difference, in one transaction, and nothing else with them."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from independent import hash_postgres
from postgres_copies import copied
from postgres_tables import ALL as ALL_RANGE
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.errors import LockTimeout, Refused
from lockstep.domain.exchange import Adopted
from lockstep.domain.resources import Everything, Table

ALL = Everything(DB)
USERS = Table(DB, "users")
TEAMS = Table(DB, "teams")
POSTS = Table(DB, "posts")
PARTS = Table(DB, "parts")

MAKE = """
CREATE TABLE told (what text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.told VALUES (TG_NAME); RETURN coalesce(NEW, OLD); END $$;
CREATE TABLE teams (id serial PRIMARY KEY, name text UNIQUE);
CREATE TABLE users (
    id bigint PRIMARY KEY,
    no bigint GENERATED ALWAYS AS IDENTITY,
    team int REFERENCES teams ON DELETE CASCADE,
    boss bigint REFERENCES users ON DELETE SET NULL,
    mail text NOT NULL UNIQUE,
    name text,
    price numeric,
    shout text GENERATED ALWAYS AS (upper(name)) STORED
);
CREATE TRIGGER tell_all AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER tell_off AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION tell();
ALTER TABLE users DISABLE TRIGGER tell_off;
CREATE TRIGGER tell_always AFTER UPDATE ON users FOR EACH STATEMENT EXECUTE FUNCTION tell();
ALTER TABLE users ENABLE ALWAYS TRIGGER tell_always;
CREATE RULE keep AS ON DELETE TO users DO INSTEAD NOTHING;
CREATE TABLE posts (id int PRIMARY KEY, author bigint NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE marks (mark int, note text);
CREATE TABLE parts (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_old PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2024-01-01');
CREATE TABLE parts_new PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2030-01-01');
CREATE VIEW named AS SELECT id, name FROM users WHERE name IS NOT NULL;
INSERT INTO teams (name) SELECT 't' || n FROM generate_series(1, 3) AS n;
INSERT INTO users (id, team, boss, mail, name, price)
SELECT n, 1 + n % 3, nullif(n / 2, 0), 'm' || n, 'n' || n, n::numeric / 4 FROM generate_series(1, 40) AS n;
INSERT INTO posts SELECT n, n FROM generate_series(1, 20) AS n;
INSERT INTO marks SELECT n % 3, 'x' FROM generate_series(1, 9) AS n;
INSERT INTO parts SELECT n, '2023-01-01'::date + 60 * n FROM generate_series(1, 12) AS n;
TRUNCATE told;
"""


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(servers: Addresses, database: str) -> Iterator[Room]:
    with emptied_room(database, servers.pg_bin) as made:
        made.sql("DROP TYPE IF EXISTS mood")
        made.sql(MAKE)
        yield made


#: What happens to tables.
DAMAGES = {
    "nothing": "SELECT 1",
    "rows deleted": "DROP RULE keep ON users; DELETE FROM users WHERE id > 30; DELETE FROM teams WHERE id = 3",
    "rows changed": "UPDATE users SET name = name || '!', price = 1.0 WHERE id % 2 = 0",
    "the same number, written otherwise": "UPDATE users SET price = trim_scale(price) WHERE id < 5",
    "keys swapped": (
        "UPDATE users SET mail = 'x' WHERE id = 1; UPDATE users SET mail = 'm1' WHERE id = 2; "
        "UPDATE users SET mail = 'm2' WHERE id = 1"
    ),
    "identities renumbered": "UPDATE users SET no = DEFAULT WHERE id < 9",
    "rows moved to other keys": "UPDATE users SET id = id + 1000 WHERE id > 20",
    "rows inserted": (
        "INSERT INTO teams (name) VALUES ('new'); "
        "INSERT INTO users (id, team, boss, mail) SELECT 100 + n, 4, 100, 'new' || n FROM generate_series(0, 9) AS n"
    ),
    "a table without a key": (
        "DELETE FROM marks WHERE ctid = (SELECT min(ctid) FROM marks); UPDATE marks SET note = 'y' WHERE mark = 1"
    ),
    "partitions": (
        "DELETE FROM parts WHERE id < 4; UPDATE parts SET day = day + 400 WHERE id = 5; "
        "INSERT INTO parts VALUES (99, '2029-01-01')"
    ),
    "sequences moved on": "SELECT setval('teams_id_seq', 500); SELECT setval('users_no_seq', 7)",
    "a column added": "ALTER TABLE users ADD extra int DEFAULT 5",
    "a column's type": "ALTER TABLE posts ALTER id TYPE bigint",
    "an index gone and another made": (
        "ALTER TABLE teams DROP CONSTRAINT teams_name_key; CREATE INDEX by_name ON teams (name)"
    ),
    "a default and a check": "ALTER TABLE users ALTER name SET DEFAULT 'x', ADD CHECK (id > 0)",
    "a foreign key gone": "ALTER TABLE posts DROP CONSTRAINT posts_author_fkey; DELETE FROM posts WHERE id < 5",
    "a table gone": "DROP TABLE posts",
    "tables gone and others in their place": "DROP TABLE posts, marks; CREATE TABLE marks (mark text PRIMARY KEY)",
    "a table more": (
        "CREATE TABLE more (id serial PRIMARY KEY, of bigint REFERENCES users); INSERT INTO more (of) VALUES (1)"
    ),
    "a table of another table's name": "ALTER TABLE posts RENAME TO entries; ALTER INDEX posts_pkey RENAME TO users_old",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_everything_becomes_what_it_was(room: Room, damage: str) -> None:
    before, prints = hash_postgres(room.conninfo), room.store.fingerprint(ALL)
    sequences = room.sql("SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2")
    with copied(room) as copy:
        for statement in DAMAGES[damage].split("; "):
            room.sql(statement)
        adopted = room.store.adopt(copy, [ALL])
        assert room.store.fingerprint(ALL) == prints
        assert hash_postgres(room.conninfo) == before
        assert (
            room.sql("SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2")
            == sequences
        )
        assert room.store.adopt(copy, [ALL]) == Adopted()
    if damage in ("nothing", "sequences moved on"):
        assert adopted == Adopted()
    else:
        assert adopted.written or adopted.removed or adopted.reshaped


def test_only_what_differs_is_written(room: Room) -> None:
    with copied(room) as copy:
        room.sql("UPDATE users SET name = 'changed' WHERE id <= 3")
        room.sql("INSERT INTO users (id, mail) VALUES (900, 'm900'), (901, 'm901')")
        room.sql("ALTER TABLE posts DISABLE TRIGGER ALL")
        room.sql("DELETE FROM posts WHERE id = 7")
        room.sql("ALTER TABLE posts ENABLE TRIGGER ALL")
        rows = "SELECT xmin::text, id FROM users WHERE id BETWEEN 4 AND 40 ORDER BY id"
        before = room.sql(rows)
        adopted = room.store.adopt(copy, [USERS, POSTS, TEAMS])
        assert adopted == Adopted(written=4, removed=2)
        assert room.sql(rows) == before


def test_triggers_and_rules_see_nothing_of_it_and_are_as_they_were(room: Room) -> None:
    states = (
        "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal "
        "UNION ALL SELECT rulename, ev_enabled::text FROM pg_rewrite WHERE rulename = 'keep' ORDER BY 1"
    )
    before = room.sql(states)
    assert ("tell_off", "D") in before
    assert ("tell_always", "A") in before
    with copied(room) as copy:
        room.sql("UPDATE users SET name = 'x', mail = 'x' || id")
        room.sql("INSERT INTO users (id, mail) VALUES (900, 'm900')")
        room.sql("TRUNCATE told")
        room.store.adopt(copy, [USERS])
        assert room.value("SELECT count(*) FROM told") == 0
    assert room.sql(states) == before


def test_other_tables_stay_and_what_refers_to_rows_that_go_is_named(room: Room) -> None:
    with copied(room) as copy:
        room.sql("INSERT INTO users (id, mail) VALUES (900, 'm900')")
        room.sql("INSERT INTO posts VALUES (900, 900)")
        room.sql("UPDATE teams SET name = 'other' WHERE id = 1")
        now = room.store.fingerprint(ALL)
        # ON DELETE CASCADE would take the post along, which nobody asked for.
        with pytest.raises(Refused, match=r"rows of posts refer to rows.*Nothing was changed"):
            room.store.adopt(copy, [USERS])
        assert room.store.fingerprint(ALL) == now
        adopted = room.store.adopt(copy, [USERS, POSTS])
        assert adopted == Adopted(removed=2)
        assert room.value("SELECT name FROM teams WHERE id = 1") == "other"
        assert room.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == 3


def test_a_table_made_anew_keeps_its_owner_grants_views_and_publications(room: Room) -> None:
    room.sql("DROP ROLE IF EXISTS keeper")
    room.sql("DROP ROLE IF EXISTS reader")
    room.sql("CREATE ROLE keeper; CREATE ROLE reader; GRANT ALL ON SCHEMA public TO keeper")
    room.sql("GRANT SELECT (id, name), UPDATE (name) ON users TO reader; GRANT SELECT ON users TO PUBLIC")
    room.sql("ALTER TABLE teams OWNER TO keeper; GRANT USAGE ON SEQUENCE teams_id_seq TO reader")
    room.sql("GRANT SELECT ON named TO reader; COMMENT ON COLUMN users.name IS 'as they say it'")
    room.sql("CREATE PUBLICATION told FOR TABLE users (id, name)")
    grants = (
        "SELECT c.relname, c.relowner::regrole::text, (SELECT array_agg(acl::text ORDER BY acl::text) "
        "FROM unnest(c.relacl) AS acl), a.attname, a.attacl::text FROM pg_class c LEFT JOIN pg_attribute a "
        "ON a.attrelid = c.oid AND a.attacl IS NOT NULL WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1, 4"
    )
    besides = (
        "SELECT pg_get_viewdef('named'), col_description('users'::regclass, (SELECT attnum FROM pg_attribute "
        "WHERE attrelid = 'users'::regclass AND attname = 'name')), (SELECT attnames::text FROM pg_publication_tables)"
    )
    before, said, prints = room.sql(grants), room.sql(besides), room.store.fingerprint(ALL)
    try:
        with copied(room) as copy:
            room.sql("ALTER TABLE users ADD extra text; GRANT SELECT (extra) ON users TO reader")
            room.sql("ALTER TABLE teams ADD extra serial; GRANT USAGE ON SEQUENCE teams_extra_seq TO reader")
            adopted = room.store.adopt(copy, [USERS, TEAMS])
            assert adopted.reshaped == ("teams", "users")
        assert room.store.fingerprint(ALL) == prints
        assert room.sql(besides) == said
        assert room.sql(grants) == before
        assert room.value("SELECT count(*) FROM named") == 40
    finally:
        room.sql("DROP PUBLICATION told; DROP TABLE teams CASCADE; DROP VIEW named; DROP TABLE users CASCADE")
        room.sql("DROP OWNED BY keeper, reader; DROP ROLE keeper, reader")


@pytest.mark.parametrize(
    ("hangs", "words"),
    [
        (
            "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM users",
            "materialized view (public.)?counted",
        ),
        (
            "CREATE FUNCTION of_users() RETURNS SETOF users LANGUAGE sql AS 'SELECT * FROM public.users'",
            "of_users",
        ),
        ("CREATE VIEW extras AS SELECT extra FROM users", "extra"),
        ("CREATE TABLE heirs () INHERITS (users)", "heirs"),
    ],
)
def test_what_hangs_on_a_table_and_cannot_be_kept_is_refused_by_name(
    room: Room, hangs: str, words: str
) -> None:
    with copied(room) as copy:
        room.sql("ALTER TABLE users ADD extra int")
        room.sql(hangs)
        now = room.store.portrait()
        with pytest.raises(Refused, match=words) as caught:
            room.store.adopt(copy, [ALL])
        assert "Nothing was changed" in str(caught.value)
        assert room.store.portrait() == now


def test_a_table_that_the_backup_has_not_is_removed_unless_something_hangs_on_it(room: Room) -> None:
    extra = Table(DB, "extra")
    with copied(room) as copy:
        room.sql("CREATE TABLE extra (id serial PRIMARY KEY, of bigint REFERENCES users)")
        room.sql("CREATE TABLE others (id int REFERENCES extra)")
        with pytest.raises(Refused, match="others_id_fkey"):
            room.store.adopt(copy, [extra])
        assert room.store.exists(extra)
        room.sql("DROP TABLE others")
        assert room.store.adopt(copy, [extra]).reshaped == ("extra",)
        assert not room.store.exists(extra)
        assert room.store.adopt(copy, [extra]) == Adopted()


def test_a_missing_table_comes_back_in_its_schema_whatever_its_name(room: Room) -> None:
    odd = Table(DB, 'odd "name" %s', schema="other")
    room.sql("CREATE SCHEMA other")
    room.sql(
        'CREATE TABLE other."odd ""name"" %s" (id serial PRIMARY KEY, "a ""%b" text UNIQUE DEFAULT \'50%\')'
    )
    room.sql('INSERT INTO other."odd ""name"" %s" DEFAULT VALUES')
    before = room.store.fingerprint(odd)
    with copied(room) as copy:
        room.sql('UPDATE other."odd ""name"" %s" SET "a ""%b" = \'%s\'')
        assert room.store.adopt(copy, [odd]) == Adopted(written=1)
        assert room.store.fingerprint(odd) == before
        room.sql("DROP SCHEMA other CASCADE")
        assert room.store.adopt(copy, [odd]) == Adopted(written=1, reshaped=(odd.slug,))
    assert room.store.fingerprint(odd) == before
    room.sql('INSERT INTO other."odd ""name"" %s" ("a ""%b") VALUES (NULL)')
    assert room.value('SELECT max(id) FROM other."odd ""name"" %s"') == 2


def test_a_parked_table_is_given_its_name_back_with_what_went_with_it(room: Room) -> None:
    before, definition = room.store.fingerprint(ALL), room.value("SELECT pg_get_viewdef('named')")
    oid = room.value("SELECT 'users'::regclass::oid::int")
    with copied(room) as copy:
        with room.unit() as unit:
            unit.park_table(USERS)
        room.sql("DELETE FROM posts WHERE id = 1")
        adopted = room.store.adopt(copy, [USERS, POSTS])
        assert adopted == Adopted(written=1)
    assert room.store.fingerprint(ALL) == before
    assert room.value("SELECT pg_get_viewdef('named')") == definition
    assert room.value("SELECT 'users'::regclass::oid::int") == oid
    assert room.store.parked() == []
    (taken,) = room.take_back()
    assert taken.restored == 0


def test_a_parked_column_is_given_its_name_back(room: Room) -> None:
    before = room.store.fingerprint(USERS)
    oid = room.value("SELECT 'users'::regclass::oid::int")
    with copied(room) as copy:
        room.sql("DROP VIEW named")
        with room.unit() as unit:
            unit.park_column(USERS, "name")
            unit.park_column(USERS, "mail")
        room.sql("UPDATE users SET price = 0 WHERE id < 3")
        assert room.store.adopt(copy, [USERS]) == Adopted(written=2)
        assert room.store.fingerprint(USERS) == before
        assert room.value("SELECT 'users'::regclass::oid::int") == oid
        # Rows came without a value that must be there: the table is made anew.
        with room.unit() as unit:
            unit.park_column(USERS, "mail")
        room.sql("INSERT INTO users (id) VALUES (900)")
        assert room.store.adopt(copy, [USERS]).reshaped == ("users",)
        assert room.store.fingerprint(USERS) == before


def test_what_is_parked_for_other_reasons_stays(room: Room) -> None:
    with room.unit() as unit:
        unit.park_table(Table(DB, "marks"))
        unit.park_column(TEAMS, "name")
    state = "SELECT count(*), max(id) FROM lockstep_state.journal"
    with copied(room) as copy:
        parked = [(one.kind, one.parked_as, one.records) for one in room.store.parked()]
        journal = room.sql(state)
        room.sql("DELETE FROM posts")
        room.sql("INSERT INTO teams (id) VALUES (99)")
        room.store.adopt(copy, [ALL])
        assert [(one.kind, one.parked_as, one.records) for one in room.store.parked()] == parked
        assert room.sql(state) == journal
    assert room.value("SELECT count(*) FROM teams") == 3


def test_partitions_that_are_not_those_of_the_backup_are_refused(room: Room) -> None:
    with copied(room) as copy:
        room.sql(
            "CREATE TABLE parts_later PARTITION OF parts FOR VALUES FROM ('2030-01-01') TO ('2040-01-01')"
        )
        with pytest.raises(Refused, match="is partitioned"):
            room.store.adopt(copy, [PARTS])
        room.sql("DROP TABLE parts_later; DELETE FROM parts")
        assert room.store.adopt(copy, [PARTS]) == Adopted(written=12)
        room.sql("DROP TABLE parts")
        with pytest.raises(Refused, match="is partitioned in the backup"):
            room.store.adopt(copy, [PARTS])


def test_a_lock_that_is_not_to_be_had_changes_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockstep.stores.postgres.adopt.LOCK_TIMEOUT", 0.2)
    monkeypatch.setattr("lockstep.stores.postgres.rewrite.PAUSE", 0.05)
    with copied(room) as copy:
        room.sql("UPDATE users SET name = 'x'")
        now = room.store.fingerprint(ALL)
        for held in ("UPDATE users SET name = 'y' WHERE id = 1", "SELECT 1 FROM users LIMIT 1"):
            with psycopg.connect(room.conninfo, application_name="the-app") as other:
                other.execute(held.encode())
                with pytest.raises(LockTimeout, match="the-app"):
                    room.store.adopt(copy, [USERS])
                other.rollback()
            assert room.store.fingerprint(ALL) == now
        room.store.adopt(copy, [USERS])
        assert room.store.fingerprint(ALL) != now


def test_what_the_tables_need_and_is_not_there_is_said(room: Room) -> None:
    room.sql("CREATE TYPE mood AS ENUM ('happy'); ALTER TABLE marks ADD feels mood")
    with copied(room) as copy:
        room.sql("DROP TABLE marks; DROP TYPE mood")
        with pytest.raises(Refused, match=r'type "public.mood" does not exist.*Nothing was changed'):
            room.store.adopt(copy, [ALL])
        assert not room.store.exists(Table(DB, "marks"))


def test_lockstep_s_own_schema_stays_as_it_is(room: Room) -> None:
    with room.unit() as unit:
        unit.update_range(
            TEAMS, {"name": "name || '!'"}, where=None, within=ALL_RANGE, after=None, limit=9, journal=True
        )
    with copied(room) as copy:
        room.sql("DELETE FROM posts")
        own = room.sql("SELECT to_jsonb(j) FROM lockstep_state.journal j")
        room.store.adopt(copy, [ALL])
        assert room.sql("SELECT to_jsonb(j) FROM lockstep_state.journal j") == own
        assert len(own) == 3
