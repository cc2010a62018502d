"""The PostgreSQL store: tables, and Lockstep's own schema beside them in the same database."""

from lockstep.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
