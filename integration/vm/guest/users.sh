#!/bin/bash
# The system service with apps of three users: who may see and do what. Checks from outside, as each of them and as a fourth
# who has no app; and from inside, since an app is the one who will try.
# shellcheck source=integration/vm/guest/lib.sh
. ./lib.sh

OWNERS="ann ben cid"
STRANGER=dora
MEMBER=eve

# as USER COMMAND...: with that user's groups, and nothing of root's environment.
as() {
    local user=$1
    shift
    setpriv --reuid "$user" --regid "$user" --init-groups env -i -C / PATH=/usr/bin:/bin HOME=/home/"$user" USER="$user" "$@"
}

secret_of() {
    echo "secret-of-$1-4711"
}

pid_of() {
    opm ls --json "$1" | jq .[0].pid
}

# Files and folders below the given ones that USER can open for reading, or for writing.
open_to() {
    local user=$1 how=$2
    shift 2
    # The folder itself, too: what find cannot enter it does not list, and its complaint is of no interest.
    as "$user" find "$@" ! -type l "-$how" 2>/dev/null
}

# connect USER: whether that user can open the daemon's socket at all, with nothing of opm's CLI between.
connect() {
    as "$1" python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("/run/opm/opm.sock")'
}

speaks() {
    as "$1" /usr/bin/opm --system ls --json >out/ls 2>&1
}

start_apps() {
    local user
    for user in $OWNERS $STRANGER $MEMBER; do useradd -m "$user"; done
    for user in $OWNERS; do
        echo "$(secret_of "$user")-from-a-file" >"out/$user.env.value"
        echo "FILE_SECRET=$(cat "out/$user.env.value")" >"/root/$user.env"
        chmod 600 "/root/$user.env"
        check "$user's app starts" opm start "$PWD/apps/teller.sh" --name "of-$user" --user "$user" --cwd / \
            --env "SECRET=$(secret_of "$user")" --env-file "/root/$user.env"
    done
    wait_for 20 online_are 3
    for user in $OWNERS; do wait_for 20 test -s "/home/$user/told"; done
}

who_runs_what() {
    local user pid
    for user in $OWNERS; do
        pid=$(pid_of "of-$user")
        same "$user's app has that user's uid, gid and no more groups" \
            "$(id -u "$user") $(id -g "$user") $(id -G "$user")" \
            "$(awk '/^Uid:/ { u = $2 } /^Gid:/ { g = $2 } /^Groups:/ { $1 = ""; gs = $0 } END { print u, g gs }' "/proc/$pid/status")"
        same "$user's app has no capability" "0000000000000000" "$(awk '/^CapEff:/ { print $2 }' "/proc/$pid/status")"
        same "$user's app holds no descriptor of the daemon's" "0 1 2 " "$(find "/proc/$pid/fd" -type l -printf '%f\n' | sort -n | tr '\n' ' ')"
        grep -qz "SECRET=$(secret_of "$user")" "/proc/$pid/environ" || FAIL "$user's app did not get its secret"
    done
}

nobody_reads_anothers() {
    local user other pid
    for user in $OWNERS $STRANGER; do
        for other in $OWNERS; do
            [ "$user" != "$other" ] || continue
            pid=$(pid_of "of-$other")
            refused "$user cannot read the environment of $other's app" as "$user" cat "/proc/$pid/environ"
            refused "$user cannot signal $other's app" as "$user" kill -0 "$pid"
            refused "$user cannot write into $other's log" as "$user" sh -c "echo x >>/proc/$pid/fd/1"
            refused "$user cannot read what $other's app writes" as "$user" head -c 1 "/proc/$pid/fd/1"
        done
        # shellcheck disable=SC2086
        same "$user can read nothing in opm's folders" "" "$(open_to "$user" readable /var/lib/opm /var/log/opm /run/opm)"
        same "$user can write nothing in opm's folders" "" "$(open_to "$user" writable /var/lib/opm /var/log/opm /run/opm)"
        same "$user can write no file of opm's cgroups" "" "$(open_to "$user" writable "$(unit_cgroup)")"
    done
    same "no secret stands in a file that others can read" "" \
        "$(grep -rlE "secret-of" /var/lib/opm /var/log/opm /run/opm /etc 2>/dev/null | while read -r file; do
            as $STRANGER test -r "$file" && echo "$file"
        done)"
    same "a value from an env file stands in no file at all" "" \
        "$(grep -rlF -e -from-a-file /var/lib/opm /run/opm 2>/dev/null)"
}

