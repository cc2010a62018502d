"""All that a table is and all that hangs on it, as lines that can be compared: before a swap, and after it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from lockstep.stores.postgres.text import Conn, run

#: kind and name → what is known of it
Portrait = Mapping[str, Sequence[str | None]]

#: What is the table's own, and not another object that refers to it.
OWN = ("table", "column", "constraint", "index", "trigger", "policy", "rule", "statistics", "sequence")

#: Who may do what, by whose grant; without grants those that the owner has anyway.
ACL = """
(SELECT string_agg(a.grantee::regrole::text || '=' || a.privilege_type || ' ' || a.is_grantable::text || '/'
                   || a.grantor::regrole::text, ', ' ORDER BY a.grantee, a.privilege_type, a.grantor)
 FROM aclexplode({acl}) AS a)
"""

_OPTIONS = "(SELECT string_agg(o, ', ' ORDER BY o) FROM unnest({of}) AS o)"

#: One line an item. Names are qualified, since the search path is pinned; no oids, no positions on disk.
PORTRAIT = f"""
SELECT 'table', '',
       ARRAY[c.relkind::text, c.relpersistence::text, c.relowner::regrole::text, c.relrowsecurity::text,
             c.relforcerowsecurity::text, c.relreplident::text, {_OPTIONS.format(of="c.reloptions")},
             {_OPTIONS.format(of="t.reloptions")}, am.amname::text, sp.spcname::text,
             obj_description(c.oid, 'pg_class'),
             {ACL.format(acl="coalesce(c.relacl, acldefault('r', c.relowner))")}]
FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
LEFT JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_tablespace sp ON sp.oid = c.reltablespace
WHERE c.oid = %(oid)s::oid
UNION ALL
SELECT 'column', a.attname::text,
       ARRAY[(row_number() OVER (ORDER BY a.attnum))::text, format_type(a.atttypid, a.atttypmod),
             a.attnotnull::text, pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text,
             a.attcollation::regcollation::text, a.attstorage::text, a.attcompression::text,
             nullif(a.attstattarget, -1)::text, {_OPTIONS.format(of="a.attoptions")},
             col_description(a.attrelid, a.attnum), {ACL.format(acl="a.attacl")}]
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(oid)s::oid AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', conname::text,
       ARRAY[contype::text, pg_get_constraintdef(oid), convalidated::text, connoinherit::text,
             obj_description(oid, 'pg_constraint')]
FROM pg_constraint WHERE conrelid = %(oid)s::oid AND contype <> 't' AND conparentid = 0
UNION ALL
SELECT 'index', c.relname::text,
       ARRAY[pg_get_indexdef(i.indexrelid), i.indisvalid::text, i.indisreplident::text, i.indisclustered::text,
             sp.spcname::text, {_OPTIONS.format(of="c.reloptions")}, obj_description(c.oid, 'pg_class'),
             (SELECT string_agg(a.attnum || ': ' || a.attstattarget, ', ' ORDER BY a.attnum)
              FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0)]
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_tablespace sp ON sp.oid = c.reltablespace
WHERE i.indrelid = %(oid)s::oid
UNION ALL
SELECT 'trigger', tgname::text, ARRAY[pg_get_triggerdef(oid), tgenabled::text, obj_description(oid, 'pg_trigger')]
FROM pg_trigger WHERE tgrelid = %(oid)s::oid AND NOT tgisinternal
UNION ALL
SELECT 'policy', polname::text,
       ARRAY[polcmd::text, polpermissive::text, polroles::regrole[]::text, pg_get_expr(polqual, polrelid),
             pg_get_expr(polwithcheck, polrelid), obj_description(oid, 'pg_policy')]
FROM pg_policy WHERE polrelid = %(oid)s::oid
UNION ALL
SELECT 'rule', rulename::text, ARRAY[pg_get_ruledef(oid), ev_enabled::text, obj_description(oid, 'pg_rewrite')]
FROM pg_rewrite WHERE ev_class = %(oid)s::oid
UNION ALL
SELECT 'statistics', stxname::text,
       ARRAY[pg_get_statisticsobjdef(oid), stxowner::regrole::text, nullif(stxstattarget, -1)::text,
             obj_description(oid, 'pg_statistic_ext')]
FROM pg_statistic_ext WHERE stxrelid = %(oid)s::oid
UNION ALL
SELECT 'sequence', c.oid::regclass::text,
       ARRAY[a.attname::text, d.deptype::text, c.relpersistence::text, c.relowner::regrole::text,
             s.seqtypid::regtype::text, s.seqstart::text, s.seqincrement::text, s.seqmin::text, s.seqmax::text,
             s.seqcache::text, s.seqcycle::text, obj_description(c.oid, 'pg_class'),
             {ACL.format(acl="coalesce(c.relacl, acldefault('s', c.relowner))")}]
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' JOIN pg_sequence s ON s.seqrelid = c.oid
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = %(oid)s::oid AND d.deptype IN ('a', 'i')
UNION ALL
SELECT 'foreign key', conrelid::regclass || ' ' || conname,
       ARRAY[pg_get_constraintdef(oid), convalidated::text, obj_description(oid, 'pg_constraint')]
FROM pg_constraint
WHERE contype = 'f' AND confrelid = %(oid)s::oid AND conrelid <> %(oid)s::oid AND conparentid = 0
UNION ALL
SELECT 'publication', p.pubname::text,
       ARRAY[pg_get_expr(r.prqual, r.prrelid),
             (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
              FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY(r.prattrs::int2[]))]
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = %(oid)s::oid
UNION ALL
SELECT 'view', c.oid::regclass::text,
       ARRAY[pg_get_viewdef(c.oid), c.relowner::regrole::text, {_OPTIONS.format(of="c.reloptions")},
             obj_description(c.oid, 'pg_class'),
             {ACL.format(acl="coalesce(c.relacl, acldefault('r', c.relowner))")}]
FROM pg_class c
WHERE c.oid IN (SELECT r.ev_class FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
                WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
                  AND d.refobjid = %(oid)s::oid AND r.ev_class <> %(oid)s::oid)
"""


def portrait(conn: Conn, oid: int) -> Portrait:
    """Return all that is known of a table; the search path must be pinned."""
    rows = run(conn, PORTRAIT, {"oid": oid})
    return {f"{kind} {name}".strip(): facts for kind, name, facts in rows}


def differences(was: Portrait, now: Portrait, kinds: Collection[str] | None = None) -> list[str]:
    """Return what is not as it was, in words; only of these kinds, if they are given."""
    found = []
    for item in sorted({*was, *now}):
        if kinds is not None and not item.startswith(tuple(kinds)):
            continue
        if item not in now:
            found.append(f"{item} is missing")
        elif item not in was:
            found.append(f"{item} is new")
        elif json.dumps(list(was[item])) != json.dumps(list(now[item])):
            found.append(f"{item} is another")
    return found
