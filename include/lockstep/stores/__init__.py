"""One driver each: postgres, mongo, s3, ledger, vault, yapper."""
