"""The ledger in pictures: a figure for each claim that was measured, and one of them all.

A claim's figure has a strip for each part.  The shaded region was fixed before the run: an interval inside it confirms
the part, one outside refutes it, one across its edge says nothing yet.  Below, where a part speaks of growth or of a
crossover, stands the curve that it was read from.

Drawn from RUN/derived/ledger.json alone.
"""

import argparse
import json
import math
import os
import textwrap
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from plots import claims_overview
from plots.curves import AXIS_NAMES
from plots.style import FAINT, INK, foot, log_axis, look, number, save
from plots.verdicts import LOOKS, shade

WIDTH, HEAD, FOOT, STRIP, CURVE, LINE = 10.0, 0.72, 0.5, 0.92, 2.8, 0.15  # inches
LEFT, RIGHT = 0.375, 0.725  # where a strip's axis begins and ends; words stand on both sides
THEIRS = "#111111"


def draw(ledger: dict, claim: dict) -> Figure:
    """One claim: its parts, and the curves behind them."""
    curves = [part for part in claim["parts"] if part.get("curve")]
    rows, below = math.ceil(len(curves) / 2), textwrap.wrap(notes(claim), 172)
    under = textwrap.wrap("  ·  ".join([who(claim), claim["regime"]]), 122)
    head, low = HEAD + LINE * len(under), FOOT + LINE * len(below)
    height = head + low + STRIP * len(claim["parts"]) + CURVE * rows
    figure = plt.figure(figsize=(WIDTH, height))
    above(figure, claim, under, height)
    for index, part in enumerate(claim["parts"]):
        strip(figure, part, (height - head - STRIP * index) / height, STRIP / height, height)
    for index, part in enumerate(curves):
        bottom = low + CURVE * (rows - 1 - index // 2) + 0.5
        wide = 0.9 if len(curves) == 1 else 0.405
        where = (0.075 + 0.5 * (index % 2), bottom / height, wide, (CURVE - 0.95) / height)
        curve(figure.add_axes(where), part)
    foot(figure, height, below, ledger)
    return figure


def above(figure: Figure, claim: dict, under: list[str], height: float) -> None:
    """The claim in a line, as large as fits; its verdict, and what it speaks of."""
    title, how = f"{claim['id']}  {claim['title']}", LOOKS[claim["verdict"]]
    figure.text(0.012, 1 - 0.10 / height, title, fontsize=min(13, 13 * 84 / len(title)), fontweight="bold", va="top")
    verdict = {"fontsize": 10, "fontweight": "bold", "color": how.ink, "va": "top"}
    told = figure.text(0.012, 1 - 0.40 / height, f"{how.sign} {claim['verdict']}", **verdict)
    beside = max(0.17, told.get_window_extent().x1 / figure.bbox.width + 0.015)
    for row, line in enumerate(under):
        figure.text(beside, 1 - (0.41 + LINE * row) / height, line, fontsize=8.5, color=FAINT, va="top")


def who(claim: dict) -> str:
    source = claim["source"]
    return f"{source.get('author') or source['title']}, {source['year']}"


def notes(claim: dict) -> str:
    said, parts = "Regions were fixed before the run.", claim["parts"]
    if any(is_told(part) for part in parts):
        said += " Squares: single runs, full where they said so."
    if any(part["value"] is not None and not is_told(part) for part in parts):
        said += " Shaded: what confirms the part. Small ticks: single blocks or runs."
    if any(part["value"] is not None and not part["exact"] for part in parts):
        said += " Whiskers: 95 % for all parts of this claim together."
    if any(isinstance(part["theirs"], (int, float)) for part in parts):
        said += " Diamond: the author's own figure."
    return f"{said} A replication: {claim['ours']}" if claim.get("ours") else said


# --- a part ----------------------------------------------------------------------------------------------------------


def strip(figure: Figure, part: dict, top: float, share: float, height: float) -> None:
    """One part: what is asked on the left, the region and the interval, what came out on the right."""
    how, small = LOOKS[part["verdict"]], {"fontsize": 7.8, "va": "top", "color": FAINT, "linespacing": 1.3}
    bold, first, second = {"fontsize": 9.5, "fontweight": "bold", "va": "top"}, top - 0.06 / height, top - 0.25 / height
    figure.text(0.012, first, part["name"], color=INK, **bold)
    asked = textwrap.wrap(f"{part['said']}: {part['region_text']}?", 56)[:4]
    figure.text(0.012, second, "\n".join(asked), **small)
    figure.text(RIGHT + 0.02, first, f"{how.sign} {part['verdict']}", color=how.ink, **bold)
    found = textwrap.wrap(part["ours"], 44)[:2]
    found += textwrap.wrap(textwrap.shorten(part["why"]["text"], 126, placeholder=" …"), 44) if part["why"] else []
    figure.text(RIGHT + 0.02, second, "\n".join(found), **small)
    axis = figure.add_axes((LEFT, top - share + 0.30 / height, RIGHT - LEFT, share - 0.42 / height))
    if is_told(part):
        squares(axis, part)
    elif part["value"] is not None:
        interval(axis, part)
    else:
        axis.set_axis_off()


def is_told(part: dict) -> bool:
    """Whether it is a word, or a number that is asked for exactly: each run said so, or did not."""
    return part["runs"] is not None and (part["value"] is None or "equals" in part["region"])


def squares(axis: Axes, part: dict) -> None:
    """A part without noise: a square for each run, full where it said so."""
    how, held = LOOKS[part["verdict"]], part["runs"]
    size = min(9, 220 / len(held))
    for index, yes in enumerate(held):
        axis.plot(index, 0.5, "s", markersize=size, color=how.ink, markerfacecolor=how.ink if yes else "white")
    axis.set_xlim(-0.8, max(len(held), 20) - 0.2)
    axis.set_ylim(0, 1)
    axis.set_axis_off()


def interval(axis: Axes, part: dict) -> None:
    """The region, the interval, the blocks, and the author's figure."""
    theirs = part["theirs"] if isinstance(part["theirs"], (int, float)) else None
    told = (part["value"], part["low"], part["high"], theirs, *edges(part["region"]), *part["each"])
    known = [v for v in told if v is not None]
    logarithmic = min(known) > 0 and (part["unit"] == "×" or max(known) / min(known) > 8)
    low, high = limits(known, logarithmic)
    if logarithmic:
        axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.set_ylim(0, 1)
    for begin, end in spans(part["region"], low, high):
        axis.axvspan(begin, end, color=shade(), linewidth=0)
    for edge in edges(part["region"]):
        axis.axvline(edge, color="#7FA6C9", linewidth=0.9)
    how = LOOKS[part["verdict"]]
    whisker(axis, part, how.ink, (low, high))
    axis.plot(part["each"], [0.16] * len(part["each"]), "|", color=FAINT, markersize=5, markeredgewidth=0.7, alpha=0.8)
    if theirs is not None:
        axis.plot(theirs, 0.84, "D", color=THEIRS, markerfacecolor="white", markersize=5, zorder=4)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="x", labelsize=7.5, length=2, pad=1.5)
    if logarithmic:
        log_axis(axis.xaxis)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: number(v)))
    thin_ticks(axis)


