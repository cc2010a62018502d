"""Links from a task to Lockstep's own pages and to the run that triggered this one."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

#: where plugins/ mounts Lockstep's pages in the API server
PREFIX = "/lockstep"


@cache
def base_url() -> str:
    """Return where Airflow is served, as it is configured."""
    from airflow.sdk.configuration import conf

    return str(conf.get("api", "base_url", fallback=None) or "http://localhost:8080").rstrip("/")


def base_path() -> str:
    """Return the path below which Airflow is served, without its host: a browser knows the host better."""
    return urlsplit(base_url()).path.rstrip("/")


def run_page(ledger_run: str | None, dag_id: str, dag_run_id: str, within: str = "") -> str:
    """Return the page of a ledger's run; by the DAG run where the ledger's is not known.

    `within`: the path of the environment's pages, where there are several environments.
    """
    if ledger_run:
        return f"{base_path()}{PREFIX}{within}/runs/{quote(ledger_run, safe='')}"
    return f"{base_path()}{PREFIX}{within}/dag-runs/{quote(dag_id, safe='')}/{quote(dag_run_id, safe='')}"


def dag_run_page(dag_id: str, dag_run_id: str) -> str:
    """Return Airflow's page of a DAG run."""
    return f"{base_path()}/dags/{quote(dag_id, safe='')}/runs/{quote(dag_run_id, safe='')}"


def dag_run_url(dag_id: str, dag_run_id: str) -> str:
    """Return the whole address of a DAG run's page, for a log or a pipeline."""
    return f"{base_url().removesuffix(base_path())}{dag_run_page(dag_id, dag_run_id)}"


def report_url(rehearsal_id: str, within: str = "") -> str:
    """Return the whole address of a rehearsal's report, for a log, a pull request or a webhook."""
    return f"{base_url()}{PREFIX}{within}/rehearsals/{quote(rehearsal_id, safe='')}"


def _run_page(operator: Any, ti_key: Any) -> str:
    """Return the page of the run that a task worked for, in the environment that it worked in."""
    known = getattr(operator, "ledger_run", None)
    return run_page(known, ti_key.dag_id, ti_key.run_id, getattr(operator, "pages", ""))


class LedgerEntryLink(BaseOperatorLink):
    """The ledger's entry of the run."""

    name = "Ledger entry"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return _run_page(operator, ti_key)


class BackupManifestLink(BaseOperatorLink):
    """The manifests of the run's backups."""

    name = "Backup manifest"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return _run_page(operator, ti_key) + "/backup"


class TriggeredByLink(BaseOperatorLink):
    """The DAG run that triggered this one; the run itself where a person did."""

    name = "Triggered by"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        parent = getattr(operator, "triggered_by", None)
        if parent and "/" in parent:
            return dag_run_page(*parent.split("/", 1))
        return dag_run_page(ti_key.dag_id, ti_key.run_id)


class RehearsalReportLink(BaseOperatorLink):
    """The report of the rehearsal."""

    name = "Rehearsal report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        named = f"{quote(ti_key.dag_id, safe='')}/{quote(ti_key.run_id, safe='')}"
        return f"{base_path()}{PREFIX}{getattr(operator, 'pages', '')}/dag-runs/{named}/rehearsal"


LEDGER_ENTRY = LedgerEntryLink()
BACKUP_MANIFEST = BackupManifestLink()
TRIGGERED_BY = TriggeredByLink()
REHEARSAL_REPORT = RehearsalReportLink()
#: each is stored when a task ends, which costs a request: every task has the first, the others few
LINKS: tuple[BaseOperatorLink, ...] = (LEDGER_ENTRY,)
BACKUP_LINKS: tuple[BaseOperatorLink, ...] = (LEDGER_ENTRY, BACKUP_MANIFEST)
ALL_LINKS: tuple[BaseOperatorLink, ...] = (LEDGER_ENTRY, BACKUP_MANIFEST, TRIGGERED_BY)
REPORT_LINKS: tuple[BaseOperatorLink, ...] = (REHEARSAL_REPORT,)
