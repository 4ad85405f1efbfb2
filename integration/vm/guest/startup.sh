#!/bin/bash
# opm startup, unstartup, first use and doctor, on a real systemd: as root, as a lingering user (tester, by `as-user`), as a user
# with a session and no lingering, and as one with neither. Runs as root in a guest, with `opm` in PATH; prints `ok NAME` or
# `FAIL NAME` for each check. Exit 194 asks for a reboot and another run with RIG_PHASE one higher.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
phase=${RIG_PHASE:-0}
failed=0
said=$(mktemp)

# check NAME COMMAND...: the command succeeds.
check() {
  local name=$1
  shift
  if "$@" >"$said" 2>&1; then echo "ok $name"; else
    echo "FAIL $name: $* (exit $?)"
    sed 's/^/    /' "$said"
    failed=1
  fi
}
# refused NAME CODE WORDS COMMAND...: the command ends with CODE and says WORDS.
refused() {
  local name=$1 code=$2 words=$3 got
  shift 3
  "$@" >"$said" 2>&1
  got=$?
  if [ $got = "$code" ] && grep -qF -- "$words" "$said"; then echo "ok $name"; else
    echo "FAIL $name: $* (exit $got, $code was due, and '$words')"
    sed 's/^/    /' "$said"
    failed=1
  fi
}
says() { # says WORDS COMMAND...: it succeeds and says WORDS
  local words=$1
  shift
  "$@" >"$said.says" 2>&1
  local got=$?
  cat "$said.says"
  [ "$got" = 0 ] && grep -qF -- "$words" "$said.says"
}
same() { [ -n "$1" ] && [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
# As somebody with nothing of a session: what `sudo -u` and cron give.
bare() {
  local user=$1
  shift
  setpriv --reuid "$user" --regid "$user" --init-groups env -i HOME="/home/$user" PATH="$PATH" "$@"
}
# As somebody who logs in: pam_systemd opens a session, which closes with the command.
login() {
  local user=$1
  shift
  su -l "$user" -c "$*"
}
# until_true SECONDS COMMAND...: waits for a condition, with a deadline.
until_true() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.2
  done
}
unit_of() { grep -o 'opm[^/]*\.service' "/proc/$1/cgroup" | head -1; }
property() { as-user systemctl --user show opm.service -p "$1" --value; }

user_unit=/home/tester/.config/systemd/user/opm.service
runtime_unit=/run/user/1000/systemd/user/opm.service
linger_mended() { loginctl enable-linger "$1" && systemctl start "user@$(id -u "$1").service"; }

if [ "$phase" = 0 ]; then
  command -v opm >/dev/null || install -m 755 opm /usr/bin/opm
  echo "# $(systemctl --version | head -1), kernel $(uname -r), $(opm --version)"
  useradd -m -s /bin/bash ann # neither session nor lingering
  useradd -m -s /bin/bash sue # logs in, without lingering
  rm -f /usr/lib/systemd/{system,user}/opm.service /etc/systemd/{system,user}/opm.service
  systemctl daemon-reload
  as-user systemctl --user daemon-reload

  # First use: nothing is installed.
  check doctor-without-a-daemon says "no daemon runs" as-user opm doctor
  refused doctor-without-a-manager 1 "no session of systemd's, and no lingering" bare ann opm doctor
  check doctor-makes-nothing test ! -e /home/tester/.local/state/opm -a ! -e /run/user/1000/opm
  check first-use as-user opm start sleep --name web -- 100000
  main=$(as-user opm pid web)
  check first-use-unit same "$(unit_of "$main")" opm.service
  check first-use-not-in-a-session bash -c "! grep -q session- /proc/$main/cgroup"
  check first-use-fleeting test -e $runtime_unit -a ! -e $user_unit
  check first-use-not-transient same "$(property Transient)" no
  check first-use-reload as-user systemctl --user reload opm
  check first-use-reload-keeps same "$(as-user opm pid web)" "$main"

  # Startup while a daemon runs.
  check print says "ExecStart=" as-user opm startup --print
  check print-does-nothing test ! -e $user_unit
  keeper=$(property MainPID)
  check startup says "enabled opm.service" as-user opm startup
  check startup-file grep -q "^# Written by opm" $user_unit
  check startup-fleeting-gone test ! -e $runtime_unit
  check startup-same-keeper same "$(property MainPID)" "$keeper"
  check startup-same-app same "$(as-user opm pid web)" "$main"
  check startup-fragment same "$(property FragmentPath)" $user_unit
  check startup-enabled as-user systemctl --user is-enabled opm.service
  check startup-again says "already" as-user opm startup
  check reload-of-the-new-file as-user systemctl --user reload opm
  check reload-keeps same "$(as-user opm pid web)" "$main"

  # Unstartup keeps what runs, and what runs can still be reloaded.
  check unstartup says "disabled opm.service" as-user opm unstartup
  check unstartup-file-gone test ! -e $user_unit
  check unstartup-same-app same "$(as-user opm pid web)" "$main"
  check unstartup-still-a-unit as-user systemctl --user reload opm
  check unstartup-again says "already" as-user opm unstartup
  check startup-after-unstartup as-user opm startup

  # A packaged unit is taken, and what opm wrote makes way for it.
  sed "s,^Exec\(.*\)=.*opm daemon,Exec\1=$(command -v opm) daemon," $user_unit | tail -n +2 >/usr/lib/systemd/user/opm.service
  check packaged says "removed $user_unit" as-user opm startup
  check packaged-fragment same "$(property FragmentPath)" /usr/lib/systemd/user/opm.service
  check packaged-same-app same "$(as-user opm pid web)" "$main"
  check packaged-again says "already" as-user opm startup
  # systemctl says that it disabled a masked unit, and does not.
  as-user systemctl --user mask -q opm
  check masked-unstartup as-user opm unstartup
  as-user systemctl --user unmask -q opm
  check masked-unstartup-holds bash -c '! as-user systemctl --user is-enabled opm.service'
  check masked-startup-again as-user opm startup
  check masked-startup-enabled as-user systemctl --user is-enabled opm.service
  cp "$(command -v opm)" /usr/local/bin/opm-other
  check another-program says "which is not this /usr/local/bin/opm-other" as-user /usr/local/bin/opm-other startup
  systemctl -q --global enable opm.service
  check enabled-for-all says "systemctl --user mask" as-user opm unstartup
  systemctl -q --global disable opm.service
  as-user systemctl --user daemon-reload
  check packaged-once-more as-user opm startup
  rm /usr/lib/systemd/user/opm.service
  check startup-back as-user opm startup
  check startup-back-same-app same "$(as-user opm pid web)" "$main"

  # kill -9 of the keeper: the unit starts the next one beside the living apps.
  kill -9 "$(property MainPID)"
  check keeper-killed until_true 30 as-user opm ping
  check keeper-killed-same-app same "$(as-user opm pid web)" "$main"

  # Masked; program gone.
  as-user opm kill >/dev/null 2>&1
  as-user systemctl --user disable -q opm
  mv $user_unit /tmp/kept
  as-user systemctl --user mask -q opm
  refused masked-start 3 "is masked" as-user opm start web
  refused masked-startup 1 "unmask" as-user opm startup
  as-user systemctl --user unmask -q opm
  sed 's,^ExecStart=.*,ExecStart=/nowhere/opm daemon run,' /tmp/kept >$user_unit
  chown tester: $user_unit
  as-user systemctl --user daemon-reload
  refused program-gone 3 "/nowhere/opm, which is not there" as-user opm start web
  check program-mended as-user opm startup
  check program-mended-runs as-user opm wait web

  # What keeps a daemon from starting is told, and not merely that systemd noticed.
  as-user mkdir -p /home/tester/odd
  as-user touch /home/tester/odd/state
  refused start-fails 3 "/home/tester/odd/state" as-user env OPM_HOME=/home/tester/odd opm daemon start
  as-user bash -c 'systemctl --user stop "opm-*.service"; rm -r ~/odd'

  # A transient unit, as somebody may have made one by hand.
  as-user opm unstartup --now >/dev/null 2>&1
  rm -f $runtime_unit
  as-user systemctl --user daemon-reload
  as-user systemd-run --user -q --unit=opm -p Type=notify -p NotifyAccess=main -p Delegate=yes -p KillMode=process "$(command -v opm)" daemon run
  check transient-up as-user opm wait web
  main=$(as-user opm pid web)
  check transient-startup says "from the next boot on" as-user opm startup
  check transient-same-app same "$(as-user opm pid web)" "$main"
  check transient-linked test -L /home/tester/.config/systemd/user/default.target.wants/opm.service

  # Neither session nor lingering, and nobody who lets them have it.
  refused bare-start 3 "sudo loginctl enable-linger ann" bare ann opm start sleep --name a -- 100000
  check bare-read says "no daemon runs" bare ann opm ls
  refused bare-startup 1 "sudo loginctl enable-linger ann" bare ann opm startup
  check bare-startup-rest test -L /home/ann/.config/systemd/user/default.target.wants/opm.service
  check bare-mended linger_mended ann
  # Without XDG_RUNTIME_DIR, and with root's.
  check bare-runs bare ann opm start sleep --name a -- 100000
  check bare-foreign-runtime-dir bare ann XDG_RUNTIME_DIR=/run/user/0 opm pid a
  check bare-startup-done says "already" bare ann opm startup

  # Where polkit lets people linger, startup does it all: `loginctl` asks a helper here, as there is no polkit.
  useradd -m -s /bin/bash pol
  mkdir -p /tmp/polkit
  mkfifo -m 666 /tmp/polkit/ask /tmp/polkit/answer
  # shellcheck disable=SC2016 # it is the helper that expands this
  printf '#!/bin/bash\nprintf "%%s\\n" "${*: -1}" >/tmp/polkit/ask\nread -r code </tmp/polkit/answer\nexit "$code"\n' >/tmp/polkit/loginctl
  chmod 755 /tmp/polkit /tmp/polkit/loginctl
  (read -r name </tmp/polkit/ask && /usr/bin/loginctl enable-linger "$name" && echo $? >/tmp/polkit/answer) &
  check polkit-startup says "start at boot" bare pol PATH="/tmp/polkit:$PATH" opm startup
  check polkit-runs bare pol opm ping
  check polkit-again says "already" bare pol opm startup

  # A session without lingering: everything goes when it closes, and that is said once.
  check session-hint says "your apps end when you log out" login sue opm start sleep --name s -- 100000
  sue=$(id -u sue)
  check session-ends until_true 60 bash -c "! systemctl is-active -q user@$sue.service"
  check session-apps-gone bash -c '! pgrep -u sue sleep'
  check session-hint-once bash -c "! su -l sue -c 'opm daemon start' 2>&1 | grep -q 'log out'"
  check for-another says "enabled opm.service" env XDG_STATE_HOME=/root/state OPM_CGROUP=/x opm startup -u sue
  check for-another-nothing-of-ours bash -c '! grep ^Environment= /home/sue/.config/systemd/user/opm.service'
  check for-another-by-number says "already" opm startup -u "$sue"
  refused for-nobody 1 "nobody has no home directory" opm startup -u nobody
  refused for-no-one 2 "there is no user 'noone'" opm startup -u noone
  refused for-no-name 2 "is not the name of a user" opm startup -u ''
  check for-another-lingers test -e /var/lib/systemd/linger/sue

  # Root: the system's.
  check root-first-use opm start sleep --name sys -- 100000
  check root-unit same "$(unit_of "$(opm pid sys)")" opm.service
  main=$(opm pid sys)
  check root-startup says "enabled opm.service" opm startup systemd
  check root-same-app same "$(opm pid sys)" "$main"
  check root-again says "already" opm startup
  check sudo-hint says "tester has an opm of their own" env SUDO_USER=tester SUDO_UID=1000 opm startup
  refused other-platform 2 "through systemd only" opm startup upstart
  refused not-root 2 "only root may" as-user opm startup -u ann

  # Doctor: nothing bad here, with a daemon and without.
  check doctor opm doctor
  check doctor-user as-user opm doctor
  check doctor-json says '"version": 1,' as-user opm doctor --json
  as-user opm --system doctor >/tmp/asked 2>&1
  check doctor-of-root-by-a-user grep -qF "ask as root (sudo)" /tmp/asked
  check doctor-of-root-gives-nothing-away bash -c '! grep -E "chown|linger" /tmp/asked'
  mkdir -p /run/systemd/system/opm.service.d
  printf '[Service]\nDelegate=no\n' >/run/systemd/system/opm.service.d/edited.conf
  systemctl daemon-reload
  refused doctor-edited-unit 1 "does not say Delegate=yes" opm doctor
  rm -r /run/systemd/system/opm.service.d
  systemctl daemon-reload
  # The mend that doctor names for a socket that somebody removed.
  rm /run/opm/opm.sock
  refused doctor-no-socket 1 "nobody answers at its socket" opm doctor
  opm doctor --json >/tmp/asked
  eval "$(sed -n 's/.*if that lasts: \(.*\); no app is touched.*/\1/p' /tmp/asked)"
  check doctor-no-socket-mended until_true 30 opm ping
  check doctor-no-socket-same-app same "$(opm pid sys)" "$main"
  # Where nothing can be written, that is what is said, and not systemctl's "does not exist".
  printf '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=default.target\n' >/usr/lib/systemd/user/opm.service
  useradd -m -s /bin/bash rob
  linger_mended rob
  mount --bind -o ro /home/rob /home/rob
  refused read-only-home 1 "ead-only file system" bare rob opm startup
  umount /home/rob
  rm /usr/lib/systemd/user/opm.service
  loginctl disable-linger rob
  [ $failed = 0 ] || exit 1
  exit 194
fi

# After the reboot: everybody's apps are back, by themselves.
check back-tester until_true 60 as-user opm wait web
check back-tester-unit same "$(property FragmentPath)" $user_unit
check back-not-transient same "$(property Transient)" no
check back-ann until_true 60 bare ann opm wait a
check back-sue until_true 60 bare sue opm wait s
check back-root until_true 60 opm wait sys
check one-copy same "$(pgrep -cx sleep)" 4
check unstartup-now says "stopped opm.service" as-user opm unstartup --now
check unstartup-now-gone bash -c '! pgrep -u tester sleep'
check kept-apps opm daemon stop --keep-apps
check kept-apps-unstartup-now opm unstartup --now
check kept-apps-gone bash -c '! pgrep -u root -x sleep'
exit $failed
