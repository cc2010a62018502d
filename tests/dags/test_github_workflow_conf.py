"""The workflow in examples/github asks the DAG rehearse for what it knows."""

from __future__ import annotations

import re
from pathlib import Path

FILE = Path(__file__).parents[2] / "examples" / "github" / "rehearse.yml"


def test_its_conf_is_parameters_of_the_rehearsal() -> None:
    from lockstep.orchestration.rehearse_params import rehearse_params

    found = re.search(r"conf: \{([^}]*)\}", FILE.read_text(encoding="utf-8"))
    assert found is not None
    asked = dict(part.strip().split(": ") for part in found[1].split(","))
    assert set(asked) == {"target", "commit", "deployment_environment"}
    assert set(asked) <= set(rehearse_params())


def test_what_it_sends_is_taken() -> None:
    from airflow.sdk.definitions.param import ParamsDict

    from lockstep.orchestration.rehearse_params import rehearse_params

    params = ParamsDict(rehearse_params())
    params.update(
        {
            "target": "head",
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "deployment_environment": "rehearsal",
        }
    )
    assert params.validate()["deployment_environment"] == "rehearsal"
