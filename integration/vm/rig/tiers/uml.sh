# Sourced by rig.sh. The tier `uml`: user-mode Linux, a kernel that is a process. Native speed for what computes, and
# controllers (cpu io memory pids); but one CPU, no PSI, no cpuset, and one kernel only.
# shellcheck shell=bash

# Debian 14's user-mode-linux: those of Debian 12 and 13 (6.1, 6.12) panic at the first user-space instruction on some CPUs.
# It needs a newer libc than older hosts have, so it brings its own. Downloaded, never installed.
fetch_uml() {
    local folder=$RIG_CACHE/uml package
    [ -e "$folder/ok" ] && return 0
    find_mirrors
    say "fetching user-mode Linux"
    mkdir -p "$RIG_CACHE/apt" "$folder"
    echo "deb [signed-by=$keyring] $mirror forky main" >"$RIG_CACHE/apt/uml.list"
    apt_private uml update || die "apt-get update failed"
    (
        cd "$folder"
        rm -rf unpacked ./*.deb
        apt_private uml download user-mode-linux libc6
        for package in ./*.deb; do dpkg-deb -x "$package" unpacked; done
        cp unpacked/usr/bin/linux.uml linux
        cp "$(find unpacked -name libc.so.6)" .
        cp "$(find unpacked -name 'ld-linux-x86-64.so.2' -type f)" ld.so
        rm -rf unpacked ./*.deb
    ) || die "user-mode Linux could not be fetched"
    touch "$folder/ok"
}

# boot_uml WORK
boot_uml() {
    local work=$1
    say "booting user-mode Linux"
    cp "$RIG_CACHE"/uml/{linux,ld.so,libc.so.6} "$work"
    patchelf --set-interpreter "$work/ld.so" --set-rpath "$work" "$work/linux"
    # Its copy-on-write files fail on tmpfs, so the image is copied; the file is sparse.
    cp --sparse=always "$IMAGE/root.img" "$work/root.img"
    # TMPDIR: the guest's memory is a file there. seccomp: faster than ptrace.
    # shellcheck disable=SC2086  # the arguments are many
    HOME=$work TMPDIR=/dev/shm timeout -k 5 "$RIG_TIMEOUT" "$work/linux" umid=u uml_dir="$work/" mem="${RIG_MEM}M" \
        seccomp=on ubda="$work/root.img" ubdb="$work/in" ubdc="$work/out" root=/dev/ubda rootfstype=ext4 \
        con=null con0=null,fd:2 ssl=null ssl1=null,fd:1 $KERNEL_ARGUMENTS 2>"$RIG_OUT/console.log"
}
