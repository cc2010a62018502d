"""The buttons that pause a run and resume it."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus

#: Airflow shows the page in a frame that may run scripts and reach its own origin, and nothing else. A form
#: could not send JSON, which is what keeps other sites from sending it.
_SCRIPT = """
document.querySelectorAll("form.switch").forEach((form) =>
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = form.querySelector("output");
    const reason = form.querySelector("input");
    form.querySelector("button").disabled = true;
    const answer = await fetch(form.dataset.to, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify(reason ? {reason: reason.value} : {}),
    }).catch((error) => ({ok: false, json: async () => ({detail: String(error)})}));
    if (answer.ok) return location.reload();
    const problem = await answer.json().catch(() => ({}));
    said.textContent = problem.detail || `it was refused (${answer.status})`;
    form.querySelector("button").disabled = false;
  }));
"""
SCRIPT_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()


def switch(run: Run, url: str, *, may: bool) -> str:
    """Return what shows whether an open run is paused, with a button for who `may` change that."""
    if run.status is not RunStatus.OPEN:
        return ""
    if run.pause is None:
        field = '<input name="reason" maxlength="500" placeholder="Why? Kept in the history." aria-label="reason">'
        return _form(f"{url}/pause", "Pause", field) if may else ""
    why = f": {run.pause.reason}" if run.pause.reason else ""
    told = f"Paused by {run.pause.by} at {run.pause.at:%Y-%m-%d %H:%M:%S} UTC{why}"
    said = f'<p class="status">{escape(told)}</p>'
    return said + (_form(f"{url}/resume", "Resume") if may else "")


def _form(to: str, name: str, field: str = "") -> str:
    return (
        f'<form class="switch" data-to="{escape(to, quote=True)}">{field}'
        f"<button>{escape(name)}</button><output></output></form><script>{_SCRIPT}</script>"
    )
