"""What a client asks of the kernel for each request: its system calls under strace, by name.

strace slows every call, so that more replies have gathered by the next wait: the share of a wait in a request says
little here.  How often a client reads, writes and asks epoll about each request is its own way of working, and shows
exactly.
"""

import json
import re
import shutil
import tempfile
from pathlib import Path

from bench import host, measure, serve, witnesses
from bench.arms import Arm
from bench.plan import Sample

PATIENCE_S = 30.0
SHOWN = 0.02  # of a call per request; less is a timer, and what comes about once a connection is setting up
LINE = re.compile(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", re.M)


def missing() -> str | None:
    return None if shutil.which("strace") else "strace is not installed (bench/require.sh test)"


def count(sample: Sample, arm: Arm, bed: measure.Bed) -> dict:
    """A record of calls per request; one that failed says why."""
    record = {
        "schema": measure.records.SCHEMA,
        "id": sample.id,
        "experiment": sample.experiment,
        "cell": sample.cell,
        "block": sample.block,
        "arm": sample.arm,
        "status": "failed",
        "why": None,
        "options": sample.options,
        "load": None,
    }
    launch = serve.launch(arm, "http", sample.server)
    server = host.Child(launch.argv, bed.placement.server, bed.undertaker)
    try:
        target = serve.wait_for(server, launch, arm, bed.stop)
        return record | {"status": "ok", "calls": counted(sample.options, target, bed)}
    except serve.Unavailable as why:
        return record | {"status": "unavailable", "why": str(why)}
    except serve.Failed as why:
        return record | {"why": str(why)}
    finally:
        server.close()


def counted(options: dict, target: str, bed: measure.Bed) -> dict[str, float]:
    """Name -> calls per request, the most frequent first."""
    with tempfile.TemporaryDirectory() as folder:
        if witnesses.is_one(options):
            one = witnesses.WITNESSES[options["engine"]]
            argv = one.argv(options, f"http://{target}{witnesses.path_of(options)}", 1.0, Path(folder))
        else:
            words = [word for name, value in options.items() for word in ("--" + name, str(value))]
            argv = [bed.loadgen, "--target", target, *words, "--probe", "0", "--json", "-"]
        calls = Path(folder, "calls")
        traced = host.Child(["strace", "-f", "-c", "-o", str(calls), *argv], bed.placement.client, bed.undertaker)
        try:
            host.wait_any([traced], PATIENCE_S, bed.stop)
            if not traced.ended() or traced.status not in (0, 3):  # 3: slowed down so much, a window may be invalid
                raise serve.Failed(f"under strace: {traced.last_words() or 'did not end'}")
            text = traced.stdout()
        finally:
            traced.close()
        requests = (
            one.read(text, Path(folder)).requests
            if witnesses.is_one(options)
            else json.loads(text)["counts"]["completed"]
        )
        if not requests:
            raise serve.Failed("under strace no request was answered")
        found = {name: int(times) / requests for times, name in LINE.findall(calls.read_text()) if name != "total"}
    least = max(SHOWN, 1.5 * options["connections"] / requests)
    return {name: round(share, 3) for name, share in sorted(found.items(), key=lambda item: -item[1]) if share >= least}
