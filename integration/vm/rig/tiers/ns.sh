# Sourced by rig.sh. The tier `ns`: the guest's systemd as process 1 of fresh namespaces, on the host's kernel. Native speed
# and a start within a second; but the controllers are those that the host's cgroup2 hands out, often none.
# shellcheck shell=bash

# The host's cgroup2 mount, wherever it is.
cgroup2_mount() {
    awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts
}

# boot_ns WORK
boot_ns() {
    local work=$1 cgroup code follower
    cgroup=$(cgroup2_mount)
    [ -n "$cgroup" ] || die "the tier ns needs cgroup2, which is not mounted here"
    cgroup=$cgroup/rig.$$.$RANDOM # a pid alone is not unique where this runs in several pid namespaces
    mkdir "$cgroup" 2>/dev/null || die "the tier ns needs a writable cgroup2: $cgroup cannot be made"
    mkdir -p "$work"/{upper,overlay,root}
    say "starting systemd in namespaces"
    # The guest's serial line is a file; its words are passed on as they come.
    : >"$work/line"
    tail -qf "$work/line" &
    follower=$!
    while :; do
        code=0
        (
            echo "$BASHPID" >"$cgroup/cgroup.procs"
            exec timeout -s KILL "$RIG_TIMEOUT" unshare --cgroup --pid --mount --uts --ipc --net --fork --kill-child \
                --propagation private bash "$here/rig/tiers/ns-init.sh" "$work" "$IMAGE/root"
        ) >>"$RIG_OUT/console.log" 2>&1 </dev/null || code=$?
        # reboot(2) in a pid namespace ends its first process by SIGHUP for a reboot and by SIGINT for a power-off.
        [ "$code" = 129 ] || break
        say "rebooting"
    done
    sleep 0.3 # what tail has not yet passed on
    kill "$follower" 2>/dev/null || true
    find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
    case $code in
        130) return 0 ;;
        137) return 124 ;;
        *) return "$code" ;;
    esac
}
