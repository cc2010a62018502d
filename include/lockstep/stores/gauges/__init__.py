"""What a rehearsal measures of a copy, and how it makes one smaller: one file a kind of store."""

from __future__ import annotations

from typing import Any

from lockstep.domain.resources import Bucket, Database, Mongo, Postgres
from lockstep.stores.gauges.mongo import MongoGauge
from lockstep.stores.gauges.postgres import PostgresGauge
from lockstep.stores.gauges.s3 import S3Gauge


def gauge(database: Database, store: Any) -> PostgresGauge | MongoGauge | S3Gauge:
    """Return the gauge of a copy that a store works in."""
    if isinstance(database, Postgres):
        return PostgresGauge(store)
    if isinstance(database, Mongo):
        return MongoGauge(database, store)
    assert isinstance(database, Bucket)
    return S3Gauge(database, store)


__all__ = ["MongoGauge", "PostgresGauge", "S3Gauge", "gauge"]
