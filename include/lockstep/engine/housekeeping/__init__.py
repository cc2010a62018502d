"""What is cleared away and looked after between runs: one concern a module, each of which may be repeated.

None of them changes a revision's or a run's status. What may be removed at all: docs/decisions/0017.
"""
