"""The statements that give a new table what an old one has. The server words them, under a pinned search path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lockstep.stores.postgres.text import Conn, one, raw, run

#: megabytes that building an index may take at least, where the server allows less
INDEX_MEMORY = 256

#: What the statements of a swap must not depend on, and more memory to build indexes with.
PIN = """
SELECT set_config('search_path', 'pg_catalog', true), set_config('default_tablespace', '', true),
       set_config('maintenance_work_mem', greatest(setting::bigint, {memory} * 1024) || 'kB', true)
FROM pg_settings WHERE name = 'maintenance_work_mem'
"""

#: The settings that PIN changes.
PINNED = """
SELECT current_setting('search_path'), current_setting('default_tablespace'),
       current_setting('maintenance_work_mem')
"""

UNPIN = """
SELECT set_config('search_path', %(path)s, true), set_config('default_tablespace', %(space)s, true),
       set_config('maintenance_work_mem', %(memory)s, true)
"""

#: The new table, with its checks: enforced as it is filled, they cost no pass of their own. One that does not
#: hold for all rows yet comes later.
EMPTY = """
SELECT 'CREATE ' || CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END || 'TABLE ' || %(new)s
       || ' (LIKE ' || c.oid::regclass || ' INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY'
       || ' INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS) USING ' || quote_ident(am.amname)
       || coalesce(' WITH (' || nullif(concat_ws(', ', own.listed, toast.listed), '') || ')', '')
       || coalesce(' TABLESPACE ' || quote_ident(sp.spcname), '')
FROM pg_class c JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_tablespace sp ON sp.oid = c.reltablespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid,
LATERAL (SELECT string_agg(option_name || ' = ' || quote_literal(option_value), ', ') AS listed
         FROM pg_options_to_table(c.reloptions)) AS own,
LATERAL (SELECT string_agg('toast.' || option_name || ' = ' || quote_literal(option_value), ', ') AS listed
         FROM pg_options_to_table(t.reloptions)) AS toast
WHERE c.oid = %(oid)s::oid
UNION ALL
SELECT 'ALTER TABLE ' || %(new)s || ' ADD CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE conrelid = %(oid)s::oid AND contype = 'c' AND convalidated
UNION ALL
SELECT 'ALTER TABLE ' || %(new)s || ' ALTER COLUMN ' || quote_ident(attname) || ' SET STATISTICS ' || attstattarget
FROM pg_attribute WHERE attrelid = %(oid)s::oid AND attnum > 0 AND NOT attisdropped AND attstattarget >= 0
UNION ALL
SELECT 'ALTER TABLE ' || %(new)s || ' ALTER COLUMN ' || quote_ident(attname) || ' SET ('
       || array_to_string(attoptions, ', ') || ')'
FROM pg_attribute
WHERE attrelid = %(oid)s::oid AND attnum > 0 AND NOT attisdropped AND attoptions IS NOT NULL
"""

#: NOT NULL constraints (they have names since PostgreSQL 18) that the new table calls otherwise.
NOT_NULLS = """
SELECT 'ALTER TABLE ' || %(new)s || ' RENAME CONSTRAINT ' || quote_ident(n.conname) || ' TO ' || quote_ident(k.conname)
FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
JOIN pg_attribute b ON b.attrelid = %(new)s::regclass AND b.attname = a.attname
JOIN pg_constraint n ON n.conrelid = b.attrelid AND n.contype = 'n' AND n.conkey = ARRAY[b.attnum]
WHERE k.conrelid = %(oid)s::oid AND k.contype = 'n' AND k.conname <> n.conname
"""

#: Columns that rows are made of, those out of use included; what the server generates it generates again.
COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = %(oid)s::oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""

#: Indexes: name, how the definition begins, the definition, where it lives, and what the constraint on it says.
#: A constraint that is no plain index (an exclusion, a period) is made by its own definition.
INDEXES = """
SELECT c.relname, 'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX '
       || quote_ident(c.relname) || ' ON ' || i.indrelid::regclass || ' USING ', pg_get_indexdef(c.oid),
       coalesce(sp.spcname, ''),
       CASE WHEN k.oid IS NULL THEN '' WHEN am.amname <> 'btree' OR k.contype = 'x' THEN pg_get_constraintdef(k.oid)
            ELSE CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END || ' USING INDEX ' END,
       CASE WHEN k.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED' WHEN k.condeferrable THEN ' DEFERRABLE'
            ELSE '' END,
       (SELECT string_agg(option_name || ' = ' || quote_literal(option_value), ', ')
        FROM pg_options_to_table(c.reloptions))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN pg_tablespace sp ON sp.oid = c.reltablespace
