# Sourced by rig.sh. Guests that lose their power, and a disk that is honest about it.
#
# The disk is /dev/vdd, with an ext4 (journal, barriers) on it. QEMU logs every write and every flush to it (blklogwrites).
# Killing QEMU alone would be too kind: what the guest had written but not flushed would sit in the host's page cache. So
# after a cut the disk is made anew: the disk as it was, every write up to the last flush that the guest saw completed, and
# of the later ones a random half, as a disk with a volatile cache may leave them (RIG_SEED repeats a choice).
#
# A guest gets its root afresh at each boot: only the disk outlives it. RIG_PHASE counts the boots. What the guest printed
# before the cut lies beside the script as `before-the-cut.log`: that, and not the disk, knows what was acknowledged.
# shellcheck shell=bash

# run_with_power_cuts WORK FOLDER SCRIPT
run_with_power_cuts() {
    local work=$1 folder=$2 script=$3 phase=0 code
    case $RIG_TIER in tcg | kvm) ;; *) die "a data disk needs the tier tcg or kvm" ;; esac
    command -v python3 >/dev/null || die "python3 is missing: it makes the disk after a power cut"
    truncate -s 64M "$work/disk"
    mke2fs -q -t ext4 -F "$work/disk"
    cp -r "$folder" "$work/folder"
    : >"$RIG_OUT/guest.log"
    while :; do
        cp "$RIG_OUT/guest.log" "$work/folder/before-the-cut.log"
        pack_input "$work" "$work/folder" "$script" "$phase"
        cp --sparse=always "$work/disk" "$work/disk.before"
        rm -f "$work/writes" "$work/cut"
        truncate -s 0 "$work/writes"
        code=0
        boot_until_cut "$work" || code=$?
        [ -e "$work/cut" ] || return "$code"
        phase=$((phase + 1))
        say "power cut $phase (seed $RIG_SEED)"
        python3 "$here/rig/after-the-cut.py" "$work/disk.before" "$work/writes" "$((RIG_SEED + phase))" >&2 ||
            die "the log of the disk's writes could not be played back"
        mv "$work/disk.before" "$work/disk"
    done
}

# Boots with the disk; kills QEMU when the guest asks for it, or up to 0.3 s later: a cut right after an acknowledgement would
# fall between two changes more often than chance has it. Lines that left the guest in that time are still read.
boot_until_cut() {
    local work=$1 line code
    local disk=(
        -blockdev "driver=file,node-name=disk,filename=$work/disk"
        -blockdev "driver=file,node-name=writes,filename=$work/writes"
        -blockdev "driver=blklogwrites,node-name=logged,file=disk,log=writes,log-sector-size=512"
        -device virtio-blk-pci,drive=logged,addr=0x10 # behind the others: vdd, and not vda
        -pidfile "$work/pid"
    )
    (code=0; boot_qemu "$work" "${disk[@]}" </dev/null || code=$?; echo "$code" >"$work/code") |
        while IFS= read -r line; do
            printf '%s\n' "$line" | tee -a "$RIG_OUT/guest.log"
            [[ $line == *"RIG CUT POWER"* ]] || continue
            touch "$work/cut"
            sleep "0.$(printf %03d $((RANDOM % 300)))"
            kill -KILL "$(cat "$work/pid")"
        done
    code=$(cat "$work/code")
    return "$code"
}
