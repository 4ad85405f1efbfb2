"""The same as polite.sh, in Python."""
import os
import signal
import sys


def note(word):
    with open(os.environ["TOLD"] + "/" + os.environ["OPM_APP"], "a") as file:
        file.write(f"{word} {os.getpid()}\n")


def ended(_signal, _frame):
    note("term")
    sys.exit(0)


signal.signal(signal.SIGTERM, ended)
note("start")
while True:
    signal.pause()
