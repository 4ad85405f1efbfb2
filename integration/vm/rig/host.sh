# Sourced by rig.sh. What the host must have: Debian's mirror as its own apt knows it, and a handful of tools.
# shellcheck shell=bash

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror that the host's own apt uses for a suite: the rig names none.
host_mirror() {
    apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | awk -v suite="$1" '$2 == suite { sub("/$", "", $1); print $1; exit }'
}

find_mirrors() {
    [ -n "${mirror:-}" ] && return 0
    command -v apt-get >/dev/null || die "guests are made of Debian packages, and this host has no apt"
    # shellcheck source=/dev/null
    host_suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mirror=${RIG_MIRROR:-$(host_mirror "$host_suite")}
    security_mirror=${RIG_SECURITY_MIRROR:-$(host_mirror "$host_suite-security")}
    [ -n "$mirror" ] && [ -n "$security_mirror" ] && [ -e "$keyring" ] ||
        die "this host's apt knows no Debian mirror: set RIG_MIRROR and RIG_SECURITY_MIRROR, and install debian-archive-keyring"
}

# apt_private NAME ARGUMENTS...: apt-get with the sources of cache/apt/NAME.list alone. The host's own lists and sources stay
# as they are. Check-Valid-Until: a frozen mirror's Release files count as expired.
apt_private() {
    local folder=$RIG_CACHE/apt name=$1
    shift
    mkdir -p "$folder/$name/partial"
    apt-get -qq -o Dir::Etc::SourceList="$folder/$name.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$folder/$name" -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root -o Acquire::Languages=none \
        -o Acquire::Check-Valid-Until=false "$@"
}

missing_tools() {
    local tool
    for tool in qemu-system-x86_64 qemu-img mmdebstrap mke2fs busybox cpio zstd xz patchelf; do
        command -v "$tool" >/dev/null || printf ' %s' "$tool"
    done
}

install_tools() {
    local missing suite
    local packages=(qemu-system-x86 qemu-utils mmdebstrap e2fsprogs busybox-static cpio zstd xz-utils patchelf)
    missing=$(missing_tools)
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || die "missing here:$missing; as root they would be installed"
    find_mirrors
    say "installing what is missing:$missing"
    mkdir -p "$RIG_CACHE/apt"
    for suite in "$host_suite" "$host_suite-updates" "$host_suite-backports"; do
        echo "deb [signed-by=$keyring] $mirror $suite main"
    done >"$RIG_CACHE/apt/host.list"
    echo "deb [signed-by=$keyring] $security_mirror $host_suite-security main" >>"$RIG_CACHE/apt/host.list"
    apt_private host update || die "apt-get update failed"
    # First as the release has it, then from backports: a host with qemu-utils from there cannot take the release's qemu.
    # Nothing that is installed is upgraded or removed for the rig's sake.
    install_packages "${packages[@]}" || install_packages -t "$host_suite-backports" "${packages[@]}" ||
        die "apt-get could not install what is missing:$missing"
}

install_packages() {
    DEBIAN_FRONTEND=noninteractive apt_private host install -y --no-install-recommends --no-upgrade --no-remove "$@" >/dev/null
}
