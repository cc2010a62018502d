"""A revision that cannot be used: an import error that names it, and every other DAG still there."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

FAULTS = {
    "a syntax error": ("def upgrade(:\n", "0004_bad.py", "mend line 1"),
    "a typo in a resource": (
        """
        from resources import Userz
        revision = "0004"
        down_revision = "0003"
        """,
        "revision '0004'",
        "write 'Users'",
    ),
    "a duplicate id": (
        """
        from lockstep import ops
        from resources import Users
        revision = "0003"
        down_revision = "0002"
        def upgrade():
            yield ops.drop_table(Users)
        def downgrade():
            yield ops.restore(Users)
        """,
        "duplicate",
        "give one of them an id of its own",
    ),
    "a missing parent": (
        """
        from lockstep import ops
        from resources import Users
        revision = "0009"
        down_revision = "0008"
        def upgrade():
            yield ops.drop_table(Users)
        def downgrade():
            yield ops.restore(Users)
        """,
        "revision '0009'",
        "set down_revision to an id that is there",
    ),
    "a second head": (
        """
        from lockstep import ops
        from resources import Users
        revision = "0004"
        down_revision = "0002"
        def upgrade():
            yield ops.drop_table(Users)
        def downgrade():
            yield ops.restore(Users)
        """,
        "second head",
        "set down_revision",
    ),
    "an operation on the wrong kind of resource": (
        """
        from lockstep import ops
        from resources import Users
        revision = "0004"
        down_revision = "0003"
        def upgrade():
            yield ops.transform_documents(Users, change)
        def downgrade():
            yield ops.restore(Users)
        def change(document):
            return document
        """,
        "revision '0004'",
        "Use ops.transform_rows",
    ),
    "a transaction mode that the store cannot honour": (
        """
        from lockstep import ops
        from resources import Submissions
        revision = "0004"
        down_revision = "0003"
        transaction = "atomic"
        def upgrade():
            yield ops.transform_documents(Submissions, change)
        def downgrade():
            yield ops.restore(Submissions)
        def change(document):
            return document
        """,
        "revision '0004'",
        "Use transaction = 'batched'",
    ),
}

#: the DAGs that need no revision
CHAIN_WIDE = {
    "accept_checksum",
    "baseline",
    "housekeeping",
    "migrate",
    "rehearse",
    "relay",
    "repair",
    "restore",
    "rollback",
}


def parse(project: Path) -> Any:
    """Read the project's DAG files as the DAG processor does."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(project / "dags"), safe_mode=True)


def test_a_folder_without_faults_has_no_import_error(airflow_db: None, project: Path) -> None:
    bag = parse(project)

    assert bag.import_errors == {}
    assert set(bag.dags) == CHAIN_WIDE | {
        "revision_0001_accounts",
        "revision_0002_three_stores",
        "revision_0003_rows",
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_an_import_error_and_the_other_dags_stay(
    airflow_db: None, project: Path, fault: str
) -> None:
    source, names, fix = FAULTS[fault]
    (project / "migrations" / "0004_bad.py").write_text(textwrap.dedent(source))

    bag = parse(project)

    (text,) = bag.import_errors.values()
    assert "chain_faults.py" in next(iter(bag.import_errors))
    assert "migrations/0004_bad.py" in text
    assert names in text
    assert fix in text
    standing = {"revision_0001_accounts", "revision_0002_three_stores", *CHAIN_WIDE}
    assert standing <= set(bag.dags)
    assert "revision_0004_bad" not in bag.dags


def test_a_missing_folder_names_itself(
    airflow_db: None, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_MIGRATIONS", str(project / "nowhere"))

    bag = parse(project)

    assert set(bag.dags) == CHAIN_WIDE
    assert all(str(project / "nowhere") in text for text in bag.import_errors.values())


def test_the_projects_own_resources_win_where_the_revisions_lie_elsewhere(
    airflow_db: None, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (project / "migrations").rename(elsewhere)
    monkeypatch.setenv("LOCKSTEP_MIGRATIONS", str(elsewhere))

    bag = parse(project)

    assert bag.import_errors == {}
    assert "revision_0003_rows" in bag.dags
