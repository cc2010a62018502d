"""The form of the DAG `restore`, and what it means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from lockstep.domain.errors import Refused
from lockstep.orchestration.environments import ENVIRONMENT, environment_param
from lockstep.orchestration.params import dry_run_param

#: when a person is asked before anything happens
APPROVE = ("auto", "never", "always")


def restore_params() -> dict[str, Param]:
    """Return the form."""
    return {
        ENVIRONMENT: environment_param(),
        **dry_run_param(),
        "backup": Param(
            "",
            type="string",
            maxLength=200,
            title="Backup",
            description_md="The id of the run that took it, as its log and the page of backups name it. Empty: the "
            "task `choose` asks, and lists the latest.",
        ),
        "resource": Param(
            "",
            type="string",
            maxLength=2000,
            title="Resource",
            description_md="Empty for the whole backup. A table, collection or prefix, such as `users`; a connection, "
            "such as `campus_auth`, for all that the backup has of it; or `campus_auth:users`. Several with commas.",
        ),
        "into": Param(
            "",
            type=["string", "object"],
            title="Into another database",
            description_md="Empty for where it came from. Otherwise `campus_auth=campus_auth_copy`, the connection of "
            "the backup and the one to put it into, which must be of the same kind; several with commas, or as a JSON "
            "object.",
        ),
        "approve": Param(
            "auto",
            type="string",
            enum=list(APPROVE),
            values_display={
                "auto": "ask where something is overwritten",
                "never": "do not ask",
                "always": "ask",
            },
            title="Approval",
            description_md="Whether a person is asked, with the plan before them, before anything is changed.",
        ),
        "reconcile": Param(
            True,
            type="boolean",
            title="Reconcile the ledger",
            description_md="A whole backup that goes back to where it came from takes the revisions along: those that "
            "it does not know become rolled back, those that it has become applied. Off: the ledger stays as it is.",
        ),
        "note": Param(
            "",
            type="string",
            maxLength=2000,
            title="Note",
            description_md="Kept with the run in the ledger: a ticket, a reason.",
        ),
    }


def only_from(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the connections and resources that were asked for; empty for all."""
    return _listed(str(params.get("resource") or ""))


def into_from(params: Mapping[str, Any]) -> dict[str, str]:
    """Return connection of the backup → connection to put it into; Refused for what cannot be read so."""
    given = params.get("into") or ""
    if isinstance(given, str) and given.lstrip().startswith("{"):
        try:
            given = json.loads(given)
        except ValueError as problem:
            raise Refused(f"into is no JSON object: {problem}. Write {_EXAMPLE}.", into=given) from None
    if not isinstance(given, Mapping):
        pairs = [one.partition("=") for one in _listed(str(given))]
        given = {source.strip(): into.strip() for source, _, into in pairs}
    if not all(isinstance(name, str) and name for pair in given.items() for name in pair):
        raise Refused(f"into is {params.get('into')!r}. Write {_EXAMPLE}.", into=str(params.get("into")))
    return dict(given)


_EXAMPLE = 'campus_auth=campus_auth_copy, or {"campus_auth": "campus_auth_copy"}'


def _listed(given: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in given.split(","))))
