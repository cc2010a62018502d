"""The DAG that takes the chain down to a target."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from lockstep.orchestration.migrate import route_dag

_HELP = (
    "`previous` for one step back, a revision's id to make that one the newest that stands, or `base` to take "
    "every revision back."
)
_PAGE = """
Take applied revisions back down to `target`, newest first, each by the downgrade of its own DAG with its own
backup.

Before it starts, the log of `plan` says for each revision what a downgrade does now: where former values come from,
what was written since, which backup there is. One that would lose data for good is refused, unless `lossy` accepts that.

`approve` asks a person where the environment's policy wants that. With `dry_run` it ends after the plan, and writes
nothing.

It stops at the first that does not end where it should, and says why. While a revision runs, this waits
without a worker. Note that `target` `previous` means one step from where the chain is when the run starts.
"""


def build_rollback(folder: Path) -> DAG:
    """Return the DAG `rollback`."""
    return route_dag(
        "rollback", "downgrade", folder, "Take the chain down to a target", _PAGE, "previous", _HELP
    )
