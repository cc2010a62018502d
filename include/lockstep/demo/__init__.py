"""`make demo` and `make demo-failure`: the whole system on one machine, run the way a deploy runs it."""
