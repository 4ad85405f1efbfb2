#!/bin/bash
# The rig: runs a script as root in a throw-away guest with a real systemd (system manager, and a user manager for the
# lingering user `tester`) and unified cgroups, and brings back what it left.
#
#   rig.sh image                  build the suite's image, if it is not there yet
#   rig.sh warm                   the same, and save a booted machine, so that later runs start in 2 s (qemu tiers)
#   rig.sh run FOLDER [SCRIPT]    copy FOLDER into a fresh guest, run SCRIPT (run.sh) there as root, bring its out/ back
#   rig.sh shell [FOLDER]         the same, but with you in place of the script (qemu tiers)
#
# The exit code is the script's; 124 = over RIG_TIMEOUT, 125 = no guest, or it died. A script that exits with 194 has the
# guest rebooted and is run again, with RIG_PHASE one higher. With RIG_DATA_DISK=1 (qemu tiers) the guest has a disk /dev/vdd
# that outlives it, and loses its power when the script prints `RIG CUT POWER`: see rig/power.sh.
#
# What it is told by the environment stands in rig/settings.sh, and what a person does with it in README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=integration/vm/rig/settings.sh
. "$here/rig/settings.sh"
# shellcheck source=integration/vm/rig/host.sh
. "$here/rig/host.sh"
# shellcheck source=integration/vm/rig/image.sh
. "$here/rig/image.sh"
# shellcheck source=integration/vm/rig/power.sh
. "$here/rig/power.sh"
# shellcheck source=integration/vm/rig/tiers/qemu.sh
. "$here/rig/tiers/qemu.sh"
# shellcheck source=integration/vm/rig/tiers/uml.sh
. "$here/rig/tiers/uml.sh"
# shellcheck source=integration/vm/rig/tiers/ns.sh
. "$here/rig/tiers/ns.sh"

# What must exist before a run. Under a lock, so that runs side by side build one image and not two.
prepare() {
    mkdir -p "$RIG_CACHE"
    exec 9>"$RIG_CACHE/lock"
    flock 9
    install_tools
    exec 9>"$IMAGE.lock"
    flock 9
    build_image
    case $RIG_TIER in
        uml) fetch_uml ;;
        tcg | kvm) [ "$RIG_WARM" = no ] || save_warm_machine ;;
        ns) ;;
    esac
    exec 9>&-
}

# pack_input WORK FOLDER SCRIPT PHASE: the guest's second disk is a plain tar file; Debian's cloud kernels have no 9p.
pack_input() {
    local work=$1 folder=$2 script=$3 phase=$4
    mkdir -p "$work/head"
    date +%s >"$work/head/.now"
    cat >"$work/head/.settings" <<-E
		export RIG_ENTRY='$script' RIG_TIER='$RIG_TIER' RIG_SUITE='$RIG_SUITE' RIG_SLOW='$RIG_SLOW' RIG_PASS='$RIG_PASS' RIG_FIRST_PHASE='$phase'
	E
    # .now first and alone: the guest sets its clock before it unpacks the rest.
    tar -cf "$work/in" --owner=0 --group=0 -C "$work/head" .now .settings -C "$folder" .
    truncate -s "$INPUT_SIZE" "$work/in"
    truncate -s 0 "$work/out"
    truncate -s "$OUTPUT_SIZE" "$work/out"
}

boot() {
    case $RIG_TIER in
        tcg | kvm) boot_qemu "$@" ;;
        uml) boot_uml "$@" ;;
        ns) boot_ns "$@" ;;
    esac
}

run() {
    local folder script=${2:-run.sh} code=0
    folder=$(realpath -e "${1:?which folder?}")
    [ -e "$folder/$script" ] || die "there is no $script in $folder"
    prepare
    mkdir -p "$RIG_OUT"
    RIG_OUT=$(realpath "$RIG_OUT")
    rm -f "$RIG_OUT"/{rc,journal.txt,guest.log,console.log}
    work=$(mktemp -d "${TMPDIR:-/tmp}/rig.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    if [ "$RIG_DATA_DISK" = 1 ]; then
        run_with_power_cuts "$work" "$folder" "$script" || code=$?
    else
        pack_input "$work" "$folder" "$script" 0
        # A pipe would hide the exit code of its first command; and the guest's words are wanted here and in the file.
        (set +e; boot "$work" </dev/null; echo $? >"$work/code") | tee "$RIG_OUT/guest.log"
        code=$(cat "$work/code")
    fi
    if [ "$code" != 0 ]; then
        say "the guest ended with $code (124 = over ${RIG_TIMEOUT}s); the end of its console:"
        tail -n 15 "$RIG_OUT/console.log" >&2
        [ "$code" = 124 ] && return 124 || return 125
    fi
    tar -xf "$work/out" -C "$RIG_OUT" --strip-components=1 --no-same-owner || {
        say "no result came back"
        return 125
    }
    code=$(cat "$RIG_OUT/rc")
    say "the script ended with $code; files are in $RIG_OUT"
    return "$code"
}

# A person at the guest's serial line. Leaving the shell powers the guest off.
shell() {
    case $RIG_TIER in tcg | kvm) ;; *) die "a shell needs the tier tcg or kvm" ;; esac
    local folder=${1:-}
    RIG_TIMEOUT=86400
    prepare
    work=$(mktemp -d "${TMPDIR:-/tmp}/rig.XXXXXX")
    trap 'stty sane 2>/dev/null; rm -rf "$work"' EXIT
    [ -n "$folder" ] || { folder=$work/empty && mkdir "$folder"; }
    RIG_OUT=$work
    pack_input "$work" "$folder" --shell 0
    stty raw -echo 2>/dev/null || true
    boot "$work"
}

case ${1:-} in
    image) RIG_WARM=no prepare ;;
    warm) prepare ;;
    run) shift && run "$@" ;;
    shell) shift && shell "$@" ;;
    *) sed -n '2,/^set /{/^#/p}' "$0" && exit 2 ;;
esac
