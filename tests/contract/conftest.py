"""Fixtures that several files of contract tests use."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["the server's own way", "any server's way"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journal by RETURNING OLD where the server knows it, and as it must be done where it does not."""
    if request.param == "any server's way":
        monkeypatch.setattr("lockstep.stores.postgres.journal.RETURNS_OLD_SINCE", 10**9)
