"""Put a backup back, wholly or in part, here or elsewhere, and make the ledger say what is so then."""

from lockstep.engine.restoring.choosing import Choice, restorable
from lockstep.engine.restoring.ending import end_restore, restore_outcome
from lockstep.engine.restoring.opening import open_restore
from lockstep.engine.restoring.overwritten import back_up_overwritten
from lockstep.engine.restoring.plan import Fate, RestorePlan, Target
from lockstep.engine.restoring.planning import plan_restore
from lockstep.engine.restoring.putting import restore_database

__all__ = [
    "Choice",
    "Fate",
    "RestorePlan",
    "Target",
    "back_up_overwritten",
    "end_restore",
    "open_restore",
    "plan_restore",
    "restorable",
    "restore_database",
    "restore_outcome",
]
