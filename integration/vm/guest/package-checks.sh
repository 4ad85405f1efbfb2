# Sourced by deb.sh and rpm.sh: what must hold of opm's package whatever it is packed in.
# Three apps of the system's daemon and two of a user's; who they are is what the kernel says: pid and start time.
failed=0
user=$(as-user id -un)
uid=$(id -u "$user")

ok() { echo "ok $1"; }
bad() { echo "FAIL $1"; failed=1; }

# check NAME COMMAND...
check() {
    local name=$1
    shift
    if "$@"; then ok "$name"; else bad "$name"; [ ! -s words ] || sed 's/^/    /' words; fi
}

# is NAME HAVE WANT
is() {
    if [ "$2" = "$3" ]; then ok "$1"; else bad "$1: '$2', not '$3'"; fi
}

finish() {
    [ "$failed" = 0 ] || { journalctl --no-pager -b -n 60; ls -l /run/opm "/run/user/$uid/opm"; }
    exit "$failed"
}

main_of_system() { systemctl show --property=MainPID --value opm; }
main_of_user() { as-user systemctl --user show --property=MainPID --value opm; }
number() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" | head -1; }
daemon_of_system() { opm daemon status --json | number pid; }
daemon_of_user() { as-user opm daemon status --json | number pid; }

# Pid and start time of every process in the apps' cgroups of a unit: a pid alone could have been used again.
processes() {
    find "/sys/fs/cgroup$1" -path '*/apps/*' -name cgroup.procs -exec cat {} + | sort -n | while read -r pid; do
        sed -n "s/^\([0-9]*\) .*) \(.*\)/\1 \2/p" "/proc/$pid/stat" | awk '{ printf "%s@%s ", $1, $21 }'
    done
}
cgroup_of_system() { systemctl show --property=ControlGroup --value opm; }
cgroup_of_user() { as-user systemctl --user show --property=ControlGroup --value opm; }

check_fresh() {
    check "nothing was started" eval '! systemctl is-active --quiet opm && ! as-user systemctl --user is-active --quiet opm'
    check "nothing was enabled" eval '! systemctl is-enabled --quiet opm && ! as-user systemctl --user is-enabled --quiet opm'
    check "no unit failed" eval 'test -z "$(systemctl list-units --failed --no-legend)"'
    check "root's unit is read without complaint" quiet systemd-analyze verify --man=no /usr/lib/systemd/system/opm.service
    # Guests may be told to leave manuals out, so the list is asked.
    check "the manual is there" eval 'lists | grep -qx /usr/share/man/man1/opm-start.1.gz'
    check "completions are there" bash -n /usr/share/bash-completion/completions/opm
    check "the configuration is there" test -f /etc/opm/config.toml
    opm --version
}

# Only what it says of us; older ones do not know DelegateSubgroup=, which is meant to be so.
quiet() {
    ! "$@" 2>&1 | grep opm.service | grep -v DelegateSubgroup
}

start_daemons_and_apps() {
    check "root starts it" systemctl enable --quiet --now opm
    check "a user starts it" as-user systemctl --user enable --quiet --now opm
    for app in a b c; do opm start sleep --name $app -- 100000 || bad "start $app"; done
    for app in u v; do as-user opm start sleep --name $app -- 100000 || bad "start $app"; done
    echo '# edited' >>/etc/opm/config.toml
    remember
}

remember() {
    system_main=$(main_of_system) user_main=$(main_of_user)
    system_group=$(cgroup_of_system) user_group=$(cgroup_of_user)
    system_processes=$(processes "$system_group") user_processes=$(processes "$user_group")
    is "five apps run" "$(echo "$system_processes$user_processes" | wc -w)" 5
    system_daemon=$(daemon_of_system) user_daemon=$(daemon_of_user)
}

check_apps() {
    is "after $1: the system's apps are the same processes" "$(processes "$system_group")" "$system_processes"
    is "after $1: the user's apps are the same processes" "$(processes "$user_group")" "$user_processes"
}

same_file() { [ "$(stat -Lc %d:%i "/proc/$1/exe")" = "$(stat -c %d:%i /usr/bin/opm)" ]; }

# The keeper is renewed shortly after the order to reload is answered: wait for it, with a deadline.
renewed() {
    for _ in $(seq 100); do
        same_file "$1" && return 0
        sleep 0.1
    done
    return 1
}

check_user_taken_over() {
    is "after $1: the user's unit has its main process" "$(main_of_user)" "$user_main"
    is "after $1: the user's apps are the same processes" "$(processes "$user_group")" "$user_processes"
    local daemon
    daemon=$(daemon_of_user)
    check "after $1: the user's daemon is another" test "$daemon" != "$user_daemon"
    check "after $1: the user's daemon and keeper are of the installed file" eval "renewed $daemon && renewed $user_main"
    user_daemon=$daemon
}

check_taken_over() {
    check_apps "$1"
    is "after $1: the system's unit has its main process" "$(main_of_system)" "$system_main"
    local daemon
    daemon=$(daemon_of_system)
    check "after $1: the system's daemon is another" test "$daemon" != "$system_daemon"
    check "after $1: the system's daemon and keeper are of the installed file" eval "renewed $daemon && renewed $system_main"
    system_daemon=$daemon
    check "after $1: the system's unit is active" systemctl is-active --quiet opm
    check "after $1: nothing waits to be read anew" test "$(systemctl show --property=NeedDaemonReload --value opm)" = no
    check "after $1: nor by the user's manager" test "$(as-user systemctl --user show --property=NeedDaemonReload --value opm)" = no
    check_user_taken_over "$1"
}

refuse_reload() {
    mkdir -p /etc/systemd/user/opm.service.d
    printf '[Service]\nExecReload=\nExecReload=/bin/false\n' >/etc/systemd/user/opm.service.d/refuse.conf
}

allow_reload() {
    rm -r /etc/systemd/user/opm.service.d
}

check_removed() {
    check "the program is gone" test ! -e /usr/bin/opm
    check "the system's daemon has ended" eval '! systemctl is-active --quiet opm'
    is "and its apps with it" "$(processes "$system_group" 2>/dev/null)" ""
    check "no unit failed by it" eval 'test -z "$(systemctl list-units --failed --no-legend)"'
    is "the user's apps go on" "$(processes "$user_group")" "$user_processes"
    is "and the user's daemon" "$(as-user systemctl --user is-active opm)" active
}

check_nothing_left() {
    is "nothing of it is left" "$(find /etc /usr /var /run/opm -xdev \( -name 'opm*' -o -name '_opm' -o -name reload-daemons \) \
        ! -path '/var/lib/dpkg/*' ! -path "$PWD/*" 2>/dev/null | tr '\n' ' ')" ""
}

check_user_untouched() {
    check "what is the user's is untouched" eval "test -n \"\$(find ~$user/.local/state/opm -type f)\" &&
        test -L ~$user/.config/systemd/user/default.target.wants/opm.service"
}
