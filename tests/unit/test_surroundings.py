"""No secret gets into the history."""

from __future__ import annotations

import pytest

from lockstep.domain.surroundings import here, without_secrets


@pytest.mark.parametrize(
    "said",
    [
        "cannot reach postgresql://ann:s3cret@db/x?sslmode=require",
        "host=db password=s3cret dbname=x",
        "host=db password='s3cret and more' dbname=x",
        '{"user": "ann", "password": "s3cret"}',
        "{'aws_secret_access_key': 's3cret'}",
        "Authorization: Bearer s3cret-s3cret",
        "LOCKSTEP_AIRFLOW_TOKEN=s3cret",
    ],
)
def test_a_secret_in_a_text_is_hidden_and_the_rest_is_kept(said: str) -> None:
    hidden = without_secrets({"error": said})["error"]
    assert "s3cret" not in hidden
    assert "***" in hidden
    for word in ("dbname=x", "ann", "sslmode=require", "cannot reach"):
        assert (word in said) == (word in hidden)


def test_a_secret_is_hidden_under_its_name_however_deep() -> None:
    given = {"params": {"shards": 2, "api_key": "s3cret", "hooks": [{"token": "s3cret"}]}, "password": ""}
    assert without_secrets(given) == {
        "params": {"shards": 2, "api_key": "***", "hooks": [{"token": "***"}]},
        "password": "",
    }


@pytest.mark.parametrize(
    "said",
    [
        "password authentication failed for user ann",
        "https://airflow.example:8080/dags/x/runs/y@z",
        "s3://vault/backups/0001/a.json",
        "upgrade step 1: users, record 'u1': bad mail ann@example.org",
    ],
)
def test_what_is_no_secret_stays(said: str) -> None:
    assert without_secrets(said) == said


def test_what_is_not_known_is_left_out() -> None:
    facts = here(airflow=None).facts(ledger="PostgreSQL 18.1")
    assert set(facts) == {"versions", "host"}
    assert facts["versions"]["ledger"] == "PostgreSQL 18.1"
    assert "airflow" not in facts["versions"]
