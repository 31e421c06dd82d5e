#!/usr/bin/env python3
"""A contract server for tests of the runner; its file name says how it misbehaves.

It serves nothing: the fake load generator does not connect.
"""

import json
import os
import signal
import sys
import time

NAME = os.path.basename(sys.argv[0])


def describe():
    if NAME == "mute":  # says nothing that could be read
        print("I am no JSON")
        return
    at_once = 1 if NAME == "blocking" else None
    told = {"name": NAME, "thesis": f"a fake called {NAME}", "protocols": ["echo", "http"], "options": ["--delay", "--bind"], "clients_at_once": at_once, "needs": []}
    print(json.dumps(told))


def stop(_number, _frame):
    if NAME == "deaf":
        return
    print(json.dumps({"accepted": 1, "closed": 1, "requests": 7, "wakeups": 7, "events": 7, "eagain": 0, "errors": {}, "peak_connections": 1}), flush=True)
    os._exit(0)


def serve():
    signal.signal(signal.SIGTERM, stop)
    if NAME == "dies_early":
        sys.exit("bind 127.0.0.1:0: a fake reason")
    if NAME == "not_here":
        sys.stderr.write("io_uring_setup: refused by seccomp\n")
        sys.exit(77)
    if NAME == "hangs":
        time.sleep(1000)
    if NAME == "chatty":
        print("x" * 200_000)
    if NAME in ("forker", "dying_forker") and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    print("READY port=1" if NAME != "odd_ready" else "READY who knows", flush=True)
    if NAME in ("dies_under_load", "dying_forker"):
        sys.stderr.write("assertion failed: owed > 0\n")
        sys.stderr.flush()
        os.abort()
    while True:
        time.sleep(1000)


if "--describe" in sys.argv:
    describe()
else:
    serve()
