"""What a project declares its databases and resources with."""

from lockstep.domain.resources import Bucket, Collection, Mongo, Postgres, Prefix, Table

__all__ = ["Bucket", "Collection", "Mongo", "Postgres", "Prefix", "Table"]
