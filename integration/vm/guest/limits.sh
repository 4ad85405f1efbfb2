#!/bin/bash
# Limits where there are controllers: that they hold, that what they do is named, that they change and come back without a restart.
# Runs as root in a guest with systemd, `opm` in PATH and its units installed. Says `ok NAME` or `FAIL NAME` for each check.
set -u
(. "$(dirname "$0")/lib.sh" && install_opm)
failed=0
work=/var/tmp/opm-limits
rm -rf "$work" && mkdir -p "$work" && chmod 777 "$work" && cd "$work" || exit 1

ok() { echo "ok $1"; }
bad() { echo "FAIL $1${2:+: $2}"; failed=1; }
check() { if eval "$2"; then ok "$1"; else bad "$1" "$2 does not hold"; fi; }
# Emulated, a guest is some 20 times slower than its host.
until_true() { local n; for n in $(seq "${2:-600}"); do eval "$1" && return 0; sleep 0.2; done; return 1; }
reached() { if until_true "$2" "${3:-600}"; then ok "$1"; else bad "$1" "$2 was not reached"; opm why "${4:-all}" 2>&1 | head -40; fi; }
field() { $O info "$1" | sed -n "s/^ *$2  *//p" | tail -1; }
group() { field "$1" cgroup; }
says() { cat "$(group "$1")/$2" 2>/dev/null; }
counted() { says "$1" "$2" | sed -n "s/^$3 //p"; }
O=opm

# Apps. No process is made in a loop where that can be helped: it takes a tenth of a second here.
cat > hold.py <<'E'
import sys, time, mmap
keep = []
for step in sys.argv[2:]:
    size = int(step) << 20
    m = mmap.mmap(-1, size)
    for at in range(0, size, 4096): m[at] = 1
    keep.append(m)
    time.sleep(float(sys.argv[1]))
while True: time.sleep(1000)
E
cat > parent.sh <<'E'
python3 /var/tmp/opm-limits/hold.py 1 150 &
wait $!
echo "child: $?" >> /var/tmp/opm-limits/parent.log
exec sleep 100000
E
cat > bomb.py <<'E'
import os, time
while True:
    try:
        if os.fork() == 0: time.sleep(1000)
    except OSError: time.sleep(0.05)
E
cat > copy.sh <<'E'
dd if=/dev/zero of=/var/tmp/opm-limits/big bs=1M count=120 2>/dev/null
cat /var/tmp/opm-limits/big > /dev/null
echo copied > /var/tmp/opm-limits/copied
exec sleep 100000
E
cat > term.py <<'E'
import mmap, signal, sys, time
def end(*_):
    open('/var/tmp/opm-limits/graceful', 'a').write('asked\n')
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
m = []
for n in range(80):
    b = mmap.mmap(-1, 1 << 20)
    for at in range(0, 1 << 20, 4096): b[at] = 1
    m.append(b)
while True: time.sleep(1000)
E

systemctl daemon-reload
systemctl start opm || bad "the unit starts"
echo "# $(systemctl --version | head -1), Linux $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"

# --- memory.max ----------------------------------------------------------------------------------------------------------
opm start "python3 $work/hold.py 0.2 10 150" --name hog --memory-max 64M --memory-swap-max 0 --max-restarts 3 --errored-retry never >/dev/null
reached "what allocates past memory.max is killed and named" "opm events hog 2>/dev/null | grep -q 'killed by the kernel, out of memory'" 600 hog
reached "and started again by its policy" "[ \$(field hog restarts) -ge 1 ]" 600 hog
# At rest for good, so that its last exit is one of these and not the stop.
reached "and given up on after three" "[ \"\$(field hog state)\" = errored ] || opm info hog | grep -q errored" 600 hog
check "why tells limit and peak" "opm events hog | grep 'out of memory (6[0-9].[0-9]M of 64.0M)' >/dev/null || ! ls /sys/fs/cgroup/*/memory.peak >/dev/null 2>&1"
check "ls tells it too" "opm info hog | grep 'last exit' | grep -q 'out of memory'"

