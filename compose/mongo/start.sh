#!/bin/bash
# Start mongod as a member of a replica set with authentication on. Such a member wants a key file that
# only its user can read; the key comes from the environment, so it is written here, at every start.
set -euo pipefail

keyfile=/data/configdb/keyfile
rm -f "$keyfile"
(umask 077 && printf '%s\n' "${MONGO_REPLICA_KEY:?}" > "$keyfile")
chown mongodb:mongodb "$keyfile"
chmod 400 "$keyfile"
unset MONGO_REPLICA_KEY

# The image's own entry point makes the root user and runs 10-user.js while the volume is empty.
exec docker-entrypoint.sh mongod --replSet rs0 --keyFile "$keyfile" --bind_ip_all
