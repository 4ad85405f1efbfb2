#!/bin/bash
# The power is cut in the middle of 100 changes of specs, by four clients at once. After the boot opm serves, and each client's
# apps are as its last acknowledged change left them, or as the one after that would have.
#
# opm's state is on /dev/vdd, the disk that keeps what was flushed and a random half of what was not. What was acknowledged
# is known from the serial line: it left the machine before the cut. How many changes pass before the cut is drawn each time.
# shellcheck source=integration/vm/guest/lib.sh
. ./lib.sh

CLIENTS="0 1 2 3"
CHANGES=25
CUTS=5
[ "$RIG_PASS" != short ] || CUTS=2

opm() {
    NO_COLOR=1 /usr/bin/opm "$@"
}

# The changes of a client, in order: what the K-th does to which of its three apps.
change() {
    local client=$1 k=$2 app=c$1-$(($2 % 3))
    case $((k / 3 % 4)) in
        0 | 2) opm start /bin/sleep --name "$app" --replace --env-clean --env "MARK=$k" --env "CLIENT=$client" -- 100000 ;;
        1) opm stop "$app" ;;
        3) opm delete "$app" ;;
    esac
}

# The state of a client's apps after K changes: lines "app up|down MARK".
state_after() {
    local client=$1 k app
    for app in 0 1 2; do
        local want='' mark=''
        for ((k = app; k < $2; k += 3)); do
            case $((k / 3 % 4)) in
                0 | 2) want=up mark=$k ;;
                1) want=down ;;
                3) want='' ;;
            esac
        done
        [ -z "$want" ] || echo "c$client-$app $want $mark"
    done
}

state_now() {
    local app
    opm ls --json | jq -r --arg of "c$1-" '.[] | select(.name | startswith($of)) | "\(.name) \(.desired)"' | sort |
        while read -r app want; do
            echo "$app $want $(opm info "$app" --json | jq -r '.[0].spec.env.MARK')"
        done
}

# One client: each change, and on the line what was acknowledged. A line goes out at once: the serial line has no cache.
client() {
    local k
    for ((k = $2; k < CHANGES; k++)); do
        if change "$1" "$k" >/dev/null 2>"out/client-$1"; then
            echo "acknowledged $RIG_PHASE $1 $((k + 1))"
        else
            echo "FAIL change $k of client $1: $(cat "out/client-$1")"
            return
        fi
    done
}

# The last number that the line says was acknowledged to a client, in the boot before this one.
acknowledged() {
    awk -v boot=$((RIG_PHASE - 1)) -v client="$1" '$1 == "acknowledged" && $2 == boot && $3 == client { n = $4 } END { print n + 0 }' \
        before-the-cut.log
}

mount_disk() {
    mkdir -p /var/lib/opm
    mount /dev/vdd /var/lib/opm
}

# After a cut: what is there must be one of the accepted states.
after_a_cut() {
    local client n now
    check "boot $RIG_PHASE: the daemon starts" systemctl start opm.service
    check "boot $RIG_PHASE: it answers" opm ping
    for client in $CLIENTS; do
        n=$(acknowledged "$client")
        now=$(state_now "$client")
        if [ "$now" = "$(state_after "$client" "$n")" ]; then
            ok "boot $RIG_PHASE: client $client: as after its last acknowledged change ($n)"
        elif [ "$now" = "$(state_after "$client" $((n + 1)))" ]; then
            ok "boot $RIG_PHASE: client $client: as after the change that was under way ($((n + 1)))"
        else
            FAIL "boot $RIG_PHASE: client $client: neither as after $n changes nor after $((n + 1))"
            echo "-- acknowledged:"
            state_after "$client" "$n"
            echo "-- found:"
            echo "$now"
        fi
    done
    same "boot $RIG_PHASE: what is wanted up is online" "$(opm ls --json | jq '[.[] | select(.desired == "up")] | length')" \
        "$(wait_for 20 no_one_is_under_way && online)"
    # The event journal is written and not flushed, on purpose: it must outlive the daemon, not the power. The log of changes may
    # end within the one that nobody was told is saved.
    same "boot $RIG_PHASE: the daemon sees nothing amiss, but for a torn end of its journal or of its log of changes" '' \
        "$(opm daemon status --json | jq -r '.troubles[]' |
            grep -v -e '^[0-9]* lines of /var/lib/opm/events/.* left out$' -e '^/var/lib/opm/index-[0-9a-f]*[.]log ends within a change')"
    same "boot $RIG_PHASE: the file system is whole" "" "$(journalctl -k --no-pager | grep 'EXT4-fs error')"
    opm delete all >/dev/null 2>&1
    same "boot $RIG_PHASE: and everything can be deleted" '[]' "$(opm ls --json | jq -c .)"
    opm start /bin/sleep --name kept --env-clean -- 100000 >/dev/null || FAIL "boot $RIG_PHASE: and a new app be started"
    opm delete kept >/dev/null
    # What cannot be read is kept aside when the index is next written, so by the first of these changes.
    same "boot $RIG_PHASE: nothing was kept aside as unreadable" "" "$(find /var/lib/opm -name '*.unreadable*')"
}

no_one_is_under_way() {
    [ "$(opm ls --json | jq '[.[] | select(.desired == "up" and .state != "online")] | length')" = 0 ]
}

scope system
install_opm
mount_disk || FAIL "the disk can be mounted"
if [ "$RIG_PHASE" = 0 ]; then
    check "the daemon starts" systemctl start opm.service
else
    sed -n 's/^FAIL change/FAIL before the cut: change/p' before-the-cut.log
    ! grep -q '^FAIL change' before-the-cut.log || failed=1
    after_a_cut
fi
[ "$RIG_PHASE" -lt "$CUTS" ] || finish
[ "$failed" = 0 ] || finish

sync
at=$((RANDOM % 60 + 15))
echo "the power goes after $at of the 100 changes"
# Each client's lines pass through here, so that the cut comes after as many as drawn, in the middle of others.
for client in $CLIENTS; do client "$client" 0 & done | {
    seen=0
    while read -r line; do
        echo "$line"
        seen=$((seen + 1))
        [ $seen != "$at" ] || echo "RIG CUT POWER"
    done
}
FAIL "the power was not cut"
finish
