"""Every edge of the state machine has a reason, and there are no others."""

import itertools

import pytest

from lockstep.domain.errors import Refused
from lockstep.domain.status import EDGES, Status, reason_for

PAIRS = list(itertools.product(Status, Status))


def test_every_status_has_its_edges() -> None:
    assert set(EDGES) == set(Status)


@pytest.mark.parametrize(("current", "wanted"), [(a, b) for a, b in PAIRS if b in EDGES[a]])
def test_a_legal_edge_has_a_reason(current: Status, wanted: Status) -> None:
    assert len(reason_for("0001", current, wanted)) > 10


@pytest.mark.parametrize(("current", "wanted"), [(a, b) for a, b in PAIRS if b not in EDGES[a]])
def test_an_illegal_edge_is_refused_by_name(current: Status, wanted: Status) -> None:
    with pytest.raises(Refused, match=f"'0001' is {current} and cannot become {wanted}"):
        reason_for("0001", current, wanted)
