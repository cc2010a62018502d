"""Exit 0 if the list of Airflow users on standard input holds the name given, else 1."""

import json
import sys

# Airflow may print a warning before the list; the list is the last line that starts one.
lines = [line for line in sys.stdin.read().splitlines() if line.startswith("[")]
users = json.loads(lines[-1]) if lines else []
sys.exit(0 if any(user["username"] == sys.argv[1] for user in users) else 1)
