"""Fingerprints: equal ones mean equal rows and equal shape, whatever the order of rows and columns on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

from lockstep.domain.progress import Fingerprint
from lockstep.domain.resources import Table
from lockstep.stores.postgres.connect import PIN, PIN_NAMES
from lockstep.stores.postgres.schema import PARKED_COLUMN
from lockstep.stores.postgres.shape import Column, Shape, shape_of
from lockstep.stores.postgres.text import Conn, listed, one, run

#: Rows, and sums of two 64-bit hashes of each row's and each key's text, in one pass. A sum, and not an
#: exclusive or, since equal rows must not cancel each other out. OFFSET 0 keeps a row's text from being
#: made once for each hash.
CONTENT = """
SELECT count(*),
       coalesce(sum(hashtextextended(key, 1)), 0)::text, coalesce(sum(hashtextextended(key, 2)), 0)::text,
       coalesce(sum(hashtextextended(body, 1)), 0)::text, coalesce(sum(hashtextextended(body, 2)), 0)::text
FROM (SELECT ROW({key})::text AS key, ROW({body})::text AS body FROM {table} OFFSET 0) AS texts
"""

#: The same of the keys alone.
KEYS = """
SELECT count(*), coalesce(sum(hashtextextended(key, 1)), 0)::text, coalesce(sum(hashtextextended(key, 2)), 0)::text
FROM (SELECT ROW({key})::text AS key FROM {table} OFFSET 0) AS texts
"""

#: What the table is, one line an item: columns, constraints, indexes, triggers, policies, rules. Owner, grants
#: and comments left out, and so is what hangs on a parked column: a dropped column would have taken it along.
#: NOT NULL is told with its column, not as the constraint that it is since PostgreSQL 18.
SHAPE = """
WITH parked AS (
    SELECT attnum FROM pg_attribute
    WHERE attrelid = %(oid)s::oid AND attnum > 0 AND NOT attisdropped AND starts_with(attname, %(parked)s)
)
SELECT 'table', '', ARRAY[relkind::text, relpersistence::text, relrowsecurity::text, relforcerowsecurity::text,
                          relreplident::text, array_to_string(reloptions, ','), pg_get_partkeydef(oid)]
FROM pg_class WHERE oid = %(oid)s::oid
UNION ALL
SELECT 'column', a.attname::text,
       ARRAY[format_type(a.atttypid, a.atttypmod), a.attnotnull::text, pg_get_expr(d.adbin, d.adrelid),
             a.attidentity::text, a.attgenerated::text, l.collname::text]
FROM pg_attribute a
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation l ON l.oid = a.attcollation AND l.oid <> t.typcollation
WHERE a.attrelid = %(oid)s::oid AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attnum NOT IN (SELECT attnum FROM parked)
UNION ALL
SELECT 'constraint', conname::text, ARRAY[pg_get_constraintdef(oid), convalidated::text]
FROM pg_constraint
WHERE conrelid = %(oid)s::oid AND contype NOT IN ('n', 't')
  AND NOT coalesce(conkey, '{{}}') && ARRAY(SELECT attnum FROM parked)
UNION ALL
SELECT 'index', c.relname::text, ARRAY[pg_get_indexdef(i.indexrelid), i.indisvalid::text, i.indisreplident::text]
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %(oid)s::oid AND NOT i.indkey::int2[] && ARRAY(SELECT attnum FROM parked)
  AND NOT EXISTS (SELECT FROM pg_depend p WHERE p.classid = 'pg_class'::regclass AND p.objid = i.indexrelid
                  AND p.refobjid = i.indrelid AND p.refobjsubid IN (SELECT attnum FROM parked))
UNION ALL
SELECT 'trigger', tgname::text, ARRAY[pg_get_triggerdef(oid), tgenabled::text]
FROM pg_trigger WHERE tgrelid = %(oid)s::oid AND NOT tgisinternal
UNION ALL
SELECT 'policy', polname::text,
       ARRAY[polcmd::text, polpermissive::text, pg_get_expr(polqual, polrelid),
             pg_get_expr(polwithcheck, polrelid)]
FROM pg_policy WHERE polrelid = %(oid)s::oid
UNION ALL
SELECT 'rule', rulename::text, ARRAY[pg_get_ruledef(oid), ev_enabled::text]
FROM pg_rewrite WHERE ev_class = %(oid)s::oid AND rulename <> '_RETURN'
"""


def fingerprint(conn: Conn, table: Table, *, keys_only: bool = False) -> Fingerprint:
    """Fingerprint a table as the transaction sees it; the transaction's settings stay as they are."""
    with conn.transaction(force_rollback=True):
        run(conn, PIN)
        run(conn, PIN_NAMES)
        shape = shape_of(conn, table)
        if shape is None:
            return Fingerprint(present=False)
        body = sorted(shape.columns, key=lambda column: column.name)
        if keys_only:
            count, *sums = one(conn, KEYS.format(key=_texts(shape.key or body), table=shape.sql))
            return Fingerprint(present=True, count=count, keys=_joined(sums))
        statement = CONTENT.format(key=_texts(shape.key or body), body=_texts(body), table=shape.sql)
        count, *sums = one(conn, statement)
        return Fingerprint(
            present=True,
            count=count,
            keys=_joined(sums[:2]),
            content=_joined(sums[2:]),
            shape=_shape_hash(conn, shape),
        )


def _texts(columns: Sequence[Column]) -> str:
    return listed(column.sql for column in columns)


def _joined(sums: Sequence[str]) -> str:
    return ":".join(sums)


def shape_items(conn: Conn, shape: Shape) -> list[tuple[str, str, list[str | None]]]:
    """Return what a table is, item by item: kind, name, what is known of it. The search path must be pinned."""
    items = run(conn, SHAPE.format(), {"oid": shape.oid, "parked": PARKED_COLUMN}).fetchall()
    # Sorted here: the server's order would be its collation's.
    return sorted(((kind, name, facts) for kind, name, facts in items), key=lambda item: item[:2])


def _shape_hash(conn: Conn, shape: Shape) -> str:
    """Return the SHA-256 of the canonical listing."""
    return sha256(json.dumps(shape_items(conn, shape), ensure_ascii=True).encode()).hexdigest()
