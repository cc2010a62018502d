# Airflow with Lockstep in it: one image for every Airflow service of docker-compose.yml. No secret is
# needed to build it and none is in it.
FROM apache/airflow:3.3.2-python3.12

# Backups are made by pg_dump, and pg_dump refuses a server newer than itself (it reads the catalogue, and
# cannot know tomorrow's). The client in the base image's distribution is whatever was current when that
# distribution froze, years behind the servers it meets; so the client comes from the PostgreSQL project's
# own archive, at the major version of the server in docker-compose.yml. A test holds the two numbers
# together; for a newer server, raise both. An older server is fine: pg_dump reads those.
# (The archive is set up by the script that the distribution's own postgresql-common ships, keys included.)
ARG POSTGRES_MAJOR=18
USER root
RUN install --directory --owner=airflow --group=0 /opt/lockstep \
    && apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-common ca-certificates \
    && sh -c 'exec "$(ls /usr/share/postgresql-common/pgdg/*.sh)" -y' \
    && apt-get install --yes --no-install-recommends "postgresql-client-${POSTGRES_MAJOR}" \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* \
    && pg_dump --version | grep -E "\(PostgreSQL\) ${POSTGRES_MAJOR}\."
USER airflow

# The dependencies change rarely and the package often, so the slow step has a layer of its own. Celery,
# FAB and Redis are named although the base image brings them: this image must not depend on that.
# Airflow's own version is repeated, so that no dependency can move it; and Celery 5.7 took away a name that
# the provider imports (the scheduler then stops with "could not be loaded ... CeleryExecutor").
WORKDIR /opt/lockstep
COPY --chown=airflow:0 constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt \
    "apache-airflow==${AIRFLOW_VERSION}" \
    apache-airflow-providers-celery \
    "celery<5.7" \
    apache-airflow-providers-fab \
    apache-airflow-providers-redis

COPY --chown=airflow:0 pyproject.toml README.md LICENSE ./
COPY --chown=airflow:0 include ./include
RUN pip install --no-cache-dir -c constraints.txt "apache-airflow==${AIRFLOW_VERSION}" "celery<5.7" ".[lint]" \
    && python -c "import lockstep, resources, airflow.providers.celery.executors.celery_executor"

# What Airflow reads, and what the one-shot init service runs. The revisions are baked in, not mounted: a
# run then uses the code that was reviewed, and an image's tag says which.
WORKDIR /opt/airflow
COPY --chown=airflow:0 dags ./dags
COPY --chown=airflow:0 plugins ./plugins
COPY --chown=airflow:0 migrations ./migrations
ENV LOCKSTEP_MIGRATIONS=/opt/airflow/migrations
COPY --chown=airflow:0 compose/airflow ./compose
