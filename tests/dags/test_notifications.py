"""The example that tells people parses without its providers, and says each event once, in words."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "notifications" / "tell_people.py"
FAILED = {
    "id": "2",
    "label": "migration.failed",
    "environment": "production",
    "revision": "0012",
    "run": "0012-up-1",
    "by": "deploy",
    "error": "users <record '7'> failed",
    "changed": True,
    "at": "2026-11-22T10:00:01+00:00",
}
APPLIED = {
    "id": "1",
    "label": "migration.applied",
    "environment": "production",
    "revision": "0011",
    "run": "0011-up-1",
    "by": "deploy",
    "at": "2026-11-22T10:00:00+00:00",
}


def test_it_parses_with_no_provider_and_is_scheduled_on_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in ("slack", "smtp"):
        monkeypatch.setitem(sys.modules, f"airflow.providers.{provider}", None)
    made = runpy.run_path(str(EXAMPLE))
    assert {asset.uri for asset in made["assets"].objects} == {
        f"lockstep://default/migration/{label}" for label in made["LABELS"]
    }


def test_each_event_is_said_once_the_earliest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, Any]] = []

    def notifier(name: str) -> type:
        class Notifier:
            def __init__(self, **given: Any) -> None:
                self.given = given

            def notify(self, context: Any) -> None:
                sent.append((name, self.given))

        return Notifier

    for path, name in (
        ("slack.notifications.slack", "SlackNotifier"),
        ("smtp.notifications.smtp", "SmtpNotifier"),
    ):
        module = ModuleType(path)
        setattr(module, name, notifier(name))
        monkeypatch.setitem(sys.modules, f"airflow.providers.{path}", module)

    said = runpy.run_path(str(EXAMPLE))["send"]([FAILED, APPLIED, FAILED], {})

    assert said == [
        "production: 0011 is applied (asked for by deploy)",
        "production: 0012 is failed (asked for by deploy), and a person has to decide what becomes of it\n"
        "users <record '7'> failed",
    ]
    assert [name for name, _ in sent] == ["SlackNotifier", "SmtpNotifier"] * 2
    assert sent[2][1] == {"slack_conn_id": "slack_default", "channel": "#deploys", "text": said[1]}
    assert sent[3][1]["subject"] == said[1].partition("\n")[0]
    assert "users &lt;record" in sent[3][1]["html_content"]
