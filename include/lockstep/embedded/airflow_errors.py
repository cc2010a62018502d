"""What can go wrong with the embedded Airflow.

EmbeddedError
├── AirflowRefusedError     the REST API answered with an error
├── RunTooSlowError         a run was not over in time
└── DagsMissingError        a DAG that is needed was not parsed
"""

from collections.abc import Collection

from lockstep.embedded.errors import EmbeddedError


class AirflowRefusedError(EmbeddedError):
    """Name the request and what Airflow said to it."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(method, path, status, text)
        self.method = method
        self.path = path
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return f"Airflow answered {self.status} to {self.method} {self.path}: {self.text[:1000]}"


class RunTooSlowError(EmbeddedError):
    """Name the run and the state it was left in."""

    def __init__(self, dag_id: str, run_id: str, state: str, seconds: float) -> None:
        super().__init__(dag_id, run_id, state, seconds)
        self.dag_id = dag_id
        self.run_id = run_id
        self.state = state
        self.seconds = seconds

    def __str__(self) -> str:
        return f"Run '{self.run_id}' of DAG '{self.dag_id}' is still {self.state} after {self.seconds:.0f} s."


class DagsMissingError(EmbeddedError):
    """Name the DAGs that are not there, and what is wrong with their files."""

    def __init__(self, missing: Collection[str], problems: Collection[str]) -> None:
        super().__init__(missing, problems)
        self.missing = missing
        self.problems = problems

    def __str__(self) -> str:
        names = ", ".join(sorted(self.missing))
        said = "\n".join(self.problems) or "Airflow reports no import error: look at logs/dag-processor.log."
        return f"DAGs that are needed were not parsed: {names}.\n{said}"
