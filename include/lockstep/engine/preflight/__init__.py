"""Look at everything that a plan leans on before it starts, and write nothing."""

from lockstep.engine.preflight.looking import preflight, refuse, tell

__all__ = ["preflight", "refuse", "tell"]
