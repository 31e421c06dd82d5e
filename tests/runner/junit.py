"""JUnit XML, as pytest and cmocka write it, into counts, failures and reasons for skips."""
from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    passed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)  # name, message
    skips: Counter[str] = field(default_factory=Counter)  # reason -> how often

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def skipped(self) -> int:
        return sum(self.skips.values())

    @property
    def ran(self) -> int:
        return self.passed + self.failed + self.skipped

    def fail(self, name: str, message: str) -> None:
        self.failures.append((name, message))

    def add(self, other: Outcome) -> None:
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def text_of(element: ElementTree.Element) -> str:
    """The message attribute, or the text where there is none (cmocka)."""
    return (element.get("message") or (element.text or "").strip() or "no message").strip()


def read(path: Path) -> Outcome:
    """Every test case counts once, even where a report lists it twice (a failure, and an error in its teardown)."""
    cases: dict[tuple[str | None, str | None], list[ElementTree.Element]] = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        cases.setdefault((case.get("classname"), case.get("name")), []).append(case)
    outcome = Outcome()
    for (_, name), entries in cases.items():
        parts = [part for entry in entries for part in entry]
        bad = [part for part in parts if part.tag in ("failure", "error")]
        skip = [part for part in parts if part.tag == "skipped"]
        if bad:
            outcome.fail(name or "?", text_of(bad[0]))
        elif skip:
            outcome.skips[text_of(skip[0])] += 1
        else:
            outcome.passed += 1
    return outcome


def read_all(directory: Path) -> Outcome:
    """All reports in a directory; a report that cannot be read is a failure, not a gap."""
    outcome = Outcome()
    for path in sorted(directory.glob("*.xml")):
        try:
            outcome.add(read(path))
        except ElementTree.ParseError as error:
            outcome.fail(path.name, f"its report is no XML ({error}): did the suite crash while writing it?")
    return outcome
