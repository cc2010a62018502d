"""`make demo`, from empty databases to head and back, on the embedded servers and a real Airflow."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx
import pytest
from whole_system import System, demo, processes_of, run_demo

from lockstep.embedded.airflow_errors import AirflowRefusedError


def test_every_revision_is_applied_and_its_run_is_green(system: System) -> None:
    assert system.report["ok"] is True
    assert system.report["run"]["state"] == "success"
    assert len(system.report["revisions"]) >= 8
    for revision in system.report["revisions"]:
        assert (revision["state"], revision["status"]) == ("success", "applied"), revision
    api = system.api("viewer")
    # The relay and housekeeping come by their schedule, too.
    runs = {run.dag_id: run.state for run in api.runs() if not run.run_id.startswith("scheduled__")}
    api.close()
    assert runs == {one["dag_id"]: "success" for one in system.report["revisions"]} | {"migrate": "success"}


def test_the_stores_hold_what_every_revision_promises(system: System) -> None:
    sizes = [f"--{kind}={count}" for kind, count in system.report["size"].items() if kind != "seed"]
    done = system.ask("promises.py", *sizes)
    assert done.returncode == 0, done.stdout + done.stderr


def test_airflow_has_no_import_error(system: System) -> None:
    api = system.api("viewer")
    assert api.import_errors() == []
    api.close()


def test_only_who_may_deploy_starts_a_run(system: System) -> None:
    api = system.api("viewer")
    with pytest.raises(AirflowRefusedError, match="403"):
        api.trigger("migrate", "not-mine", {})
    api.close()
    assert httpx.get(f"{system.report['base_url']}/api/v2/dags", trust_env=False).status_code == 401


def test_the_report_and_the_command_line_hold_no_password(system: System) -> None:
    secrets = [
        system.servers.password,
        *(system.root / "airflow" / "passwords.json").read_text().split('"')[3::4],
    ]
    said = "\n".join([str(system.report), *processes_of(system.root)])
    assert [secret for secret in secrets if secret in said] == []
    for kept in ("airflow/passwords.json", "airflow/secrets.json", "postgres.password"):
        assert (system.root / kept).stat().st_mode & 0o077 == 0


def test_a_deploy_with_nothing_to_do_is_green(system: System, record_property: pytest.RecordProperty) -> None:
    began = time.monotonic()
    run = system.run_to_end("migrate", "again", {"target": "head"})
    record_property("seconds_of_a_deploy_with_nothing_to_do", round(time.monotonic() - began, 1))
    assert run.state == "success"


def test_a_revision_with_nothing_to_move_is_green(
    system: System, record_property: pytest.RecordProperty
) -> None:
    first = system.report["revisions"][0]["dag_id"]
    began = time.monotonic()
    run = system.run_to_end(first, "again", {})
    seconds = round(time.monotonic() - began, 1)
    record_property("seconds_of_a_revision_with_nothing_to_move", seconds)
    print(f"a revision with nothing to move: {seconds} s from trigger to green")
    assert run.state == "success"


def test_down_to_the_base_and_up_again_gives_the_same_hashes(system: System) -> None:
    before = system.hashes()
    assert system.run_to_end("rollback", "down", {"target": "base"}).state == "success"
    assert system.hashes() != before
    assert system.run_to_end("migrate", "up", {"target": "head"}).state == "success"
    assert system.hashes() == before


def test_a_second_demo_on_the_same_folder_is_refused_while_the_first_is_up(
    system: System, folder: Path
) -> None:
    status, said = run_demo(system.root, folder / "report.json", "--exit")
    assert status == 1
    assert "held by another session" in said


def test_ctrl_c_ends_a_demo_and_the_next_one_has_nothing_to_do(system: System, folder: Path) -> None:
    system.process.send_signal(signal.SIGINT)
    said, _ = system.process.communicate(timeout=60)
    assert system.process.returncode == 0, said
    assert processes_of(system.root) == []
    status, said = run_demo(system.root, folder / "report.json", "--exit")
    assert status == 0, said
    assert "Nothing to do" in said


@pytest.mark.parametrize("size", ["0", "-1", "nan", "much"])
def test_a_size_that_cannot_be_made_is_refused(folder: Path, size: str) -> None:
    status, said = run_demo(folder / "data", folder / "report.json", f"--size={size}")
    assert status == 1
    assert f"SIZE='{size}'" in said
    assert "Traceback" not in said


def test_ctrl_c_in_the_middle_of_a_run_leaves_no_process(folder: Path) -> None:
    root, lines = folder / "data", []
    with demo(root, folder / "report.json", "--size", "small") as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Triggered"):
                break
        time.sleep(3)
        assert processes_of(root)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130, lines
    assert processes_of(root) == []
