"""Airflow's side of Lockstep: the only package that imports it."""
