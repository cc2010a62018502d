"""Airflow finds the DAG `housekeeping` here, one for each environment."""

from lockstep.orchestration.housekeeping import build_housekeepings
from lockstep.orchestration.project import migrations_folder, prefer_include

prefer_include(__file__)
globals().update(build_housekeepings(migrations_folder(__file__)))