opm start "sh $work/parent.sh" --name half --memory-max 64M --memory-swap-max 0 --oom-kill process >/dev/null
half=$(opm pid half)
reached "with oom_kill=process only the one is killed" "grep -q 'child: 137' parent.log" 600 half
check "and the main process lives" "[ \"\$(opm pid half)\" = '$half' ] && [ \"\$(says half memory.oom.group)\" = 0 ]"
check "and why tells that something was killed" "opm why half | grep -q 'for want of memory'"
opm stop half >/dev/null
check "its own end is its own" "! opm events half | grep -q 'out of memory'"

# --- pids.max ------------------------------------------------------------------------------------------------------------
opm start "sleep 100000" --name sibling >/dev/null
sibling=$(opm pid sibling)
opm start "python3 $work/bomb.py" --name bomb --pids 40 >/dev/null
reached "a fork bomb is stopped by pids.max" "[ \"\$(counted bomb pids.events max)\" -ge 5 ] 2>/dev/null" 600 bomb
check "and has no more than it may" "[ \$(says bomb pids.current) -le 40 ]"
check "why tells it" "opm why bomb | grep -q 'refused another process'"
check "its sibling does not notice" "[ \"\$(opm pid sibling)\" = '$sibling' ] && opm ping >/dev/null"
opm stop bomb >/dev/null
check "the record tells it" "opm events bomb | grep -q 'at its limit of 40 processes'"

# --- changes at once -----------------------------------------------------------------------------------------------------
opm start "sleep 100000" --name web -i 2 --memory-max 100M --cpus 0.5 --cpu-weight 300 >/dev/null
web=$(opm pid web)
check "cpu.max and cpu.weight are written" "[ \"\$(says web cpu.max)\" = '50000 100000' ] && [ \"\$(says web cpu.weight)\" = 300 ]"
check "memory.oom.group is, without being asked" "[ \"\$(says web memory.oom.group)\" = 1 ] && [ \"\$(says sibling memory.oom.group)\" = 1 ]"
told=$(opm limit web --memory-max 200M --pids 60 --cpus none --cpu-weight none 2>&1); echo "# $told"
check "a change is told" "echo '$told' | grep -q 'memory_max 100M -> 200M, cpus 0.5 -> none, cpu_weight 300 -> none, pids none -> 60; applied to 2 instances'"
check "and in force" "[ \"\$(says web memory.max)\" = 209715200 ] && [ \"\$(says web pids.max)\" = 60 ] && [ \"\$(says web cpu.max)\" = 'max 100000' ] && [ \"\$(says web cpu.weight)\" = 100 ]"
check "without a restart" "[ \"\$(opm pid web)\" = '$web' ] && [ \$(field web restarts) = 0 ]"
opm start "sleep 100000" --name web -i 2 --memory-max 150M --replace >/dev/null 2>&1
check "so it is by start --replace" "[ \"\$(says web memory.max)\" = 157286400 ] && [ \"\$(says web pids.max)\" = max ] && [ \"\$(opm pid web)\" = '$web' ]"
opm limit web --memory-high 30M >/dev/null 2>&1
check "memory.high too" "[ \"\$(says web memory.high)\" = 31457280 ]"

opm start "python3 $work/hold.py 0.2 60" --name shrink --memory-swap-max 0 --restart never >/dev/null 2>&1
until_true "[ \$(says shrink memory.current) -gt 60000000 ]" 100
told=$(opm limit shrink --memory-max 30M 2>&1); echo "# $told"
reached "what is limited below what it holds is killed, and named" "opm info shrink | grep 'last exit' | grep -q 'out of memory'" 100 shrink
opm delete shrink >/dev/null 2>&1

# --- io.max --------------------------------------------------------------------------------------------------------------
if grep -qw io /sys/fs/cgroup/cgroup.controllers; then
  opm start "sh -c 'dd if=/dev/zero of=$work/slow bs=256k count=12 oflag=direct 2>$work/dd; exec sleep 100000'" --name disk --io-max "$work:wbps=1M" >/dev/null
  echo "# io.max: $(says disk io.max)"
  check "io.max is written for the disk of a directory" "says disk io.max | grep -q 'wbps=1048576'"
  reached "and holds: 3 MiB take 2 s or more" "grep -q ' s, ' dd && [ \$(sed -n 's/.*copied, \\([0-9]*\\).*/\\1/p' dd) -ge 2 ]" 300 disk
  opm limit disk --io-max none >/dev/null 2>&1
  check "and is taken off" "! says disk io.max | grep -q wbps"
  opm limit disk --io-weight 50 2>&1 | sed 's/^/# /'
  if [ -e "$(group disk)/io.weight" ]; then check "io.weight is written where there is one" "says disk io.weight | grep -q 'default 50'"; fi
  opm delete disk >/dev/null
