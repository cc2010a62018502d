"""All rules, in the order in which their findings are shown."""

from __future__ import annotations

from lockstep.domain.linting.data import data_dropped, used_after_drop
from lockstep.domain.linting.finding import Finding, Rule
from lockstep.domain.linting.locks import (
    blocking_index,
    locks,
    not_repeatable,
    rewrites_under_lock,
    validates_under_lock,
    whole_database,
)
from lockstep.domain.linting.promises import left_behind, no_verify, no_way_back
from lockstep.domain.revision import Revision

RULES: tuple[Rule, ...] = (
    no_verify,
    no_way_back,
    left_behind,
    data_dropped,
    used_after_drop,
    blocking_index,
    validates_under_lock,
    rewrites_under_lock,
    not_repeatable,
    whole_database,
    locks,
)


def findings(revision: Revision) -> list[Finding]:
    """Return what the rules find, in their order; nothing is left out yet."""
    return [found for rule in RULES for found in rule(revision)]
