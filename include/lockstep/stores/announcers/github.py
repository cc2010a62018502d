"""A rehearsal on GitHub: the status of a commit, and that of a deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from lockstep.domain.announcement import Announcement, Sent, State
from lockstep.domain.errors import Refused, Unavailable
from lockstep.stores.announcers.sending import Endpoint, request

API_VERSION = "2022-11-28"
HEADERS = {
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": API_VERSION,
    "Content-Type": "application/json",
    "User-Agent": "lockstep",
}
#: what a branch rule names to require it
CONTEXT = "lockstep/rehearsal"
#: what tells our deployments from others
TASK = "lockstep:rehearsal"
#: characters that GitHub takes
DESCRIPTION = 140

_DEPLOYMENT: Mapping[State, str] = {
    "pending": "in_progress",
    "success": "success",
    "failure": "failure",
    "error": "error",
}


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """One repository, by one token (repository permissions: Commit statuses, and Deployments, write)."""

    endpoint: Endpoint
    #: "owner/name"
    repository: str
    base: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", f"/repos/{quote(self.repository, safe='/')}")

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return request(self.endpoint, "POST", self.base + path, body=body, headers=HEADERS)

    def get(self, path: str) -> Any:
        return request(self.endpoint, "GET", self.base + path, headers=HEADERS)


class CommitStatus:
    """The mark beside a commit, and so in its pull request. Said again, the latest counts."""

    name = "GitHub commit status"

    def __init__(self, github: GitHub) -> None:
        self._github = github

    def send(self, news: Announcement, *, tried_before: bool) -> Sent:
        commit = _text(news, "commit")
        if not commit:
            return Sent(said="nothing is sent, since the rehearsal names no commit")
        self._github.post(
            f"/statuses/{quote(commit, safe='')}",
            {
                "state": news.state,
                "target_url": news.url,
                "description": shortened(news.text),
                "context": CONTEXT,
            },
        )
        return Sent(said=f"{CONTEXT} of {commit[:12]} is {news.state}")


class DeploymentStatus:
    """The state of a deployment: of the one that the rehearsal names, or of one that is made for its commit."""

    name = "GitHub deployment status"

    def __init__(self, github: GitHub) -> None:
        self._github = github

    def send(self, news: Announcement, *, tried_before: bool) -> Sent:
        environment = _text(news, "deployment_environment")
        number = _text(news, "deployment") or str(news.kept.get("deployment") or "")
        commit = _text(news, "commit")
        if not number and not (environment and commit):
            return Sent(
                said="nothing is sent, since the rehearsal names no deployment, or environment and commit"
            )
        if not number:
            number = self._deployment(news, commit, environment, tried_before)
        body = {
            "state": _DEPLOYMENT[news.state],
            "log_url": news.url,
            "description": shortened(news.text),
            # Otherwise GitHub would call the deployments of that environment inactive that came before.
            "auto_inactive": False,
        }
        if environment:
            body["environment"] = environment
        try:
            self._github.post(f"/deployments/{quote(number, safe='')}/statuses", body)
        except (Unavailable, Refused) as problem:
            raise type(problem)(str(problem), **problem.fields, keep={"deployment": number}) from problem
        return Sent(said=f"deployment {number} is {body['state']}", keep={"deployment": number})

    def _deployment(self, news: Announcement, commit: str, environment: str, tried_before: bool) -> str:
        """Return the deployment's number, made now unless an earlier try has made it unheard."""
        mark = {"rehearsal": news.rehearsal.id}
        if tried_before:
            asked = urlencode({"sha": commit, "task": TASK, "environment": environment})
            for found in self._github.get(f"/deployments?{asked}") or ():
                if _payload(found) == mark:
                    return str(found["id"])
        made = self._github.post(
            "/deployments",
            {
                "ref": commit,
                "task": TASK,
                "auto_merge": False,
                "required_contexts": [],
                "payload": mark,
                "environment": environment,
                "description": shortened(f"Rehearsal of the migrations up to {news.rehearsal.target}"),
                "production_environment": False,
            },
        )
        number = made.get("id") if isinstance(made, dict) else None
        if number is None:
            raise Unavailable(f"{self._github.endpoint.shown} made a deployment and gave no id of it.")
        return str(number)


def shortened(text: str) -> str:
    """Return a description that GitHub takes."""
    text = " ".join(text.split())
    return text if len(text) <= DESCRIPTION else text[: DESCRIPTION - 1].rstrip() + "…"


def _text(news: Announcement, name: str) -> str:
    return str(news.rehearsal.params.get(name) or "").strip()


def _payload(deployment: Mapping[str, Any]) -> Any:
    payload = deployment.get("payload")
    try:
        return json.loads(payload) if isinstance(payload, str) else payload
    except ValueError:
        return None
