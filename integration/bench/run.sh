#!/bin/sh
# The benchmark: opm, its peers and the limit program on the same children, interleaved in one run. README.md says what is measured.
#
#   integration/bench/run.sh                                  everything: figures a to k, 1 to 5,000 apps, 5 rounds (hours, with PM2)
#   integration/bench/run.sh --only b,c --peers opm,limit,supervisor --rounds 5 --sizes 1,100,1000
#   integration/bench/run.sh --publish                        everything, and the committed results.json and chart.svg
#   integration/bench/run.sh --self-test                      the benchmark's own test
#   integration/bench/run.sh logs [...]                       more about logs: many writers, the delay to a follower
#
# Needs root, a cgroup2 mount, cargo, gcc with static libc, and Python 3. OPM_BIN names a binary to measure instead of building one.
# Peers are brought into out/peers, with npm, pip, apt-get download and cargo; one that cannot be had is skipped, and the table says why.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$here/out
mkdir -p "$out"
for source in limit sleeper writer into; do
    [ "$out/$source" -nt "$here/$source.c" ] || gcc -O2 -Wall -static -o "$out/$source" "$here/$source.c"
done
if [ -z "${OPM_BIN:-}" ]; then
    (cd "$here/../.." && cargo build --release --locked)
    OPM_BIN=${CARGO_TARGET_DIR:-$here/../../target}/release/opm
fi
case $OPM_BIN in /*) ;; *) OPM_BIN=$PWD/$OPM_BIN ;; esac
python=/usr/bin/python3
[ -x "$python" ] || python=python3
export PYTHONDONTWRITEBYTECODE=1
case ${1:-} in
logs)
    shift
    exec "$python" "$here/logs.py" --opm "$OPM_BIN" --sleeper "$out/sleeper" --writer "$out/writer" --out "$out/logs-$(date -u +%Y%m%dT%H%M%SZ).json" "$@"
    ;;
--self-test)
    shift
    OPM_BIN=$OPM_BIN exec "$python" "$here/selftest.py" "$@"
    ;;
esac
exec "$python" "$here/bench.py" --opm "$OPM_BIN" "$@"
