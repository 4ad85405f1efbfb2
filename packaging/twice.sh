#!/bin/sh
# Shows that two builds give the same bytes: packaging/build.sh here, and once more from a copy somewhere else, with another
# CARGO_HOME, target directory, umask, time zone, language and user environment, and at another time.
#
#   packaging/twice.sh                  takes two release builds for each C library: many minutes
#   packaging/twice.sh deb              whatever packaging/build.sh takes
#   packaging/twice.sh --binary FILE    only the packing, not the compiling
set -eu
repository=$(cd "$(dirname "$0")/.." && pwd)
here=$PWD
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
trap 'exit 130' INT TERM
: "${SOURCE_DATE_EPOCH:=$(git -C "$repository" log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH

"$repository/packaging/build.sh" "$@" --out "$elsewhere/one"

mkdir -p "$elsewhere/a copy/cargo home"
(cd "$repository" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T - -f -) | tar -x -C "$elsewhere/a copy"
# The same crates under another path: what is already here need not be fetched again.
for part in "${CARGO_HOME:-$HOME/.cargo}"/*; do
    ln -s "$part" "$elsewhere/a copy/cargo home/"
done
(
    umask 077
    cd "$here"
    env TZ=Pacific/Auckland LANG=tr_TR.UTF-8 LC_ALL= USER=somebody CARGO_HOME="$elsewhere/a copy/cargo home" \
        CARGO_TARGET_DIR="$elsewhere/another target" "$elsewhere/a copy/packaging/build.sh" "$@" --out "$elsewhere/another"
)

if cmp "$elsewhere/one/SHA256SUMS" "$elsewhere/another/SHA256SUMS"; then
    cat "$elsewhere/one/SHA256SUMS"
    echo "two builds, the same bytes"
else
    diff "$elsewhere/one/SHA256SUMS" "$elsewhere/another/SHA256SUMS" || true
    echo "two builds, and they differ (diffoscope says in what)" >&2
    trap - EXIT
    echo "both are in $elsewhere" >&2
    exit 1
fi
