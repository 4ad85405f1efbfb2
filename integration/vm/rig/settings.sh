# Sourced by rig.sh. What the rig may be told by the environment, and what follows from it.
# shellcheck shell=bash disable=SC2034  # the other files read these

say() {
    printf 'rig: [%4ds] %s\n' "$SECONDS" "$*" >&2
}

die() {
    say "$*"
    exit 125
}

# A /dev/kvm that opens proves nothing: on a host without VMX or SVM it is there, guests die in emulation, and QEMU hangs
# instead of ending. So the CPU's flags decide, and it is never tried.
has_kvm() {
    grep -qwE 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]
}

: "${RIG_SUITE:=trixie}"           # trixie (systemd 257, a kernel above 6.15 from its backports), bookworm (252, 6.1)
: "${RIG_TIER:=tcg}"               # tcg, kvm, uml, ns: see README.md; tcg becomes kvm where the host has it
: "${RIG_CACHE:=$here/cache}"      # images; may be shared, may be deleted
: "${RIG_OUT:=$here/out/last}"     # what a run leaves
: "${RIG_TIMEOUT:=600}"            # seconds of a run, hard
: "${RIG_WARM:=auto}"              # no = boot each guest from the start
: "${RIG_MEM:=1024}"               # MiB of the guest
: "${RIG_SMP:=2}"                  # its CPUs (qemu)
: "${RIG_DATA_DISK:=0}"            # 1 = a disk that outlives the guest, and power that can be cut
: "${RIG_SEED:=$RANDOM}"           # which of the writes after the last flush a power cut leaves on that disk
: "${RIG_PASS:=full}"             # short = tests leave out what only repeats
: "${RIG_EXTRA_PACKAGES:=}"        # more for the image, comma list

case $RIG_SUITE in
    trixie) kernel_from=backports ;;
    bookworm) kernel_from=stable ;;
    *) die "RIG_SUITE is $RIG_SUITE: trixie or bookworm" ;;
esac

# How much slower than this host the guest is; tests multiply their deadlines by it.
[ "$RIG_TIER" = tcg ] && has_kvm && RIG_TIER=kvm
case $RIG_TIER in
    tcg) RIG_SLOW=20 ;;
    uml) RIG_SLOW=8 ;;
    kvm | ns) RIG_SLOW=2 ;;
    *) die "RIG_TIER is $RIG_TIER: tcg, kvm, uml or ns" ;;
esac

INPUT_SIZE=512M
OUTPUT_SIZE=512M
KERNEL_ARGUMENTS="rw quiet audit=0 psi=1 systemd.show_status=0"

# python3: the minimal one lacks mmap and json. jq: tests read opm's JSON. rpm: Debian's own, good for install, upgrade and
# erase against a real systemd.
PACKAGES=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,python3,procps,kmod,iproute2,jq,rpm
PACKAGES+=${RIG_EXTRA_PACKAGES:+,$RIG_EXTRA_PACKAGES}

# An image is named after everything that goes into it: a change makes a new one, and nobody meets a stale one.
image_key=$(cat "$here/rig/image.sh" "$here"/rig/inside/* - <<<"$RIG_SUITE $kernel_from $PACKAGES" | sha256sum | cut -c1-10)
IMAGE=$RIG_CACHE/$RIG_SUITE-$image_key
