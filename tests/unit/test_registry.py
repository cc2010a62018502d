"""Every verb that an author can write has a handler, an error tree entry survives pickling."""

import pickle

import pytest

from lockstep import ops
from lockstep.domain import errors
from lockstep.engine.operations.registry import VERBS, _handler

NOT_OPERATIONS = {"NO_REVERSE", "ObjectInfo", "StoredObject", "check"}


def test_every_operation_has_a_handler() -> None:
    verbs = {name for name in ops.__all__ if name not in NOT_OPERATIONS and not name.startswith("expect_")}
    assert verbs == VERBS


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_handler_can_plan_go_forward_and_back(verb: str) -> None:
    handler = _handler(verb)
    assert all(callable(getattr(handler, name)) for name in ("plan", "forward", "back"))


@pytest.mark.parametrize(
    "error",
    [
        errors.RevisionFault(file="a.py", revision="1", problem="p.", fix="f."),
        errors.RecordError(resource="r", key="k", problem="p.", fix="f."),
        errors.ConflictError(resource="r", keys=("a", "b"), doing="x"),
        errors.Unavailable("gone", host="h"),
    ],
)
def test_an_error_survives_pickling_with_its_fields(error: errors.LockstepError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.fields == error.fields
    assert again.transient is error.transient
