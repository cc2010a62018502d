"""`make demo-failure`: a revision that fails in its seventh batch leaves nothing behind but the word of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from whole_system import own_folder, processes_of, run_demo


@pytest.fixture(scope="module")
def failed() -> Iterator[dict[str, Any]]:
    """Run the demo and return its report, with what it said."""
    with own_folder() as folder:
        status, said = run_demo(folder / "data", folder / "report.json", "--failure")
        assert (folder / "report.json").exists(), said
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
        yield {**report, "exit": status, "said": said, "left": processes_of(folder / "data")}


def test_the_demo_says_that_all_is_as_it_should_be(failed: dict[str, Any]) -> None:
    assert failed["exit"] == 0, failed["said"]
    assert [check for check in failed["checks"] if not check["holds"]] == []


def test_the_failing_run_is_red_in_airflow(failed: dict[str, Any]) -> None:
    assert failed["run"]["state"] == "failed"


def test_all_three_stores_hash_as_before(failed: dict[str, Any]) -> None:
    assert set(failed["before"]) == {
        "postgres:campus_auth",
        "postgres:campus_api",
        "mongo:campus",
        "s3:campus/",
    }
    assert failed["before"] == failed["after"]


def test_six_batches_had_been_written_when_the_seventh_failed(failed: dict[str, Any]) -> None:
    assert "6 batch" in failed["said"]


def test_the_log_of_the_failing_batch_names_the_record(failed: dict[str, Any]) -> None:
    assert "cannot be counted" in failed["said"]
    assert "submission" in failed["said"]


def test_no_process_is_left(failed: dict[str, Any]) -> None:
    assert failed["left"] == []
