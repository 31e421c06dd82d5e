"""One look for every figure: a colour, marker, line and place for each model, and the furniture around the axes.

The colours are Okabe and Ito's (jfly.uni-koeln.de/color, 2008), which colour-blind
readers can tell apart, with a dark violet in place of their yellow, which white
paper swallows.  Markers and lines differ too, so that a grey print still reads.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: E402


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    line: object = "-"


LOOKS = {
    "blocking": Look("#000000", "X", ":"),
    "thread_per_conn": Look("#CC79A7", "v", (0, (6, 1.5))),
    "thread_pool": Look("#5E3C99", "^", (0, (3, 1.2))),
    "select": Look("#E69F00", "s", (0, (5, 1.5, 1, 1.5))),
    "poll": Look("#009E73", "D", (0, (3, 1, 1, 1, 1, 1))),
    "epoll_lt": Look("#56B4E9", "o"),
    "epoll_et": Look("#0072B2", "h", (0, (8, 1))),
    "io_uring": Look("#D55E00", "P", (0, (10, 1.5, 2.5, 1.5))),
    # The further models: kin share a colour (Tol's muted scheme) and differ in marker and line.
    "floor": Look("#777777", "8", (0, (1, 1))),
    "fork_per_conn": Look("#7A4B20", "X", (0, (6, 1.5))),
    "prefork": Look("#7A4B20", "D", (0, (3, 1.2))),
    "busy_poll": Look("#AA3377", "p"),
    "sigio": Look("#332288", "s", (0, (5, 1))),
    "kqueue": Look("#117733", "H", (0, (4, 1, 1, 1))),
    "coroutine": Look("#882255", "o", (0, (2, 1))),
    "libuv": Look("#2A8C7F", "^"),
    "libevent": Look("#2A8C7F", "s", (0, (4, 1.2))),
    "libev": Look("#2A8C7F", "D", (0, (1.5, 1))),
    "posix_aio": Look("#85852B", "v", (0, (3, 1))),
    "linux_aio": Look("#85852B", "o"),
    "sockmap": Look("#661100", "P", (0, (7, 1.5, 1, 1.5))),
}
# Arms that no list foresaw: contenders, new models.  Dark greys and browns, told apart by marker and line.
SPARE = [
    Look(c, m, s)
    for m, s in (("*", "-"), ("<", "--"), (">", "-."), ("p", ":"), ("d", "--"))
    for c in ("#444444", "#8C510A", "#01665E")
]

INK, FAINT = "#222222", "#6B6B6B"
PLAIN = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 1.5,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "svg.fonttype": "path",  # the same picture where DejaVu is not installed
    "svg.hashsalt": "muxbench",  # the same bytes from the same data
}
matplotlib.rcParams.update(PLAIN)


def look(arm: str, arms: list[str]) -> Look:
    """An arm's look: its own, or the next spare one in the order of the run's unforeseen arms."""
    if arm in LOOKS:
        return LOOKS[arm]
    unforeseen = [a for a in arms if a not in LOOKS]
    return SPARE[unforeseen.index(arm) % len(SPARE)]


def number(value: float) -> str:
    """5.4, 250, 20k, 1.5M: as on a tick."""
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def log_axis(axis) -> None:
    """A logarithmic axis with round, labelled ticks: enough of them to read a value off even within one decade."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    steps = (1, 2, 3, 4, 5, 6, 8) if decades < 0.75 else (1, 2, 5) if decades < 2.2 else (1,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=30))
    axis.set_major_formatter(FuncFormatter(lambda v, _: number(v)))
    axis.set_minor_locator(NullLocator())


def heading(figure: Figure, height: float, title: str, said: str = "") -> None:
    """Over the axes: what is shown, and under it in what way."""
    figure.text(0.012, 1 - 0.10 / height, title, fontsize=13, fontweight="bold", va="top")
    if said:
        figure.text(0.012, 1 - 0.42 / height, said, fontsize=9, color=FAINT, va="top")


def foot(figure: Figure, height: float, notes: list[str], summary: dict) -> None:
    """Below them: how it was measured and what is missing; on which host, and in which run."""
    figure.text(0.012, 0.30 / height, "\n".join(notes), fontsize=7.5, color=FAINT, va="bottom", linespacing=1.35)
    where = f"{summary['environment']}  ·  run {summary['run']}"
    figure.text(0.012, 0.10 / height, where, fontsize=6.8, color=FAINT, va="bottom")


METADATA = {".svg": {"Date": None, "Creator": "muxbench"}, ".png": {"Software": "muxbench"}}


def save(figure: Figure, stem: Path, suffixes: tuple[str, ...] = (".svg", ".png")) -> list[Path]:
    """STEM.svg and STEM.png, without dates, so that the same data give the same bytes."""
    written = [stem.with_name(stem.name + suffix) for suffix in suffixes]
    for path in written:
        figure.savefig(path, metadata=METADATA[path.suffix])
    plt.close(figure)
    return written
