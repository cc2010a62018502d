"""Housekeeping as its tasks call it: one place to look, and one to put a script in."""

from lockstep.engine.housekeeping.audited import audit_history
from lockstep.engine.housekeeping.drift import find_drift
from lockstep.engine.housekeeping.leases import tidy_leases
from lockstep.engine.housekeeping.listing import databases_of
from lockstep.engine.housekeeping.parked import remove_parked
from lockstep.engine.housekeeping.reading import Sample, read_backups
from lockstep.engine.housekeeping.rehearsed import remove_copies
from lockstep.engine.housekeeping.removing import remove_backups
from lockstep.engine.housekeeping.retention import Retention
from lockstep.engine.housekeeping.scratch import drop_orphans
from lockstep.engine.housekeeping.strangers import find_strangers

__all__ = [
    "Retention",
    "Sample",
    "audit_history",
    "databases_of",
    "drop_orphans",
    "find_drift",
    "find_strangers",
    "read_backups",
    "remove_backups",
    "remove_copies",
    "remove_parked",
    "tidy_leases",
]
