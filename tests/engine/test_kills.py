"""Workers that are killed (-9) at random moments; `tests/kills.py` does the same with as many as one likes."""

from __future__ import annotations

import random

import pytest

from addresses import Addresses
from chaos.campaign import Campaign


@pytest.mark.parametrize("store", ["rows", "documents", "objects"])
def test_each_record_is_carried_exactly_once_however_often_workers_are_killed(
    servers: Addresses, store: str
) -> None:
    campaign = Campaign(
        servers=servers, store=store, kills=5, each=5, smaller=4, dice=random.Random(f"7 {store}"), say=print
    )
    tally = campaign.run()
    assert tally.kills == 5
    assert tally.redone <= tally.allowed
