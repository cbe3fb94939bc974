#!/bin/bash
# What the equivalent of the image postgres:15 starts: as the official one does, it
# makes a database at its first start, for POSTGRES_USER with POSTGRES_PASSWORD.
set -euo pipefail

PGDATA=${PGDATA:-/var/lib/postgresql/data}
BIN=$(echo /usr/lib/postgresql/*/bin)

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown postgres:postgres "$PGDATA" /var/run/postgresql
    chmod 0700 "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    "$BIN/initdb" -D "$PGDATA" -U "${POSTGRES_USER:-postgres}" --auth-local=trust \
        --auth-host=scram-sha-256 --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:?}") >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    "$BIN/pg_ctl" -D "$PGDATA" -o "-c listen_addresses=''" -w start >/dev/null
    "$BIN/createdb" -h /var/run/postgresql -U "${POSTGRES_USER:-postgres}" "${POSTGRES_DB:-postgres}" || true
    "$BIN/pg_ctl" -D "$PGDATA" -m fast -w stop >/dev/null
fi
exec "$BIN/postgres" -D "$PGDATA" -c listen_addresses='*'
