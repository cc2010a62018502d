"""The DAG of a revision: its shape, its page, its form; built the same each time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import Any

import pytest
from airflow_project import ROOT, write_revisions

from lockstep.domain.pacing import Limits
from lockstep.engine.services import Settings

#: settings that no form asks for
NOT_ASKED = {
    "limits",
    "batch_bytes",
    "rows_per_shard",
    "documents_per_shard",
    "objects_per_shard",
    "patience",
    "proof_restore_bytes",
}

PLAIN = '''
    """Change number {number}."""
    from lockstep import ops
    from resources import Users

    revision = "{number:04d}"
    down_revision = {parent!r}

    def upgrade():
        yield ops.transform_rows(Users, change, columns=["email"])

    def downgrade():
        yield ops.restore(Users)

    def change(row):
        return row
'''


def build(project: Path) -> dict[str, Any]:
    from lockstep.orchestration.factory import build_revision_dags
    from lockstep.orchestration.project import prefer_include

    prefer_include(str(project / "dags" / "revisions.py"))
    return build_revision_dags(project / "migrations")


def upstream(dag: Any, task: str) -> set[str]:
    found: set[str] = dag.task_dict[task].upstream_task_ids
    return found


def test_there_is_a_dag_for_each_revision_named_after_its_file(project: Path) -> None:
    assert list(build(project)) == [
        "revision_0001_accounts",
        "revision_0002_three_stores",
        "revision_0003_rows",
    ]


def test_a_batched_operation_is_a_group_and_any_other_a_task(project: Path) -> None:
    dag = build(project)["revision_0002_three_stores"]

    assert sorted(task for task in dag.task_dict if task.startswith("upgrade.")) == [
        "upgrade.op_1_sql_outside_transaction_users",
        "upgrade.op_2_transform_documents_submissions.plan_shards",
        "upgrade.op_2_transform_documents_submissions.shard",
        "upgrade.op_3_transform_objects_uploads.plan_shards",
        "upgrade.op_3_transform_objects_uploads.shard",
    ]


def test_each_database_has_one_backup_and_all_are_proven_before_the_first_step(project: Path) -> None:
    dag = build(project)["revision_0002_three_stores"]

    backups = {"backup.campus_auth", "backup.campus_documents", "backup.campus_objects"}
    assert upstream(dag, "backup.prove") == backups
    assert all(upstream(dag, backup) == {"open_run"} for backup in backups)
    assert upstream(dag, "upgrade.op_1_sql_outside_transaction_users") == {"backup.prove"}


@pytest.mark.parametrize(("waits", "group"), [("settle", "upgrade"), ("verify_restored", "downgrade")])
def test_the_end_of_each_step_is_waited_for(project: Path, waits: str, group: str) -> None:
    dag = build(project)["revision_0002_three_stores"]

    ends = {
        task
        for task in dag.task_dict
        if task.startswith(f"{group}.") and not task.endswith((".plan_shards", ".ask", ".decide"))
    }
    assert upstream(dag, waits) == ends
    assert dag.task_dict[waits].trigger_rule.value == "all_done"


def test_outcome_is_the_only_leaf_and_one_tail_serves_every_way(project: Path) -> None:
    for dag in build(project).values():
        assert [task.task_id for task in dag.leaves] == ["outcome"]
        assert [task.task_id for task in dag.roots] == ["open_run"]
        assert upstream(dag, "outcome") == {"emit"}
        assert upstream(dag, "emit") == {"record"}
        assert upstream(dag, "record") == {"put_back"}
        assert upstream(dag, "put_back") == {"verify_restored"}
        assert upstream(dag, "downgrade.decide") == {"downgrade.ask"}
        assert upstream(dag, "downgrade.ask") == {"verify"}


def test_an_atomic_revision_is_one_task_each_way(project: Path) -> None:
    dag = build(project)["revision_0001_accounts"]

    assert {task for task in dag.task_dict if "." in task} == {
        "backup.campus_auth",
        "backup.prove",
        "upgrade.in_one_transaction",
        "downgrade.ask",
        "downgrade.decide",
        "downgrade.in_one_transaction",
    }


def test_a_mapped_task_equals_what_airflow_itself_makes_of_it(project: Path) -> None:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    from lockstep.orchestration.retries import retry_arguments
    from lockstep.orchestration.stamp import stamp, stamp_mapped
    from lockstep.orchestration.tasks.steps import PlanShards, RunShard

    def shard_of(ours: bool) -> Any:
        dag = DAG("one", schedule=None)
        own: dict[str, Any] = {"path": "x.py", "moves": {"upgrade": 1}}
        plan = stamp(PlanShards, dag, "plan", **own)
        if ours:
            stamp_mapped(RunShard, dag, "shard", group=dag.task_group, over=plan, label="keys", own=own)
        else:
            RunShard.partial(
                task_id="shard",
                dag=dag,
                owner="lockstep",
                weight_rule="absolute",
                map_index_template="{{ task.keys }}",
                **retry_arguments(),
                **own,
            ).expand(keys=plan.output)
        return DagSerialization.serialize_dag(dag)

    assert shard_of(ours=True) == shard_of(ours=False)


def test_a_stamped_task_equals_a_constructed_one(project: Path) -> None:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    from lockstep.orchestration.retries import retry_arguments
    from lockstep.orchestration.stamp import stamp
    from lockstep.orchestration.tasks.verify import Verify

    def verify_of(ours: bool) -> Any:
        dag = DAG("one", schedule=None)
        if ours:
            stamp(Verify, dag, "verify", path="x.py")
        else:
            Verify(
                task_id="verify",
                dag=dag,
                path="x.py",
                owner="lockstep",
                weight_rule="absolute",
                **retry_arguments(),
            )
        return DagSerialization.serialize_dag(dag)

    assert verify_of(ours=True) == verify_of(ours=False)


def test_two_builds_of_300_revisions_are_the_same(project: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    for old in (project / "migrations").glob("*.py"):
        old.unlink()
    write_revisions(
        project / "migrations",
        {
            f"{number:04d}_change": PLAIN.format(
                number=number, parent=f"{number - 1:04d}" if number > 1 else None
            )
            for number in range(1, 301)
        },
    )

    def serialised() -> str:
        dags = build(project)
        assert len(dags) == 300
        picked = [dags[name] for name in list(dags)[::25]]
        return json.dumps([DagSerialization.to_dict(dag) for dag in picked], sort_keys=True, default=str)

    assert serialised() == serialised()


def test_while_a_task_is_parsed_only_its_own_revision_is_loaded(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "migrations" / "0001_accounts.py").write_text("raise SystemExit('this was loaded')")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "revision_0003_rows")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "verify")

    assert list(build(project)) == ["revision_0003_rows"]


def test_the_page_shows_what_a_reviewer_asks_for(project: Path) -> None:
    page = build(project)["revision_0002_three_stores"].doc_md

    assert page.startswith("Touch all three stores.")
    for part in (
        "| 2 | `transform_documents` | stamp() over every document",
        "in batches",
        "each operation commits by itself, since ops.sql_outside_transaction",
        "no record of collection submissions",
        "| Follows | `0001` |",
        '```python\n"""Touch all three stores.',
    ):
        assert part in page
    assert "SHA-256" not in page


