#!/bin/bash
# Starts a stand-in of a database image as the published one starts, so that compose and testcontainers see no difference:
# POSTGRES_PASSWORD, _USER, _DB and PGDATA, /docker-entrypoint-initdb.d, `postgres -c …` as arguments.
set -Eeuo pipefail

[ "${1:0:1}" != - ] || set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"
export PGDATA POSTGRES_USER=${POSTGRES_USER:-postgres}

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    chown -R postgres "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
fi

initialize() {
    local file options
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo "Error: the database is not initialized, and POSTGRES_PASSWORD is not set" >&2
        exit 1
    fi
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}")
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
    # Whoever waits for the server by TCP waits until all is made: meanwhile it listens on its socket only.
    printf -v options '%q ' "$@" -c listen_addresses=
    pg_ctl -w -o "$options" start
    if [ "${POSTGRES_DB:=$POSTGRES_USER}" != postgres ]; then
        createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh) . "$file" ;;
            *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" -f "$file" ;;
        esac
    done
    pg_ctl -w -m fast stop
}

[ -s "$PGDATA/PG_VERSION" ] || initialize "${@:2}"
exec "$@"
