"""`make demo`: the first source document's experiment, live, on every model at once.

Three clients ask for a greeting that takes two seconds to prepare.  A server that blocks serves them one
after another, six seconds in all; one that waits for many at once has greeted all three after two.
The models share the machine, which changes nothing: they sleep or wait, and burn no CPU.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bench import arms, host, runner, serve
from bench.errors import BenchError

CLIENTS = ("Alice", "Bob", "Eve")
DELAY_S = 2.0
PATIENCE_S = 2 * DELAY_S * len(CLIENTS)
STYLES = {"Alice": "blue", "Bob": "magenta", "Eve": "green"}


@dataclass
class Show:
    """One model's part: what its clients saw, in the order in which it happened."""

    arm: arms.Arm
    port: int
    log: list[tuple[float, str, str]] = field(default_factory=list)
    greeted: dict[str, float] = field(default_factory=dict)

    def note(self, at_s: float, client: str, what: str) -> None:
        self.log.append((at_s, client, what))

    def makespan_s(self) -> float | None:
        """From the first question to the last greeting; None while one is missing."""
        return max(self.greeted.values()) if len(self.greeted) == len(CLIENTS) else None


async def ask(show: Show, client: str, begun: float) -> None:
    """One client: connects, says its name, waits for its greeting."""

    def now() -> float:
        return time.monotonic() - begun

    reader, writer = await asyncio.open_connection("127.0.0.1", show.port)
    writer.write(f"{client}\n".encode())
    show.note(now(), client, "asks")
    reply = await reader.read(-1)
    if reply != f"Hello {client}\n".encode():
        raise BenchError(f"{show.arm.name} answered {client} with {reply!r}")
    show.note(now(), client, "is greeted")
    show.greeted[client] = now()
    writer.close()


async def play(shows: Sequence[Show], draw: Callable[[], None]) -> None:
    """Every client of every model at once; draws ten times a second until all are greeted."""
    begun = time.monotonic()
    clients = [asyncio.create_task(ask(show, client, begun)) for show in shows for client in CLIENTS]
    try:
        pending = set(clients)
        while pending:
            done, pending = await asyncio.wait(pending, timeout=0.1, return_when=asyncio.ALL_COMPLETED)
            draw()
            for task in done:
                task.result()
            if time.monotonic() - begun > PATIENCE_S:
                raise BenchError(f"no greeting after {PATIENCE_S:.0f} s: {', '.join(silent(shows))}; see what the server says by hand")
    finally:
        for task in clients:
            task.cancel()


def silent(shows: Sequence[Show]) -> list[str]:
    return [show.arm.name for show in shows if show.makespan_s() is None]


def panel(show: Show) -> Panel:
    lines = Text()
    for at_s, client, what in show.log:
        lines.append(f"{at_s:6.2f} s  ")
        lines.append(f"{client} {what}\n", style=STYLES[client])
    lines.append("\n" * (2 * len(CLIENTS) - len(show.log)))
    makespan = show.makespan_s()
    lines.append("waiting" if makespan is None else f"all greeted after {makespan:.2f} s", style="dim" if makespan is None else "bold")
    return Panel(lines, title=show.arm.name, width=34)


def summary(shows: Sequence[Show]) -> Table:
    table = Table(title=f"Three clients at once, each greeting takes {DELAY_S:.0f} s", title_justify="left")
    table.add_column("model")
    table.add_column("all greeted after", justify="right")
    table.add_column("in units of one greeting", justify="right")
    for show in shows:
        makespan = show.makespan_s() or float("nan")
        table.add_row(show.arm.name, f"{makespan:.2f} s", f"{makespan / DELAY_S:.2f}")
    return table


def start(arm: arms.Arm, stack: ExitStack, undertaker: host.Undertaker, cpus: Sequence[int]) -> Show:
    argv = [*arm.argv, "--protocol", "greet", "--delay", f"{DELAY_S:g}s", "--port", "0"]
    server = host.Child(argv, cpus, undertaker)
    stack.callback(server.close)
    try:
        return Show(arm, int(serve.wait_ready(server).rpartition(":")[2]))
    except serve.Failed as why:
        raise BenchError(f"{arm.name}: {why}: {server.last_words()}") from None


def run(console: Console, names: Sequence[str] | str, cpus: Sequence[int]) -> int:
    """Plays the experiment on these models (or "all") and prints the logs and the table."""
    cast = [arm for arm in arms.models(names) if "greet" in arm.protocols]
    with runner.buried() as undertaker, ExitStack() as stack:
        shows = [start(arm, stack, undertaker, cpus) for arm in cast]
        live = stack.enter_context(Live(console=console, auto_refresh=False, transient=True)) if console.is_terminal else None

        def draw() -> None:
            if live:
                live.update(Columns([panel(show) for show in shows]), refresh=True)

        asyncio.run(play(shows, draw))
    console.print(Group(Columns([panel(show) for show in shows]), summary(shows)))
    return 0
