# Sourced by rig.sh. The tiers `tcg` (emulation: 15 times slower than the host, but a whole machine with a kernel of its own,
# all controllers, PSI and two CPUs) and `kvm`.
# shellcheck shell=bash

# qemu ROOT_DRIVE INPUT OUTPUT CONSOLE_LOG [MORE...]: the guest's second serial line is our stdin and stdout.
qemu() {
    local root=$1 input=$2 output=$3 console=$4
    shift 4
    local accelerator=(-accel tcg,thread=multi,tb-size=512 -cpu Nehalem)
    [ "$RIG_TIER" = kvm ] && accelerator=(-accel kvm -cpu host)
    exec timeout --foreground -k 5 "$RIG_TIMEOUT" qemu-system-x86_64 -M q35,usb=off,smm=off -nodefaults -no-user-config \
        -display none -m "$RIG_MEM" -smp "$RIG_SMP" "${accelerator[@]}" \
        -kernel "$IMAGE/vmlinuz" -initrd "$IMAGE/initrd" \
        -append "console=ttyS0 mitigations=off nokaslr $KERNEL_ARGUMENTS" \
        -serial "file:$console" -serial stdio -device virtio-rng-pci -drive "$root,if=virtio" \
        -drive "file=$input,format=raw,if=virtio" -drive "file=$output,format=raw,if=virtio" "$@"
}

# A saved machine fits only the very command line and version that saved it.
warm_folder() {
    echo "$IMAGE/warm-$(printf %s "$(qemu-system-x86_64 --version)" "$RIG_TIER $RIG_MEM $RIG_SMP $KERNEL_ARGUMENTS" \
        "$(declare -f qemu)" | sha256sum | cut -c1-10)"
}

# Boots once, up to where the agent waits for its input, and saves the machine: runs start from there in 2 s.
save_warm_machine() {
    local folder pid
    folder=$(warm_folder)
    [ -e "$folder/ok" ] && return 0
    say "booting $RIG_SUITE once, to save the booted machine"
    rm -rf "$folder"
    mkdir -p "$folder"
    mkfifo "$folder/monitor.in" "$folder/monitor.out"
    qemu-img create -q -f qcow2 -F raw -b ../root.img "$folder/root.qcow2"
    truncate -s "$INPUT_SIZE" "$folder/in"
    truncate -s "$OUTPUT_SIZE" "$folder/out"
    (qemu "file=$folder/root.qcow2,format=qcow2" "$folder/in" "$folder/out" "$folder/console.log" \
        -monitor "pipe:$folder/monitor" </dev/null >"$folder/guest.log" 9>&-) &
    pid=$!
    exec 7<>"$folder/monitor.in" 8<>"$folder/monitor.out"
    while ! grep -aq READY "$folder/guest.log" 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || warm_failed "$folder"
        sleep 0.2
    done
    sleep 1
    # Not stopped before it is saved: it would be paused when it is restored.
    printf 'migrate_set_parameter max-bandwidth 10G\nmigrate "exec:zstd -q -1 >%s/state"\n' "$folder" >&7
    until printf 'info migrate\n' >&7 && sleep 0.5 && [[ $(timeout 0.3 cat <&8) == *tatus:\ completed* ]]; do
        kill -0 "$pid" 2>/dev/null || warm_failed "$folder"
    done
    printf 'quit\n' >&7
    wait "$pid" || true
    exec 7>&- 8>&-
    rm -f "$folder"/{in,out,monitor.in,monitor.out}
    touch "$folder/ok"
    say "saved: $(du -sm "$folder" | cut -f1) MB"
}

warm_failed() {
    tail -n 30 "$1/console.log" >&2
    die "$RIG_SUITE did not boot under $RIG_TIER; the end of its console stands above"
}

# boot_qemu WORK [MORE...]: warm where a machine was saved, unless the guest has more devices than that one had.
boot_qemu() {
    local work=$1 folder
    shift
    folder=$(warm_folder)
    if [ "$RIG_WARM" != no ] && [ $# = 0 ] && [ -e "$folder/ok" ]; then
        say "starting from the saved machine"
        (qemu "file=$folder/root.qcow2,format=qcow2,snapshot=on" "$work/in" "$work/out" "$RIG_OUT/console.log" \
            -incoming "exec:zstd -dcq $folder/state")
    else
        say "booting"
        (qemu "file=$IMAGE/root.img,format=raw,snapshot=on" "$work/in" "$work/out" "$RIG_OUT/console.log" "$@")
    fi
}
