"""End what a killed session left running in a data folder, without starting anything."""

from pathlib import Path

from lockstep.embedded import airflow, mongo, postgres, s3
from lockstep.embedded.process import end_leftover
from lockstep.embedded.servers import locked


def end_all_leftovers(root: Path) -> None:
    """End servers and Airflow that have no session any more; raise RootInUseError if one holds the folder."""
    with locked(root):
        airflow.end_leftovers(root)
        for part in (postgres, mongo, s3):
            end_leftover(part.spec(root, 0))
