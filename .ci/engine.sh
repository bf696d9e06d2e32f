# A Docker engine for the run: the one that answers already, or one of the run's own, which ends with it.
engine_folder=${TIMESERIES_TEST_ROOTS:-/var/lib/timeseries-test}/engine
engine_process=

start_engine() {
    if docker version >/dev/null 2>&1; then
        return 0
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "no Docker engine answers, and to start one takes root and Debian's packages: no test of containers runs"
        return 1
    fi
    if ! { command -v dockerd && command -v docker && command -v iptables && command -v debootstrap; } >/dev/null; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends docker.io iptables debootstrap >/dev/null || true
        if docker version >/dev/null 2>&1; then # the package's own service
            return 0
        fi
    fi
    mkdir -p "$engine_folder"
    dockerd --data-root "$engine_folder/data" --exec-root /run/timeseries-engine --pidfile /run/timeseries-engine.pid \
        --host unix:///var/run/docker.sock >"$engine_folder/log" 2>&1 &
    engine_process=$!
    for _ in $(seq 60); do
        if docker version >/dev/null 2>&1; then
            remove_leftovers
            return 0
        fi
        kill -0 "$engine_process" 2>/dev/null || break
        sleep 1
    done
    stop_engine
    echo "no Docker engine starts here: no test of containers runs; the last lines of its log:"
    tail -n 3 "$engine_folder/log"
    return 1
}

# What an interrupted run left; nobody else has anything in this engine's folder.
remove_leftovers() {
    docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    docker volume prune --force >/dev/null
    docker image prune --force >/dev/null
}

stop_engine() {
    if [ -n "$engine_process" ]; then
        kill "$engine_process" 2>/dev/null || true
        wait "$engine_process" || true
        engine_process=
    fi
}
