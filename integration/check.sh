#!/bin/sh
# The test command: everything that this project can show about itself on this machine, in one go.
#
#   integration/check.sh            all of it
#   integration/check.sh host       one step: fmt, clippy, unit, seeded, host, failpoints, chaos, bench, vm
#   OPM_CHAOS_SECONDS=3600 OPM_CHAOS_SEED=7 integration/check.sh chaos     see integration/chaos/main.rs
#
# Installs what it needs where it may (Debian, Ubuntu). Host tests need root (sudo is used where there is one) and a cgroup2
# mount; without them they fail and say what is missing. The last line is the sum; the exit code is not 0 if anything failed.
set -u
cd "$(dirname "$0")/.." || exit 1
. integration/prerequisites.sh
only=${1:-}
passed=0
failed=0
summary=
log=$(mktemp)
trap 'rm -f "$log" "$log.code"' EXIT
trap 'exit 130' INT TERM

need_rust
need node nodejs
need python3 python3
need strace strace
cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
    rustup component add rustfmt clippy >&2 || install rustfmt rust-clippy || true

# note WHAT PASSED FAILED
note() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    summary="$summary$(printf '%-34s %4s passed %4s failed' "$1" "$2" "$3")
"
}

wanted() {
    [ -z "$only" ] || [ "$only" = "$1" ]
}

# A check that passes or fails as one.
check() {
    what=$1
    shift
    echo "== $what"
    if "$@"; then note "$what" 1 0; else note "$what" 0 1; fi
}

# The sum of every number before "WORD" on the lines that sum up.
count() {
    sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^ *Summary \[|^test result:' | grep -oE "[0-9]+ $1" | awk '{ n += $1 } END { print n + 0 }'
}

# Tests, through nextest where it is installed (each test a process of its own), else through cargo test.
tests() {
    what=$1
    filter=$2
    shift 2
    echo "== $what"
    if cargo nextest --version >/dev/null 2>&1; then
        set -- nextest run --config-file integration/nextest.toml --no-fail-fast --no-tests pass --locked "$@" $filter
    else
        set -- test --no-fail-fast --locked "$@" -- $filter
    fi
    # A pipe would hide the exit code, so that goes through a file.
    { cargo "$@" 2>&1; echo $? >"$log.code"; } | tee "$log" | grep --line-buffered -vE '^ +(PASS|Compiling|Fresh) |^test .* ok$|^$'
    code=$(cat "$log.code")
    good=$(count passed)
    bad=$(($(count failed) + $(count 'timed out')))
    # It did not build, or a test took the whole process with it.
    if [ "$code" != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
    note "$what" "$good" "$bad"
}

# Not root, but sudo: the host tests' binaries alone run as root.
run_as_root() {
    if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null; then
        triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${triple}_RUNNER=sudo -E"
    fi
}

hermetic=$(for file in tests/*.rs tests/*/main.rs; do
    [ -e "$file" ] || continue
    name=${file#tests/}
    name=${name%/main.rs}
    echo "--test ${name%.rs}"
done)

if wanted fmt; then check "format" cargo fmt --check; fi
if wanted clippy; then
    check "clippy" cargo clippy --all-targets --locked -q -- -D warnings
    check "clippy, all features" cargo clippy --all-targets --all-features --locked -q -- -D warnings
fi
if wanted unit; then tests "unit, architecture, simulation" "" --lib --bins $hermetic; fi
if wanted seeded; then tests "seeded bugs (none may survive)" "" --features seeded-bugs --test simulation; fi
run_as_root
if wanted host; then tests "host (real processes, real cgroups)" "" --test host; fi
if wanted failpoints; then tests "daemon killed between any two effects" "failpoints::" --features failpoints --test host; fi
# One after the other: each takes the machine as a whole. Its output is what a failure is understood by.
if wanted chaos; then tests "chaos (everything at once, by seed)" "" --test chaos; fi
# Its own test: facts about what it measures, never a time.
if wanted bench; then
    as_root=
    if [ "$(id -u)" != 0 ]; then as_root="sudo -E"; fi
    check "benchmark (its own test)" sh -c "cargo build --locked -q &&
        $as_root env OPM_BIN=\"\${CARGO_TARGET_DIR:-target}/debug/opm\" integration/bench/run.sh --self-test"
fi
# Guests with a real systemd; see integration/vm/README.md. What it counts are checks, and it fails where it cannot boot.
if wanted vm; then
    echo "== vm (real systemd, in guests)"
    { integration/vm/run.sh short 2>&1; echo $? >"$log.code"; } | tee "$log"
    good=$(sed -n 's/^\([0-9]*\) passed, [0-9]* failed$/\1/p' "$log" | tail -1)
    bad=$(sed -n 's/^[0-9]* passed, \([0-9]*\) failed$/\1/p' "$log" | tail -1)
    if [ "$(cat "$log.code")" != 0 ] && [ "${bad:-0}" = 0 ]; then bad=1; fi
    note "vm (real systemd, in guests)" "${good:-0}" "${bad:-0}"
fi

echo
printf '%s' "$summary"
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
