#!/bin/sh
# An app that notes when it starts and when it is told to end; $TOLD is the folder of these notes.
trap 'echo "term $$" >>"$TOLD/$OPM_APP"; exit 0' TERM
echo "start $$" >>"$TOLD/$OPM_APP"
while :; do
    sleep 100000 &
    wait $!
done
