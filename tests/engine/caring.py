"""What the tests of baseline, repair and accept_checksum have in common."""

from __future__ import annotations

from typing import Any

from driver import Driver

from lockstep.domain.run import Caller

USERS = """CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 50) n"""


def by(number: int = 1, dag_id: str = "care") -> Caller:
    """Return who asks."""
    return Caller(dag_id=dag_id, dag_run_id=f"care-{number}", by="vera")


def notes(driver: Driver, kind: str) -> list[dict[str, Any]]:
    """Return the history's entries of a kind, and see that its chain holds."""
    ledger = driver.services(lambda place: None).ledger
    assert ledger.verify_history() is None
    return [entry for entry in ledger.history() if entry["kind"] == kind]
