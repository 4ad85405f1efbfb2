#!/bin/sh
# From a clean clone to three supervised apps, in one command: a Node app, a Python app and a shell script.
#
#   integration/demo/run.sh          install what is missing, build, start, show
#   integration/demo/run.sh clean    stop and forget everything it started
#
# Run it as root (or with sudo) on Debian or Ubuntu. It keeps to a home of its own, so that it touches no other opm.
set -eu
cd "$(dirname "$0")/../.."
. integration/prerequisites.sh
OPM_HOME=${OPM_HOME:-/var/tmp/opm-demo}
export OPM_HOME

opm=${CARGO_TARGET_DIR:-target}/release/opm
case $opm in /*) ;; *) opm=$PWD/$opm ;; esac
if [ "${1:-}" = clean ]; then
    "$opm" delete demo || true
    "$opm" kill
    rm -rf "$OPM_HOME"
    exit
fi

need_rust
need node nodejs
need python3 python3
cargo build --release --locked
"$opm" --version

say() { printf '\n$ %s\n' "$*"; }

say opm start integration/demo/apps.json
"$opm" start integration/demo/apps.json

# Asks until there is an answer, for as long as a slow machine may take to start Node.
fetch() {
    python3 - "$1" <<'PY'
import sys, time, urllib.request
deadline = time.monotonic() + 20
while True:
    try:
        print("  " + urllib.request.urlopen(sys.argv[1], timeout=2).read().decode().strip())
        break
    except OSError as error:
        if time.monotonic() > deadline:
            sys.exit(f"no answer from {sys.argv[1]}: {error}")
        time.sleep(0.05)
PY
}
say fetch http://127.0.0.1:18181/ and http://127.0.0.1:18182/
fetch http://127.0.0.1:18181/
fetch http://127.0.0.1:18182/

pid=$("$opm" ls --json | python3 -c 'import json, sys; print(next(r["pid"] for r in json.load(sys.stdin) if r["name"] == "web"))')
say "opm signal KILL web       # it crashes; it comes back"
"$opm" signal KILL web
"$opm" wait web
fetch http://127.0.0.1:18181/
now=$("$opm" ls --json | python3 -c 'import json, sys; print(next(r["pid"] for r in json.load(sys.stdin) if r["name"] == "web"))')
[ "$pid" != "$now" ] || { echo "web was not restarted" >&2; exit 1; }

say opm ls
"$opm" ls

cat <<END

All three run, each in a cgroup of its own. To go on:

  export OPM_HOME=$OPM_HOME
  alias opm=$opm
  opm logs web                  follow what it writes
  opm restart worker            a new run, once the old one is gone to the last process
  opm stop backup               with its child processes
  opm info web                  everything about it
  integration/demo/run.sh clean   stop and forget all of this
END
