"""Documents in MongoDB, or in a server that speaks its protocol."""

from lockstep.stores.mongo.store import MongoStore

__all__ = ["MongoStore"]