fi

# --- max_memory_restart --------------------------------------------------------------------------------------------------
opm start "python3 $work/term.py" --name heavy --max-memory-restart 50M --min-uptime 10ms >/dev/null
reached "what passes its mark is restarted" "opm events heavy 2>/dev/null | grep -q 'passed its memory mark of 50.0M'" 900 heavy
reached "gracefully" "grep -q asked graceful" 100 heavy
opm why heavy | head -3 | sed 's/^/# /'
opm stop heavy >/dev/null
check "and that is no failure" "! opm events heavy | grep -q errored"
opm start "sh $work/copy.sh" --name cache --max-memory-restart 40M >/dev/null
cache=$(opm pid cache)
reached "page cache passes the mark" "[ -e copied ] && [ \"\$(counted cache memory.events high)\" -gt 0 ]" 900 cache
check "and is no reason to restart" "[ \"\$(opm pid cache)\" = '$cache' ] && [ \$(field cache restarts) = 0 ]"

# --- a killed keeper and daemon ------------------------------------------------------------------------------------------
keeper=$(systemctl show -p MainPID --value opm)
daemon=$(opm daemon status --json | tr ',{}' '\n' | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -1)
kill -9 "$keeper" "$daemon"
reached "the unit starts again" "systemctl is-active -q opm && [ \"\$(systemctl show -p MainPID --value opm)\" != '$keeper' ] && opm ping >/dev/null 2>&1" 300
check "beside what lives" "[ \"\$(opm pid web)\" = '$web' ] && [ \"\$(opm pid cache)\" = '$cache' ] && [ \"\$(opm pid sibling)\" = '$sibling' ]"
reached "limits are in force again" "[ \"\$(says web memory.max)\" = 157286400 ] && [ \"\$(says web memory.high)\" = 31457280 ]" 50 web
reached "on every run" "[ \"\$(says cache memory.high)\" = 41943040 ] && [ \"\$(says sibling memory.oom.group)\" = 1 ]" 50 cache
opm limit web --pids 33 >/dev/null 2>&1
check "and can be changed" "[ \"\$(says web pids.max)\" = 33 ] && [ \"\$(opm pid web)\" = '$web' ]"
opm restart web >/dev/null
check "and hold for the next run" "[ \"\$(says web memory.max)\" = 157286400 ] && [ \"\$(says web pids.max)\" = 33 ]"

# --- the user's own ------------------------------------------------------------------------------------------------------
if command -v as-user >/dev/null; then
  O="as-user opm"
  as-user systemctl --user daemon-reload; as-user systemctl --user start opm || bad "the user's unit starts"
  $O start "python3 $work/hold.py 0.2 10 150" --name hog --memory-max 64M --memory-swap-max 0 --max-restarts 2 --errored-retry never >/dev/null 2>&1
  reached "a user's hog is killed and named" "$O events hog 2>/dev/null | grep -q 'out of memory'" 600
  refusal=$($O start "sleep 1" --name io --io-weight 50 2>&1); echo "# $refusal"
  if [ -e /etc/systemd/system/user@.service.d/delegate.conf ]; then ok "io is delegated here"; else
    check "what is not delegated is refused, with the drop-in" "echo '$refusal' | grep -q 'user@.service.d/delegate.conf'"
  fi
  $O start "sleep 100000" --name mine --memory-max 70M --pids 20 >/dev/null 2>&1
  mine=$($O pid mine)
  keeper=$(as-user systemctl --user show -p MainPID --value opm)
  kill -9 "$keeper"
  reached "the user's unit starts again" "as-user systemctl --user is-active -q opm && [ \"\$(as-user systemctl --user show -p MainPID --value opm)\" != '$keeper' ] && $O ping >/dev/null 2>&1" 300
  reached "with the user's limits" "[ \"\$(says mine memory.max)\" = 73400320 ] && [ \"\$(says mine pids.max)\" = 20 ]" 50
  check "and the user's app" "[ \"\$($O pid mine)\" = '$mine' ]"
  $O delete all >/dev/null 2>&1
fi
O=opm
opm delete all >/dev/null
rm -rf "$work"
exit $failed
