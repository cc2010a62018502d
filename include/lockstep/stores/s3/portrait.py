"""Describe a bucket: versioning, lifecycle and CORS, as far as the server answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from lockstep.stores.s3.capabilities import UNKNOWN
from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.errors import code_of

#: nothing of the kind is set, the server does not know it, or the key may not see it
_SILENT = UNKNOWN | {
    "403",
    "404",
    "AccessDenied",
    "NoSuchCORSConfiguration",
    "NoSuchLifecycleConfiguration",
}


def portrait(connection: Connection) -> dict[str, str]:
    """Return object → definition; what is not set, or not answered, is left out."""
    client, bucket = connection.client, connection.bucket
    asked: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
        "bucket versioning": (client.get_bucket_versioning, ("Status", "MFADelete")),
        "bucket lifecycle": (client.get_bucket_lifecycle_configuration, ("Rules",)),
        "bucket CORS": (client.get_bucket_cors, ("CORSRules",)),
    }
    found: dict[str, str] = {}
    for name, (ask, parts) in asked.items():
        with connection.translate(f"reading the {name}"):
            try:
                answer = ask(Bucket=bucket)
            except ClientError as problem:
                if code_of(problem) in _SILENT:
                    continue
                raise
        told = {part: answer[part] for part in parts if answer.get(part)}
        if told:
            found[name] = json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    return found
