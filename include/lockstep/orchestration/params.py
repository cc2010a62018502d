"""The form that triggers a run: every parameter with its title, help and limits."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isinf
from typing import Any, cast

from airflow.sdk import Param

from lockstep.domain.errors import Refused
from lockstep.domain.pacing import Limits
from lockstep.domain.revision import Direction
from lockstep.domain.window import EXAMPLES, Window
from lockstep.engine.services import Settings
from lockstep.orchestration.environments import ENVIRONMENT, environment_param

#: conf key by which migrate and rollback say that they triggered a run; honoured only of them
PARENT = "lockstep_parent"
#: the parameter that lets a run only say what it would do
DRY_RUN = "dry_run"
#: the parameter that accepts what a downgrade loses, as the engine knows it
LOSSY = "lossy"
#: headings of the form
BATCHES = "Batches and shards"
PACE = "When to wait"
FAILURES = "When something fails"
BACKUPS = "Backups"
GIGABYTE = 1024**3

_SETTINGS = (
    "batch_seconds",
    "batch_rows",
    "batch_documents",
    "batch_objects",
    "batch_least",
    "shards",
    "lease_seconds",
    "window",
    "bad_records",
    "quarantine_budget",
    "vacuum",
    "on_failure",
    "on_undo_failure",
    "proof",
    "reuse_backups",
)


def dry_run_param() -> dict[str, Param]:
    """Return the parameter by which a form asks only what would be done, for every DAG's form.

    A DAG takes it up by adding this to its form. `wiring.services_for` then opens ledger, vault and stores so that
    nothing of them can be written, and the first task ends with `tasks.dry.end_dry`, which leaves the others out.
    """
    return {
        DRY_RUN: Param(
            False,
            type="boolean",
            title="Only say what would be done",
            description_md="A dry run: the first task's log says what would be done, its result has it under `plan`, "
            "and nothing is written to any database, bucket, ledger or vault. The run ends green.",
        )
    }


def _run_forms() -> dict[str, Param]:
    """Return what every kind of run accepts."""
    settings = Settings()
    return {
        ENVIRONMENT: environment_param(),
        "note": Param(
            "",
            type="string",
            maxLength=2000,
            title="Note",
            description_md="Kept with the run in the ledger: a ticket, a reason, who approved it.",
        ),
        **_failure_forms(settings),
        **_backup_forms(settings),
        **_batch_forms(settings),
        **_pace_forms(settings),
    }


#: what can follow a failure, in the order of the form
_AFTER = {
    "downgrade": "take back what was done",
    "ask": "ask a person",
    "restore": "put the backups back",
    "leave": "leave it for a person",
}


def _failure_forms(settings: Settings) -> dict[str, Param]:
    return {
        "on_failure": Param(
            settings.on_failure,
            type="string",
            enum=list(_AFTER),
            values_display=_AFTER,
            title="After a failure",
            description_md="`downgrade` takes back what was done, step by step, and compares the data with what it "
            "was. `restore` puts the backups of the run back instead. `ask` waits, holding no worker, until somebody "
            "chooses in Airflow: to retry, or one of the others. `leave` stops there; until somebody resumes the run, "
            "every other is refused.",
            section=FAILURES,
        ),
        "on_undo_failure": Param(
            settings.on_undo_failure,
            type="string",
            enum=["leave", "ask", "restore"],
            values_display={name: _AFTER[name] for name in ("leave", "ask", "restore")},
            title="And where that fails too",
            description_md="`restore` puts the backups of the run back. A downgrade that was asked for is left or "
            "asked about: what it had taken out of its journal no backup brings back.",
            section=FAILURES,
        ),
        "bad_records": Param(
            settings.bad_records,
            type="string",
            enum=["fail", "quarantine"],
            values_display={"fail": "the upgrade fails", "quarantine": "leave it as it was, and list it"},
            title="A record that cannot be carried",
            description_md="`fail` ends the upgrade. `quarantine` leaves the record as it was, lists it in the "
            "ledger with its error, and goes on; the run ends as `applied_with_quarantine`.",
            section=FAILURES,
        ),
        "quarantine_budget": Param(
            settings.quarantine_budget,
            type="integer",
            minimum=0,
            maximum=100_000,
            title="Records in quarantine, at most",
            description_md="One more than this and the upgrade fails after all.",
            section=FAILURES,
        ),
    }


def _backup_forms(settings: Settings) -> dict[str, Param]:
    return {
        "proof": Param(
            settings.proof,
            type="string",
            enum=["auto", "checksum", "restore"],
            values_display={
                "auto": "by size",
                "checksum": "read them back",
                "restore": "restore them beside the data",
            },
            title="How backups are proven",
            description_md="Before the first change. `checksum` reads every file back. `restore` also restores each "
            "backup into a scratch space beside its database and compares every record. `auto` restores a database's "
            "backup up to `proof_restore_gb`, where the role may make a scratch space.",
            section=BACKUPS,
        ),
        "proof_restore_gb": Param(
            settings.proof_restore_bytes / GIGABYTE,
            type="number",
            minimum=0,
            maximum=100_000,
            title="Gigabytes of a backup up to which auto restores it",
            description_md="As the backup lies in the vault, which is compressed.",
            section=BACKUPS,
        ),
        "reuse_backups": Param(
            settings.reuse_backups,
            type="boolean",
            title="Use an earlier proven backup of what has not changed",
            description_md="A database in which nothing that the revision touches has changed since an earlier proven "
            "backup is not written again; the files of that one are proven once more. Buckets are always written.",
            section=BACKUPS,
        ),
    }


def _batch_forms(settings: Settings) -> dict[str, Param]:
    return {
        "batch_seconds": Param(
            settings.batch_seconds,
            type="number",
            minimum=0.05,
            maximum=60,
            title="Seconds of a batch",
            description_md="What a batch aims at: its size follows from how long the ones before took. Shorter "
            "ones hold their locks for less time, longer ones cost less in all.",
            section=BATCHES,
        ),
        "batch_rows": _most(settings.batch_rows, 1_000_000, "Rows of a table"),
        "batch_documents": _most(settings.batch_documents, 100_000, "Documents of a collection"),
        "batch_objects": _most(settings.batch_objects, 10_000, "Objects of a prefix"),
        "batch_least": Param(
            settings.batch_least,
            type="integer",
            minimum=1,
            maximum=10_000,
            title="Records in a batch, at least",
            description_md="However slow they are.",
            section=BATCHES,
        ),
        "shards": Param(
            settings.shards,
            type="integer",
            minimum=1,
            maximum=64,
            title="Shards, at most",
            description_md="So many key ranges of one operation run side by side, each as one task. Small "
            "resources use fewer.",
            section=BATCHES,
        ),
        "vacuum": Param(
            settings.vacuum,
            type="boolean",
            title="Vacuum between batches",
            description_md="Lets the space of rows that were updated be used again while the run goes on, so that "
            "the table does not double.",
            section=BATCHES,
        ),
        "lease_seconds": Param(
            settings.lease_seconds,
            type="number",
            minimum=10,
            maximum=3600,
            title="Seconds of the lease",
            description_md="How long a run that says nothing keeps the right to write.",
            section=BATCHES,
        ),
    }


def _most(default: int, maximum: int, what: str) -> Param:
    return Param(
        default,
        type="integer",
        minimum=1,
        maximum=maximum,
        title=f"{what} in a batch, at most",
        description_md="Whatever the time says.",
        section=BATCHES,
    )


def _pace_forms(settings: Settings) -> dict[str, Param]:
    limits = settings.limits
    return {
        "window": Param(
            settings.window,
            type="string",
            maxLength=500,
            title="Window",
            description_md=f"When the upgrade may work, such as {EXAMPLES}; empty for always. Outside it the run "
            "pauses, and it resumes by itself. Taking back what a failure left does not wait.",
            section=PACE,
        ),
        "limit_replication_lag": _limit(
            limits.replication_lag, 86_400, "Seconds that a standby or secondary may be behind", _HALF
        ),
        "limit_slot_gb": _limit(
            limits.slot_bytes / GIGABYTE,
            100_000,
            "Gigabytes of WAL that a replication slot may keep back",
            _HALF,
        ),
        "limit_waiters": _limit(limits.waiters, 10_000, "Sessions that may wait for a lock of ours", _HALF),
        "limit_transaction_age": _limit(
            limits.transaction_age,
            604_800,
            "Seconds that another session's transaction may be open",
            "Beyond it batches go at half pace. They never wait for it: that could be for ever.",
        ),
        "limit_connections": _limit(
            limits.connections * 100,
            100,
            "Percent of the server's connections that may be in use",
            "Beyond it batches wait, and they go at half pace while it is near.",
        ),
    }


_HALF = "Beyond half of it batches go at half pace, beyond all of it they wait."


def _limit(default: float, maximum: float, title: str, what: str) -> Param:
    return Param(
        default,
        type=["number", "null"],
        minimum=0,
        maximum=maximum,
        title=title,
        description_md=f"{what} Empty: not looked at.",
        section=PACE,
    )


def revision_params() -> dict[str, Param]:
    """Return the form of a revision's DAG."""
    return {
        "direction": Param(
            "upgrade",
            type="string",
            enum=["upgrade", "downgrade"],
            title="Direction",
            description_md="`upgrade` applies the revision, `downgrade` takes an applied one back.",
        ),
        "resume": Param(
            False,
            type="boolean",
            title="Resume",
            description_md="Continue a failed run of this revision where it stopped. Mend the cause first. (A run "
            "that somebody paused is resumed on its own page instead.)",
        ),
        "redrive": Param(
            False,
            type="boolean",
            title="Try the records in quarantine again",
            description_md="Of an applied revision: carry those records that an earlier run left as they were, "
            "and nothing else. Mend them first.",
        ),
        LOSSY: _lossy(),
        **dry_run_param(),
        **_run_forms(),
    }


