#!/bin/sh
# The benchmark: opm beside a bare clone3-into-cgroup program, interleaved in one run. Prints a table, writes JSON.
#
#   integration/bench/run.sh [--rounds 5] [--sizes 100,1000] [--crashes 20] [--idle 30]
#   integration/bench/run.sh logs [--rounds 5] [--dir /tmp] [...]    what capturing logs costs, beside `app | cat > file`
#
# Needs root, a cgroup2 mount, cargo, gcc with static libc, and Python 3. OPM_BIN names a binary to measure instead of building one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$here/out
mkdir -p "$out"
for source in limit sleeper writer; do
    gcc -O2 -Wall -static -o "$out/$source" "$here/$source.c"
done
if [ -z "${OPM_BIN:-}" ]; then
    (cd "$here/../.." && cargo build --release --locked)
    OPM_BIN=${CARGO_TARGET_DIR:-$here/../../target}/release/opm
fi
python=/usr/bin/python3
[ -x "$python" ] || python=python3
now=$(date -u +%Y%m%dT%H%M%SZ)
if [ "${1:-}" = logs ]; then
    shift
    exec "$python" "$here/logs.py" --opm "$OPM_BIN" --sleeper "$out/sleeper" --writer "$out/writer" --out "$out/logs-$now.json" "$@"
fi
exec "$python" "$here/bench.py" --opm "$OPM_BIN" --limit "$out/limit" --sleeper "$out/sleeper" \
    --out "$out/bench-$now.json" "$@"
