"""How many objects of a prefix were written since a moment, by the server's own clock."""

from __future__ import annotations

from datetime import datetime

from lockstep.domain.resources import Prefix
from lockstep.stores.s3.connection import OWN, Connection

#: objects that are looked at; a larger prefix is not listed to its end
MOST = 100_000


def modified_since(connection: Connection, prefix: Prefix, moment: datetime) -> tuple[int, bool]:
    """Return how many objects were written after a moment, and whether that is all of them.

    One listing of the prefix, of a hundred thousand objects at most. Removed ones leave no trace.
    """
    counted = seen = 0
    with connection.translate(f"listing {prefix}"):
        pages = connection.client.get_paginator("list_objects_v2").paginate(
            Bucket=connection.bucket, Prefix=prefix.name
        )
        for page in pages:
            for item in page.get("Contents", ()):
                own = item["Key"].startswith(OWN)
                counted += not own and item["LastModified"] > moment
                seen += 1
            if seen >= MOST:
                return counted, not page.get("IsTruncated")
    return counted, True
