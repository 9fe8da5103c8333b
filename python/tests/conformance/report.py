"""What came of the scenarios: lines for people and counters, rows for tools."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .scenarios import Scenario


@dataclass(frozen=True)
class Row:
    provider: str
    language: str
    scenario: Scenario
    result: str
    reason: str | None

    def line(self) -> str:
        """As TAP."""
        name = f"{self.provider}::{self.language}::{self.scenario.theme}::{self.scenario.name}"
        status = "not ok" if self.result == "fail" else "ok"
        if self.result == "skip":
            return f"{status} - {name} # SKIP {self.reason}"
        return f"{status} - {name}" + (f": {self.reason}" if self.reason else "")

    def data(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "language": self.language,
            "scenario": self.scenario.name,
            "result": self.result,
            "kind": "capability" if self.result == "skip" else None,
            "reason": self.reason,
        }


def print_table(rows: list[Row]) -> None:
    """How many scenarios about what ended how."""
    counts: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in rows:
        for theme in ("all", row.scenario.theme):
            results = counts.setdefault((row.provider, row.language, theme), {})
            results[row.result] = results.get(row.result, 0) + 1
    head = ("provider", "language", "scenarios about", "passed", "failed", "skipped")
    print("# {:18} {:12} {:18} {:>6} {:>6} {:>7}".format(*head))
    for (provider, language, theme), results in counts.items():
        numbers = [results.get(result, 0) for result in ("pass", "fail", "skip")]
        print("# {:18} {:12} {:18} {:6} {:6} {:7}".format(provider, language, theme, *numbers))


def merge(rows: list[Row], path: Path) -> None:
    """Puts the rows in place of those of the same providers and languages."""
    ours = {(row.provider, row.language) for row in rows}
    old = json.loads(path.read_text()) if path.exists() else []
    kept = [row for row in old if (row["provider"], row["language"]) not in ours]
    # Renamed into place: whoever reads meanwhile sees the old rows or the new ones.
    new = path.with_suffix(".json.new")
    new.write_text(json.dumps(kept + [row.data() for row in rows], indent=2))
    new.replace(path)
