#!/bin/sh
# An app whose end takes three seconds, and that notes on disk how far it came.
end() {
    echo "term $$" >>"$TOLD/$OPM_APP"
    sleep 3
    echo "done $$" >>"$TOLD/$OPM_APP"
    exit 0
}
trap end TERM
echo "start $$" >>"$TOLD/$OPM_APP"
while :; do
    sleep 100000 &
    wait $!
done
