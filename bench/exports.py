"""`python3 -m bench export RUN --format F`: a run in the formats of others, for their charts, tables and test reports.

Every format is made from the same rows (bench/export_rows.py).  The sources of the formats' rules, which a test checks:

- github-action-benchmark: the action's README, "Minimal setup" of the custom tools (customBiggerIsBetter,
  customSmallerIsBetter), https://github.com/benchmark-action/github-action-benchmark; a file may hold one direction
  only, so there are two;
- bencher: Bencher Metric Format and its JSON schema, https://bencher.dev/docs/reference/bencher-metric-format;
- junit: the Jenkins xUnit schema, junit-10.xsd, https://github.com/jenkinsci/xunit-plugin, and what GitLab reads of it,
  https://docs.gitlab.com/ci/testing/unit_test_reports;
- markdown: GitHub Flavored Markdown tables, https://github.github.com/gfm/#tables-extension-, at most 1 MiB for
  $GITHUB_STEP_SUMMARY, https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
"""

import argparse
import csv
import io
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bench import derive, export_rows, paths
from bench.errors import BenchError, UsageError
from bench.export_rows import Export, Row
from bench.units import number

SUMMARY_LIMIT = 1024 * 1024  # bytes of a step summary; a longer one is dropped whole
FORMATS = ("csv", "tsv", "markdown", "junit", "bencher", "github-action-benchmark")
SIDES = {"higher": "bigger-is-better.json", "lower": "smaller-is-better.json"}


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", nargs="?", metavar="RUN", help="a run, or a gate's record (default: the newest run)")
    command.add_argument("--format", choices=FORMATS, default="csv", help="default: csv")
    command.add_argument(
        "--to", metavar="PATH", help="a file, or for github-action-benchmark a folder (default: stdout)"
    )


def from_options(options: argparse.Namespace, console: Console) -> int:
    folder = export_rows.find(paths.results_dir(options.results), options.run)
    target = Path(options.to) if options.to else None
    if options.format == "github-action-benchmark":
        return in_two_files(export_rows.read(folder), target, console)
    text = as_text(folder, options.format)
    if target is None:
        sys.stdout.write(text)
        return 0
    write(target, text)
    console.print(f"written: {paths.shown(target)}")
    return 0


def as_text(folder: Path, name: str) -> str:
    if name in ("csv", "tsv"):
        delimiter = "," if name == "csv" else "\t"
        if (folder / "plan.json").is_file():
            return derive.as_table(derive.derive(folder), delimiter)
        return table(export_rows.read(folder).rows, delimiter)
    makers: dict[str, Callable[[Export], str]] = {"markdown": markdown, "junit": junit, "bencher": bencher}
    return makers[name](export_rows.read(folder))


