"""How each operation is done, and taken back: one verb a file."""
