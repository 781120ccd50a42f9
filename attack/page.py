"""The servers of benches/rivals under attack, and the page of what they fail."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from harness.judged import COMPRESSED, COMPRESSING, build_judged, choose, version_of
from harness.machine import Failed, say
from harness.report import pretty
from harness.servers import Contestant, Server

# The groups that would judge the comparison's own few lines, and not the library.
FOREIGN = {"fastwebsockets": ("smuggling", "handshake", "heads")}

# What would judge how the comparison accepts connections and runs their tasks.
RUNTIME = tuple(f"{flood}_flood_starves_nobody" for flood in ("ping", "echo", "fragment")) + ("more_connections_than_files",)

# A server that ends is started again, as often as this.
STARTS = 10

KINDS = ("must", "hardening")

INTRODUCTION = """# Attacks

The attack suite ([attack/](../attack/README.md)) against this library and against others. Every case has a rule, and where an RFC leaves a choice each choice passes. **must** cases are about a MUST of an RFC, or about a server that stops serving others. **hardening** cases are about limits, deadlines and memory, which no RFC asks for: a failure there means that an application on this library has to see to it.

Each library is used by the echo server of [benches/rivals](../benches/rivals/README.md), whose README says how and why; limits and deadlines are the library's defaults unless it says otherwise. An echo server is not all that a library can do: where a library has a setting for a limit that is off by default, the case fails here. Skipped: compression, if the library has none; for fastwebsockets, the handshake, since that server uses the comparison's own; yawc is behind hyper, as its documentation has it; for all but ws, how connections are accepted and tasks take turns, which is the comparison's choice. soketto leaves UTF-8 to its caller, who looks at whole messages. `close_flood` and `garbage_behind_a_close` are partly chance: who closes TCP with bytes unread resets it, and the reset may overtake the Close; in another run another of them fails.

Made by `attack/run --rivals`. Beside features, the Autobahn suite and measurements: [comparison.md](comparison.md).
"""


@dataclass
class Attacked:
    """What one server did."""

    name: str
    version: str
    outcomes: list[dict] = field(default_factory=list)

    def count(self, kind: str, verdict: str) -> int:
        return sum(outcome["kind"] == kind and outcome["verdict"] == verdict for outcome in self.outcomes)

    def find(self, name: str) -> dict | None:
        return next((outcome for outcome in self.outcomes if outcome["name"] == name), None)


def attack_rivals(suite: Path, options: argparse.Namespace, more: list[str], limited: tuple[str, ...]) -> int:
    """Writes the page. `limited` goes before each server's command, `more` to the suite."""
    chosen = choose(options.servers)
    told = build_judged(chosen)
    results = []
    for contestant in chosen:
        attacked = Attacked(contestant.name, version_of(contestant.name, told))
        without = FOREIGN.get(contestant.name, ()) + (RUNTIME if contestant.feature else ())
        compressing = contestant.name in COMPRESSING
        skipped = (*without, "compression") if compressing else without
        attacked.outcomes += outcomes(suite, contestant, (), [*exclude(skipped), *more], limited)
        if compressing:
            arguments = ["--group", "compression", *more]
            attacked.outcomes += outcomes(suite, contestant, COMPRESSED, arguments, limited)
        results.append(attacked)
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(page(results, told), encoding="utf-8")
    data = options.to.with_suffix(".json")
    data.write_text(pretty(summary(results, told)) + "\n", encoding="utf-8")
    say(f"wrote {options.to} and {data}")
    return 0


def outcomes(
    suite: Path, contestant: Contestant, flags: tuple[str, ...], more: list[str], limited: tuple[str, ...]
) -> list[dict]:
    """The results of one server, which is started again behind the case that ends it."""
    found: list[dict] = []
    after: list[str] = []
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as folder, Server((*contestant.command, *flags), cores, limited) as server:
            report = Path(folder) / "report.json"
            command = [str(suite), f"ws://{server.address}", "--pid", str(server.pid), "--json", str(report)]
            say(f"{contestant.name} {' '.join(flags)} {' '.join(after)}".rstrip())
            run = subprocess.run([*command, *more, *after], stdout=subprocess.DEVNULL)
            if not report.exists():
                raise Failed(f"the suite ended with status {run.returncode} for {contestant.name}")
            told = json.loads(report.read_text(encoding="utf-8"))
        last = told["ended_in"]
        untold = f"the server ended in {last}"
        found += [outcome for outcome in told["outcomes"] if last is None or outcome["detail"] != untold]
        if last is None or len(found) == len(told["outcomes"]):
            return found
        after = ["--after", last]
    return found


def summary(results: list[Attacked], told: dict) -> dict:
    """The page for programs: by kind and group, what each server's verdict in each case is."""
    verdicts: dict[str, dict] = {kind: {} for kind in KINDS}
    for one in results:
        for out in one.outcomes:
            cases = verdicts[out["kind"]].setdefault(out["group"], {})
            cases.setdefault(out["name"], {})[one.name] = out["verdict"]
    return {"machine": told, "servers": {one.name: one.version for one in results}, "verdicts": verdicts}


def exclude(groups: tuple[str, ...]) -> list[str]:
    return [argument for group in groups for argument in ("--without", group)]


def page(results: list[Attacked], told: dict) -> str:
    lines = [INTRODUCTION]
    system = f"{told['processor']}, {told['cores']} cores, {told['system']}, rustc {told['versions']['rustc']}"
    lines.append(f"{told['date']}, on {system}.\n")
    lines += ["## Counts", ""]
    lines.append("| server | version | " + " | ".join(f"{kind}: passed | failed | skipped" for kind in KINDS) + " |")
    lines.append("|---|---|" + "--:|" * 6)
    for one in results:
        counts = [str(one.count(kind, verdict)) for kind in KINDS for verdict in ("passed", "failed", "skipped")]
        lines.append(f"| {one.name} | {one.version} | {' | '.join(counts)} |")
    for kind in KINDS:
        lines += ["", f"## Failures: {kind}", "", *table(results, kind)]
    return "\n".join(lines) + "\n"


def table(results: list[Attacked], kind: str) -> list[str]:
    """The cases of which anybody fails one, with what happened beneath."""
    names = list(dict.fromkeys(out["name"] for one in results for out in one.outcomes if out["kind"] == kind))
    rows, notes = [], []
    for name in names:
        found = [one.find(name) for one in results]
        if not any(outcome and outcome["verdict"] == "failed" for outcome in found):
            continue
        marks = {"passed": "·", "failed": "**fails**", "skipped": ""}
        cells = [marks[outcome["verdict"]] if outcome else "" for outcome in found]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
        rule = next(outcome["rule"] for outcome in found if outcome)
        notes.append(f"- `{name}`: {rule}")
        notes += [
            f"  - {one.name}: {outcome['detail']}"
            for one, outcome in zip(results, found)
            if outcome and outcome["verdict"] == "failed"
        ]
    if not rows:
        return ["None."]
    head = f"| case | {' | '.join(one.name for one in results)} |"
    return [head, "|---|" + ":-:|" * len(results), *rows, "", "· passed; empty: skipped.", "", *notes]
