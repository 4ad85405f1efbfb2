#!/bin/sh
# Installs what lies beside it: ./install.sh [PREFIX] (default: /usr/local). As root. Run it again to upgrade: daemons that run
# are taken over in place, and no app is touched.
set -eu
cd "$(dirname "$0")"
prefix=${1:-/usr/local}
case $prefix in /*) ;; *) echo "install.sh: PREFIX is a path from the root, such as /usr/local" >&2 && exit 2 ;; esac
# It is written into units and a script, where blanks, quotes, % and $ mean something.
case $prefix in *[!A-Za-z0-9/._+-]*) echo "install.sh: PREFIX may hold letters, digits and / . _ + - only" >&2 && exit 2 ;; esac

umask 022
mkdir -p "$prefix"
# Never into a file that runs: written beside it, then renamed over it.
(cd usr && find . -type f) | while read -r file; do
    mkdir -p "$prefix/$(dirname "$file")"
    case $file in
    */opm.service)
        sed "s,/usr/bin/opm,$prefix/bin/opm,g" "usr/$file" >"$prefix/$file.new"
        chmod 644 "$prefix/$file.new"
        ;;
    */reload-daemons)
        sed "s,^PATH=,PATH=$prefix/bin:," "usr/$file" >"$prefix/$file.new"
        chmod 755 "$prefix/$file.new"
        ;;
    *) cp -p "usr/$file" "$prefix/$file.new" ;;
    esac
    mv "$prefix/$file.new" "$prefix/$file"
done
if [ ! -e /etc/opm/config.toml ]; then
    mkdir -p /etc/opm
    # The daemon believes no file that others may write.
    install -m 644 etc/opm/config.toml /etc/opm/config.toml
fi
"$prefix/libexec/opm/reload-daemons"
echo "opm is in $prefix/bin. 'opm startup' brings apps back after a reboot."
