"""The form of the DAG `rehearse`, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from lockstep.domain.rehearsal import FRESH, Asked
from lockstep.orchestration.environments import ENVIRONMENT, environment_param
from lockstep.orchestration.params import dry_run_param, route_params

COPY = "The copy"
REPORT = "Report and status"
#: of a run's form, what a rehearsal takes too: what shapes its batches and proves its backups
_AS_A_RUN = (
    "note",
    "bad_records",
    "quarantine_budget",
    "proof",
    "proof_restore_gb",
    "batch_seconds",
    "batch_rows",
    "batch_documents",
    "batch_objects",
    "batch_least",
    "shards",
    "vacuum",
)


def rehearse_params() -> dict[str, Param]:
    """Return the form."""
    return {
        ENVIRONMENT: environment_param(),
        **dry_run_param(),
        "target": Param(
            "head",
            type="string",
            minLength=1,
            maxLength=100,
            title="Target",
            description_md="`head`, or a revision's id: every revision up to it that the data has not behind it is "
            "tried, in order.",
        ),
        "source": Param(
            FRESH,
            type="string",
            minLength=1,
            maxLength=200,
            title="Source",
            description_md=f"`{FRESH}` backs the live databases up now. Or the id of an upgrade's run, whose backup is "
            "taken: the data as it was before that run.",
            section=COPY,
        ),
        "sample": Param(
            100,
            type="number",
            exclusiveMinimum=0,
            maximum=100,
            title="Per cent of the records",
            description_md="Fewer are quicker to try, and the prediction has a wider range. Chosen by a hash of the "
            "key; rows that a row kept refers to by a foreign key stay.",
            section=COPY,
        ),
        "whole": Param(
            True,
            type="boolean",
            title="Copy PostgreSQL databases whole",
            description_md="Statements may read tables that no operation declares. Off: only the declared ones have "
            "rows in the copy.",
            section=COPY,
        ),
        "keep": Param(
            False,
            type="boolean",
            title="Keep the scratch spaces",
            description_md="For a person to look into; the log names them, and housekeeping drops them in time.",
            section=COPY,
        ),
        "samples": Param(
            10,
            type="integer",
            minimum=0,
            maximum=100,
            title="Records of each operation in the report",
            description_md="Before and after. 0 for none: their values lie in the report, in the vault.",
            section=REPORT,
        ),
        "commit": Param(
            "",
            type="string",
            maxLength=100,
            title="Commit",
            description_md="SHA of the commit that is told of the verdict, and of which a deployment is made.",
            section=REPORT,
        ),
        "deployment_environment": Param(
            "",
            type="string",
            maxLength=100,
            title="Environment of the deployment",
            description_md="Of the deployment status, such as `production`; empty for no deployment status.",
            section=REPORT,
        ),
        "deployment": Param(
            "",
            type="string",
            maxLength=50,
            title="Deployment",
            description_md="Id of the deployment that is told; empty to make one.",
            section=REPORT,
        ),
        **{name: form for name, form in route_params("head", "").items() if name in _AS_A_RUN},
    }


def asked_from(params: Mapping[str, Any]) -> Asked:
    """Return what the form asks for."""
    usual = Asked()
    return Asked(
        source=str(params.get("source", usual.source)),
        sample=float(params.get("sample", usual.sample)),
        samples=int(params.get("samples", usual.samples)),
        keep=bool(params.get("keep", usual.keep)),
        whole=bool(params.get("whole", usual.whole)),
    )
