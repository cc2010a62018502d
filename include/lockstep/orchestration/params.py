"""The form that triggers a run: every parameter with its title, help and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from lockstep.domain.errors import Refused
from lockstep.engine.services import Settings

#: conf key by which migrate and rollback say that they triggered a run; honoured only of them
PARENT = "lockstep_parent"


def _run_forms() -> dict[str, Param]:
    """Return what every kind of run accepts."""
    settings = Settings()
    return {
        "shards": Param(
            settings.shards,
            type="integer",
            minimum=1,
            maximum=64,
            title="Shards",
            description_md="At most so many key ranges of one operation run side by side, each as one task. "
            "Small resources use fewer.",
        ),
        "batch_rows": Param(
            settings.batch_rows,
            type="integer",
            minimum=100,
            maximum=1_000_000,
            title="Rows in a batch",
            description_md="Rows of a table that commit together. Fewer lock for a shorter time, more are faster.",
        ),
        "batch_documents": Param(
            settings.batch_documents,
            type="integer",
            minimum=1,
            maximum=100_000,
            title="Documents in a batch",
            description_md="Documents of a collection that are journaled and written together.",
        ),
        "batch_objects": Param(
            settings.batch_objects,
            type="integer",
            minimum=1,
            maximum=10_000,
            title="Objects in a batch",
            description_md="Objects of a prefix that are journaled and written together.",
        ),
        "on_failure": Param(
            settings.on_failure,
            type="string",
            enum=["downgrade", "leave"],
            values_display={"downgrade": "take back what was done", "leave": "leave it for a person"},
            title="After a failure",
            description_md="`downgrade` takes back what was done and compares the data with what it was. "
            "`leave` stops there; until somebody resumes the run, every other is refused.",
        ),
        "note": Param(
            "",
            type="string",
            maxLength=2000,
            title="Note",
            description_md="Kept with the run in the ledger: a ticket, a reason, who approved it.",
        ),
    }


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
        **_run_forms(),
        "resume": Param(
            False,
            type="boolean",
            title="Resume",
            description_md="Continue a failed run of this revision where it stopped. Mend the cause first.",
        ),
    }


def route_params(default_target: str, help_text: str) -> dict[str, Param]:
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
        **_run_forms(),
    }


def settings_from(params: Mapping[str, Any]) -> Settings:
    """Return the engine's settings for what the form said."""
    named = ("shards", "batch_rows", "batch_documents", "batch_objects", "on_failure")
    return Settings(**{name: params[name] for name in named if name in params})


def refuse_unknown(conf: Mapping[str, Any] | None, known: Mapping[str, Any]) -> None:
    """Raise Refused for a conf key that is no parameter: Airflow would drop it without a word."""
    unknown = sorted(set(conf or {}) - set(known) - {PARENT})
    if unknown:
        raise Refused(
            f"the run was asked for with {', '.join(map(repr, unknown))}, which is no parameter of this DAG. "
            f"It takes: {', '.join(sorted(known))}.",
            unknown=unknown,
        )
