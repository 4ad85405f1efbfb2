#!/bin/bash
# ns-init.sh WORK ROOT: inside the fresh namespaces, makes a root of its own and becomes its systemd. Mounts of the host stay
# as they are: the mount namespace is private, and the image's tree is the lower side of an overlay.
set -euo pipefail
work=$1
root=$work/root

mount -t overlay overlay -o "lowerdir=$2,upperdir=$work/upper,workdir=$work/overlay" "$root"
hostname rig

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for folder in dev run tmp; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"

for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# The agent finds its disks and its line where a machine would have them.
for pair in vdb:in vdc:out ttyS1:line; do
    touch "$root/dev/${pair%:*}"
    mount --bind "$work/${pair#*:}" "$root/dev/${pair%:*}"
done

# Without these, the guest cannot reach what is the host's: its clock, its kernel's modules and log.
exec setpriv --bounding-set -sys_module,-sys_time,-sys_rawio,-syslog,-mknod,-audit_control \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=rig LANG=C.UTF-8 \
    chroot "$root" /lib/systemd/systemd --show-status=0
