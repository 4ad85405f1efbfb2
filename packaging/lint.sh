#!/bin/sh
# What lintian and rpmlint say about the packages that packaging/build.sh made: nothing, or it fails. Also `sh` itself about the
# scripts. What they are told to pass over stands, with the reason, in deb/lintian-overrides and rpm/rpmlint.toml.
#
#   packaging/lint.sh [DIRECTORY]       default: target/packages
set -eu
here=$PWD
cd "$(dirname "$0")/.."
. integration/prerequisites.sh
default=${CARGO_TARGET_DIR:-target}/packages
directory=$(cd "$here" && cd "${1:-$default}" && pwd)
need lintian lintian
need rpmlint rpmlint
need shellcheck shellcheck

bad=0
shellcheck --exclude=SC1091,SC2039,SC3043 packaging/*.sh packaging/tar/*.sh packaging/scripts/* packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm || bad=1
seen=0
for package in "$directory"/*.deb; do
    [ -e "$package" ] || continue
    seen=$((seen + 1))
    echo "lintian ${package##*/}"
    said=$(lintian --allow-root --display-info --pedantic "$package" 2>&1 | grep -E '^[EWIP]: ') || true
    [ -z "$said" ] || { echo "$said" && bad=1; }
done
for package in "$directory"/*.rpm; do
    [ -e "$package" ] || continue
    seen=$((seen + 1))
    echo "rpmlint ${package##*/}"
    said=$(rpmlint --config packaging/rpm/rpmlint.toml "$package" 2>&1) || bad=1
    echo "$said" | grep ': [EW]: ' && bad=1
done
[ "$seen" -gt 0 ] || { echo "packaging/lint.sh: no package in $directory: packaging/build.sh makes them" >&2 && exit 1; }
[ "$bad" = 0 ] && echo "nothing to complain about"
exit "$bad"
