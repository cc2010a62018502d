"""The engine as the tasks call it: one place to look, and one to put a scripted engine in."""

from lockstep.domain.chain import load_chain
from lockstep.domain.loading import load_revision
from lockstep.engine.atomic import run_atomic
from lockstep.engine.backup import take_backup
from lockstep.engine.choosing import (
    choose,
    question_after_upgrade,
    question_after_way_back,
    way_after_way_back,
)
from lockstep.engine.emitting import emit, look_at_outbox, relay
from lockstep.engine.opening import current_run, open_run
from lockstep.engine.outcome import outcome
from lockstep.engine.proving import prove_backups
from lockstep.engine.putting_back import put_back
from lockstep.engine.readiness import check_way_down
from lockstep.engine.recording import note_failure, record
from lockstep.engine.routing import Hop, plan_route
from lockstep.engine.steps import plan_step, run_step_shard, settle
from lockstep.engine.undo import verify_restored, way_down
from lockstep.engine.verify import verify
from lockstep.orchestration.planning import approval_wanted, approve, one_step, planned, refuse_plan, reject
from lockstep.orchestration.wiring import services_for

__all__ = [
    "Hop",
    "approval_wanted",
    "approve",
    "check_way_down",
    "choose",
    "current_run",
    "emit",
    "load_chain",
    "load_revision",
    "look_at_outbox",
    "note_failure",
    "one_step",
    "open_run",
    "outcome",
    "plan_route",
    "plan_step",
    "planned",
    "prove_backups",
    "put_back",
    "question_after_upgrade",
    "question_after_way_back",
    "record",
    "refuse_plan",
    "reject",
    "relay",
    "run_atomic",
    "run_step_shard",
    "services_for",
    "settle",
    "take_backup",
    "verify",
    "verify_restored",
    "way_after_way_back",
    "way_down",
]
