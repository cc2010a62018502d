"""Carry an application's storage from one revision to the next, in step."""
