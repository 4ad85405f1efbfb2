#!/bin/bash
# What may be killed, restarted, reloaded and stopped, with 50 apps: for whom nothing may change, nothing changes; who must
# be stopped is asked first. As the system service and as a user's.
# shellcheck source=integration/vm/guest/lib.sh
. ./lib.sh

# 30 shells (each with its sleep), 15 that double-fork (each with a descendant, and two sleeps), 5 in Python.
APPS=50
PROCESSES=$((30 * 2 + 15 * 4 + 5))

write_apps() {
    local number script
    TOLD=$HOME_OF_SCOPE/told
    as_owner mkdir -p "$TOLD"
    for number in $(seq -w 1 $APPS); do
        case $number in
            0[1-9] | 1[0-5]) script=$PWD/apps/forker.sh ;;
            1[6-9] | 20) script=$PWD/apps/polite.py ;;
            *) script=$PWD/apps/polite.sh ;;
        esac
        jq -n --arg name "app$number" --arg script "$script" --arg told "$TOLD" \
            '{name: $name, script: $script, cwd: "/", stop_timeout: "60s", env: {TOLD: $told}}'
    done | jq -s '{apps: .}' >"out/$SCOPE.json"
    chmod a+r "out/$SCOPE.json"
}

# How often each app has noted a word; one line if all agree.
notes() {
    cd "$TOLD" && grep -c "^$1 " ./* | cut -d: -f2 | sort -u
    cd - >/dev/null || exit
}

notes_are() {
    [ "$(notes "$1")" = "$2" ]
}

# What outlives its main process has one second after its signal, and then it is killed: too little to tell, where all is
# emulated and the machine is busy.
descendants_were_told() {
    [ "$RIG_TIER" = tcg ] || same "$SCOPE: $1: so was each descendant that left" "$2" "$(cat "$TOLD"/* | grep -c child-term)"
}

# A new pair or a new daemon is there, and everybody's processes are the same ones.
untouched() {
    local what=$1
    wait_for 20 opm ping >/dev/null || return 1
    same "$SCOPE: $what: every process of every app lives on" "$PIDS" "$(app_pids)"
    same "$SCOPE: $what: opm sees the same main processes" "$MAINS" "$(mains)"
}

supervisor_is_other_than() {
    local now
    now=$(supervisor_pids)
    [ "$(wc -w <<<"$now")" = 2 ] && ! grep -qxF "$1" <<<"$now"
}

unit_is_back() {
    unit_is_active && supervisor_is_other_than "$1"
}

kill_daemon() {
    local victim
    victim=$(daemon_pid)
    kill -KILL "$victim"
    wait_for 20 supervisor_is_other_than "$victim"
}

kill_keeper() {
    local victim
    victim=$(keeper_pid)
    kill -KILL "$victim"
    wait_for 20 unit_is_back "$victim"
}

kill_both() {
    local victims
    victims=$(supervisor_pids)
    # shellcheck disable=SC2086  # two words
    kill -KILL $victims
    wait_for 20 unit_is_back "$victims"
}

manager() {
    ctl "$@" && wait_for 20 unit_is_active
}

# What kill_mode=process leaves alive is asked by ExecStopPost, and what does not listen is killed.
leave_something() {
    opm start "sh -c '(trap \"echo asked >$TOLD.left; exit\" TERM; while :; do sleep 0.1; done) & (trap : TERM; while :; do sleep 0.1; done) & exec sleep 1000'" \
        --name leaver --kill-mode process >/dev/null
    wait_for 20 online_are $((APPS + 1))
}

restart_scope() {
    local action count keeper
    scope "$1"
    SOCKET=/run/opm/opm.sock
    [ "$SCOPE" = system ] || SOCKET=/run/user/1000/opm/opm.sock
    write_apps
    check "$SCOPE: the unit starts" ctl enable --now opm.service || return
    check "$SCOPE: $APPS apps start from one file" opm start "$PWD/out/$SCOPE.json" >out/started
    wait_for 60 app_pids_are $PROCESSES && wait_for 60 online_are $APPS || {
        FAIL "$SCOPE: $APPS apps with $PROCESSES processes"
        return
    }
    PIDS=$(app_pids) MAINS=$(mains) keeper=$(keeper_pid)
    # A user's services all begin at a score of their manager's, and may not go below it; nor may anybody on the ns tier.
    [ "$SCOPE" != system ] || [ "$RIG_TIER" = ns ] ||
        same "$SCOPE: for want of memory the keeper goes last, not an app nor the daemon" "-900 0 0" \
            "$(cd /proc && cat "$keeper/oom_score_adj" "$(daemon_pid)/oom_score_adj" "$(head -1 <<<"$PIDS")/oom_score_adj" | xargs)"

    for action in kill_daemon kill_keeper kill_both; do
        # Six deaths within the time that systemd allows five in by default.
        for count in 1 6; do
            [ $count = 1 ] || [ $action = kill_both ] || [ "$RIG_PASS" = full ] || continue
            for _ in $(seq $count); do
                $action || {
                    FAIL "$SCOPE: $action: nobody came back"
                    return
                }
            done
            untouched "$action, $count times" || {
                FAIL "$SCOPE: $action: the daemon does not answer"
                return
            }
        done
        [ $action != kill_daemon ] || same "$SCOPE: a daemon's death is the keeper's affair" "$keeper" "$(keeper_pid)"
    done

    keeper=$(keeper_pid)
    check "$SCOPE: systemctl reload" ctl reload opm.service
    untouched "systemctl reload"
    check "$SCOPE: daemon-reload" manager daemon-reload
    untouched daemon-reload
    check "$SCOPE: daemon-reexec" manager daemon-reexec
    untouched daemon-reexec
    same "$SCOPE: none of these changes the unit's main process" "$keeper" "$(keeper_pid)"
    # The job waits for `opm daemon reload`, which must not wait for another job of the same unit.
    rm "$SOCKET"
    refused "$SCOPE: a reload without a daemon to ask ends at once" ctl reload opm.service
    kill_keeper
    untouched "a keeper whose socket was gone"
    keeper=$(keeper_pid)
    ctl reload --no-block opm.service
    kill_keeper
    untouched "a keeper killed beside a reload"
    same "$SCOPE: so far no app was started twice or told to end" "start 1 term 0" "start $(notes start) term $(notes term)"

    check "$SCOPE: systemctl restart" ctl restart opm.service
    wait_for 60 app_pids_are $PROCESSES && wait_for 60 notes_are start 2
    same "$SCOPE: restart: each app was told to end and started, once" "start 2 term 1" "start $(notes start) term $(notes term)"
    descendants_were_told restart 15
    same "$SCOPE: restart: $PROCESSES processes" $PROCESSES "$(app_pids | wc -l)"
    same "$SCOPE: restart: none of those before" "" "$(comm -12 <(sort <<<"$PIDS") <(app_pids | sort))"

    check "$SCOPE: systemctl stop" ctl stop opm.service
    same "$SCOPE: stop: each app was told to end, once more" "term 2" "term $(notes term)"
    descendants_were_told stop 30
    check "$SCOPE: stop: no process is left" unit_is_empty
    same "$SCOPE: stop: the unit is inactive, and not failed" inactive "$(ctl is-active opm.service)"
    check "$SCOPE: systemctl start" ctl start opm.service
    # A process is there, and online, before a slow guest's Python has come to its first line.
    wait_for 60 app_pids_are $PROCESSES && wait_for 60 online_are $APPS && wait_for 60 notes_are start 3
    same "$SCOPE: start: everybody is back, once" "$APPS start 3" "$(online) start $(notes start)"
    # Its shells wake ten times a second: not where all is emulated.
    [ "$RIG_TIER" = tcg ] || leave_something
    check "$SCOPE: at the end" ctl stop opm.service
    [ "$RIG_TIER" = tcg ] || same "$SCOPE: what a main process left was asked" asked "$(cat "$TOLD.left")"
    check "$SCOPE: at the end no process is left" unit_is_empty
    check "$SCOPE: at the end the unit is not failed" unit_is_not_failed
}

install_opm
restart_scope system
restart_scope user
check "the journal holds no 219/CGROUP, no failed start, no time-out" journal_is_clean
finish
