"""Names of scratch spaces: nobody else's, and no two alike."""

from __future__ import annotations

import pytest

from lockstep.domain.errors import Refused
from lockstep.domain.scratch import refuse_live, scratch_name


def test_a_name_says_whose_scratch_space_it_is() -> None:
    assert scratch_name("0003-up-1", "campus_api") == "lockstep_scratch_0003_up_1_campus_api"


def test_names_that_are_cut_are_told_apart_and_allowed() -> None:
    mark = "back_0003-up-20261122T192200-abc123"
    first, second = scratch_name(mark, "campus_database_1"), scratch_name(mark, "campus_database_2")
    assert first != second
    for name in (first, second):
        assert len(name) <= 63
        assert refuse_live(name, ()) == name


@pytest.mark.parametrize("name", ["campus", "lockstep_scratch_", "lockstep_scratch_A", "postgres"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="no name for a scratch space"):
        refuse_live(name, ())


def test_a_live_database_is_refused_whatever_it_is_called() -> None:
    with pytest.raises(Refused, match="live database's"):
        refuse_live("lockstep_scratch_x", {"lockstep_scratch_x"})
