"""The authors' command: it writes the next revision, checks the chain and shows a plan."""

import json
from pathlib import Path

import pytest
from revisions import write_chain

from lockstep.cli import main


def run(folder: Path, *arguments: str) -> int:
    return main(["--migrations", str(folder), *arguments])


def test_new_writes_the_next_file_after_the_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_chain(tmp_path, 2)
    assert run(tmp_path, "new", "Add users.display_name") == 0
    path = tmp_path / "0003_add_users_display_name.py"
    assert str(path) in capsys.readouterr().out
    text = path.read_text()
    assert 'revision = "0003"' in text
    assert "down_revision = '0002'" in text
    assert '"""Add users.display_name."""' in text


def test_new_begins_a_chain_in_an_empty_folder(tmp_path: Path) -> None:
    assert run(tmp_path, "new", "Begin") == 0
    assert "down_revision = None" in (tmp_path / "0001_begin.py").read_text()


def test_check_lists_the_chain_and_fails_with_its_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_chain(tmp_path, 2)
    assert run(tmp_path, "check") == 0
    assert "0002" in capsys.readouterr().out
    (tmp_path / "0003_broken.py").write_text("def upgrade(:\n")
    assert run(tmp_path, "check") == 1
    assert "0003_broken.py" in capsys.readouterr().err


def test_plan_shows_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_chain(tmp_path, 1)
    assert run(tmp_path, "plan", "0001") == 0
    shown = capsys.readouterr().out
    assert "upgrade 1: SELECT 1" in shown
    assert "downgrade 1: SELECT 2" in shown
    assert "table users (campus_auth)" in shown


def test_a_plan_for_an_unknown_revision_names_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_chain(tmp_path, 1)
    assert run(tmp_path, "plan", "0007") == 1
    assert "0001" in capsys.readouterr().err


def test_pools_are_printed_as_airflow_imports_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_chain(tmp_path, 2)

    assert run(tmp_path, "pools", "--slots", "7") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["lockstep_campus_auth"] == {
        "slots": 7,
        "description": "Tasks of revisions that write to campus_auth, at a time",
        "include_deferred": False,
    }
    assert "lockstep_campus_documents" in found, "declared, and used by no revision yet"


def test_a_faulty_revision_does_not_keep_the_pools_from_being_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_chain(tmp_path, 1)
    (tmp_path / "0002_broken.py").write_text("def upgrade(:\n")

    assert run(tmp_path, "pools") == 0

    said = capsys.readouterr()
    assert json.loads(said.out)["lockstep_campus_auth"]["slots"] == 4
    assert "0002_broken.py" in said.err


@pytest.mark.parametrize("slots", ["0", "-1", "many"])
def test_slots_are_a_number_of_tasks(tmp_path: Path, slots: str) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, "pools", "--slots", slots)