def in_two_files(export: Export, target: Path | None, console: Console) -> int:
    """A file for each direction that has rows: the action calls any rise of the one good, and of the other bad."""
    if target is None:
        raise UsageError("--format github-action-benchmark makes two files, one for each direction: add --to DIR")
    if not any(row.value is not None for row in export.rows):
        console.print(f"nothing written: no figure of {export.run} has a value")
    for side, name in SIDES.items():
        found = entries(export, side)
        if found:  # the action fails on an empty list
            write(target / name, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
            tool = "customBiggerIsBetter" if side == "higher" else "customSmallerIsBetter"
            console.print(
                f"written: {paths.shown(target / name)} (tool: {tool}, {len(found)} entries)", highlight=False
            )
    return 0


def write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise BenchError(f"{paths.shown(path)} cannot be written: {error.strerror}") from None


# --- the formats ------------------------------------------------------------------------------------------------------


def entries(export: Export, better: str) -> list[dict]:
    """github-action-benchmark: name, unit and value of each row that has one; range and extra are words."""
    found = []
    for row in [row for row in export.rows if row.better == better and row.value is not None]:
        entry = {"name": f"{row.name} {row.metric}", "unit": row.unit, "value": row.value}
        if row.low is not None and row.high is not None:
            entry["range"] = f"{row.low:.6g} to {row.high:.6g}"
        found.append(entry | {"extra": "\n".join(filter(None, (row.says, export.environment)))})
    return found


def bencher(export: Export) -> str:
    """A benchmark for each arm and cell, a measure for each metric, with bounds where there are any."""
    found: dict[str, dict] = {}
    for row in [row for row in export.rows if row.value is not None]:
        bounds = {"lower_value": row.low, "upper_value": row.high}
        told = {"value": row.value} | {k: v for k, v in bounds.items() if v is not None}
        found.setdefault(row.name, {})[row.metric.replace("_", "-").replace(" ", "-")] = told
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def junit(export: Export) -> str:
    """A suite for each experiment or kind, a case for each row; what is worse fails, what is absent was skipped."""
    root = ElementTree.Element("testsuites", name=f"muxbench {export.run}")
    for suite_name in dict.fromkeys(row.suite for row in export.rows):
        rows = [row for row in export.rows if row.suite == suite_name]
        counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("worse", "failed", "absent")}
        suite = ElementTree.SubElement(
            root, "testsuite", name=suite_name, tests=str(len(rows)), failures=str(counts["worse"]),
            errors=str(counts["failed"]), skipped=str(counts["absent"]),
        )  # fmt: skip
        for row in rows:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{suite_name}.{row.arm}", name=f"{row.cell} {row.metric}", time="0"
            )
            if row.verdict in JUNIT:
                words = clean(row.says or row.verdict)
                ElementTree.SubElement(case, JUNIT[row.verdict], message=words, type=row.verdict).text = words
            elif row.value is not None:
                ElementTree.SubElement(case, "system-out").text = clean(
                    f"{row.value:.6g} {row.unit}. {row.says}".strip()
                )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


JUNIT = {"worse": "failure", "failed": "error", "absent": "skipped"}


def clean(text: str) -> str:
    """Without the control characters that XML 1.0 has no way to write (section 2.2)."""
    return "".join(
        c
        for c in text
        if c in "\t\n\r" or ord(c) >= 0x20 and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) not in (0xFFFE, 0xFFFF)
    )


def markdown(export: Export) -> str:
    """For a step's summary: the verdict first, what changed, then every figure in a fold; never over the limit."""
    head = f"### muxbench: {export.verdict}\n\n{cell(export.environment)}\n\n"
    telling = [row for row in export.rows if row.verdict in ("worse", "better", "failed", "absent", "moved")]
    changed = lines([row for row in telling if row.verdict != "absent"], "What changed") + lines(
        [row for row in telling if row.verdict == "absent"], "What is missing"
    )
    folded = lines([row for row in export.rows if row not in telling], "")
    whole = (
        f"{head}{changed}<details><summary>{len(export.rows)} figures</summary>\n\n{folded}</details>\n"
        if folded
        else head + changed
    )
    return whole if len(whole.encode()) <= SUMMARY_LIMIT else cut(head + changed)


def cut(text: str) -> str:
    """As many whole lines as the limit allows, and a word about the rest."""
    rest = "\nThe other figures are left out: a step's summary may have 1 MiB.\n"
    kept = text.encode()[: SUMMARY_LIMIT - len(rest.encode())].decode(errors="ignore")
    return (
        kept[: kept.rfind("\n") + 1] + rest if len(text.encode()) + len(rest.encode()) > SUMMARY_LIMIT else text + rest
    )


def lines(rows: list[Row], title: str) -> str:
    if not rows:
        return ""
    head = (
        f"**{title}**\n\n" if title else ""
    ) + "| arm | cell | metric | value | interval | says |\n|---|---|---|---:|---|---|\n"
    return head + "".join(f"| {' | '.join(map(cell, words(row)))} |\n" for row in rows) + "\n"


def words(row: Row) -> tuple[str, ...]:
    value = "–" if row.value is None else f"{number(row.value)} {row.unit}"
    interval = f"{number(row.low)} to {number(row.high)}" if row.low is not None and row.high is not None else ""
    return (row.arm, f"{row.suite} {row.cell}", row.metric, value, interval, row.says)


def cell(text: str) -> str:
    """A table's cell: no bars, no line ends, nothing that reads as a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def table(rows: list[Row], delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(Row.__annotations__), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(vars(row) for row in rows)
    return text.getvalue()