nobody_drives() {
    local user run before
    before=$(app_pids; supervisor_pids)
    run=$(opm ls --json of-ann | jq -r .[0].cgroup)
    check "the run's cgroup is where opm says" test -d "$run"
    for user in $STRANGER ann; do
        refused "$user cannot connect to the daemon's socket" connect "$user"
        refused "$user cannot list" as "$user" /usr/bin/opm --system ls
        refused "$user cannot stop" as "$user" /usr/bin/opm --system stop all
        refused "$user cannot start" as "$user" /usr/bin/opm --system start /bin/sleep -- 1000
        refused "$user cannot end the daemon" as "$user" /usr/bin/opm --system kill
        refused "$user cannot kill the keeper" as "$user" kill -KILL "$(keeper_pid)"
        refused "$user cannot kill the daemon" as "$user" kill -KILL "$(daemon_pid)"
        refused "$user cannot reload the unit" as "$user" systemctl --no-ask-password reload opm.service
        refused "$user cannot read the keeper's descriptors" as "$user" ls "/proc/$(keeper_pid)/fd"
        refused "$user cannot read the daemon's environment" as "$user" cat "/proc/$(daemon_pid)/environ"
        refused "$user cannot move itself into opm's cgroup" as "$user" sh -c "echo \$\$ >'$(unit_cgroup)/supervisor/cgroup.procs'"
        refused "$user cannot kill through the cgroup" as "$user" sh -c "echo 1 >'$run/cgroup.kill'"
        refused "$user cannot freeze through the cgroup" as "$user" sh -c "echo 1 >'$run/cgroup.freeze'"
        refused "$user cannot forge a mark" as "$user" python3 -c \
            "import os; os.setxattr('$run', 'user.opm.app', b'forged')"
        as "$user" env NOTIFY_SOCKET=/run/systemd/notify systemd-notify --pid="$(keeper_pid)" STOPPING=1 >/dev/null 2>&1
        same "what $user tells systemd in the unit's name counts for nothing" running "$(systemctl show -p SubState --value opm.service)"
        refused "$user cannot take the daemon's place" as "$user" sh -c 'mv /run/opm /run/opm.old'
    done
    same "after all that, every process lives" "$before" "$(app_pids; supervisor_pids)"
    check "and the daemon answers root" opm ping
}

# From inside: the app itself tries, with what it inherited.
apps_see_little() {
    local user
    for user in $OWNERS; do
        same "$user's app could do none of the forbidden things" "" "$(grep could "/home/$user/told")"
        same "$user's app finds no variable of systemd's" "" \
            "$(tr '\0' '\n' <"/proc/$(pid_of "of-$user")/environ" | grep -E '^(NOTIFY_SOCKET|LISTEN_|WATCHDOG_|INVOCATION_ID|JOURNAL_STREAM|CREDENTIALS_)')"
    done
}

# Off by default; `socket_group` in the daemon's config lets a group in.
a_group_is_let_in() {
    groupadd -f opm
    usermod -aG opm $MEMBER
    refused "without socket_group a member of the group opm is refused, too" connect $MEMBER
    mkdir -p /etc/opm
    echo 'socket_group = "opm"' >/etc/opm/config.toml
    systemctl restart opm.service || {
        FAIL "the daemon does not start with socket_group"
        return
    }
    wait_for 20 online_are 3
    check "with socket_group, a member of it may list" speaks $MEMBER
    check "and order" as $MEMBER /usr/bin/opm --system restart of-ann
    refused "others may still not connect" connect $STRANGER
    refused "nor may the user of an app" connect ann
    same "the socket's owner and mode" "root:opm 660" "$(stat -c '%U:%G %a' /run/opm/opm.sock)"
    same "a member reads no state, log or secret past the API" "" "$(open_to $MEMBER readable /var/lib/opm /var/log/opm)"
    rm /etc/opm/config.toml
    systemctl restart opm.service
    wait_for 20 online_are 3
    refused "without it again, the member is refused" connect $MEMBER
}

install_opm
scope system
systemctl enable --now opm.service
start_apps
who_runs_what
nobody_reads_anothers
nobody_drives
apps_see_little
a_group_is_let_in
check "the unit is not failed" unit_is_not_failed
finish
