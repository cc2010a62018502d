"""The forms of the DAGs by which a person decides about the state of revisions, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from lockstep.orchestration.environments import ENVIRONMENT, environment_param
from lockstep.orchestration.params import dry_run_param


def baseline_params() -> dict[str, Param]:
    """Return the form of `baseline`."""
    return {
        ENVIRONMENT: environment_param(),
        "target": Param(
            "head",
            type="string",
            minLength=1,
            maxLength=100,
            title="Revision that the databases are at",
            description_md="It and those before it are marked applied, and nothing is run. `head` for the newest.",
        ),
        "reason": _reason("How the databases came to be at it, and who says so."),
        "unverified": Param(
            "",
            type="string",
            maxLength=2000,
            title="Revisions whose verify() is not asked",
            description_md="Where a later revision has changed on purpose what an earlier one promises: their ids with "
            "commas, or `all`. Say why in the reason.",
        ),
        **dry_run_param(),
    }


def repair_params() -> dict[str, Param]:
    """Return the form of `repair`."""
    return {
        ENVIRONMENT: environment_param(),
        "revision": Param(
            "",
            type="string",
            maxLength=100,
            title="Revision",
            description_md="Empty for the one that is failed or was left half-way.",
        ),
        "outcome": Param(
            "",
            type="string",
            enum=["", "applied", "rolled_back"],
            values_display={
                "": "choose",
                "applied": "applied: all of its effects are there",
                "rolled_back": "rolled back: none of them is there",
            },
            title="What the data really is",
            description_md="Look at the data before you choose. For `applied`, the revision's `verify()` is asked, and "
            "must hold.",
        ),
        "reason": _reason("What you found, and what you mended by hand."),
        "force": Param(
            False,
            type="boolean",
            title="Applied, although verify() does not hold",
            description_md="What did not hold is kept in the history, with the reason.",
        ),
        **dry_run_param(),
    }


def accept_params() -> dict[str, Param]:
    """Return the form of `accept_checksum`."""
    return {
        ENVIRONMENT: environment_param(),
        "revision": Param(
            "",
            type="string",
            maxLength=100,
            title="Revision",
            description_md="The applied one whose file was edited.",
        ),
        "checksum": Param(
            "",
            type="string",
            maxLength=64,
            title="First 12 characters of the file's checksum now",
            description_md="Trigger it without them first: the log shows what changed in the file, and its checksum.",
        ),
        "reason": _reason("Why the edit is harmless."),
        "operations_may_differ": Param(
            False,
            type="boolean",
            title="Other operations than those that were applied",
            description_md="Of what upgrade(), downgrade() and verify() declare. What differs is kept in the history.",
        ),
        **dry_run_param(),
    }


def _reason(help_text: str) -> Param:
    return Param(
        "",
        type="string",
        maxLength=2000,
        title="Reason",
        description_md=f"{help_text} It is kept in the history, with who said it. Without one nothing is done.",
    )


def unverified_from(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the revisions whose verify() is not asked."""
    return tuple(filter(None, (part.strip() for part in str(params.get("unverified") or "").split(","))))
