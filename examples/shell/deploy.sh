#!/bin/sh
# Bring the databases to a target with Airflow, curl and jq alone, for where `lockstep deploy` cannot be installed.
#
#   AIRFLOW=https://airflow.example.com DEPLOY_USER=deploy DEPLOY_PASSWORD_FILE=/run/secrets/deploy \
#       sh deploy.sh KEY [TARGET]
#
# KEY is what is the same when the pipeline runs again, such as the commit. It exits 0: the databases are at the
# target; 1: they are not; 2: Airflow could not be asked. A failed run of the same KEY is not tried again, which
# `lockstep deploy` does.
set -eu

KEY=${1:?"usage: deploy.sh KEY [TARGET]"}
TARGET=${2:-head}
: "${AIRFLOW:?is the address of Airflow}" "${DEPLOY_USER:?is the service account}" "${DEPLOY_PASSWORD_FILE:?holds its password}"
RUNS=$AIRFLOW/api/v2/dags/migrate/dagRuns
PRIVATE=$(mktemp -d)
trap 'rm -rf "$PRIVATE"' EXIT
trap 'exit 1' INT TERM
chmod 700 "$PRIVATE"

# The password and the token go through files and standard input: a program's arguments can be read by everybody.
login() {
    jq -n --arg user "$DEPLOY_USER" --rawfile password "$DEPLOY_PASSWORD_FILE" \
        '{username: $user, password: ($password | rtrimstr("\n"))}' |
        curl --fail --silent --show-error "$AIRFLOW/auth/token" \
            --header 'Content-Type: application/json' --data @- |
        jq -r '"header = \"Authorization: Bearer \(.access_token)\""' > "$PRIVATE/token"
    test -s "$PRIVATE/token"
}

login || { echo "Airflow did not let $DEPLOY_USER in" >&2; exit 2; }

STATUS=$(jq -n --arg run "deploy-$KEY" --arg target "$TARGET" \
    '{logical_date: null, dag_run_id: $run, conf: {target: $target}}' |
    curl --silent --show-error --retry 10 --retry-all-errors --config "$PRIVATE/token" "$RUNS" \
        --header 'Content-Type: application/json' --data @- \
        --output "$PRIVATE/answer" --write-out '%{http_code}') || STATUS=000
case $STATUS in
    200 | 201) echo "started deploy-$KEY: $AIRFLOW/dags/migrate/runs/deploy-$KEY" ;;
    409) echo "attached to deploy-$KEY: $AIRFLOW/dags/migrate/runs/deploy-$KEY" ;;
    *) cat "$PRIVATE/answer" >&2; echo "Airflow answered $STATUS" >&2; exit 2 ;;
esac

AWAY=0
while :; do
    STATE=$(curl --fail --silent --config "$PRIVATE/token" "$RUNS/deploy-$KEY" | jq -r .state) || STATE=
    case $STATE in
        success) echo "the databases are at $TARGET"; exit 0 ;;
        failed) echo "the databases are not at $TARGET: read $AIRFLOW/dags/migrate/runs/deploy-$KEY" >&2; exit 1 ;;
        "") AWAY=$((AWAY + 1)); login 2> /dev/null || : ;;
        *) AWAY=0 ;;
    esac
    [ "$AWAY" -lt 60 ] || { echo "Airflow has been away for five minutes; the run goes on" >&2; exit 2; }
    sleep 5
done
