"""Objects in an S3 bucket."""

from lockstep.stores.s3.store import S3Store

__all__ = ["S3Store"]
