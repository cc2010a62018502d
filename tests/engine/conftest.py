"""The engine over real stores: fixtures from world.py."""

from world import driver, world

__all__ = ["driver", "world"]