def test_the_tags_name_stores_mode_and_checksum(project: Path) -> None:
    from lockstep.domain.loading import load_revision

    dag = build(project)["revision_0002_three_stores"]
    checksum = load_revision(project / "migrations" / "0002_three_stores.py").checksum

    assert dag.tags == {"lockstep", "batched", "table", "document", "object", f"checksum:{checksum[:12]}"}


def test_every_parameter_is_a_form_with_title_help_and_a_valid_default(project: Path) -> None:
    dag = build(project)["revision_0003_rows"]

    dag.params.validate()
    assert {"direction", "resume", "redrive", "note", "window", "shards"} < set(dag.params)
    assert set(dag.params) >= {field.name for field in fields(Settings)} - NOT_ASKED
    for name in dag.params:
        schema = dag.params.get_param(name).schema
        assert schema["title"]
        assert schema["description_md"]
        assert schema["type"] in ("boolean",) or {"enum", "maximum", "maxLength"} & set(schema)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("direction", "sideways"),
        ("shards", 0),
        ("shards", 65),
        ("batch_seconds", 0.01),
        ("batch_rows", 0),
        ("batch_least", 0),
        ("on_failure", "panic"),
        ("on_undo_failure", "downgrade"),
        ("proof", "hope"),
        ("proof_restore_gb", -1),
        ("bad_records", "ignore"),
        ("quarantine_budget", -1),
        ("lease_seconds", 5),
        ("limit_connections", 101),
        ("limit_waiters", -1),
        ("limit_slot_gb", "much"),
        ("redrive", "yes"),
    ],
)
def test_a_value_outside_the_limits_is_refused(project: Path, name: str, value: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    dag = build(project)["revision_0003_rows"]

    with pytest.raises(ParamValidationError):
        dag.params[name] = value


def test_the_form_becomes_the_settings_and_its_defaults_are_theirs(project: Path) -> None:
    from lockstep.orchestration.params import settings_from

    defaults = build(project)["revision_0003_rows"].params.dump()
    assert settings_from(defaults) == Settings()
    assert settings_from({}) == Settings()

    given = {
        "batch_seconds": 5,
        "bad_records": "quarantine",
        "limit_slot_gb": 0.5,
        "limit_connections": 70,
        "on_failure": "ask",
        "on_undo_failure": "restore",
        "proof_restore_gb": 0.25,
        "reuse_backups": True,
    }
    assert settings_from({**defaults, **given}) == Settings(
        batch_seconds=5,
        bad_records="quarantine",
        on_failure="ask",
        on_undo_failure="restore",
        proof_restore_bytes=256 * 1024**2,
        reuse_backups=True,
        limits=Limits(slot_bytes=512 * 1024**2, connections=0.7),
    )


def test_a_limit_that_is_left_empty_is_none(project: Path) -> None:
    from lockstep.orchestration.params import settings_from

    params = build(project)["revision_0003_rows"].params
    names = [name for name in params if name.startswith("limit_")]
    for name in names:
        params[name] = None

    limits = settings_from(params.dump()).limits

    assert len(names) == len(fields(Limits))
    assert {getattr(limits, field.name) for field in fields(Limits)} == {inf}


def test_migrate_passes_on_everything_but_its_target_and_has_no_redrive(project: Path) -> None:
    from lockstep.orchestration.params import passed_on, revision_params, route_params

    asked = {name: param.value for name, param in route_params("head", "").items()}

    # A dry run starts no run that it could be passed on to.
    assert set(passed_on(asked)) == set(asked) - {"target", "dry_run"}
    own = {"direction", "resume", "redrive", "lossy", "dry_run"}
    assert set(passed_on(asked)) == set(revision_params()) - own


def test_rollback_passes_on_that_a_loss_is_accepted_and_migrate_does_not_ask(project: Path) -> None:
    from lockstep.orchestration.params import passed_on, route_params

    asked = {name: param.value for name, param in route_params("previous", "", "downgrade").items()}

    assert asked["lossy"] is False
    assert passed_on({**asked, "lossy": True})["lossy"] is True
    assert "lossy" not in route_params("head", "")


def pools_of(dag: Any) -> dict[str, str]:
    return {
        task.task_id: task.pool
        for task in dag.task_dict.values()
        if task.task_id.startswith(("upgrade.", "downgrade."))
    }


def test_steps_wait_in_the_pool_of_their_database_where_that_is_switched_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_POOLS", "1")
    dags = build(project)

    found = pools_of(dags["revision_0002_three_stores"])
    assert found["upgrade.op_1_sql_outside_transaction_users"] == "lockstep_campus_auth"
    assert found["upgrade.op_2_transform_documents_submissions.shard"] == "lockstep_campus_documents"
    assert found["upgrade.op_3_transform_objects_uploads.shard"] == "lockstep_campus_objects"
    assert found["upgrade.op_3_transform_objects_uploads.plan_shards"] == "default_pool"
    assert found["downgrade.step_1_restore_uploads.shard"] == "lockstep_campus_objects"
    assert found["downgrade.decide"] == "default_pool"
    atomic = pools_of(dags["revision_0001_accounts"])
    assert (
        atomic["upgrade.in_one_transaction"]
        == atomic["downgrade.in_one_transaction"]
        == "lockstep_campus_auth"
    )


@pytest.mark.parametrize("said", [None, "0", ""])
def test_unless_it_is_switched_on_no_pool_has_to_exist(
    project: Path, monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    monkeypatch.delenv("LOCKSTEP_POOLS", raising=False)
    if said is not None:
        monkeypatch.setenv("LOCKSTEP_POOLS", said)

    assert {pool for dag in build(project).values() for pool in pools_of(dag).values()} == {"default_pool"}


def test_a_dag_runs_only_when_it_is_asked_to_and_never_waits_unseen(project: Path) -> None:
    for dag in build(project).values():
        assert dag.schedule is None
        assert dag.catchup is False
        assert dag.is_paused_upon_creation is False
        assert dag.max_active_runs == 16


CLEAN = """
import runpy, sys
import airflow.sdk
import airflow.sdk.definitions.mappedoperator
before = set(sys.modules)
for name in sys.argv[1:]:
    runpy.run_path(name)
heavy = ("psycopg", "pymongo", "bson", "boto3", "botocore", "sqlalchemy", "fastapi", "airflow.models")
found = {name.partition(".")[0] for name in set(sys.modules) - before if name.startswith(heavy)}
found |= {
    name for name in set(sys.modules) - before
    if name.startswith("airflow.providers.") and not name.endswith("get_provider_info")
}
assert "lockstep.domain.loading" in sys.modules
print(sorted(found))
"""


def test_parsing_imports_no_driver_no_provider_and_nothing_of_airflow_but_its_sdk(project: Path) -> None:
    files = sorted(str(path) for path in (project / "dags").glob("*.py"))

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLEAN, *files],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
