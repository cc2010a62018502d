"""Let what was taken back of a run be taken back again."""

from __future__ import annotations

from lockstep.stores.postgres.text import Conn, run

#: Mark every record of a run as not taken back: whoever does so has made the tables what they were before that.
REARM = """
UPDATE lockstep_state.journal SET taken_back = false, conflict = false
WHERE run_id = %(run_id)s AND taken_back
"""


def rearm(conn: Conn, run_id: str) -> int:
    """Return how many records of the run were taken back, and count as not taken back now."""
    return run(conn, REARM, {"run_id": run_id}).rowcount
