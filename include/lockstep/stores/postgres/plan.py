"""Ranges of equal size: cut exactly in a small table, from a sample of the pages in a large one."""

from __future__ import annotations

from dataclasses import replace

from lockstep.domain.progress import KeyRange
from lockstep.stores.postgres.ranges import Texts, cursor_of
from lockstep.stores.postgres.shape import Shape
from lockstep.stores.postgres.text import Conn, given, listed, one, run, shortened

#: characters of a key that a range's label shows
LABEL_PART = 24

#: pages of a table that is read in whole for its ranges: 64 MB, half a second
FEW_PAGES = 8192

#: Pages with rows in them that a sample holds for each range. Where rows lie in the order of their keys, a page
#: is one observation, whatever it holds; n of them put the size of one of s ranges off by about sqrt(s / n) of
#: itself, so that a fifth is more than four times that.
PAGES_A_RANGE = 600

#: and from fewer than so many nothing is cut: the table is sampled again, or read
LEAST_A_RANGE = 400

#: beyond this share of a table, a pass over its key's index is cheaper than a sample
MOST_SHARE = 0.4

#: pages whose rows say how wide a row is
PAGES_OF_WIDTH = 100

#: How many pages a table has, partitions counted in; whether all of it can be sampled; bytes of a page; bytes of
#: large values that are kept aside.
PAGES = """
SELECT coalesce(sum(pg_relation_size(c.oid)), 0)::bigint / current_setting('block_size')::bigint,
       coalesce(bool_and(c.relkind = 'r' AND a.amname = 'heap'), false),
       current_setting('block_size')::bigint,
       coalesce(sum(pg_relation_size(nullif(c.reltoastrelid, 0))), 0)::bigint
FROM (SELECT %(oid)s::oid AS oid UNION SELECT relid FROM pg_partition_tree(%(oid)s::oid) WHERE isleaf) AS leaf
JOIN pg_class c ON c.oid = leaf.oid AND c.relkind <> 'p' LEFT JOIN pg_am a ON a.oid = c.relam
"""

#: What ANALYZE found: the widths of the columns, and the head of a row.
WIDTH = """
SELECT 28 + sum(s.avg_width)::bigint FROM pg_stats s JOIN pg_class c ON c.relname = s.tablename
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname WHERE c.oid = %(oid)s::oid
"""

#: Rows of a sample that match, and how many pages they are on.
SAMPLED = """
SELECT count(*), count(DISTINCT (tableoid, (ctid::text::point)[0])) FROM {rows} WHERE {where}
"""

#: A sample of whole pages. Of one seed: the same table is cut in the same places.
SAMPLE = "{table} TABLESAMPLE SYSTEM ({percent:.6f}) REPEATABLE (1)"

#: First and last key of each of %(most)s ranges at most, of %(least)s rows at least, in one pass in key order.
#: Of n rows in p ranges, range i ends with row n * i / p, rounded up.
CUTS = """
WITH "_lockstep_numbered" AS (
    SELECT {key}, row_number() OVER (ORDER BY {key}) AS "_lockstep_n", count(*) OVER () AS "_lockstep_all"
    FROM {rows} WHERE {where}
), "_lockstep_edges" AS (
    SELECT *, "_lockstep_n" * "_lockstep_p" %% "_lockstep_all" < "_lockstep_p" AS "_lockstep_is_last",
           ("_lockstep_n" - 1) * "_lockstep_p" %% "_lockstep_all" < "_lockstep_p" AS "_lockstep_is_first"
    FROM "_lockstep_numbered",
         greatest(1, least(%(most)s::bigint, "_lockstep_all" / %(least)s::bigint)) AS "_lockstep_p"
)
SELECT "_lockstep_n", "_lockstep_is_first", "_lockstep_is_last", {texts} FROM "_lockstep_edges"
WHERE "_lockstep_is_first" OR "_lockstep_is_last" ORDER BY "_lockstep_n"
"""


def plan(conn: Conn, shape: Shape, *, where: str | None, shards: int, least: int) -> list[KeyRange]:
    """Cut the rows that match into at most `shards` ranges, of `least` rows or more, the outer ones unbounded."""
    shards, least = max(shards, 1), max(least, 1)
    share = _share(conn, shape, where, shards)
    rows = shape.sql if share == 1 else _sample(shape, share)
    texts = listed(column.text() for column in shape.key)
    statement = CUTS.format(key=shape.key_list, texts=texts, rows=rows, where=given(where))
    edges = run(conn, statement, {"most": shards, "least": max(1, round(least * share))})
    ranges: list[KeyRange] = []
    lower, done, first = None, 0, ""
    for place, is_first, is_last, *key in edges:
        if is_first:
            first = _shown(key)
        if is_last:
            upper = cursor_of(key)
            estimate = round((place - done) / share)
            ranges.append(
                KeyRange(lower=lower, upper=upper, label=f"{first} to {_shown(key)}", estimate=estimate)
            )
            lower, done = upper, place
    if len(ranges) < 2:
        return [KeyRange(estimate=round(done / share))]
    return [*ranges[:-1], replace(ranges[-1], upper=None)]


def width(conn: Conn, shape: Shape) -> int | None:
    """Return about how many bytes a row takes where it is stored; None for an empty table."""
    pages, whole, block, aside = one(conn, PAGES, {"oid": shape.oid})
    rows = 0
    if whole and pages:
        share: float = min(1.0, PAGES_OF_WIDTH / pages)
        rows, filled = one(conn, SAMPLED.format(rows=_sample(shape, share), where="true"))
    if rows:
        wide: int = round((filled * block + aside * share) / rows)
        return wide
    known: int | None = one(conn, WIDTH, {"oid": shape.oid})[0]
    return known


def _share(conn: Conn, shape: Shape, where: str | None, shards: int) -> float:
    """Return which share of a table's pages tells where to cut it; 1 for all of it."""
    pages, whole, *_ = one(conn, PAGES, {"oid": shape.oid})
    if pages <= FEW_PAGES or not whole:
        return 1
    share: float = PAGES_A_RANGE * shards / pages
    for _ in range(2):
        if share > MOST_SHARE:
            break
        filled = one(conn, SAMPLED.format(rows=_sample(shape, share), where=given(where)))[1]
        if filled >= LEAST_A_RANGE * shards:
            return share
        # Dead space, or few rows that match: so much more has to be looked at.
        share *= PAGES_A_RANGE * shards / max(filled, 1)
    return 1


def _sample(shape: Shape, share: float) -> str:
    return SAMPLE.format(table=shape.sql, percent=share * 100)


def _shown(texts: Texts) -> str:
    return ", ".join(shortened(text, LABEL_PART) for text in texts)
