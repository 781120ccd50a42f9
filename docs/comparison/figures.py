"""The figures of the comparison, out of the files that the measurements wrote."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness import codec as in_memory, report
from harness.bars import EACH, echoes_of, handshakes
from harness.echo import Echoes
from harness.ratio import Interval
from harness.servers import BASE, FLOOR, IDEAL, MIO

AUTOBAHN = Path("docs/comparison/autobahn.json")
ATTACKS = Path("docs/attacks.json")
BENCHMARKS = Path("docs/benchmarks")
FACTS = Path("docs/comparison/facts.json")

KINDS = ("must", "hardening")

# The suite's sections about permessage-deflate.
DEFLATE = ("12", "13")
# What it says of a case that is not as the RFC asks; no word at all is one as well.
BAD = ("FAILED", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT")
VERDICTS = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED")

# Forms and settings of one library that the page has no room for, and what is none.
ASIDE = (EACH, MIO, IDEAL, FLOOR)


@dataclass(frozen=True)
class Data:
    """All of the files."""

    results: dict
    codec: dict
    hub: dict
    attacks: dict
    autobahn: dict
    facts: dict

    @classmethod
    def read(cls, root: Path) -> Data:
        def told(path: Path) -> dict:
            return json.loads((root / path).read_text(encoding="utf-8"))

        return cls(
            report.read(root / BENCHMARKS),
            told(BENCHMARKS / "codec.json"),
            told(BENCHMARKS / "hub.json"),
            told(ATTACKS),
            told(AUTOBAHN),
            told(FACTS),
        )


def verdict(case: list[str] | None) -> str:
    """The worse of what the suite says of a case, and of how it was closed."""
    if case is None or any(word in BAD for word in case):
        return "FAILED"
    return max(case, key=VERDICTS.index)


def suite(server: dict, sections: Collection[str]) -> dict[str, int]:
    """How many cases of these sections have which verdict, for one server."""
    counts = dict.fromkeys(VERDICTS, 0)
    for case, told in server["not_ok"].items():
        if case.partition(".")[0] in sections:
            counts[verdict(told)] += 1
    counts["OK"] = sum(number for section, number in server["sections"].items() if section in sections) - sum(counts.values())
    return counts


def attacked(attacks: dict, kind: str, server: str, group: str = "") -> dict[str, int]:
    """How many cases a server passed, failed, and was not asked."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name, cases in attacks["verdicts"][kind].items():
        if group in ("", name):
            for verdicts in cases.values():
                if told := verdicts.get(server):
                    counts[told] += 1
    return counts


def attack_groups(attacks: dict) -> list[str]:
    return list(dict.fromkeys(group for kind in KINDS for group in attacks["verdicts"][kind]))


def echo_ratios(results: dict) -> dict[str, dict[str, Interval]]:
    """For each server and scenario, its time for an echo over taut's."""
    echoes = echoes_of(results, "echo")
    found: dict[str, dict[str, Interval]] = {}
    for scenario in echoes.samples:
        for server in echoes.samples[scenario]:
            ratio = echoes.ratio(scenario, server, BASE)
            if ratio and server != BASE and server not in ASIDE:
                found.setdefault(server, {})[scenario] = ratio
    return found


def middle(ratios: Iterable[Interval]) -> float:
    return statistics.median(ratio.median for ratio in ratios)


def idle(results: dict) -> dict[str, dict[int, float]]:
    """For each server, the bytes of a connection after a message of so many."""
    found: dict[str, dict[int, float]] = {}
    for size, servers in results.get("idle", {}).get("bytes", {}).items():
        for server, values in servers.items():
            if server not in ASIDE:
                found.setdefault(server, {})[int(size)] = statistics.median(values)
    return found


def handshake_ratios(results: dict) -> dict[str, Interval]:
    """For each server, the processor's time for a handshake over taut's."""
    samples: Echoes = handshakes(results)
    servers = [one for one in samples.samples["handshakes"] if one != BASE and one not in ASIDE]
    return {one: ratio for one in servers if (ratio := samples.ratio("handshakes", one, BASE))}


def instructions(results: dict, scenario: str) -> dict[str, float]:
    counts = results.get("instructions", {}).get("counts", {}).get(scenario, {})
    return {server: count for server, count in counts.items() if server not in ASIDE}


def compressing_memory(results: dict) -> dict[str, dict[str, float]]:
    """For each server, the bytes of an idle connection in each mode of compression, with windows of 32 KiB."""
    found: dict[str, dict[str, float]] = {}
    for row in results.get("deflate", {}).get("memory", []):
        if row["bits"] == 15 and "bytes" in row:
            found.setdefault(row["server"], {})[row["mode"]] = row["bytes"]
    return found


def work(codec: dict, kind: str, columns: tuple[tuple[str, str, int], ...]) -> dict[str, list[float | None]]:
    """For each contestant, nanoseconds of that kind of work in memory: by role, kind of message and size."""
    found: dict[str, list[float | None]] = {}
    for (_, *column, offset), players in in_memory.cases(in_memory.rows(codec), kind).items():
        if not offset and tuple(column) in columns:
            for who, nanoseconds in players.items():
                cells = found.setdefault(who, [None] * len(columns))
                cells[columns.index(tuple(column))] = statistics.median(nanoseconds)
    return found
