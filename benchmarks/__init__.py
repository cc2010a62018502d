"""Lockstep's speed against references, measured in one run: `make bench`."""
