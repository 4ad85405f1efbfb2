#!/bin/sh
# The same, with a descendant that left: forked twice, in a session of its own, its parent gone.
# shellcheck disable=SC2016  # expanded by the one within
(setsid sh -c '
    trap "echo \"child-term \$\$\" >>\"$TOLD/$OPM_APP\"; exit 0" TERM
    while :; do sleep 100000 & wait $!; done
' &)
exec "$(dirname "$0")/polite.sh"
