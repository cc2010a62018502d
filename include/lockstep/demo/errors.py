"""What can go wrong with a demo, beside what can with the servers.

DemoError
├── WrongSizeError          SIZE says nothing that can be made
├── OtherSizeError          the data that is there was made with another SIZE
├── NotACheckoutError       there are no revisions and DAGs to run
├── BrokenDagsError         a file of DAGs or revisions cannot be used
├── NotMigratedError        a run that everything else needs did not succeed
└── WitnessError            the independent program did not answer
"""

from collections.abc import Sequence
from pathlib import Path


class DemoError(Exception):
    """Stand above every error of a demo."""


class WrongSizeError(DemoError):
    """Name what was given as SIZE, and what can be."""

    def __init__(self, given: str, why: str) -> None:
        super().__init__(given, why)
        self.given = given
        self.why = why

    def __str__(self) -> str:
        return f"SIZE={self.given!r}: {self.why}"


class OtherSizeError(DemoError):
    """Name the folder whose data was made with another size."""

    def __init__(self, root: Path, made: str, asked: str) -> None:
        super().__init__(root, made, asked)
        self.root = root
        self.made = made
        self.asked = asked

    def __str__(self) -> str:
        return (
            f"The data in '{self.root}' has {self.made}, and you ask for {self.asked}. Leave SIZE out to use what "
            "is there, or start afresh with `make clean`."
        )


class NotACheckoutError(DemoError):
    """Name the folder that lacks what a demo shows."""

    def __init__(self, folder: Path, missing: str) -> None:
        super().__init__(folder, missing)
        self.folder = folder
        self.missing = missing

    def __str__(self) -> str:
        return f"'{self.folder}' has no {self.missing}: run the demo in a checkout of Lockstep."


class BrokenDagsError(DemoError):
    """Quote what Airflow says about files that it cannot use."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "Airflow cannot use every file of DAGs and revisions:\n" + "\n".join(self.problems)


class NotMigratedError(DemoError):
    """Name the run that did not succeed."""

    def __init__(self, dag_id: str, run_id: str, state: str) -> None:
        super().__init__(dag_id, run_id, state)
        self.dag_id = dag_id
        self.run_id = run_id
        self.state = state

    def __str__(self) -> str:
        return f"Run '{self.run_id}' of DAG '{self.dag_id}' ended {self.state}, so the demo cannot go on."


class WitnessError(DemoError):
    """Quote the independent program that could not hash the stores."""

    def __init__(self, program: Path, said: str) -> None:
        super().__init__(program, said)
        self.program = program
        self.said = said

    def __str__(self) -> str:
        return f"'{self.program.name}' failed:\n{self.said}"
