#!/bin/sh
# An app that tries what an app must not be able to do, and tells in its user's home what worked.
try() {
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "could $what"; else echo "not $what"; fi
}
home=$(getent passwd "$(id -un)" | cut -d: -f6)
{
    cgroup=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
    try "leave its limits" sh -c "echo max >'$cgroup/pids.max'"
    try "move to its parent" sh -c "echo \$\$ >'$cgroup/../cgroup.procs'"
    try "make a cgroup" mkdir "$cgroup/x"
    try "freeze itself" sh -c "echo 0 >'$cgroup/cgroup.freeze'"
    try "forge its mark" python3 -c "import os; os.setxattr('$cgroup', 'user.opm.app', b'x')"
    try "speak to the daemon" /usr/bin/opm --system ls
    try "signal its parent" kill -0 "$PPID"
    try "become root" setpriv --reuid 0 true
} >"$home/telling"
mv "$home/telling" "$home/told"
echo "told in $home"
exec sleep 100000
