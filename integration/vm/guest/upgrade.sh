#!/bin/bash
# The package is upgraded from the build before, while 50 apps of root and 50 of a lingering user write. Their pids stay, no
# line is lost, doubled or torn, and no unit fails.
# shellcheck source=integration/vm/guest/lib.sh
. ./lib.sh

APPS=50

start_writers() {
    local number
    scope "$1"
    check "$SCOPE: the unit is enabled and starts" ctl enable --now opm.service
    for number in $(seq $APPS); do
        jq -n --arg name "w$number" --arg script "$PWD/apps/writer.pl" --arg pause "$PAUSE" \
            '{name: $name, script: $script, interpreter: "perl", cwd: "/", stop_timeout: "60s", env: {PAUSE: $pause}}'
    done | jq -s '{apps: .}' >"out/$SCOPE.json"
    chmod a+r "out/$SCOPE.json"
    check "$SCOPE: $APPS apps start and write" opm start "$PWD/out/$SCOPE.json" >out/started
    wait_for 30 online_are $APPS
    app_pids >"out/$SCOPE.pids"
    keeper_pid >"out/$SCOPE.keeper"
    daemon_pid >"out/$SCOPE.daemon"
}

# Of another opm than the one that was there: the daemon is a new process; the keeper the old one, in the new program.
runs_the_installed() {
    [ "$(stat -Lc %i "/proc/$1/exe")" = "$(stat -c %i /usr/bin/opm)" ]
}

after_upgrade() {
    scope "$1"
    wait_for 30 unit_is_active
    check "$SCOPE: the daemon is another one, of the new package" wait_for 30 daemon_is_new
    check "$SCOPE: the keeper became that of the new package" wait_for 30 keeper_is_new
    same "$SCOPE: systemd never saw another main process" "$(cat "out/$SCOPE.keeper")" "$(keeper_pid)"
    same "$SCOPE: no restart was counted" 0 "$(ctl show -p NRestarts --value opm.service)"
    same "$SCOPE: the apps' processes are the same ones" "$(cat "out/$SCOPE.pids")" "$(app_pids)"
    same "$SCOPE: $APPS are online" $APPS "$(online)"
    check "$SCOPE: the unit is not failed" unit_is_not_failed
}

daemon_is_new() {
    local pid
    pid=$(daemon_pid)
    [ -n "$pid" ] && [ "$pid" != "$(cat "out/$SCOPE.daemon")" ] && runs_the_installed "$pid"
}

keeper_is_new() {
    runs_the_installed "$(keeper_pid)"
}

# Every app's log from its first line to its last: 0, 1, 2, ..., and then how many it says it wrote.
logs_are_whole() {
    local number torn=0 lines=0
    scope "$1"
    check "$SCOPE: the apps stop" opm stop all >out/stopped
    for number in $(seq $APPS); do
        opm logs "w$number" --out --raw --no-follow -n 10000000 >out/log
        lines=$((lines + $(wc -l <out/log)))
        awk '$0 != (ended ? "" : "line " NR - 1) && $0 != "end " NR - 1 { print FILENAME ": line " NR " is: " $0; bad = 1; exit }
            /^end/ { ended = 1 } END { exit bad || !ended }' out/log || torn=$((torn + 1))
    done
    same "$SCOPE: no log lost, doubled or tore a line ($lines lines)" 0 $torn
    ctl stop opm.service
    check "$SCOPE: nothing is left" unit_is_empty
}

# Packages where this was given some; else the binary alone is exchanged and the unit reloaded, as the package would.
install_old() {
    if [ -e old.deb ]; then dpkg -i old.deb >out/dpkg 2>&1 || { FAIL "the old package installs"; tail out/dpkg; }; else install_opm; fi
}

install_new() {
    if [ -e new.deb ]; then
        check "the new package installs over it" dpkg -i new.deb
    else
        echo "no package was given: the binary is exchanged by hand"
        install -m 755 opm /usr/bin/opm.new && mv /usr/bin/opm.new /usr/bin/opm
        systemctl reload opm.service
        as-user systemctl --user reload opm.service
    fi
}

# Load that the tier can bear: 500 lines a second of each app, or 10.
case $RIG_TIER in
    tcg) PAUSE=0.5 ;;
    *) PAUSE=0.01 ;;
esac
install_old
echo "opm $(opm_version), $(systemctl --version | head -1), kernel $(uname -r), tier $RIG_TIER"
start_writers system
start_writers user
check "apps write before" wait_for 20 grep -q "line 20" /var/log/opm/w50-0-out.log
install_new
after_upgrade system
after_upgrade user
# The old lines were for the old opm; these are the new one's.
lines=$(wc -l </var/log/opm/w50-0-out.log)
more_lines() { [ "$(wc -l </var/log/opm/w50-0-out.log)" -gt $((lines + 20)) ]; }
check "apps write afterwards" wait_for 20 more_lines
logs_are_whole system
logs_are_whole user
check "the journal holds no failed start" journal_is_clean
finish
