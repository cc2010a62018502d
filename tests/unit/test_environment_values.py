"""Environments: how they name connections, which may stand beside each other, and where they are declared."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lockstep.domain.declared_environments import declared_environments
from lockstep.domain.environment import DEFAULT, Environment, Environments
from lockstep.domain.errors import DeclarationError, Refused
from lockstep.domain.pools import in_environment

STAGING = Environment("staging", prefix="staging_")
PRODUCTION = Environment("production", prefix="prod_", connections={"campus_auth": "pg_auth_eu"})


def test_a_connection_gets_the_prefix_unless_it_is_mapped() -> None:
    assert DEFAULT.conn_id("campus_auth") == "campus_auth"
    assert STAGING.conn_id("campus_auth") == "staging_campus_auth"
    assert PRODUCTION.conn_id("campus_auth") == "pg_auth_eu"
    assert PRODUCTION.conn_id("lockstep_ledger") == "prod_lockstep_ledger"
    assert pickle.loads(pickle.dumps(PRODUCTION)) == PRODUCTION


def test_production_asks_for_everything_unless_it_says_otherwise() -> None:
    assert (DEFAULT.approve, STAGING.approve) == ("never", "never")
    assert (PRODUCTION.approve, Environment("prod").approve) == ("all", "all")
    assert Environment("production", approve="lossy").approve == "lossy"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "Staging"}, "another name"),
        ({"name": "9"}, "another name"),
        ({"name": "a", "prefix": "a b"}, "cannot begin a connection id"),
        ({"name": "a", "approve": "maybe"}, "one of 'all', 'lossy', 'above', 'never'"),
        ({"name": "a", "approve": "above"}, "'above' needs it"),
        ({"name": "a", "approve_above": 5}, "belongs to 'above'"),
        ({"name": "a", "approve": "above", "approve_above": -1}, "0 or more"),
        ({"name": "a", "connections": {"x": ""}}, "both are connection ids"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, object], told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        Environment(**given)  # type: ignore[arg-type]


def test_two_may_not_share_a_name_a_ledger_or_a_database() -> None:
    with pytest.raises(DeclarationError, match="'staging' is declared 2 times"):
        Environments([STAGING, Environment("staging", prefix="other_")])
    with pytest.raises(DeclarationError, match="both call 'lockstep_ledger' 'lockstep_ledger'"):
        Environments([Environment("a"), Environment("b")])
    with pytest.raises(DeclarationError, match="both call 'campus_auth' 'pg_auth_eu'"):
        Environments([PRODUCTION, Environment("b", prefix="b_", connections={"campus_auth": "pg_auth_eu"})])
    with pytest.raises(DeclarationError, match="only one can be the default"):
        Environments([Environment("a", default=True), Environment("b", prefix="b_", default=True)])
    shared = {"lockstep_yapper": "yapper"}
    Environments([Environment("a", connections=shared), Environment("b", prefix="b_", connections=shared)])


def test_the_default_is_the_declared_one_then_the_named_one_then_the_first() -> None:
    plain = Environments([STAGING, PRODUCTION])

    assert plain.default().name == "staging"
    assert plain.default("production") is PRODUCTION
    own = Environment("qa", prefix="qa_", default=True)
    assert Environments([STAGING, own]).default("staging") is own
    with pytest.raises(Refused, match="no environment 'moon': this project has 'staging', 'production'"):
        plain.get("moon")


def test_a_project_declares_them_beside_its_resources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = ModuleType("resources")
    resources.__file__ = str(tmp_path / "resources.py")
    monkeypatch.setitem(sys.modules, "resources", resources)
    assert declared_environments().names == ("default",)

    file = tmp_path / "environments.py"
    file.write_text(
        "from lockstep.environments import Environment\n"
        "staging = Environment('staging', prefix='staging_')\nproduction = Environment('production')\n"
    )
    assert declared_environments().names == ("staging", "production")
    file.write_text("from lockstep.environments import Environment\na = Environment('A')\n")
    with pytest.raises(DeclarationError, match=r"environments\.py: the environment 'A' needs another name"):
        declared_environments()
    file.write_text("import nothing_of_that_name\n")
    with pytest.raises(DeclarationError, match="cannot be imported"):
        declared_environments()


def test_a_pool_of_a_database_is_each_environment_s_own() -> None:
    assert in_environment("lockstep_campus_auth", STAGING) == "lockstep_staging_campus_auth"
    assert in_environment("lockstep_campus_auth", PRODUCTION) == "lockstep_pg_auth_eu"
    assert in_environment("default_pool", STAGING) == "default_pool"
    assert in_environment("lockstep_campus_auth", DEFAULT) == "lockstep_campus_auth"
