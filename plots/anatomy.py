"""`python3 -m plots.anatomy RUN`: system calls per request by name, a bar per model, a part per call.

Left in lock-step, where each request pays for its own wait; right under load, where a wait's price is shared.
"""

import argparse
import json
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from plots.style import FAINT, save

WIDTH, HEAD, FOOT, ROW = 10.0, 1.15, 1.05, 0.27  # inches
WIDEST = 6.0  # calls; a longer bar would make all others short
# One colour and hatch for what a call is for: in grey print the hatch tells them apart.
KINDS = (
    (
        "waits",
        (
            "select",
            "pselect6",
            "poll",
            "ppoll",
            "epoll_wait",
            "epoll_pwait",
            "epoll_pwait2",
            "rt_sigtimedwait",
            "io_getevents",
            "io_pgetevents",
            "rt_sigsuspend",
            "nanosleep",
            "clock_nanosleep",
        ),
        "#0072B2",
        "",
    ),
    ("receives", ("recvfrom", "read", "recvmsg", "readv", "pread64"), "#56B4E9", "//"),
    ("sends", ("sendto", "write", "sendmsg", "writev", "pwrite64"), "#009E73", "\\\\"),
    ("submits, and waits in the same call", ("io_uring_enter", "io_submit"), "#D55E00", "xx"),
    ("changes what is watched", ("epoll_ctl", "fcntl", "timerfd_settime"), "#E69F00", ".."),
    ("wakes or locks another thread", ("futex",), "#5E3C99", "++"),
    ("anything else", (), "#AAAAAA", "--"),
)


def kind_of(call: str) -> int:
    return next((i for i, (_, calls, _, _) in enumerate(KINDS) if call in calls), len(KINDS) - 1)


def draw(found: dict) -> Figure:
    """From derived/anatomy.json: for each model its calls per request, in lock-step and under load, or null."""
    models = list(found["models"])
    height = HEAD + FOOT + ROW * len(models)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, height), sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.125, right=0.985, top=1 - HEAD / height, bottom=FOOT / height, wspace=0.06)
    exact, loaded = ({m: found["models"][m][place] for m in models} for place in ("lockstep", "load"))
    panel(axes[0][0], models, exact, "one connection, one request after the other")
    panel(axes[0][1], models, loaded, "50 connections, 20,000 requests/s")
    figure.text(0.012, 1 - 0.10 / height, "System calls per request by name", fontsize=13, fontweight="bold", va="top")
    used = sorted({kind_of(c) for r in [*exact.values(), *loaded.values()] if r for c, n in r.items() if n >= 0.01})
    handles = [Patch(facecolor=KINDS[k][2], hatch=KINDS[k][3], edgecolor="white", label=KINDS[k][0]) for k in used]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.005, 1 - 0.36 / height), ncol=4, columnspacing=1.5
    )
    said = (
        "Echo, 64 bytes. Left: counted by strace, exact; the next request is sent when the server sleeps. "
        "Right: counted by the kernel's tracepoints, and dependent on rate and host; – was not measured."
    )
    figure.text(0.012, 0.28 / height, "\n".join(textwrap.wrap(said, 172)), fontsize=7.5, color=FAINT, va="bottom")
    footer = f"{found['environment']}  ·  run {found['run']}"
    figure.text(0.012, 0.10 / height, footer, fontsize=6.8, color=FAINT, va="bottom")
    return figure


def panel(axis: Axes, models: list[str], records: dict[str, dict | None], title: str) -> None:
    widest = max((sum(r.values()) for r in records.values() if r), default=1)
    limit = min(widest, WIDEST) * 1.12
    for row, model in enumerate(models):
        if not records[model]:
            axis.text(0.02 * limit, row, "–" if records[model] is None else "none", va="center", color=FAINT)
            continue
        bar(axis, row, records[model], limit)
    axis.set_title(title)
    axis.set_xlim(0, limit)
    axis.set_xlabel("system calls per request")
    axis.set_yticks(range(len(models)), models)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(models) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)


def bar(axis: Axes, row: int, calls: dict[str, float], limit: float) -> None:
    """The parts in the order of KINDS, named where the name has room; a bar that leaves the panel says its length."""
    left = 0.0
    for call, n in sorted(calls.items(), key=lambda c: (kind_of(c[0]), c[0])):
        if n < 0.01:
            continue
        _, _, colour, hatch = KINDS[kind_of(call)]
        axis.barh(row, n, left=left, height=0.72, color=colour, hatch=hatch, edgecolor="white", linewidth=0.6)
        shown = min(left + n, limit) - left
        size = 6.5 if len(call) < 10 else 5.6
        if shown > 0.0017 * limit * len(call) * size + 0.008 * limit:
            axis.text(
                left + shown / 2,
                row,
                call,
                ha="center",
                va="center",
                fontsize=size,
                color="black",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.7},
            )
        left += n
    if left > limit:
        axis.text(
            limit * 0.99,
            row,
            f"{left:.0f} →",
            ha="right",
            va="center",
            fontsize=8,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1},
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python3 -m plots.anatomy", description="Draws an anatomy run's figure, and prints its path."
    )
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--to", metavar="DIR", type=Path, help="default: RUN/figures")
    parser.add_argument("--svg", action="store_true", help="no PNG beside the SVG")
    options = parser.parse_args()
    target = options.to or options.run / "figures"
    target.mkdir(parents=True, exist_ok=True)
    suffixes = (".svg",) if options.svg else (".svg", ".png")
    found = json.loads((options.run / "derived" / "anatomy.json").read_text())
    for path in save(draw(found), target / "anatomy", suffixes):
        print(path)


if __name__ == "__main__":
    main()
