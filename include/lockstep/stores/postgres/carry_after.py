"""What a new table is given once it has its name: nothing of it costs a pass over the rows."""

from __future__ import annotations

from collections.abc import Collection

from lockstep.stores.postgres.carry import perform
from lockstep.stores.postgres.text import Conn, one, run

#: Statements that make the table that has the name by then what this one is. Worded before the swap, run after.
AFTERWARDS = """
SELECT 1, 'ALTER TABLE ' || conrelid::regclass || ' ADD CONSTRAINT ' || quote_ident(conname) || ' '
       || pg_get_constraintdef(oid)
FROM pg_constraint WHERE conrelid = %(oid)s::oid AND contype = 'c' AND NOT convalidated
UNION ALL
SELECT 2, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %(oid)s::oid AND NOT tgisinternal
UNION ALL
SELECT 3, 'ALTER TABLE ' || tgrelid::regclass
       || CASE tgenabled WHEN 'D' THEN ' DISABLE' WHEN 'R' THEN ' ENABLE REPLICA' ELSE ' ENABLE ALWAYS' END
       || ' TRIGGER ' || quote_ident(tgname)
FROM pg_trigger WHERE tgrelid = %(oid)s::oid AND NOT tgisinternal AND tgenabled <> 'O'
UNION ALL
SELECT 4, pg_get_ruledef(oid) FROM pg_rewrite WHERE ev_class = %(oid)s::oid
UNION ALL
SELECT 5, 'ALTER TABLE ' || ev_class::regclass
       || CASE ev_enabled WHEN 'D' THEN ' DISABLE' WHEN 'R' THEN ' ENABLE REPLICA' ELSE ' ENABLE ALWAYS' END
       || ' RULE ' || quote_ident(rulename)
FROM pg_rewrite WHERE ev_class = %(oid)s::oid AND ev_enabled <> 'O'
UNION ALL
SELECT 6, 'CREATE POLICY ' || quote_ident(polname) || ' ON ' || polrelid::regclass || ' AS '
       || CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END || ' FOR '
       || CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                      ELSE 'ALL' END
       || ' TO ' || (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE r::regrole::text END, ', ')
                     FROM unnest(polroles) AS r)
       || coalesce(' USING (' || pg_get_expr(polqual, polrelid) || ')', '')
       || coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')', '')
FROM pg_policy WHERE polrelid = %(oid)s::oid
UNION ALL
SELECT 7, 'ALTER TABLE ' || oid::regclass || ' ENABLE ROW LEVEL SECURITY' FROM pg_class
WHERE oid = %(oid)s::oid AND relrowsecurity
UNION ALL
SELECT 7, 'ALTER TABLE ' || oid::regclass || ' FORCE ROW LEVEL SECURITY' FROM pg_class
WHERE oid = %(oid)s::oid AND relforcerowsecurity
UNION ALL
SELECT 8, 'ALTER TABLE ' || c.oid::regclass || ' REPLICA IDENTITY '
       || CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'
          ELSE 'USING INDEX ' || (SELECT quote_ident(x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                                  WHERE i.indrelid = c.oid AND i.indisreplident) END
FROM pg_class c WHERE c.oid = %(oid)s::oid AND c.relreplident <> 'd'
UNION ALL
SELECT 9, 'ALTER TABLE ' || i.indrelid::regclass || ' CLUSTER ON ' || quote_ident(x.relname)
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = %(oid)s::oid AND i.indisclustered
UNION ALL
SELECT 10, 'ALTER INDEX ' || a.attrelid::regclass || ' ALTER COLUMN ' || a.attnum || ' SET STATISTICS '
       || a.attstattarget
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid
WHERE i.indrelid = %(oid)s::oid AND a.attstattarget >= 0
UNION ALL
SELECT 11, 'ALTER STATISTICS ' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname) || ' SET STATISTICS '
       || s.stxstattarget
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE s.stxrelid = %(oid)s::oid AND s.stxstattarget >= 0
UNION ALL
SELECT 12, 'ALTER STATISTICS ' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname) || ' OWNER TO '
       || s.stxowner::regrole
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = %(oid)s::oid
UNION ALL
SELECT 13, 'COMMENT ON ' || said.what || ' IS ' || quote_literal(said.comment)
FROM (
    SELECT 'TABLE ' || oid::regclass, obj_description(oid, 'pg_class') FROM pg_class WHERE oid = %(oid)s::oid
    UNION ALL SELECT 'CONSTRAINT ' || quote_ident(conname) || ' ON ' || conrelid::regclass,
                     obj_description(oid, 'pg_constraint')
    FROM pg_constraint WHERE conrelid = %(oid)s::oid AND contype <> 't' AND conparentid = 0
    UNION ALL SELECT 'INDEX ' || indexrelid::regclass, obj_description(indexrelid, 'pg_class')
    FROM pg_index WHERE indrelid = %(oid)s::oid
    UNION ALL SELECT 'TRIGGER ' || quote_ident(tgname) || ' ON ' || tgrelid::regclass,
                     obj_description(oid, 'pg_trigger')
    FROM pg_trigger WHERE tgrelid = %(oid)s::oid AND NOT tgisinternal
    UNION ALL SELECT 'RULE ' || quote_ident(rulename) || ' ON ' || ev_class::regclass,
                     obj_description(oid, 'pg_rewrite')
    FROM pg_rewrite WHERE ev_class = %(oid)s::oid
    UNION ALL SELECT 'POLICY ' || quote_ident(polname) || ' ON ' || polrelid::regclass,
                     obj_description(oid, 'pg_policy')
    FROM pg_policy WHERE polrelid = %(oid)s::oid
    UNION ALL SELECT 'STATISTICS ' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname),
                     obj_description(s.oid, 'pg_statistic_ext')
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = %(oid)s::oid
    UNION ALL SELECT 'SEQUENCE ' || d.objid::regclass, obj_description(d.objid, 'pg_class')
    FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = %(oid)s::oid AND d.refobjsubid > 0 AND d.deptype = 'i'
) AS said (what, comment) WHERE said.comment IS NOT NULL
ORDER BY 1
"""

