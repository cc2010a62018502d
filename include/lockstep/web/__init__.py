"""Pages over the ledger: to read it, and to pause and resume a run."""
