"""What a project declares its environments with."""

from lockstep.domain.environment import Environment

__all__ = ["Environment"]
