"""The ledger for people: as Markdown, as a compact table for the README, and on the terminal.

All of it is made from what claims_ledger.py derives; nothing here looks at a sample.
"""

from collections.abc import Callable
from pathlib import Path
from textwrap import shorten

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench import claims_verdict, paths

SIGNS = {
    claims_verdict.REPRODUCED: ("✔", "bold green"),
    claims_verdict.NOT_REPRODUCED: ("✘", "bold red"),
    claims_verdict.INCONCLUSIVE: ("?", "yellow"),
    claims_verdict.LEANS_TO: ("✓", "green"),
    claims_verdict.LEANS_AGAINST: ("✗", "red"),
    claims_verdict.OPEN: ("…", "dim"),
    claims_verdict.UNTESTABLE: ("–", "dim"),
}
NOTHING = "–"
MANY = 3  # reasons in a table
REPLICATION = (
    "Every figure of ours comes from this project's servers in place of the author's, on the host named below: "
    "a replication of what was said, not a repetition of their run. Regions were fixed before the run."
)


def signed(verdict: str) -> str:
    return f"{SIGNS[verdict][0]} {verdict}"


def counts_line(ledger: dict) -> str:
    """`34 reproduced, 12 not reproduced, ...`, of how many claims."""
    counted = [f"{ledger['counts'][word]} {word}" for word in claims_verdict.VERDICTS if ledger["counts"].get(word)]
    return f"{len(ledger['claims'])} claims: {', '.join(counted)}"


def ordered(claims: list[dict]) -> list[tuple[dict, list[str]]]:
    """The claims by id, contradicting ones directly after one another; each with the ids that it stands against."""
    known = {claim["id"]: claim for claim in claims}
    against: dict[str, set[str]] = {name: set() for name in known}
    for claim in claims:
        for other in claim["contradicts"]:
            if other in known:
                against[claim["id"]].add(other)
                against[other].add(claim["id"])
    found: dict[str, None] = {}
    for name in sorted(known):
        queue = [name]
        while queue:
            one = queue.pop(0)
            if one not in found:
                found[one] = None
                queue += sorted(against[one])
    return [(known[name], sorted(against[name])) for name in found]


def said_by(claim: dict) -> str:
    """`Axboe 2020`, `first source document`."""
    source = claim["source"]
    return f"{source.get('author') or source['title']}, {source['year']}"


def theirs(part: dict) -> str:
    value = part["theirs"]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{part['unit'] if part['unit'] == '×' else ''}{value:g}"
    return NOTHING if value is None else str(value)


def ours(part: dict) -> str:
    return part["ours"] or NOTHING


def whys(claim: dict) -> str:
    """Why there is no verdict, or no firmer one; of much the beginning, for `claim show --id` has the whole."""
    told = [f"{shorten(why['text'], 120, placeholder=' …')} [{why['code']}]" for why in claim["why"][:MANY]]
    more = len(claim["why"]) - MANY
    return "; ".join(told + ([f"and {more} more"] if more > 0 else []))


# --- Markdown --------------------------------------------------------------------------------------------------------


def cell(text: str) -> str:
    """Text as a table's cell takes it."""
    return " ".join(text.replace("|", "\\|").split())


def lines_of(parts: list[dict], what: Callable[[dict], str], named: bool) -> str:
    """One line for each part, its name first where there are several."""
    lines = [(f"*{part['name']}* " if named else "") + what(part) for part in parts]
    return "<br>".join(lines) or NOTHING


def table(ledger: dict) -> str:
    """Every claim with its parts."""
    heads = ("claim", "it says", "theirs", "ours, 95 % interval", "verdict", "regime", "why")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for claim, against in ordered(ledger["claims"]):
        parts = claim["parts"]
        beside = f"<br>⇄ {', '.join(against)}" if against else ""
        row = (
            f"[{claim['id']}](#{claim['id'].lower()}){beside}",
            f"{claim['title']} ({said_by(claim)})",
            lines_of([p for p in parts if p["theirs"] is not None], theirs, len(parts) > 1),
            lines_of(parts, lambda p: f"{ours(p)} {SIGNS[p['verdict']][0]}", len(parts) > 1),
            f"**{signed(claim['verdict'])}**",
            claim["regime"],
            whys(claim),
        )
        lines.append("| " + " | ".join(map(cell, row)) + " |")
    return "\n".join(lines) + "\n"


