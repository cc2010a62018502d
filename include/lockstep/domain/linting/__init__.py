"""What can be said against a revision from its file alone, before anything runs.

A rule is a function that yields findings. None of them opens a database: what a table holds, and how large it is, is
for a rehearsal to find out.
"""