WHERE i.indrelid = %(oid)s::oid ORDER BY c.oid
"""

#: Extended statistics: schema, name, and what is between their name and their table.
STATISTICS = """
SELECT n.nspname, s.stxname,
       'CREATE STATISTICS ' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname) || ' ',
       pg_get_statisticsobjdef(s.oid), ' FROM ' || s.stxrelid::regclass
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE s.stxrelid = %(oid)s::oid ORDER BY s.oid
"""

#: Foreign keys from and to the table: whose, name, definition, how it names this table, comment. The one of a
#: table to itself is one of its own.
FOREIGN_KEYS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), ' REFERENCES ' || %(oid)s::oid::regclass || '(',
       'COMMENT ON CONSTRAINT ' || quote_ident(conname) || ' ON ' || conrelid::regclass || ' IS '
       || quote_literal(obj_description(oid, 'pg_constraint'))
FROM pg_constraint
WHERE contype = 'f' AND conparentid = 0
  AND CASE WHEN %(incoming)s THEN confrelid = %(oid)s::oid AND conrelid <> %(oid)s::oid
           ELSE conrelid = %(oid)s::oid END
ORDER BY oid
"""

#: Views that read the table, and what makes each read whatever has its name by then.
VIEWS = """
SELECT c.oid::regclass::text, 'ALTER TABLE ' || c.oid::regclass || ' OWNER TO ' || c.relowner::regrole,
       'CREATE OR REPLACE VIEW ' || c.oid::regclass
       || coalesce(' WITH (' || (SELECT string_agg(option_name || ' = ' || quote_literal(option_value), ', ')
                                 FROM pg_options_to_table(c.reloptions)) || ')', '')
       || ' AS ' || pg_get_viewdef(c.oid)
FROM pg_class c
WHERE c.relkind = 'v'
  AND c.oid IN (SELECT r.ev_class FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
                WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
                  AND d.refobjid = %(oid)s::oid AND r.ev_class <> %(oid)s::oid)
ORDER BY c.oid
"""

#: Sequences of the table's columns: column, sequence, its type, 'i' for an identity's own, the default that uses
#: another.
SEQUENCES = """
SELECT a.attname, c.relname, format_type(s.seqtypid, NULL), d.deptype::text,
       'ALTER TABLE ' || d.refobjid::regclass || ' ALTER COLUMN ' || quote_ident(a.attname) || ' SET DEFAULT '
       || pg_get_expr(f.adbin, f.adrelid)
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' JOIN pg_sequence s ON s.seqrelid = c.oid
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum AND EXISTS (
    SELECT FROM pg_depend u WHERE u.classid = 'pg_attrdef'::regclass AND u.objid = f.oid
    AND u.refclassid = 'pg_class'::regclass AND u.refobjid = c.oid)
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = %(oid)s::oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
ORDER BY c.oid
"""

#: Take the table out of its publications; and put it, or what has its name by then, back.
PUBLICATIONS = """
SELECT 'ALTER PUBLICATION ' || quote_ident(p.pubname) || ' DROP TABLE ' || r.prrelid::regclass,
       'ALTER PUBLICATION ' || quote_ident(p.pubname) || ' ADD TABLE ' || r.prrelid::regclass
       || coalesce(' (' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                            WHERE a.attrelid = r.prrelid AND a.attnum = ANY(r.prattrs::int2[])) || ')', '')
       || coalesce(' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')', '')
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = %(oid)s::oid
"""


@dataclass(frozen=True, kw_only=True)
class ForeignKey:
    """A foreign key of, or to, a table that is swapped."""

    owner: str
    name: str
    definition: str
    #: how the definition names the table that is swapped
    referring: str
    comment: str | None

    def add(self, name: str, owner: str, to: str) -> str:
        """Return the statement that adds it under a name, to `owner`, referring to table `to`."""
        definition = self.definition.replace(self.referring, f" REFERENCES {to}(")
        return f"ALTER TABLE {owner} ADD CONSTRAINT {ident(name)} {definition}"

    @property
    def restore(self) -> Iterator[str]:
        """Yield the statements that make it as it was."""
        yield f"ALTER TABLE {self.owner} ADD CONSTRAINT {ident(self.name)} {self.definition}"
        if self.comment is not None:
            yield self.comment


def foreign_keys(conn: Conn, oid: int, *, incoming: bool) -> list[ForeignKey]:
    rows = run(conn, FOREIGN_KEYS, {"oid": oid, "incoming": incoming})
    return [
        ForeignKey(owner=owner, name=name, definition=text, referring=referring, comment=comment)
        for owner, name, text, referring, comment in rows
    ]


def ident(*parts: str) -> str:
    """Quote a name for a statement that runs without parameters."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def perform(conn: Conn, statements: Sequence[str]) -> None:
    """Run statements that the server worded: as they are, per cent signs and all."""
    for statement in statements:
        conn.execute(raw(statement))


@contextmanager
def pinned(conn: Conn) -> Iterator[None]:
    """Pin the settings that names and definitions depend on, inside the transaction; then put them back."""
    path, space, memory = one(conn, PINNED)
    run(conn, PIN.format(memory=INDEX_MEMORY))
    yield
    run(conn, UNPIN, {"path": path, "space": space, "memory": memory})
