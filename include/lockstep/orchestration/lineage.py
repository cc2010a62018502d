"""What a task reads and writes, for OpenLineage where its provider is installed; nothing is done where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.domain.resources import Touched
    from lockstep.orchestration.tasks.base import Desk

#: a dataset as OpenLineage names it: namespace and name
Named = tuple[str, str]


class WithLineage:
    """A task that tells OpenLineage what it read and wrote."""

    #: found out while the task works: afterwards Airflow cannot be asked for connections
    lineage_inputs: tuple[Named, ...] = ()
    lineage_outputs: tuple[Named, ...] = ()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the datasets, in OpenLineage's own types; its provider calls this when the task has ended."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset

        return OperatorLineage(
            inputs=[Dataset(namespace=namespace, name=name) for namespace, name in self.lineage_inputs],
            outputs=[Dataset(namespace=namespace, name=name) for namespace, name in self.lineage_outputs],
        )


@cache
def wanted() -> bool:
    """Say whether anybody would ask."""
    with suppress(ModuleNotFoundError):
        return find_spec("airflow.providers.openlineage") is not None
    return False


def note(
    task: WithLineage, desk: Desk, *, reads: Iterable[Touched] = (), writes: Iterable[Touched] = ()
) -> None:
    """Keep what a task reads and writes, as far as it can be said: it is no reason to fail."""
    if not wanted():
        return
    with suppress(Exception):
        task.lineage_inputs = tuple(dict.fromkeys(dataset(desk, touched) for touched in reads))
        task.lineage_outputs = tuple(dict.fromkeys(dataset(desk, touched) for touched in writes))


def dataset(desk: Desk, touched: Touched) -> Named:
    """Return a resource as OpenLineage names it, by the connection that this run uses."""
    from lockstep.domain.resources import Bucket, Postgres, Table
    from lockstep.orchestration.connections import bucket_access, lookup
    from lockstep.orchestration.wiring import in_environment

    database = touched.database
    connection: Any = lookup(in_environment(desk.services.environment, database))
    if isinstance(database, Bucket):
        return f"s3://{bucket_access(connection, database.bucket).bucket}", touched.slug
    if isinstance(database, Postgres):
        place = f"{touched.schema}.{touched.name}" if isinstance(touched, Table) else "*"
        return f"postgres://{connection.host}:{connection.port or 5432}", f"{connection.schema}.{place}"
    return f"mongodb://{connection.host}:{connection.port or 27017}", f"{connection.schema}.{touched.slug}"