def parts_table(claim: dict) -> str:
    """One claim with its parts in a table of its own, for a page that speaks of it."""
    lines = [
        f"**{claim['id']}**, {claim['title']} ({said_by(claim)}): **{signed(claim['verdict'])}**",
        "",
        "| what is looked at | theirs | ours, 95 % interval | |",
        "|---|---|---|---|",
    ]
    for part in claim["parts"]:
        row = (part["said"], theirs(part), ours(part), SIGNS[part["verdict"]][0])
        lines.append("| " + " | ".join(map(cell, row)) + " |")
    return "\n".join(lines) + "\n"


def evidence(ledger: dict, figures: str, claims: str) -> str:
    """For each claim: what each part asked, the figure, the file, and the commands that show the samples."""
    lines = []
    for claim, against in ordered(ledger["claims"]):
        lines.append(f"<a id=\"{claim['id'].lower()}\"></a>")
        lines += [f"**{claim['id']}** {claim['title']}. {signed(claim['verdict']).capitalize()}.", ""]
        for part in claim["parts"]:
            asked = f"- *{part['name']}*: {part['said']}, {part['region_text']}? {ours(part)}: {part['verdict']}"
            lines.append(asked + (f" ({part['why']['text']})" if part["why"] else "") + ".")
            lines += [f"  `{command}`" for command in part["commands"][:2]]
        lines += [f"- crossover: {crossover_text(one)}." for one in claim["crossovers"]]
        links = [f"[figure]({figures}/{claim['figure']}.svg)"] if claim["figure"] else []
        links.append(f"[{Path(claim['file']).name}]({claims}/{Path(claim['file']).name})")
        links += [f"[{claim['source']['title']}]({claim['source']['url']})"] if claim["source"].get("url") else []
        others = [f"[{other}](#{other.lower()})" for other in against]
        links += [f"stands against {', '.join(others)}"] if others else []
        links += [f"ours: {cell(claim['ours'])}"] if claim["ours"] else []
        lines += ["- " + " · ".join(links), ""]
    return "\n".join(lines)


def crossover_text(one: dict) -> str:
    way = "rises above" if one["rises"] else "falls below"
    where = f"{one['x']:.4g} ({one['low']:.4g} to {one['high']:.4g})"
    return f"{one['label']} of `{one['arm']}` {way} that of `{one['over']}` at {one['along']} {where}"


def provenance(ledger: dict) -> str:
    what = f"{ledger['blocks']} blocks" if ledger["blocks"] else "no timed samples"
    few = "" if ledger["profile"] == "full" else f" Fewer than {claims_verdict.ENOUGH} good blocks lean, they give no verdict."
    run = f"Run `{ledger['run']}` ({ledger['profile']}): {ledger['samples']} samples, {what}."
    return f"{run}{few} {ledger['environment']}.\n"


def markdown(ledger: dict, figures: str = "figures/claims", claims: str = "../../bench/claims") -> str:
    """The whole ledger as a document."""
    return "\n\n".join(
        [
            "# The claims ledger",
            f"**{counts_line(ledger)}.**",
            REPLICATION,
            provenance(ledger).rstrip(),
            f"![The ledger at a glance]({figures}/ledger.svg)",
            "⇄ marks claims that contradict each other; they stand side by side.",
            table(ledger).rstrip(),
            "## Evidence",
            evidence(ledger, figures, claims),
        ]
    )


