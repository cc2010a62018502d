"""A plan tried on a copy: restored into scratch spaces, run up, down and up again, measured and compared."""
