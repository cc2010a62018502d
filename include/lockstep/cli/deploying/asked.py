"""What a deploy asks for, and the key by which a re-run of the pipeline finds its run again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from lockstep.domain.errors import Refused

MIGRATE = "migrate"
#: parameters that have an option of their own
_OWN = ("target", "environment", "dry_run", "note")
#: what Airflow takes in a run's id
_KEY = re.compile(r"[A-Za-z0-9_.~:+-]+")
#: a key of this length leaves room for what the runs of the revisions add to it
_LONGEST = 150
#: the variables of a pipeline that stay the same when it is run again: the commit, then the pipeline
_PIPELINES = (("GITHUB_SHA", "GITHUB_RUN_ID"), ("CI_COMMIT_SHA", "CI_PIPELINE_ID"))
_COMMIT = 12


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One deploy."""

    target: str
    #: None: what Airflow's form means that says nothing
    environment: str | None = None
    #: other parameters of migrate
    conf: Mapping[str, Any] = field(default_factory=dict)
    key: str
    #: whether a re-run has the same key
    lasting: bool = True
    note: str = ""
    dry_run: bool = False

    def run_id(self, attempt: int) -> str:
        """Return the id of the run; a later attempt follows one that failed."""
        name = f"{'plan' if self.dry_run else 'deploy'}-{self.key}"
        return name if attempt == 1 else f"{name}-{attempt}"

    def parameters(self) -> dict[str, Any]:
        """Return what the run is asked for with."""
        given = {"environment": self.environment, "note": self.note, "dry_run": self.dry_run}
        return {"target": self.target, **self.conf, **{name: value for name, value in given.items() if value}}


def asked_for(
    *,
    target: str,
    environment: str | None,
    key: str | None,
    conf: Iterable[str],
    note: str | None,
    dry_run: bool,
    environ: Mapping[str, str],
) -> Asked:
    """Return what the options and the pipeline's variables ask for; Refused where they make no sense."""
    chosen = key or _pipeline_key(environ)
    if chosen is not None and (not _KEY.fullmatch(chosen) or len(chosen) > _LONGEST):
        raise Refused(
            f"the key {chosen!r} cannot be part of a run's id: it takes up to {_LONGEST} letters, digits and _.~:+-",
            key=chosen,
        )
    now = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}"
    lasting = chosen is not None and not dry_run
    return Asked(
        target=target,
        environment=environment,
        conf=dict(_pair(text) for text in conf),
        # A plan is asked for anew each time.
        key=(f"{chosen}-{now}" if chosen else now) if not lasting else str(chosen),
        lasting=lasting,
        note=_pipeline(environ) if note is None else note,
        dry_run=dry_run,
    )


def _pipeline_key(environ: Mapping[str, str]) -> str | None:
    """Return the commit and the pipeline, or what is known of them."""
    for names in _PIPELINES:
        found = [environ[name].strip() for name in names if environ.get(name, "").strip()]
        if found:
            return "-".join([found[0][:_COMMIT] if environ.get(names[0]) else found[0], *found[1:]])
    return None


def _pipeline(environ: Mapping[str, str]) -> str:
    """Return where the pipeline can be seen."""
    if environ.get("CI_PIPELINE_URL"):
        return environ["CI_PIPELINE_URL"]
    parts = [environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    return f"{parts[0]}/{parts[1]}/actions/runs/{parts[2]}" if all(parts) else ""


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Refused(f"--conf {text!r} is no parameter: write NAME=VALUE.")
    if name in _OWN:
        raise Refused(f"--conf {name}=… has an option of its own: --{name.replace('_', '-')}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