def _lossy() -> Param:
    return Param(
        False,
        type="boolean",
        title="Accept what a downgrade loses",
        description_md="Without it a downgrade is refused that would lose data for good: what was written since to a "
        "column or table that SQL drops, or what cannot come back since its journal or the parked thing is gone. The "
        "log says what, and how many records.",
        section=FAILURES,
    )


def route_params(default_target: str, help_text: str, direction: Direction = "upgrade") -> dict[str, Param]:
    """Return the form of migrate or rollback."""
    return {
        "target": Param(
            default_target,
            type="string",
            minLength=1,
            maxLength=100,
            title="Target",
            description_md=help_text,
        ),
        **({LOSSY: _lossy()} if direction == "downgrade" else {}),
        **dry_run_param(),
        **_run_forms(),
    }


def passed_on(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that migrate and rollback give each revision's run as they are."""
    return {name: params[name] for name in (*_run_forms(), LOSSY) if name in params}


def settings_from(params: Mapping[str, Any]) -> Settings:
    """Return the engine's settings for what the form said."""
    named = {name: params[name] for name in _SETTINGS if name in params}
    if "proof_restore_gb" in params:
        named["proof_restore_bytes"] = int(float(params["proof_restore_gb"]) * GIGABYTE)
    return Settings(**named, limits=_limits_from(params))


def _limits_from(params: Mapping[str, Any]) -> Limits:
    """Return limits; one that is empty is infinite, so that its signal is not looked at."""
    default = Limits()

    def given(name: str, otherwise: float) -> float:
        value = params.get(name, otherwise)
        return inf if value is None else float(value)

    return Limits(
        replication_lag=given("limit_replication_lag", default.replication_lag),
        slot_bytes=_whole(given("limit_slot_gb", default.slot_bytes / GIGABYTE) * GIGABYTE),
        waiters=_whole(given("limit_waiters", default.waiters)),
        transaction_age=given("limit_transaction_age", default.transaction_age),
        connections=given("limit_connections", default.connections * 100) / 100,
    )


def _whole(value: float) -> int:
    """Return a count without its fraction; no count at all stays infinite, which no integer is."""
    return cast(int, value) if isinf(value) else int(value)


def refuse_bad(conf: Mapping[str, Any] | None, known: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Raise Refused for what the form itself cannot refuse: a key that is no parameter, or a window of no sense.

    Airflow would drop an unknown key without a word.
    """
    unknown = sorted(set(conf or {}) - set(known) - {PARENT})
    if unknown:
        raise Refused(
            f"the run was asked for with {', '.join(map(repr, unknown))}, which is no parameter of this DAG. "
            f"It takes: {', '.join(sorted(known))}.",
            unknown=unknown,
        )
    Window.parse(str(params.get("window") or ""))
