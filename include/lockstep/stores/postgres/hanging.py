"""What hangs on a table: what of it can be carried to another table in its place, and what cannot."""

from __future__ import annotations

from lockstep.domain.errors import Refused
from lockstep.stores.postgres.shape import Shape
from lockstep.stores.postgres.text import Conn, run

#: Reasons, in words that follow the table's name, why it cannot be swapped.
REASONS = """
SELECT CASE c.relkind WHEN 'p' THEN 'is partitioned' WHEN 'f' THEN 'is a foreign table' ELSE 'is no table' END
FROM pg_class c WHERE c.oid = %(oid)s::oid AND c.relkind <> 'r'
UNION ALL
SELECT CASE WHEN c.relispartition THEN 'is a partition of ' ELSE 'inherits from ' END || i.inhparent::regclass
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhrelid = %(oid)s::oid
UNION ALL
SELECT inhrelid::regclass || ' inherits from it' FROM pg_inherits WHERE inhparent = %(oid)s::oid
UNION ALL
SELECT 'is temporary' FROM pg_class WHERE oid = %(oid)s::oid AND relpersistence = 't'
UNION ALL
SELECT 'is made of type ' || reloftype::regtype FROM pg_class WHERE oid = %(oid)s::oid AND reloftype <> 0
UNION ALL
SELECT 'has a security label of ' || provider FROM pg_seclabel
WHERE objoid = %(oid)s::oid AND classoid = 'pg_class'::regclass
UNION ALL
SELECT 'is filled by a subscription' WHERE EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = %(oid)s::oid)
UNION ALL
SELECT 'has foreign key ' || k.conname || ' of ' || k.conrelid::regclass || ', whose triggers are not in '
       || 'their usual state'
FROM pg_constraint k
WHERE k.contype = 'f' AND %(oid)s::oid IN (k.conrelid, k.confrelid)
  AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled <> 'O')
UNION ALL
SELECT 'is in publication ' || p.pubname || ', and replication slot ' || s.slot_name
       || ' is logical: subscribers would miss the rows that are written anew'
FROM pg_publication p
JOIN pg_replication_slots s ON s.slot_type = 'logical' AND s.database = current_database()
WHERE p.puballtables
   OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = %(oid)s::oid)
   OR EXISTS (SELECT FROM pg_publication_namespace n JOIN pg_class c ON c.relnamespace = n.pnnspid
              WHERE n.pnpubid = p.oid AND c.oid = %(oid)s::oid)
UNION ALL
SELECT 'has ' || pg_describe_object(classid, objid, 0) || ' that belongs to or depends on '
       || pg_describe_object(refclassid, refobjid, 0)
FROM pg_depend
WHERE deptype IN ('e', 'x') AND (classid, objid) IN (
    SELECT 'pg_class'::regclass, %(oid)s::oid
    UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgrelid = %(oid)s::oid)
"""

#: The same of what a copy of the table would lack.
UNFINISHED = """
SELECT 'has index ' || indexrelid::regclass || ', which is INVALID' FROM pg_index
WHERE indrelid = %(oid)s::oid AND NOT indisvalid
UNION ALL
SELECT 'has constraint ' || conname || ', a NOT NULL that is NOT VALID' FROM pg_constraint
WHERE conrelid = %(oid)s::oid AND contype = 'n' AND NOT convalidated
"""

#: Whatever refers to the table, its columns, its row type, or to a part of it, and is of no kind that is carried.
#: This is the net below all other queries: what it does not know, it names.
UNKNOWN = """
WITH fits AS (
    SELECT oid, reltoastrelid FROM pg_class WHERE oid = %(oid)s::oid
), identity AS (
    SELECT objid AS oid FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
      AND refobjid = %(oid)s::oid AND refobjsubid > 0 AND deptype = 'i'
), own (classid, objid) AS (
    SELECT 'pg_class'::regclass, oid FROM fits
    UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_type'::regclass, typarray FROM pg_type WHERE typrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_class'::regclass, oid FROM identity
    UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_policy'::regclass, oid FROM pg_policy WHERE polrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_rewrite'::regclass, oid FROM pg_rewrite WHERE ev_class = %(oid)s::oid
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_publication_rel'::regclass, oid FROM pg_publication_rel WHERE prrelid = %(oid)s::oid
), carried (classid, objid) AS (
    SELECT classid, objid FROM own
    UNION ALL SELECT 'pg_class'::regclass, reltoastrelid FROM fits
    UNION ALL SELECT 'pg_class'::regclass, d.objid
    FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = %(oid)s::oid AND d.refobjsubid > 0 AND d.deptype = 'a'
    UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
    WHERE contype = 'f' AND confrelid = %(oid)s::oid
    UNION ALL SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint
    WHERE t.tgisinternal AND k.contype = 'f' AND %(oid)s::oid IN (k.conrelid, k.confrelid)
    UNION ALL SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class
    WHERE r.rulename = '_RETURN' AND v.relkind = 'v' AND v.relpersistence <> 't'
)
SELECT DISTINCT regexp_replace(pg_describe_object(d.classid, d.objid, d.objsubid), '^rule "?_RETURN"? on ', '')
FROM pg_depend d
WHERE (d.refclassid, d.refobjid) IN (SELECT classid, objid FROM own)
  AND (d.classid, d.objid) NOT IN (SELECT classid, objid FROM carried)
ORDER BY 1
"""


#: what to do about it, before a swap and before the way back
INSTEAD = "Take that away in a revision before this one, or use ops.update_rows."
CLEAR = "Take that away, then clear the failed task."


def hangs(conn: Conn, oid: int) -> list[str]:
    """Return why another table cannot take this one's place, in words that follow its name; nothing if it can.

    The search path must be pinned.
    """
    reasons = [reason for (reason,) in run(conn, REASONS, {"oid": oid})]
    unknown = [told for (told,) in run(conn, UNKNOWN, {"oid": oid})]
    return [*reasons, f"is what {', '.join(unknown)} depends on"] if unknown else reasons


def refuse_unknown(conn: Conn, shape: Shape, advice: str = INSTEAD) -> None:
    """Raise Refused, naming each thing, where something hangs on the table that cannot be carried.

    The search path must be pinned.
    """
    params = {"oid": shape.oid}
    reasons = [*hangs(conn, shape.oid), *(reason for (reason,) in run(conn, UNFINISHED, params))]
    if reasons:
        raise Refused(
            f"{shape.table} cannot be swapped for another: it {'; it '.join(reasons)}. Nothing was done. {advice}",
            table=shape.table.slug,
            reasons=tuple(reasons),
        )
