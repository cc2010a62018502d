"""Whatever tables are like and whatever happens to them, they become what they were in the backup."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from independent import hash_postgres
from postgres_copies import copied
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.exchange import Adopted
from lockstep.domain.resources import Everything

ALL = Everything(DB)

#: types with a random value of each: text forms differ where equality does not
TYPES = {
    "int": "(random() * 9)::int",
    "text": "chr(97 + (random() * 5)::int)",
    "numeric": "round((random() * 3)::numeric, (random() * 3)::int)",
    "timestamptz": "'2026-01-01Z'::timestamptz + random() * interval '3 days'",
    "jsonb": "jsonb_build_object('a', (random() * 3)::int)",
    "text[]": "ARRAY[chr(97 + (random() * 5)::int), NULL]",
    "float8": "random() / 3",
    "bool": "random() < 0.5",
}
KEYS = ("int", "text", "numeric", "uuid", "identity", "serial", "two", "none")


@dataclass
class Designed:
    """One random table."""

    name: str
    key: str
    columns: list[str]
    unique: bool
    generated: bool
    rows: int
    #: other tables that it refers to, itself perhaps, and how
    refers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def statements(self) -> Iterator[str]:
        keys = {
            "int": "id int PRIMARY KEY",
            "text": "id text PRIMARY KEY",
            "numeric": "id numeric PRIMARY KEY",
            "uuid": "id uuid PRIMARY KEY DEFAULT gen_random_uuid()",
            "identity": "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            "serial": "id serial PRIMARY KEY",
            "two": "id int, half int DEFAULT 1, PRIMARY KEY (half, id)",
            "none": "id int",
        }
        parts = [keys[self.key], "no int"]
        parts += [f"c{place} {kind}" for place, kind in enumerate(self.columns)]
        parts += ["twice int GENERATED ALWAYS AS (no * 2) STORED"] if self.generated else []
        parts += ["UNIQUE (no)", "EXCLUDE (no WITH =)"] if self.unique else []
        yield f"CREATE TABLE {self.name} ({', '.join(parts)})"
        ids = {"uuid": "gen_random_uuid()", "text": "'k' || n", "identity": None, "serial": None}
        names, values = ["no"], ["n"]
        if ids.get(self.key, "n") is not None:
            names.append("id")
            values.append(ids.get(self.key) or "n")
        for place, kind in enumerate(self.columns):
            names.append(f"c{place}")
            values.append(TYPES[kind])
        yield (
            f"INSERT INTO {self.name} ({', '.join(names)}) SELECT {', '.join(values)} "
            f"FROM generate_series(1, {self.rows}) AS n"
        )


ACTIONS = ("", "ON DELETE CASCADE", "ON DELETE SET NULL ON UPDATE CASCADE", "DEFERRABLE INITIALLY DEFERRED")


@st.composite
def designs(draw: st.DrawFn) -> list[Designed]:
    count = draw(st.integers(1, 4))
    made = [
        Designed(
            name=f"t{place}",
            key=draw(st.sampled_from(KEYS)),
            columns=draw(st.lists(st.sampled_from(list(TYPES)), max_size=3)),
            unique=draw(st.booleans()),
            generated=draw(st.booleans()),
            rows=draw(st.integers(0, 30)),
        )
        for place in range(count)
    ]
    for table in made:
        for _ in range(draw(st.integers(0, 2))):
            other = draw(st.sampled_from(made))
            # What is referred to must be unique; cycles and a table that refers to itself are fine.
            if other.unique:
                table.refers.append((other.name, draw(st.sampled_from(ACTIONS))))
    return made


def damages(made: list[Designed], chance: random.Random) -> Iterator[str]:
    """Yield statements that change rows and shapes; some of them fail, which is no matter."""
    for table in made:
        # Two rows swap what may be unique, and what nobody refers to.
        if chance.random() < 0.5:
            yield f"UPDATE {table.name} SET no = -no WHERE no IN (3, 6)"
            yield f"UPDATE {table.name} SET no = 9 + no WHERE no IN (-3, -6)"
    for _ in range(chance.randrange(12)):
        table = chance.choice(made)
        name, some = table.name, f"no % {chance.randrange(2, 5)} = 0"
        kinds = [
            f"DELETE FROM {name} WHERE {some}",
            f"UPDATE {name} SET no = no + 1000 WHERE {some}",
            f"UPDATE {name} SET no = NULL WHERE {some}",
            f"INSERT INTO {name} (no) SELECT n FROM generate_series(500, 505) AS n",
            f"INSERT INTO {name} (no, id) VALUES (700, '70')",
            f"UPDATE {name} SET id = DEFAULT WHERE {some}",
            f"TRUNCATE {name} CASCADE",
            f"ALTER TABLE {name} ADD COLUMN extra{chance.randrange(3)} int DEFAULT 3",
            f"ALTER TABLE {name} DROP COLUMN c0",
            f"ALTER TABLE {name} ALTER no TYPE bigint",
            f"CREATE INDEX ON {name} (no, id)",
            f"DROP TABLE {name} CASCADE",
            f"ALTER TABLE {name} RENAME TO {name}_renamed",
            f"CREATE TABLE more{chance.randrange(3)} (id serial PRIMARY KEY, of int REFERENCES {name} (no))",
        ]
        kinds += [
            f"UPDATE {name} SET c{place} = {TYPES[kind]} WHERE {some}"
            for place, kind in enumerate(table.columns)
        ]
        yield chance.choice(kinds)


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@given(made=designs(), seed=st.integers(0, 10_000))
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_tables_become_what_they_were(
    servers: Addresses, database: str, made: list[Designed], seed: int
) -> None:
    with emptied_room(database, servers.pg_bin) as room:
        build(room, made)
        before = hash_postgres(room.conninfo)
        prints = room.store.fingerprint(ALL)
        with copied(room) as copy:
            damage(room, made, random.Random(seed))
            room.store.adopt(copy, [ALL])
            assert room.store.fingerprint(ALL) == prints
            assert hash_postgres(room.conninfo) == before
            assert room.store.adopt(copy, [ALL]) == Adopted()


def build(room: Room, made: list[Designed]) -> None:
    for table in made:
        for statement in table.statements:
            room.sql(statement)
    for table in made:
        for place, (other, action) in enumerate(table.refers):
            room.sql(f"ALTER TABLE {table.name} ADD r{place} int")
            room.sql(
                f"UPDATE {table.name} SET r{place} = no WHERE no IN (SELECT no FROM {other}) AND no % 3 <> 0"
            )
            room.sql(f"ALTER TABLE {table.name} ADD FOREIGN KEY (r{place}) REFERENCES {other} (no) {action}")


def damage(room: Room, made: list[Designed], chance: random.Random) -> None:
    with psycopg.connect(room.conninfo, autocommit=True) as conn:
        conn.execute("SET client_min_messages = error")
        for statement in damages(made, chance):
            try:
                conn.execute(statement.encode())
            except psycopg.Error:  # what the tables do not allow does not happen
                continue
