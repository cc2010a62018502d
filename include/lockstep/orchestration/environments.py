"""Which environment a run works in: a parameter of every form, resolved in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from lockstep.domain.declared_environments import declared_environments
from lockstep.domain.environment import Environment, Environments

#: the parameter of every DAG's form
ENVIRONMENT = "environment"
#: environment variable that names the default where include/environments.py declares none
DEFAULT = "LOCKSTEP_ENVIRONMENT"
#: below Lockstep's pages, those of one of several environments
PAGES = "/in"


def environments() -> Environments:
    """Return what the project declares; DeclarationError for what it declares wrongly."""
    from lockstep.orchestration.wiring import LEDGER, VAULT, conn_id_of

    return declared_environments(apart=(conn_id_of(LEDGER), conn_id_of(VAULT)))


def default_environment() -> Environment:
    """Return the environment of a form that says nothing; Refused where the variable names one that is not there."""
    return environments().default(os.environ.get(DEFAULT, "").strip())


def environment_of(params: Mapping[str, Any]) -> Environment:
    """Return the environment that a form asks for; Refused, with those there are, for another name."""
    named = str(params.get(ENVIRONMENT) or "")
    return environments().get(named) if named else default_environment()


def environment_param(usual: Environment | None = None) -> Param:
    """Return the parameter by which a form chooses; `usual`: its default, unless it is the project's."""
    return Param(
        (usual or default_environment()).name,
        type="string",
        enum=list(environments().names),
        title="Environment",
        description_md="Whose connections, ledger, backups and policies: one of those that `include/environments.py` "
        "declares.",
    )


def each(dag_id: str) -> dict[str, Environment]:
    """Return a DAG id for each environment: what runs by a schedule asks nobody which one is meant.

    The default environment has the plain id, another `<dag_id>_<name>`.
    """
    usual = default_environment()
    others = {f"{dag_id}_{one.name}": one for one in environments() if one != usual}
    return {dag_id: usual, **others}


def pages_of(environment: Environment) -> str:
    """Return the path of an environment's pages below Lockstep's own; empty where there is only one environment."""
    return f"{PAGES}/{environment.name}" if len(environments()) > 1 else ""
