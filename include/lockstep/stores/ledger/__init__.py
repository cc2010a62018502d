"""The ledger in PostgreSQL: runs, revisions, shards, batches, history and outbox."""

from lockstep.stores.ledger.ledger import PostgresLedger

__all__ = ["PostgresLedger"]
