#!/bin/bash
# The rpm, as deb.sh has the deb; with Debian's rpm, whose database is empty (--nodeps) and which on Debian 12 wants --force-debian.
set -u
. "$(dirname "$0")/package-checks.sh"
force=$(rpm --force-debian --version >/dev/null 2>&1 && echo --force-debian)
old=$(rpm -qp --qf '%{VERSION}-%{RELEASE}' old.rpm 2>/dev/null)
new=$(rpm -qp --qf '%{VERSION}-%{RELEASE}' new.rpm 2>/dev/null)
installed() { rpm -q --qf '%{VERSION}-%{RELEASE}' opm; }
lists() { rpm -ql opm; }
package() { rpm --nodeps $force "$@" </dev/null >words 2>&1; }

check "a fresh install works" package -U old.rpm
is "it is the old version" "$(installed)" "$old"
check_fresh
is "its files are as they were packed" "$(rpm -V --nodeps opm)" ""

start_daemons_and_apps
check "an upgrade works" package -U new.rpm
is "it is the new version, and the only one" "$(installed)" "$new"
check_taken_over "an upgrade"
is "only the configuration differs" "$(rpm -V --nodeps opm | sed 's/.* //')" /etc/opm/config.toml

check "the same again works" package -U --replacepkgs new.rpm
check_taken_over "a reinstallation"
check "a downgrade works" package -U --oldpackage old.rpm
is "it is the old version again" "$(installed)" "$old"
check_taken_over "a downgrade"

refuse_reload
check "an upgrade works although a daemon cannot be reloaded" package -U new.rpm
check "and says so" grep -q "the daemon (user $user) goes on" words
check_apps "a reload that failed"
allow_reload
check "the next one mends it" package -U --replacepkgs new.rpm
check_taken_over "the mend"

check "erasing works" package -e opm
check_removed
check "the user that goes on is named" grep -q "user $user go on" words
check "nothing is known of it" eval '! rpm -q opm >/dev/null'
check "the edited configuration is kept" grep -q edited /etc/opm/config.toml.rpmsave
check "what the system daemon knew is kept" test -d /var/lib/opm
rm -rf /run/opm /etc/opm /var/lib/opm /var/log/opm
check_nothing_left
check_user_untouched
finish