#: Whose access lists are carried: the table's, then its columns', then its identity sequences', or all its own.
HAS_ACL = """
SELECT 'TABLE', c.oid::regclass::text, '', coalesce(c.relacl, acldefault('r', c.relowner)),
       c.relacl IS NULL, c.relowner::regrole::text
FROM pg_class c WHERE c.oid = {oid}
UNION ALL
SELECT 'TABLE', a.attrelid::regclass::text, ' (' || quote_ident(a.attname) || ')', a.attacl, false,
       c.relowner::regrole::text
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped AND a.attacl IS NOT NULL
UNION ALL
SELECT 'SEQUENCE', c.oid::regclass::text, '', coalesce(c.relacl, acldefault('s', c.relowner)),
       c.relacl IS NULL, c.relowner::regrole::text
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = {oid} AND d.refobjsubid > 0 AND d.deptype = ANY(%(sequences)s)
"""

#: What they grant: each privilege, by the owner first, since others grant only what they were given.
GRANTS = f"""
SELECT h.kind, h.named, h.columns, h.usual, h.owner, a.grantor::regrole::text,
       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, a.privilege_type, a.is_grantable
FROM ({HAS_ACL.format(oid="%(oid)s::oid")}) AS h (kind, named, columns, acl, usual, owner),
LATERAL aclexplode(h.acl) WITH ORDINALITY AS a (grantor, grantee, privilege_type, is_grantable, place)
ORDER BY h.kind DESC, h.columns, a.grantor::regrole::text = h.owner DESC, a.place
"""

#: Everybody who was given anything on a new table by default privileges.
GRANTED = f"""
SELECT DISTINCT h.kind, h.named, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
FROM ({HAS_ACL.format(oid="%(oid)s::oid")}) AS h (kind, named, columns, acl, usual, owner),
LATERAL aclexplode(h.acl) AS a WHERE NOT h.usual
"""

#: Act as another role, until the transaction ends or this is said again.
ACT_AS = "SELECT set_config('role', %(role)s, true)"

WHO = "SELECT current_setting('role')"

#: A role by its name alone, as set_config takes it.
NAME = "SELECT rolname FROM pg_roles WHERE oid = %(role)s::regrole"


def afterwards(conn: Conn, oid: int) -> list[str]:
    """Return the statements, in order, that give a table of the same name what this one has."""
    return [statement for _, statement in run(conn, AFTERWARDS, {"oid": oid})]


class Grants:
    """Who may do what with a table: read before a swap, given after it.

    owned: with the sequences that its columns own, and not only those of identities.
    """

    def __init__(self, conn: Conn, oid: int, *, owned: bool = False) -> None:
        self._sequences = ["a", "i"] if owned else ["i"]
        self._rows = run(conn, GRANTS, {"oid": oid, "sequences": self._sequences}).fetchall()

    def keep(self, columns: Collection[str], sequences: Collection[str]) -> None:
        """Forget columns and sequences other than these, in the server's own quoting: they are not there any more."""
        listed = {f" ({column})" for column in columns}
        self._rows = [
            (kind, named, of, *rest)
            for kind, named, of, *rest in self._rows
            if (not of or of in listed) and (kind != "SEQUENCE" or named in sequences)
        ]

    def give(self, conn: Conn, oid: int) -> None:
        """Give exactly these grants to the table that has the name now; each by who gave it."""
        params = {"oid": oid, "sequences": self._sequences}
        bare = {(kind, named, grantee) for kind, named, grantee in run(conn, GRANTED, params)}
        bare |= {
            (kind, named, owner)
            for kind, named, columns, usual, owner, *_ in self._rows
            if not (columns or usual)
        }
        perform(
            conn, [f"REVOKE ALL ON {kind} {named} FROM {grantee}" for kind, named, grantee in sorted(bare)]
        )
        emptied = {(kind, named) for kind, named, _ in bare}
        me = one(conn, WHO)[0]
        for kind, named, columns, usual, owner, grantor, grantee, privilege, grantable in self._rows:
            if usual and (kind, named) not in emptied:
                continue
            option = " WITH GRANT OPTION" if grantable else ""
            if grantor != owner:
                run(conn, ACT_AS, {"role": one(conn, NAME, {"role": grantor})[0]})
            perform(conn, [f"GRANT {privilege}{columns} ON {kind} {named} TO {grantee}{option}"])
            if grantor != owner:
                run(conn, ACT_AS, {"role": me})
