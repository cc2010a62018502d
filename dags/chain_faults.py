"""Airflow shows here, as an import error, what is wrong with revisions that have no DAG."""

from lockstep.orchestration.factory import refuse_faults
from lockstep.orchestration.project import migrations_folder, prefer_include

prefer_include(__file__)
refuse_faults(migrations_folder(__file__))
