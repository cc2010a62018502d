#!/bin/sh
# Apply on start: bring the databases to the revision that this image needs, then become the application.
#
#   ENTRYPOINT ["/entrypoint.sh"]
#   CMD ["gunicorn", "campus:app"]
#
# The environment gives LOCKSTEP_AIRFLOW_URL, the credentials (LOCKSTEP_AIRFLOW_TOKEN_FILE, or
# LOCKSTEP_AIRFLOW_USERNAME and LOCKSTEP_AIRFLOW_PASSWORD_FILE), and RELEASE, which is the same in all replicas of a
# release, such as the image's digest or the commit. Replicas that start at once then follow one and the same run. One
# that is restarted finds that run, green, and starts at once.
#
# REVISION, where it is set at the build, is the newest revision that this image knows. An older image that starts
# later than a newer one, as in a rollout that is taken back, asks for less than is there, and gets a yes.
set -eu

RELEASE=${RELEASE:?is what names this release, the same in all its replicas}

lockstep deploy --key "$RELEASE" --target "${REVISION:-head}" --contact "${CONTACT:-120}" --timeout "${TIMEOUT:-60}" || {
    # An orchestrator restarts the container, which follows the run again or, once it failed, tries again.
    status=$?
    echo "the application does not start: its databases are not ready (lockstep deploy: $status)" >&2
    exit "$status"
}

exec "$@"
