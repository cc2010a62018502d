#!/bin/bash
# What must exist before any Airflow service starts. Safe to run again: every step asks first or sets the
# same thing. No password is given on a command line, where `ps` would show it.
set -euo pipefail
here=$(dirname "$0")

# Make a user unless the list in `users` has it. The password goes in on standard input.
ensure_user() {
    local name=$1 role=$2 password=$3
    if python "$here"/has_user.py "$name" <<<"$users"; then
        echo "User $name is there already; its password is left as it is."
        return
    fi
    printf '%s\n%s\n' "$password" "$password" |
        airflow users create --username "$name" --role "$role" \
            --firstname "$name" --lastname Lockstep --email "$name@lockstep.invalid"
}

echo "1/4 Airflow's metadata"
airflow db migrate

echo "2/4 Users"
users=$(airflow users list --output json)
ensure_user admin Admin "${AIRFLOW_ADMIN_PASSWORD:?}"
ensure_user deploy User "${AIRFLOW_DEPLOY_PASSWORD:?}"

# A task whose pool is missing waits for ever without a word, so the pools come before the first DAG.
echo "3/4 Pools"
airflow pools set lockstep "${LOCKSTEP_POOL_SLOTS:-8}" "Tasks of Lockstep's DAGs"
databases=$(mktemp --suffix=.json)
python -m lockstep.cli pools --slots "${LOCKSTEP_DATABASE_SLOTS:-4}" >"$databases"
airflow pools import "$databases"

echo "4/4 Buckets"
python "$here"/buckets.py

echo "Ready."
