"""Pages over the ledger, to read and never to write."""
