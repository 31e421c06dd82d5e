"""`python3 -m bench startup`: whole commands under hyperfine, start-up to READY, and the makespan of greeting clients.

hyperfine times processes from outside, knows nothing of muxbench, and can be rerun by hand: every command is kept in
its JSON, which is the raw record (RUN/startup.json, RUN/makespan-MODEL.json).  The commands are bash, which needs no
helper of ours; a command of bash alone shows what of a figure is bash's.
"""

import argparse
import json
import random
import shlex
import shutil
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import arms, env, host, paths, records, runner, serve
from bench.errors import BenchError, UsageError
from bench.placement import Placement, place
from bench.units import number, parse_time_ns

ALONE = "bash alone"
WITHIN_S = 600.0


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--models", metavar="A,B", help="only these models (default: all)")
    command.add_argument("--runs", type=int, default=20, metavar="N", help="of each command (default: 20)")
    command.add_argument("--clients", type=int, default=3, metavar="N", help="that greet at once (default: 3)")
    command.add_argument("--delay", default="100ms", metavar="TIME", help="of the greeting server (default: 100ms)")
    command.add_argument("--seed", type=int, default=1, metavar="N", help="order of the models (default: 1)")
    command.add_argument("--together", action="store_true", help="run even while another bench runs here")


def to_ready(arm: arms.Arm) -> str:
    """Starts a server, waits for its READY line and kills it: what takes the time is what came before the line."""
    argv = shlex.join([*arm.argv, "--port", "0", "--protocol", arm.protocols[0]])
    return bash(f"exec 3< <(exec {argv}); read -r -u 3 line; kill -KILL $!; [[ $line == READY* ]]")


def greetings(address: tuple[str, int], clients: int) -> str:
    """So many clients at once, each until its greeting has come; the command ends with the last."""
    host_name, port = address
    ask = f"exec 3<>/dev/tcp/{host_name}/{port}; echo Bob >&3; read -r -u 3 line"
    one = f"({ask}; [[ $line == 'Hello Bob' ]]) & pids+=($!)"
    return bash(f"for i in {{1..{clients}}}; do {one}; done; for pid in ${{pids[@]}}; do wait $pid || exit 1; done")


def bash(script: str) -> str:
    return shlex.join(["bash", "--norc", "-c", script])


def hyperfine(
    commands: dict[str, str], runs: int, kept: Path, where: Placement, undertaker: host.Undertaker, stop: host.Stop
) -> dict:
    """Times the commands, keeps hyperfine's own JSON, and returns it."""
    argv = ["hyperfine", "--shell=none", "--style=none", "--warmup=2", f"--runs={runs}", f"--export-json={kept}"]
    for name, command in commands.items():
        argv += ["--command-name", name, command]
    child = host.Child(argv, where.client, undertaker)
    try:
        host.wait_any([child], WITHIN_S, stop)
        if not child.ended():
            raise BenchError(f"hyperfine did not end within {WITHIN_S:.0f} s")
        if child.status != 0:
            raise BenchError(
                f"hyperfine {serve.how_ended(child.status)}: {child.last_words() or child.stdout()[-300:]}"
            )
        return {result["command"]: result for result in json.loads(kept.read_text())["results"]}
    finally:
        child.close()


def measure(found: list[arms.Arm], options: argparse.Namespace, folder: Path, console: Console) -> tuple[dict, dict]:
    """Both kinds of command over all models; hyperfine's results by model."""
    where, chance = place(), random.Random(options.seed)
    order = chance.sample(found, len(found))
    with host.Stop("start it again: nothing is kept half") as stop, runner.buried() as undertaker:
        able, unable = split(order, where, undertaker, stop)
        for arm, why in unable.items():
            console.print(Text(f"left out: {arm} {why}", style="dim"))
        commands = {ALONE: bash(":")} | {arm.name: to_ready(arm) for arm in able}
        started = hyperfine(commands, options.runs, folder / "startup.json", where, undertaker, stop)
        spans = {}
        for arm in able:
            if "greet" in arm.protocols:
                stop.check()
                spans |= makespan(arm, options, folder / f"makespan-{arm.name}.json", where, undertaker, stop)
    return started, spans


def split(
    order: list[arms.Arm], where: Placement, undertaker: host.Undertaker, stop: host.Stop
) -> tuple[list[arms.Arm], dict[str, str]]:
    """Those that this host can run, and why it cannot the others."""
    able, unable = [], {}
    for arm in order:
        server = host.Child(serve.launch(arm, arm.protocols[0], {}).argv, where.server, undertaker)
        try:
            serve.wait_ready(server, stop)
            able.append(arm)
        except (serve.Unavailable, serve.Failed) as why:
            unable[arm.name] = f"({why})"
        finally:
            server.close()
    return able, unable


def makespan(
    arm: arms.Arm,
    options: argparse.Namespace,
    kept: Path,
    where: Placement,
    undertaker: host.Undertaker,
    stop: host.Stop,
) -> dict:
    server = host.Child(serve.launch(arm, "greet", {"delay": options.delay}).argv, where.server, undertaker)
    try:
        name, _, port = serve.wait_ready(server, stop).rpartition(":")
        return hyperfine(
            {arm.name: greetings((name, int(port)), options.clients)}, options.runs, kept, where, undertaker, stop
        )
    finally:
        server.close()


def table(first: str, results: dict) -> Table:
    out = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in (first, "median [ms]", "mean ± σ [ms]", "fastest", "slowest", "runs"):
        out.add_column(heading, justify="left" if heading == first else "right", no_wrap=True)
    for name in sorted(results, key=lambda name: (name == ALONE, arms.sort_key(name))):
        one = results[name]
        mean = f"{number(one['mean'] * 1e3)} ± {number((one['stddev'] or 0) * 1e3)}"
        shown = (number(one[key] * 1e3) for key in ("median", "min", "max"))
        median, least, most = shown
        out.add_row(name, median, mean, least, most, str(len(one["times"])))
    return out


def run(console: Console, options: argparse.Namespace) -> int:
    """Measures, keeps, shows."""
    if not shutil.which("hyperfine"):
        raise BenchError("hyperfine is not installed; run: bench/require.sh bench")
    if options.runs < 2 or options.clients < 1:
        raise UsageError("expected --runs of 2 or more and --clients of 1 or more")
    try:
        parse_time_ns(options.delay)
    except ValueError as error:
        raise UsageError(f"--delay: {error}") from None
    found = arms.models(options.models.split(",") if options.models else "all")
    begun = time.monotonic()
    with runner.alone(options.together):
        folder = records.create(paths.results_dir(options.results), "startup")
        records.write_json(folder / "env.json", env.collect())
        started, spans = measure(found, options, folder, console)
    console.print(Text("start to READY, whole command", style="bold"))
    console.print(table("model", started))
    console.print(Text(f"  {ALONE}: what of each figure above is the shell's", style="dim"))
    if spans:
        title = (
            f"\n{options.clients} clients at once, each greeted after {options.delay}: until the last has its greeting"
        )
        console.print(Text(title, style="bold"))
        console.print(table("model", spans))
    console.print(f"{time.monotonic() - begun:.0f} s; hyperfine's records: {paths.shown(folder)}")
    return 0
