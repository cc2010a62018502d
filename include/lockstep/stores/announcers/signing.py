"""Signatures of what is sent to a webhook, as Standard Webhooks 1.0 describes them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from lockstep.domain.errors import Refused

#: a secret that begins so is the base64 of its bytes; any other is taken as it stands
PREFIX = "whsec_"


def signature_headers(secret: str, message_id: str, body: bytes, at: float) -> dict[str, str]:
    """Return the headers of a signed message; `at`: seconds since 1970, against replay."""
    timestamp = str(int(at))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def key_of(secret: str) -> bytes:
    """Return a secret's bytes; Refused where it begins as base64 and is none."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise Refused(
            f"a signing secret that begins with {PREFIX} goes on in base64, and this one does not. Correct "
            "signing_secret in the extra of the Airflow connection."
        ) from None
