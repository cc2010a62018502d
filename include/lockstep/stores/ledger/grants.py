"""The rights of a role that works with the ledger, appends to its history, and can change nothing of it."""

from __future__ import annotations

import re
from importlib.resources import files

#: what such a role may read and append to
_APPENDED = ("_migration_history", "_migration_segments")
#: what it may read alone
_READ = ("_migration_schema",)
#: the history's end: it is moved on, and triggers see to it that it goes nowhere else
_MOVED = ("_migration_chain",)

_TEXT = """\
-- The rights of {role} in the ledger's database. Run as the role that owns the ledger's tables, or as a superuser, and
-- again after each upgrade of Lockstep. {role} must neither own the tables, nor be a superuser or a member of their
-- owner: this must return no row.
--   SELECT rolname FROM pg_roles WHERE rolname = {literal} AND (rolsuper OR pg_has_role(rolname,
--       (SELECT relowner FROM pg_class WHERE oid = 'public._migration_history'::regclass), 'MEMBER'));
BEGIN;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {role};
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, {role};
REVOKE CREATE ON SCHEMA public FROM {role};
-- Work: runs, shards, backups, leases, events.
GRANT SELECT, INSERT, UPDATE, DELETE ON {worked} TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
-- The history: read it, and append to it.
GRANT SELECT, INSERT ON {appended} TO {role};
GRANT SELECT, UPDATE ON {moved} TO {role};
GRANT SELECT ON {read} TO {role};
COMMIT;
-- For rehearsals, whose ledger is a database of its own:
--   ALTER ROLE {role} CREATEDB;"""


def grants(role: str) -> str:
    """Return the statements that give a role these rights and no others."""
    special = {*_APPENDED, *_READ, *_MOVED}
    worked = [table for table in tables() if table not in special]
    return _TEXT.format(
        role='"' + role.replace('"', '""') + '"',
        literal="'" + role.replace("'", "''") + "'",
        worked=_list(worked),
        appended=_list(_APPENDED),
        moved=_list(_MOVED),
        read=_list(_READ),
    )


def tables() -> list[str]:
    """Return the ledger's tables, as schema.sql has them."""
    text = (files("lockstep.stores.ledger") / "schema.sql").read_text(encoding="utf-8")
    return re.findall(r"^CREATE TABLE (\w+)", text, re.MULTILINE)


def _list(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"public.{name}" for name in names)
