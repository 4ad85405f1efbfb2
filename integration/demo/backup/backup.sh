#!/bin/sh
# A shell script with a child of its own: packs its folder into an archive at every interval and keeps the last three.
set -eu
every=${1:-60}
here=$(cd "$(dirname "$0")" && pwd)
store=$(mktemp -d "${TMPDIR:-/tmp}/opm-demo-backup.XXXXXX")
child=
trap 'if [ -n "$child" ]; then kill "$child" || true; fi; rm -rf "$store"; exit 0' TERM INT
while :; do
    tar -czf "$store/$(date -u +%Y%m%dT%H%M%SZ).tar.gz" -C "$here" .
    ls -1t "$store" | tail -n +4 | while read -r old; do rm -f "$store/$old"; done
    echo "packed; $(ls "$store" | wc -l) kept in $store"
    sleep "$every" &
    child=$!
    wait "$child"
done
