#!/bin/bash
# The one command: makes what is needed (images, opm and its packages), runs the tests of guest/ in guests with a real
# systemd, and says how each went.
#
#   integration/vm/run.sh                  everything, on every tier and suite that a test is meant for (about half an hour)
#   integration/vm/run.sh short            what CI runs: each test once, those that limits and restarts hang on under both systemds
#   integration/vm/run.sh restart limits   these, as in the full pass
#   integration/vm/run.sh restart:ns reboot:tcg:bookworm     on one tier, of one suite
#
# What a guest said, its console and its journal are kept under integration/vm/out. It fails, and does not skip, where a guest
# cannot be had. RIG_* are the rig's own (rig/settings.sh). VM_JOBS guests run side by side (one for each 2 CPUs, at least 2).
# VM_BINARY is an opm to use instead of building one, VM_PREVIOUS the one that packages are upgraded from.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
cd "$top"
# The guests' root, and namespaces, are made by root.
[ "$(id -u)" = 0 ] || exec sudo -E "${BASH_SOURCE[0]}" "$@"
: "${RIG_CACHE:=$here/cache}"
export RIG_CACHE
out=$here/out
jobs_at_once=${VM_JOBS:-$(($(nproc) > 4 ? $(nproc) / 2 : 2))}

# A test, and where it runs: tier:suite, those of the short pass first, those of the full pass alone after the bar.
#
# ns is native in speed but has the host's kernel and, often, no controllers; tcg is the reference. trixie has systemd 257 and
# a kernel above 6.15 (the pidfd tells exit codes), bookworm 252 (no DelegateSubgroup) and 6.1. Nothing runs on uml: README.md.
plan() {
    cat <<-E
		restart   ns:trixie tcg:trixie tcg:bookworm | ns:bookworm
		limits    tcg:trixie tcg:bookworm
		reboot    tcg:trixie | tcg:bookworm ns:trixie ns:bookworm
		poweroff  tcg:trixie | tcg:bookworm
		upgrade   ns:trixie | ns:bookworm tcg:trixie tcg:bookworm
		users     ns:trixie | tcg:trixie tcg:bookworm
		startup   ns:trixie | tcg:trixie tcg:bookworm
		deb       ns:trixie ns:bookworm | tcg:bookworm
		rpm       ns:trixie ns:bookworm | tcg:bookworm
	E
}

# Lines "test tier suite" of what was asked for, those that take long first.
selected() {
    local wanted test places place tier suite
    for wanted in "${@:-}"; do
        plan | while read -r test places; do
            [ -e "$here/guest/$test.sh" ] || continue
            [ -z "$wanted" ] || [ "${wanted%%:*}" = "$test" ] || continue
            [ $pass = full ] || places=${places%%|*}
            case $wanted in *:*:*) places=${wanted#*:} ;; esac
            for place in ${places//|/}; do
                IFS=: read -r tier suite <<<"$place"
                case $wanted in *:*) [[ $wanted: == "$test:$tier:"* ]] || continue ;; esac
                echo "$test $tier $suite"
            done
        done
    done | sort -s -k2,2r
}

# ---- what goes into the guests

# The payload: the tests, opm, its units, and its packages as old.deb, new.deb, old.rpm, new.rpm.
make_payload() {
    payload=$(mktemp -d "${TMPDIR:-/tmp}/vm.XXXXXX")
    trap 'rm -rf "$payload"' EXIT
    cp -r "$here"/guest/. "$payload"
    cp -r packaging/systemd "$payload/systemd"
    if [ -n "${VM_BINARY:-}" ]; then
        cp "$VM_BINARY" "$payload/opm"
        strip "$payload/opm" 2>/dev/null || true
    fi
    pack new ${VM_BINARY:+--binary "$VM_BINARY"}
    # What is tested is what people get.
    [ -e "$payload/opm" ] || cp "$payload/new/usr/bin/opm" "$payload/opm"
    # The build before: this tree under an older version, unless one is given.
    pack old --version-suffix '~before' --binary "${VM_PREVIOUS:-$payload/opm}"
    rm -r "$payload"/{old,new}
    # Users other than root are to read what is there: the folder's mode goes with it.
    chmod -R a+rX "$payload"
}

