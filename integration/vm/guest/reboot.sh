#!/bin/bash
# The machine is rebooted. On the way down every app gets its stop signal and its grace; afterwards everybody who was wanted
# up is there once, with the limits it had. Root's opm and a lingering user's, at the same time.
# shellcheck source=integration/vm/guest/lib.sh
. ./lib.sh

APPS=10
# This long an app may take; each takes 3 s.
GRACE=60s

# Limits where they can be enforced: a plain opm refuses them elsewhere.
limits() {
    case " $(controllers) " in
        *" memory "*) echo '{"memory_max": "96M", "pids": 50}' ;;
        *) echo '{}' ;;
    esac
}

start_apps() {
    local number
    scope "$1"
    check "$SCOPE: the unit is enabled and starts" ctl enable --now opm.service
    as_owner mkdir -p "$HOME_OF_SCOPE/told"
    for number in $(seq $APPS); do
        jq -n --arg name "app$number" --arg script "$PWD/apps/slow-stop.sh" --arg told "$HOME_OF_SCOPE/told" --arg grace $GRACE \
            --argjson limits "$(limits)" \
            '{name: $name, script: $script, cwd: "/", stop_timeout: $grace, env: {TOLD: $told}} + $limits'
    done | jq -s '{apps: .}' >"out/$SCOPE.json"
    chmod a+r "out/$SCOPE.json"
    check "$SCOPE: $APPS apps start" opm start "$PWD/out/$SCOPE.json"
    opm start "$PWD/apps/slow-stop.sh" --name down --cwd / --env "TOLD=$HOME_OF_SCOPE/told" || FAIL "$SCOPE: one more starts"
    wait_for 20 notes_are start $((APPS + 1))
    check "$SCOPE: one of them is stopped" opm stop down
    opm ls --json | jq -r '.[] | "\(.id) \(.name)"' | sort >"out/$SCOPE.ids"
    new_boot_id || return
    opm start "$PWD/apps/slow-stop.sh" --name passing --transient --cwd / --env "TOLD=$HOME_OF_SCOPE/told" ||
        FAIL "$SCOPE: a transient one starts"
    wait_for 20 test -s "$HOME_OF_SCOPE/told/passing"
    cat /proc/sys/kernel/random/boot_id >out/boot
}

# In namespaces the kernel, and with it the boot's id, stays the same; transient apps go by it.
new_boot_id() {
    [ "$RIG_TIER" != ns ]
}

notes() {
    cat "$HOME_OF_SCOPE"/told/* 2>/dev/null | grep -c "^$1 "
}

notes_are() {
    [ "$(notes "$1")" = "$2" ]
}

every_app_started_twice() {
    [ "$(cat "$HOME_OF_SCOPE"/told/app* | grep -c '^start ')" = $((2 * APPS)) ]
}

# What the file of each app says, without pids: the same for all.
stories() {
    local number
    for number in $(seq $APPS); do cut -d' ' -f1 "$HOME_OF_SCOPE/told/app$number" | tr '\n' ' ' && echo; done | sort -u
}

run_cgroups() {
    opm ls --json | jq -r '.[] | select(.state == "online") | .cgroup'
}

# Each app once. A shell that has become an app, and its sleep; nothing else.
copies() {
    find "$(unit_cgroup)/apps" -mindepth 2 -maxdepth 2 -type d | wc -l
}

limits_in_force() {
    local cgroup
    run_cgroups | while read -r cgroup; do echo "$(cat "$cgroup/memory.max") $(cat "$cgroup/pids.max")"; done | sort -u
}

after_boot() {
    scope "$1"
    wait_for 60 unit_is_active && wait_for 60 online_are $APPS && wait_for 60 every_app_started_twice ||
        FAIL "$SCOPE: all are back by themselves"
    same "$SCOPE: $APPS are online after the reboot" $APPS "$(online)"
    same "$SCOPE: each was told to end once, had its 3 s, and was started once" "start term done start " "$(stories)"
    same "$SCOPE: as many runs" $APPS "$(copies)"
    same "$SCOPE: the stopped one had its grace, and is down" "start term done stopped" \
        "$(cut -d' ' -f1 "$HOME_OF_SCOPE/told/down" | tr '\n' ' ')$(opm ls --json down | jq -r '.[0].state')"
    ! new_boot_id || same "$SCOPE: the transient one had its grace, and is forgotten" "start term done " \
        "$(cut -d' ' -f1 "$HOME_OF_SCOPE/told/passing" | tr '\n' ' ')"
    same "$SCOPE: ids and names are the same ones" "$(cat "out/$SCOPE.ids")" "$(opm ls --json | jq -r '.[] | "\(.id) \(.name)"' | sort)"
    case " $(controllers) " in
        *" memory "*) same "$SCOPE: the limits are in force" "100663296 50" "$(limits_in_force)" ;;
    esac
    check "$SCOPE: the unit is not failed" unit_is_not_failed
}

case $RIG_PHASE in
    0)
        install_opm
        start_apps system
        start_apps user
        [ "$failed" = 0 ] || finish
        exit 194
        ;;
    1)
        echo "opm $(opm_version), $(systemctl --version | head -1), kernel $(uname -r), tier $RIG_TIER, rebooted"
        ! new_boot_id || refused "this is another boot" cmp -s out/boot /proc/sys/kernel/random/boot_id
        after_boot system
        after_boot user
        check "the journal holds no time-out and no failed start" journal_is_clean
        finish
        ;;
esac
