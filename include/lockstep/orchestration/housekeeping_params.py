"""The form of housekeeping, and what a scheduled run, which nobody fills a form for, does by default."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Param

from lockstep.domain.environment import Environment
from lockstep.domain.errors import Refused
from lockstep.orchestration.environments import ENVIRONMENT, environment_param

#: a JSON object of parameters that differ from the defaults below, for scheduled runs as well
DEFAULTS = "LOCKSTEP_HOUSEKEEPING_DEFAULTS"
#: headings of the form
BACKUPS = "Backups"
LEFTOVERS = "What is left over"
DRIFT = "Drift"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run of housekeeping was asked for."""

    dry_run: bool
    keep_last: int
    keep_days: float
    check_percent: float
    check_small_kb: int
    parked_days: float
    orphan_days: float
    ignore_drift: tuple[str, ...]
    fail_on_drift: bool

    @staticmethod
    def of(params: Mapping[str, Any]) -> Wanted:
        given = {name: params[name] for name in Wanted.__dataclass_fields__}
        given["ignore_drift"] = tuple(given["ignore_drift"] or ())
        return Wanted(**given)


def housekeeping_params(usual: Environment | None = None) -> dict[str, Param]:
    """Return the form; Refused where the environment's defaults are no such parameters.

    `usual`: the environment that it cares for unless the form says another; None: the project's default.
    """
    forms = {ENVIRONMENT: environment_param(usual), **_first(), **_backups(), **_leftovers(), **_drift()}
    for name, value in _from_environment().items():
        if name not in forms:
            raise Refused(
                f"{DEFAULTS} names {name!r}, which is no parameter of housekeeping. It takes: "
                f"{', '.join(sorted(forms))}.",
                name=name,
            )
        forms[name].value = value
    return forms


def _from_environment() -> dict[str, Any]:
    given = os.environ.get(DEFAULTS, "").strip()
    if not given:
        return {}
    try:
        found = json.loads(given)
    except ValueError as problem:
        raise Refused(
            f'{DEFAULTS} is no JSON: {problem}. Write it as {{"keep_days": 90}}, or leave it empty.'
        ) from None
    if not isinstance(found, dict):
        raise Refused(f'{DEFAULTS} must be a JSON object, such as {{"keep_days": 90}}.')
    return found


def _first() -> dict[str, Param]:
    return {
        "dry_run": Param(
            False,
            type="boolean",
            title="Only say what would be done",
            description_md="Nothing is removed, noted or kept: the logs say what would go, and why the rest stays.",
        ),
    }


def _backups() -> dict[str, Param]:
    return {
        "keep_last": Param(
            3,
            type="integer",
            minimum=1,
            maximum=1000,
            title="Runs of each revision whose backups stay",
            description_md="The latest ones whose backups are proven and sound.",
            section=BACKUPS,
        ),
        "keep_days": Param(
            30,
            type="number",
            minimum=0,
            maximum=36_500,
            title="Days for which every backup stays",
            description_md="What a downgrade, a resumed run or a restore of what is there now may need stays "
            "whatever this says.",
            section=BACKUPS,
        ),
        "check_percent": Param(
            10,
            type="number",
            minimum=0,
            maximum=100,
            title="Percent of the large files that are read again",
            description_md="Which ones follows from the day, so that with 10 all were read after ten runs on "
            "different days. 0: none.",
            section=BACKUPS,
        ),
        "check_small_kb": Param(
            64,
            type="integer",
            minimum=0,
            maximum=1_000_000,
            title="Kilobytes up to which a file counts as small",
            description_md="Small files are read every time.",
            section=BACKUPS,
        ),
    }


def _leftovers() -> dict[str, Param]:
    return {
        "parked_days": Param(
            30,
            type="number",
            minimum=0,
            maximum=36_500,
            title="Days for which parked things stay",
            description_md="What a revision dropped is parked, and a downgrade gives it back while it is there. 0: "
            "for ever. Nothing goes while a run is open or failed.",
            section=LEFTOVERS,
        ),
        "orphan_days": Param(
            0,
            type="number",
            minimum=0,
            maximum=36_500,
            title="Days after which what the ledger does not know is removed",
            description_md="Folders in the vault and scratch spaces of runs that this ledger never heard of. They "
            "may be another installation's: 0 only reports them.",
            section=LEFTOVERS,
        ),
    }


def _drift() -> dict[str, Param]:
    return {
        "ignore_drift": Param(
            [],
            type=["array", "null"],
            items={"type": "string"},
            title="Objects that may differ",
            description_md="Patterns, one a line, such as `table import_*` or `campus_auth index tmp_*`.",
            section=DRIFT,
        ),
        "fail_on_drift": Param(
            False,
            type="boolean",
            title="Drift makes this run red",
            description_md="Otherwise it is reported, and the run is green.",
            section=DRIFT,
        ),
    }
