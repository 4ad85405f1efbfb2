# Sourced by every test in a guest. Words to say how a check went, to wait for a condition, and to speak to one of the two opms
# of the machine: root's (`scope system`) or that of the lingering user tester (`scope user`).
# shellcheck shell=bash disable=SC2034

set -u
cd "$(dirname "$0")" || exit
mkdir -p out
# Users other than root are to read what is here, and start the apps.
chmod -R a+rX .
: "${RIG_SLOW:=20}" "${RIG_PHASE:=0}" "${RIG_PASS:=full}"

failed=0

ok() {
    echo "ok $*"
}

FAIL() {
    echo "FAIL $*"
    failed=1
}

# check NAME COMMAND...: ok if the command succeeds.
check() {
    local name=$1
    shift
    if "$@"; then ok "$name"; else FAIL "$name"; fi
}

# refused NAME COMMAND...: ok if the command does not succeed.
refused() {
    local name=$1
    shift
    if "$@" >out/refused 2>&1; then FAIL "$name: it worked"; else ok "$name"; fi
}

# same NAME BEFORE AFTER: two lists, one item on a line.
same() {
    if [ "$2" = "$3" ]; then
        ok "$1"
    else
        FAIL "$1"
        diff <(echo "$2") <(echo "$3") | head -20
    fi
}

# As the last command of a test.
finish() {
    [ "$failed" = 0 ] || {
        echo "-- the end of the journal:"
        journalctl --no-pager -o short-monotonic -n 30
    }
    exit $failed
}

# wait_for SECONDS COMMAND...: until the command succeeds. The seconds are those of an idle machine of today; a slow guest
# gets as many more as it is slower. A condition that comes true ends it at once, so generous costs nothing.
wait_for() {
    local deadline=$((SECONDS + $1 * RIG_SLOW))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || {
            echo "waited in vain for: $*"
            return 1
        }
        sleep 0.2
    done
}

# By hand and not as a package: what packages do is tested by deb.sh and rpm.sh, and dpkg takes long where all is emulated.
install_opm() {
    install -m 755 opm /usr/bin/opm
    install -D -m 644 systemd/system/opm.service /usr/lib/systemd/system/opm.service
    install -D -m 644 systemd/user/opm.service /usr/lib/systemd/user/opm.service
    systemctl daemon-reload
    as-user systemctl --user daemon-reload
    echo "opm $(opm_version), $(systemctl --version | head -1), kernel $(uname -r), tier ${RIG_TIER:-?}"
}

opm_version() {
    /usr/bin/opm --version
}

# ---- whose opm

scope() {
    SCOPE=$1
    case $SCOPE in
        user) HOME_OF_SCOPE=/home/tester ;;
        system) HOME_OF_SCOPE=/root ;;
    esac
}

as_owner() {
    if [ "$SCOPE" = user ]; then as-user "$@"; else "$@"; fi
}

opm() {
    as_owner env NO_COLOR=1 /usr/bin/opm "$@"
}

ctl() {
    if [ "$SCOPE" = user ]; then as-user systemctl --user "$@"; else systemctl "$@"; fi
}

# ---- what the kernel says

# The unit's cgroup, also when the unit is stopped.
unit_cgroup() {
    if [ "$SCOPE" = user ]; then
        echo /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/opm.service
    else
        echo /sys/fs/cgroup/system.slice/opm.service
    fi
}

# Every process of every app, grandchildren included.
app_pids() {
    find "$(unit_cgroup)/apps" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -n
}

app_pids_are() {
    [ "$(app_pids | wc -l)" = "$1" ]
}

# Whether the unit's cgroup is gone, or holds no process.
unit_is_empty() {
    [ ! -e "$(unit_cgroup)" ] || grep -q '^populated 0' "$(unit_cgroup)/cgroup.events"
}

keeper_pid() {
    ctl show -p MainPID --value opm.service
}

supervisor_pids() {
    cat "$(unit_cgroup)/supervisor/cgroup.procs" 2>/dev/null
}

daemon_pid() {
    supervisor_pids | grep -vx "$(keeper_pid)" | head -1
}

# Which controllers a run's cgroup has; nothing where limits cannot be enforced.
controllers() {
    cat "$(unit_cgroup)/cgroup.controllers"
}

# ---- what opm and systemd say

online() {
    opm ls --json | jq '[.[] | select(.state == "online")] | length'
}

online_are() {
    [ "$(online)" = "$1" ]
}

# One line for each instance: its name, number and main process.
mains() {
    opm ls --json | jq -r '.[] | "\(.name):\(.instance) \(.pid)"' | sort
}

unit_is_active() {
    [ "$(ctl is-active opm.service)" = active ]
}

unit_is_not_failed() {
    [ "$(ctl is-failed opm.service)" != failed ]
}

# What must never be in the journal of a machine with opm on it, whatever was killed.
journal_is_clean() {
    ! journalctl --no-pager -o cat |
        grep -E 'opm.*(status=219|/CGROUP|Failed to (start|spawn|attach|set up)|repeated too quickly|resource busy|timed out|with signal SIGKILL)'
}