def thin_ticks(axis: Axes) -> None:
    """At most seven labels on a strip."""
    low, high = axis.get_xlim()
    shown = [t for t in axis.get_xticks() if low <= t <= high]
    if len(shown) > 7:
        step = math.ceil(len(shown) / 7)
        axis.set_xticks(shown[::step])


def whisker(axis: Axes, part: dict, colour: str, ends: tuple[float, float]) -> None:
    """The interval; an arrow where it has no end."""
    low, high = (ends[0] if part["low"] is None else part["low"]), (ends[1] if part["high"] is None else part["high"])
    axis.plot([low, high], [0.5, 0.5], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
    for at, missing, marker in ((low, part["low"] is None, "<"), (high, part["high"] is None, ">")):
        if missing:
            axis.plot(at, 0.5, marker, color=colour, markersize=6, clip_on=False, zorder=3)
    axis.plot(part["value"], 0.5, "o", color=colour, markersize=6.5, zorder=4)


def edges(region: dict) -> list[float]:
    found = [e for edge in region.values() for e in (edge if isinstance(edge, list) else [edge])]
    return [float(e) for e in found if isinstance(e, (int, float)) and not isinstance(e, bool)]


def spans(region: dict, low: float, high: float) -> list[tuple[float, float]]:
    """What of an axis lies in the region."""
    if "within" in region:
        return [tuple(region["within"])]
    if "outside" in region:
        return [(low, region["outside"][0]), (region["outside"][1], high)]
    return [(region.get("above", low), region.get("below", high))] if "equals" not in region else []


def limits(known: list[float], logarithmic: bool) -> tuple[float, float]:
    """Wide enough for all of it, with a little air."""
    low, high = min(known), max(known)
    if logarithmic:
        room = max((high / low) ** 0.12, 1.06)
        return low / room, high * room
    room = max((high - low) * 0.12, abs(high) * 0.03, 1e-9)
    return low - room, high + room


# --- the curve behind it ---------------------------------------------------------------------------------------------


def curve(axis: Axes, part: dict) -> None:
    """Means with their intervals along the axis that the part speaks of, its level and the crossovers found."""
    shown = part["curve"]
    arms = [line["arm"] for line in shown["lines"]]
    xs = sorted({point[0] for line in shown["lines"] for point in line["points"]})
    place = {x: x if x > 0 else (xs[1] / 5 if len(xs) > 1 else 1) for x in xs}
    for line in shown["lines"]:
        how = look(line["arm"], arms)
        x, middle, low, high = zip(*line["points"])
        at, drawn = [place[one] for one in x], {"linestyle": how.line, "marker": how.marker, "label": line["arm"]}
        axis.fill_between(at, low, high, color=how.colour, alpha=0.15, linewidth=0)
        axis.plot(at, middle, color=how.colour, **drawn)
    middles = [point[1] for line in shown["lines"] for point in line["points"]]
    if shown.get("level") is not None:
        middles.append(shown["level"])
        axis.axhline(shown["level"], color="#7FA6C9", linewidth=0.9)
    for one in shown.get("crossovers", []):
        axis.axvspan(max(one["low"], min(place.values())), one["high"], color="#DDDDDD", linewidth=0)
        axis.axvline(one["x"], color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
    axis.set_xscale("log")
    if all(p[1] > 0 and p[2] > 0 for line in shown["lines"] for p in line["points"]):
        axis.set_yscale("log")
        low, high = axis.get_ylim()  # a band of two blocks may leave the picture, a point may not
        axis.set_ylim(max(low, min(middles) / 4), min(high, max(middles) * 4))
        log_axis(axis.yaxis)
    axis.set_xticks(list(place.values()), [number(x) for x in place], fontsize=7.5)
    axis.set_xticks([], minor=True)
    axis.set_xlabel(AXIS_NAMES.get(shown["along"], shown["along"]), labelpad=1)
    axis.set_title(f"{part['name']}: {shown['label']}", fontsize=8.5)
    axis.legend(fontsize=7.5, handlelength=2.6)


def main() -> None:
    said = "Draws a ledger: each claim, and all of them."
    parser = argparse.ArgumentParser(prog="python3 -m plots.claims", description=said)
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--to", metavar="DIR", type=Path, help="default: RUN/figures/claims")
    parser.add_argument("--only", metavar="A,B", help="only these claims, and no overview")
    parser.add_argument("--svg", action="store_true", help="no PNG beside the SVG")
    parser.add_argument("--text", action="store_true", help="letters of claims as text, not as outlines: smaller")
    options = parser.parse_args()
    target, suffixes = options.to or options.run / "figures" / "claims", (".svg",) if options.svg else (".svg", ".png")
    target.mkdir(parents=True, exist_ok=True)
    ledger = json.loads((options.run / "derived" / "ledger.json").read_text())
    wanted = set(options.only.split(",")) if options.only else None
    claims = [one for one in ledger["claims"] if one["figure"] and (wanted is None or one["id"] in wanted)]
    jobs = [(ledger, claim, target / claim["figure"], suffixes, options.text) for claim in claims]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for written in pool.map(drawn, jobs, chunksize=4):
            print(*written, sep="\n")
    if wanted is None:
        print(*save(claims_overview.draw(ledger), target / "ledger", suffixes), sep="\n")


def drawn(job: tuple[dict, dict, Path, tuple[str, ...], bool]) -> list[Path]:
    """One claim's figure, in a process of its own among others."""
    ledger, claim, stem, suffixes, as_text = job
    with plt.rc_context({"svg.fonttype": "none"} if as_text else {}):
        return save(draw(ledger, claim), stem, suffixes)


if __name__ == "__main__":
    main()