def compact(ledger: dict, page: str = "docs/ledger.md") -> str:
    """Three columns that fit a phone: the claim, who says it, and whether it holds here."""
    lines = ["| claim | it says | here |", "|---|---|---|"]
    for claim, against in ordered(ledger["claims"]):
        beside = f" ⇄ {', '.join(against)}" if against else ""
        name = f"[{claim['id']}]({page}#{claim['id'].lower()}){beside}"
        lines.append("| " + " | ".join(map(cell, (name, claim["title"], signed(claim["verdict"])))) + " |")
    return "\n".join(lines) + "\n"


# --- on the terminal -------------------------------------------------------------------------------------------------


def as_text(verdict: str) -> Text:
    sign, style = SIGNS[verdict]
    return Text(f"{sign} {verdict}", style=style)


def show(ledger: dict, console: Console) -> None:
    """Counts, then a row for each claim; contradicting ones together, with what they stand against."""
    console.print(Text(counts_line(ledger), style="bold"))
    found = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("", "claim", "theirs", "ours, 95 %", "verdict", "why"):
        found.add_column(head, no_wrap=head in ("", "verdict"), overflow="fold")
    for claim, against in ordered(ledger["claims"]):
        name = claim["id"] + (f" ⇄ {' '.join(against)}" if against else "")
        parts = claim["parts"]
        given = "\n".join(theirs(p) for p in parts) if any(p["theirs"] is not None for p in parts) else ""
        mine = "\n".join(f"{SIGNS[p['verdict']][0]} {ours(p)}" for p in parts if p["ours"])
        plain = [Text(words) for words in (name, claim["title"], given, mine)]  # a list of facts is no markup
        found.add_row(*plain, as_text(claim["verdict"]), Text(whys(claim), style="dim"))
    console.print(found)
    console.print(Text(REPLICATION, style="dim"))
    console.print(Text(provenance(ledger).strip().replace("`", ""), style="dim"))
    console.print(Text("one in full: python3 -m bench claim show --id ID", style="dim"))


def show_claim(claim: dict, source: dict, against: list[str], figure: Path | None, console: Console) -> None:
    """One claim in full: what was said, of what, what was asked of our samples, and what they answered."""
    console.print(Text.assemble((f"{claim['id']}  {claim['title']}", "bold"), "   ", as_text(claim["verdict"])))
    by = ", ".join(str(source[key]) for key in ("title", "author", "year") if key in source)
    rows = {"source": f"{by}  {source.get('url', '')}".rstrip()}
    for quote in source.get("quote", []):
        rows[f"quote{len(rows)}"] = f"“{quote}”"
    rows |= {"in short": source.get("paraphrase"), "theirs": source.get("numbers")}
    rows |= {"regime": claim["regime"], "ours": claim["ours"]}
    why = "; ".join(f"{why['text']} [{why['code']}]" for why in claim["why"])
    rows |= {"against": ", ".join(against), "why": why, "file": claim["file"]}
    rows |= {"figure": figure and paths.shown(figure)}
    grid = Table.grid(padding=(0, 2))
    for name, words in rows.items():
        if words:
            grid.add_row(Text("quote" if name.startswith("quote") else name, style="dim"), Text(words))
    console.print(grid)
    for part in claim["parts"]:
        show_part(part, console)
    for one in claim["crossovers"]:
        console.print(Text(f"crossover: {crossover_text(one).replace('`', '')}"))


def show_part(part: dict, console: Console) -> None:
    console.print()
    asked = f"  {part['said']}: {part['region_text']}?  "
    console.print(Text.assemble((part["name"], "bold"), asked, as_text(part["verdict"])))
    given = f"   theirs {theirs(part)}" if part["theirs"] is not None else ""
    said = [f"{ours(part)}{given}" + (f"   {part['note']}" if part["note"] else "")]
    said += [f"why: {part['why']['text']} [{part['why']['code']}]"] if part["why"] else []
    said += [f"block by block: {' '.join(f'{v:.4g}' for v in part['each'])}"] if part["each"] else []
    said += [f"samples: {command}" for command in part["commands"]]
    for line in said:
        console.print(Padding(Text(line, style="dim" if ":" in line else ""), (0, 0, 0, 2)))
