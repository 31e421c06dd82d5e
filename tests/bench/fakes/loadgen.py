#!/usr/bin/env python3
"""A load generator for tests of the runner: waits as long as it should and prints a document of the right shape.

It opens no connection.  The figures depend on the server's name and on the
options alone, so that a test knows what must come out; the name of the watched
process selects misbehaviour.
"""

import json
import os
import sys
import time

COST_US = {"epoll_lt": 5.0, "poll": 6.0, "io_uring": 4.0}


def options():
    found = {"watch": [], "mode": "closed", "connections": "1", "rate": "0", "idle": "0"}
    words = iter(sys.argv[1:])
    for word in words:
        value = next(words)
        if word == "--watch":
            found["watch"].append(int(value))
        else:
            found[word[2:]] = value
    return found


def seconds(text):
    for unit, factor in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1)):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * factor
    return float(text)


def watched_name(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().split(b"\0")
    return next((os.path.basename(w.decode()) for w in words if b"/servers/" in w), "a contender")


def latency(microseconds):
    ns = int(microseconds * 1000)
    keys = ("min", "mean", "p50", "p75", "p90", "p95", "p99", "p999", "p9999", "max")
    return {"n": 100, "unfinished": 0, "stddev": 1.0, "sum": 100 * ns, "overflow": 0, "bins": [[ns, 100]], **{key: ns for key in keys}}


def document(told, name):
    """What the real one says, by names and types of loadgen/schema.json, which a test checks."""
    window_ns = int(seconds(told["duration"]) * 1e9)
    cost = COST_US.get(name, 5.0)
    is_open = told["mode"] == "open"
    rate = float(told["rate"]) if is_open else 1e6 / cost
    ok = int(rate * window_ns / 1e9)
    switches = {"voluntary_ctxt_switches": 1, "nonvoluntary_ctxt_switches": 0}
    connects = {"attempts": 2, "established": 2, "replaced": 0, "recycled": 0, "failed": {}}
    return {
        "schema": 1,
        "exit": 0,
        "valid": name != "invalidates",
        "failed": False,
        "interrupted": False,
        "reasons": ["the schedule lagged"] if name == "invalidates" else [],
        "checks": [],
        "bound": "neither",
        "window_ns": window_ns,
        "counts": {
            **{"scheduled": ok, "ok": ok, "shed": 0, "inflight_end": 0, "never_sent": 0, "errors": 0, "completed": ok},
            **{"warmup_ok": 0, "warmup_errors": 0, "sent_bytes": 64 * ok, "received_bytes": 64 * ok},
        },
        "errors": {},
        "warmup_errors": {},
        "unsolicited": 0,
        "connects": connects,
        "idle_connects": connects,
        "achieved_rps": rate,
        "target_rps": rate if is_open else None,
        "latency_intended_ns": latency(10 * cost) if is_open else None,
        "latency_sent_ns": latency(10 * cost),
        "schedule_lag_ns": None,
        "generator_lag_ns": None,
        "connect_ns": latency(50),
        "hiccup_ns": None,
        "find_rate": None,
        "fairness": {"connections": 2, "starved": 0, "min": ok // 2, "p50": ok // 2, "max": ok // 2, "jain": 1.0},
        "client": {
            **{"cpu_ns": int(ok * 2000), "window_ns": window_ns, "cpu_ns_per_req": 2000.0, "busy": 0.1, "threads": []},
            **{"waits": ok, "events": ok, "receives": ok, "sends": ok, "send_blocked": 0, "clock_ns": 20.0},
        },
        "watch": [{"pid": pid, "cpu_ns": int(ok * cost * 1000), "children_cpu_ns": 0, **switches} for pid in told["watch"]],
        "host": {"window_ns": window_ns, "cpus": [{"cpu": cpu, "idle_ns": window_ns // 2, "steal_ns": 0} for cpu in range(os.cpu_count())]},
        "phase_ns": {"connect": 0, "warmup": 0, "measure": window_ns, "drain": 0},
        "events": [],
        "expected": None,
        "config": {},
        "env": {},
    }


def main():
    told = options()
    name = watched_name(told["watch"][0])
    time.sleep(seconds(told["warmup"]) + seconds(told["duration"]))
    if name == "garbles":
        print("this is no JSON")
        return 0
    if name == "refuses":
        print(json.dumps({**document(told, name), "reasons": ["connection refused"]}))
        return 1
    print(json.dumps(document(told, name)))
    return 3 if name == "invalidates" else 0


sys.exit(main())