# pack old|new OPTIONS...: that deb and rpm, and what the deb holds, into the payload.
pack() {
    local which=$1
    shift
    packaging/build.sh deb rpm --out "$payload/$which" "$@" >"$out/packages-$which" 2>&1 || {
        tail -n 30 "$out/packages-$which"
        echo "the packages could not be built"
        echo "0 passed, 1 failed"
        exit 1
    }
    dpkg-deb -x "$payload/$which"/*.deb "$payload/$which"
    mv "$payload/$which"/*.deb "$payload/$which.deb"
    mv "$payload/$which"/*.rpm "$payload/$which.rpm"
}

# ---- running

# One test in one guest; its line of the table goes to out/.../line.
run_one() {
    local test=$1 tier=$2 suite=$3 folder code=0 began=$SECONDS verdict good bad disk=0
    folder=$out/$test-$tier-$suite
    rm -rf "$folder"
    mkdir -p "$folder"
    [ "$test" != poweroff ] || disk=1
    RIG_TIER=$tier RIG_SUITE=$suite RIG_OUT=$folder RIG_TIMEOUT=${RIG_TIMEOUT:-1500} RIG_DATA_DISK=$disk RIG_PASS=$pass \
        "$here/rig.sh" run "$payload" "$test.sh" >"$folder/said" 2>"$folder/rig" || code=$?
    good=$(grep -c '^ok ' "$folder/said" || true)
    bad=$(grep -c '^FAIL ' "$folder/said" || true)
    # A guest that died, or a script that did, is a failure even if no check said so; so is a test that checked nothing.
    [ $code != 0 ] && [ "$bad" = 0 ] && bad=1
    [ $code = 0 ] && [ "$good" = 0 ] && bad=1
    [ "$bad" = 0 ] && verdict=ok || verdict=FAIL
    printf '%-9s %-4s %-9s %-8s %-22s %4s %5s  %-4s %4ss\n' "$test" "$tier" "$suite" "$(guest_word systemd "$folder")" \
        "$(guest_word kernel "$folder")" "$good" "$bad" "$verdict" $((SECONDS - began)) >"$folder/line"
    echo "$good $bad" >"$folder/counts"
    cat "$folder/line"
    if [ $verdict = FAIL ]; then
        grep -A 12 '^FAIL ' "$folder/said" | head -60 || true
        [ $code -lt 124 ] || tail -n 25 "$folder/rig"
        echo "   (exit code $code; more in ${folder#"$top"/}: said, journal.txt, console.log)"
    fi
}

# The agent's first line says where a test runs.
guest_word() {
    grep -aoE "$1 [^ ,]+" "$2/said" | head -1 | cut -d' ' -f2
}

# end_guests PID: on the way out, the guests among a process's descendants. Who waits for them cleans up after them.
end_guests() {
    local child
    for child in $(pgrep -P "$1"); do
        case $(ps -o comm= -p "$child") in
            qemu-system* | linux | systemd) kill -KILL "$child" ;;
            *) end_guests "$child" ;;
        esac
    done
}

make_images() {
    local suite
    cut -d' ' -f2,3 <<<"$1" | sort -u | while read -r tier suite; do
        RIG_TIER=$tier RIG_SUITE=$suite "$here/rig.sh" warm || exit 1
    done || {
        echo "a guest could not be made; without one nothing is tested"
        echo "0 passed, 1 failed"
        exit 1
    }
}

pass=full
[ "${1:-}" != short ] || { pass=short && shift; }
list=$(selected "$@")
[ -n "$list" ] || {
    echo "no such test: ${*}; there are: $(plan | cut -d' ' -f1 | tr '\n' ' ')" >&2
    exit 2
}
mkdir -p "$out"
make_images "$list"
make_payload
trap 'end_guests $$; wait; exit 130' INT TERM
header=$(printf '%-9s %-4s %-9s %-8s %-22s %4s %5s' test tier suite systemd kernel ok FAIL)
echo "$header"
while read -r test tier suite; do
    while [ "$(jobs -pr | wc -l)" -ge "$jobs_at_once" ]; do wait -n || true; done
    run_one "$test" "$tier" "$suite" </dev/null &
done <<<"$list"
wait

echo
echo "$header"
passed=0 failed=0
while read -r test tier suite; do
    cat "$out/$test-$tier-$suite/line"
    read -r good bad <"$out/$test-$tier-$suite/counts"
    passed=$((passed + good)) failed=$((failed + bad))
done <<<"$list"
echo
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
