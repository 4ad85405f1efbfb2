#!/bin/bash
# The deb in a guest with a real systemd: installed, upgraded under running apps, removed, purged. As root, in a folder with old.deb
# and new.deb (two versions of the package; the program in them may be the same). `as-user` runs a command as a lingering user.
# One line for each check, `ok NAME` or `FAIL NAME`; exit 1 on any FAIL.
set -u
export DEBIAN_FRONTEND=noninteractive
. "$(dirname "$0")/package-checks.sh"
old=$(dpkg-deb -f old.deb Version)
new=$(dpkg-deb -f new.deb Version)
installed() { dpkg-query -W -f '${db:Status-Abbrev}${Version}' opm 2>/dev/null; }
lists() { dpkg -L opm; }
# The package's own words, and nothing to answer them with.
package() { dpkg "$@" </dev/null >words 2>&1; }

check "a fresh install works" package -i old.deb
is "it is the old version" "$(installed)" "ii $old"
check_fresh

start_daemons_and_apps
check "an upgrade works" package -i new.deb
is "it is the new version" "$(installed)" "ii $new"
check_taken_over "an upgrade"

check "the same again works" package -i new.deb
check_taken_over "a reinstallation"
check "a downgrade works" package -i old.deb
is "it is the old version again" "$(installed)" "ii $old"
check_taken_over "a downgrade"

# Cut off between unpacking and configuring; and then a daemon dies, too.
check "half an upgrade works" package --unpack new.deb
kill -9 "$(daemon_of_system)"
check "the daemon answers after it" eval "opm ping >/dev/null"
check_apps "half an upgrade and a killed daemon"
check "the other half works" package --configure opm
check_taken_over "an upgrade that was cut off"

refuse_reload
check "an upgrade works although a daemon cannot be reloaded" package -i old.deb
check "and says so" grep -q "the daemon (user $user) goes on" words
check_apps "a reload that failed"
allow_reload
check "the next one mends it" package -i new.deb
check_taken_over "the mend"

check "removal works" package -r opm
check_removed
check "the user that goes on is named" grep -q "user $user go on" words
is "its configuration is kept" "$(installed)" "rc $new"
check "what the system daemon knew is kept" test -d /var/lib/opm
check "the edited configuration is kept" grep -q edited /etc/opm/config.toml

check "it can be installed again" package -i new.deb
check "and is enabled as it was" systemctl is-enabled --quiet opm
check_user_taken_over "an installation after a removal"
systemctl start opm
check "its apps come back" eval "opm wait all --timeout 60s >/dev/null"
is "one of each" "$(processes "$system_group" | wc -w)" 3

check "purging works" package -P opm
check_removed
is "nothing is known of it" "$(installed | cut -c1)" ""
check_nothing_left
check_user_untouched
finish
