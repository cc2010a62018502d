"""The values that Campus stores, as they are before the first revision."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Say how much of everything to make, and from which seed."""

    users: int = 2000
    submissions: int = 20000
    sessions: int = 10000
    uploads: int = 500
    seed: int = 27


@dataclass(frozen=True, kw_only=True)
class User:
    """A row of campus_auth.users."""

    id: str
    email: str
    name: str
    created_at: datetime
    activated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Session:
    """A row of campus_auth.sessions."""

    id: str
    user_id: str
    client_id: str
    expires_at: datetime
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An object below uploads/."""

    key: str
    body: bytes
    content_type: str
    metadata: Mapping[str, str]
