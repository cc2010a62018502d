"""Airflow finds a DAG here for each revision of the migrations folder."""

from lockstep.orchestration.factory import build_revision_dags
from lockstep.orchestration.project import migrations_folder, prefer_include

prefer_include(__file__)
globals().update(build_revision_dags(migrations_folder(__file__)))
