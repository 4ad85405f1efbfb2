# Sourced by rig.sh. Makes a suite's image: root/ (the tree, for ns), root.img (the same as ext4), vmlinuz and initrd (qemu).
# Its text and that of inside/ are part of the image's name: a change builds a new one.
# shellcheck shell=bash

build_image() {
    [ -e "$IMAGE/ok" ] && return 0
    [ "$(id -u)" = 0 ] || die "building the image needs root"
    find_mirrors
    say "building the image of $RIG_SUITE"
    local build
    build=$(mktemp -d "$RIG_CACHE/build.XXXXXX")
    # shellcheck disable=SC2064  # now, not then
    trap "rm -rf '$build'" EXIT
    unpack_root "$build"
    furnish_root "$build/root"
    make_initrd "$build"
    # Without a journal: a guest's root is thrown away. -d needs no loop device and no mount.
    mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$build/root" "$build/root.img" 2048M >/dev/null
    rm -rf "$IMAGE"
    mv "$build" "$IMAGE"
    touch "$IMAGE/ok"
    trap - EXIT
    say "the image is ready: $IMAGE ($(du -sm "$IMAGE" | cut -f1) MB)"
}

unpack_root() {
    local build=$1
    # In a mount namespace: what it mounts below the root goes with it, even when it is killed.
    unshare --mount --propagation private mmdebstrap --quiet --mode=root --variant=minbase --include="$PACKAGES" \
        --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook="sh '$here/rig/inside/add-kernel' \"\$1\" $RIG_SUITE $kernel_from" \
        "$RIG_SUITE" "$build/root" "deb $mirror $RIG_SUITE main" "deb $security_mirror $RIG_SUITE-security main" \
        "deb $mirror $RIG_SUITE-backports main" || die "mmdebstrap could not make the root of $RIG_SUITE"
    mv "$build/root/vmlinuz" "$build/vmlinuz"
}

furnish_root() {
    local root=$1 name
    chroot "$root" useradd -m -s /bin/bash -u 1000 tester
    mkdir -p "$root/var/lib/systemd/linger" "$root/var/log/journal" "$root/etc/systemd/system-generators"
    touch "$root/var/lib/systemd/linger/tester"
    echo rig >"$root/etc/hostname"
    echo '127.0.0.1 localhost rig' >"$root/etc/hosts"
    : >"$root/etc/fstab"
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$root/etc/machine-id"
    # What a throw-away guest does not need, and emulation would pay for: its boot costs half without.
    while read -r name; do ln -sf /dev/null "$root/etc/systemd/system/$name"; done <"$here/rig/inside/masked-units"
    while read -r name; do
        ln -sf /dev/null "$root/etc/systemd/system-generators/systemd-$name-generator"
    done <"$here/rig/inside/masked-generators"
    install -m 755 "$here/rig/inside/as-user" "$root/usr/local/bin/as-user"
    install -m 755 "$here/rig/inside/rig-agent" "$root/usr/local/sbin/rig-agent"
    install -m 644 "$here"/rig/inside/rig.{service,target} "$root/etc/systemd/system/"
    ln -sf rig.target "$root/etc/systemd/system/default.target"
}

# busybox, and the few modules between the kernel and its root.
make_initrd() {
    local build=$1 tree=$1/initrd.tree kernel module number=0
    kernel=$(ls "$build/root/usr/lib/modules")
    mkdir -p "$tree"/{bin,m,dev,r}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    for module in virtio_pci virtio_blk ext4; do
        chroot "$build/root" modprobe -S "$kernel" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$build/modules"
    while read -r module; do
        number=$((number + 1))
        unpacked "$build/root$module" >"$tree/m/$(printf %03d $number).ko"
    done <"$build/modules"
    install -m 755 "$here/rig/inside/initrd-init" "$tree/init"
    (cd "$tree" && find . | cpio -o -H newc --quiet) >"$build/initrd"
    rm -rf "$tree" "$build/modules"
}

unpacked() {
    case $1 in
        *.xz) xz -dc "$1" ;;
        *.zst) zstd -dcq "$1" ;;
        *) cat "$1" ;;
    esac
}
