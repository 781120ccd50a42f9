"""The page: its sections, each from the figures or from the rows of features.toml."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import figures
import plots
import report as hub_report
from features import NOTHING, OURS, Cell, Features, Row, Source
from figures import Data
from harness import codec as in_memory
from harness import deflate_tables, tables
from harness.bars import LEAVE_HANDSHAKES
from harness.deflate import MODES
from harness.names import count_name, head, line, scenario_name, size_name, time_name

FOLDER = "comparison"

SECTIONS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragments",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits",
    "10": "fragments of others",
}

# What the tables of work in memory have: role, kind and size of the messages.
WORK = tuple(("server", "binary", size) for size in (16, 125, 1024, 16384, 65536))
FORMS_ASIDE = ("memcpy", "taut, borrowed, fastrand", "taut, borrowed, large_input()", "taut, owned, large_input()")
COUNTED = ("20,20,1", "20,20,16", "1024,20,8")


class Page:
    """All that is written, by the names of files."""

    def __init__(self, data: Data, features: Features) -> None:
        self.data = data
        self.features = features
        self.servers = list(data.autobahn["servers"])
        self.attacked = list(data.attacks["servers"])
        self.ratios = figures.echo_ratios(data.results)
        self.groups = tables.compared(data.results)

    def files(self) -> dict[str, str]:
        return {
            f"{FOLDER}.md": "\n".join(self.text()) + "\n",
            f"{FOLDER}/autobahn.svg": self.autobahn_plot(),
            f"{FOLDER}/attacks.svg": self.attacks_plot(),
            f"{FOLDER}/echo.svg": self.echo_plot(),
        }

    def text(self) -> Iterator[str]:
        yield from ("# Beside other libraries", "")
        yield (
            "What taut has and does beside others: what each has, with a link to where one sees it; the Autobahn "
            "suite; the attack suite; and the measurements. `docs/comparison/make` makes this page from files that "
            "commands of this repository wrote ([below](#how-it-is-made)); nothing in it is typed by hand but the "
            "rows of [features.toml](comparison/features.toml), whose sources a command looks at."
        )
        for title, section in (
            ("At a glance", self.glance),
            ("Where another is ahead", self.ahead),
            ("What each has", self.having),
            ("The Autobahn suite", self.suite),
            ("The attack suite", self.attacks),
            ("Measurements", self.measurements),
            ("The hub", self.hub),
            ("How it is made", self.making),
        ):
            yield from ("", f"## {title}", "", *section())

    def glance(self) -> Iterator[str]:
        yield (
            "*Autobahn*: cases that fail, and those that pass less strictly than the suite likes. *Attacks*: cases "
            "that a server fails, of a MUST of an RFC and of what a careful server does. *Echo*: the processor's "
            "time for a message over taut's, in the median of all scenarios, and from the least to the most. *Idle*: "
            "memory of a connection after a message of 20 B. *Crates*: what a program gets by the library, itself "
            "among them. *unsafe*: lines."
        )
        yield ""
        columns = (
            "library",
            "version",
            "Autobahn: failed",
            "less strict",
            "attacks: must",
            "hardening",
            "echo",
            "idle",
        )
        yield from head((*columns, "crates", "unsafe", "Rust", "licence"), 2)
        memory = figures.idle(self.data.results)
        for library in self.features.libraries:
            name, facts = library.server_name(), self.data.facts[library.name]
            yield line(
                f"**{library.name}**" if library.name == OURS else library.name,
                library.version or self.version(library.name),
                *self.judged(name),
                *(self.failed(kind, name) for kind in figures.KINDS),
                "1" if name == OURS else ratio_told(self.ratios.get(name)),
                count_name(memory[name][20]) if 20 in memory.get(name, {}) else "",
                facts.get("crates", ""),
                facts.get("unsafe", ""),
                facts.get("rust") or ("" if library.version else "not said"),
                library.licence or facts["licence"],
            )
        # Servers beside the libraries of the columns, such as ws for node.
        for name in self.servers:
            if name not in {library.server_name() for library in self.features.libraries}:
                version = self.data.autobahn["servers"][name]["version"]
                failed = [self.failed(kind, name) for kind in figures.KINDS]
                yield line(name, version, *self.judged(name), *failed, ratio_told(self.ratios.get(name)), *[""] * 5)
        yield ""
        yield "Empty: not measured, for there is no server of it here." + "".join(
            f" {library.name}: {library.about}." for library in self.features.libraries if library.about
        )

    def judged(self, server: str) -> tuple[str, str]:
        told = self.data.autobahn["servers"].get(server)
        if not told:
            return "", ""
        counts = figures.suite(told, told["sections"])
        return str(counts["FAILED"]), str(counts["NON-STRICT"])

    def failed(self, kind: str, server: str) -> str:
        if server not in self.attacked:
            return ""
        counts = figures.attacked(self.data.attacks, kind, server)
        return f"{counts['failed']} of {counts['passed'] + counts['failed']}"

    def ahead(self) -> Iterator[str]:
        yield "From the same figures and rows as the rest: nothing is left out that a table here shows."
        yield from ("", "**Features** that another has, and taut has not, or only in part:", "")
        for row in [*self.features.rows, *self.features.hub_rows]:
            ours = next(cell for name, cell in row.cells.items() if name.startswith(OURS))
            others = [name for name, cell in row.cells.items() if cell.value == "yes" and not name.startswith(OURS)]
            if row.behind:
                yield f"- {row.name}: {row.behind}."
            elif ours.value in ("no", "part") and others:
                yield f"- {row.name}: {', '.join(others)}. Here: {ours.value}{f', {ours.note}' if ours.note else ''}."
        for key, what in (
            ("crates", "fewer crates"),
            ("unsafe", "fewer lines with `unsafe`"),
            ("rust", "an older Rust does"),
        ):
            if less := self.less(key):
                yield f"- {what}: {', '.join(less)}. Here: {self.data.facts[OURS][key]}."
        yield f"- years of use by many, and an API that no longer changes: taut is {self.version()}."
        yield from ("", "**Measurements**: where the interval of the ratio lies on the other's side.", "")
        by_server: dict[str, list[str]] = {}
        for server, where, what in tables.better(self.data.results):
            by_server.setdefault(server, []).append(f"{where}: {what.removesuffix(tables.CPU_TIME)}")
        yield from (f"- **{server}**: {'; '.join(wins)}" for server, wins in by_server.items())
        if by_server:
            yield ""
            yield (
                "The figures are taut's CPU time over the other's, with the interval, or what is said. A scenario is bytes "
                "of a message, connections, and messages that each sends at once: `20,200,16` is "
                f"{scenario_name('20,200,16')}."
            )
        yield from ("", "**In memory**, the bars that are not met ([all of them](benchmarks/codec.md)):", "")
        missed = [one for one in in_memory.verdicts(self.data.codec) if one.met.startswith("**not")]
        yield from (f"- {one.work}, {one.bar}: {one.detail}" for one in missed)
        if not missed:
            yield "- none"
        yield from ("", "**With compression** ([all of it](benchmarks/deflate.md)):", "")
        yield from deflate_tables.wins(self.data.results["deflate"])
        yield from ("", f"**The hub** ([all of it](benchmarks/hub.md)): {hub_report.better(self.data.hub)}")

    def less(self, key: str) -> list[str]:
        """Those of which a fact is less than ours, with it."""
        ranked = {name: rank(facts[key]) for name, facts in self.data.facts.items() if facts.get(key) is not None}
        return [f"{name} ({self.data.facts[name][key]})" for name in ranked if ranked[name] < ranked[OURS]]

    def version(self, library: str = OURS) -> str:
        return next(iter(self.data.facts[library]["versions"].values()))

    def having(self) -> Iterator[str]:
        yield (
            "*yes*, *no*, *part*, or what it is; – where the question makes no sense. Each links to the source that "
            "shows it, of the version above; that something is missing is shown by the file or folder in which it "
            "would be."
        )
        names = [library.name for library in self.features.libraries]
        for group in dict.fromkeys(row.group for row in self.features.rows):
            rows = [row for row in self.features.rows if row.group == group]
            yield from ("", f"### {group}", "", *self.rows(rows, names))

    def rows(self, rows: list[Row], names: list[str]) -> Iterator[str]:
        yield from head(("", *names), len(names) + 1)
        for row in rows:
            yield line(row.name, *(self.cell(row.cells[name], name) for name in names))
        yield ""
        for row in rows:
            notes = [f"*{name}*: {cell.note}" for name, cell in row.cells.items() if cell.note]
            told = "; ".join(notes)
            if row.about or told:
                yield f"- **{row.name}**{f': {row.about}' if row.about else ''}. {told}".rstrip(". ") + "."

    def cell(self, cell: Cell, name: str) -> str:
        shown = f"**{cell.value}**" if name.startswith(OURS) else cell.value
        return f"[{shown}]({self.link(cell.source)})" if cell.source and cell.value != NOTHING else shown

    def link(self, source: Source) -> str:
        if not source.package:
            return source.path
        if source.package == OURS:
            return f"../{source.path}".replace("../docs/", "")
        for library in self.features.libraries:
            if library.name == source.package and library.repository:
                return f"{library.repository}/blob/{library.commit}/{source.path}"
        versions = {name: version for facts in self.data.facts.values() for name, version in facts["versions"].items()}
        folder = "" if "." in source.path.rpartition("/")[2] else "/"
        return f"https://docs.rs/crate/{source.package}/{versions[source.package]}/source/{source.path}{folder}"

    def suite(self) -> Iterator[str]:
        told = self.data.autobahn
        yield (
            f"The echo server of each under the suite {told['suite']}, as its documentation says how to use it "
            f"([README](../benches/rivals/README.md)), on {told['machine']['date']}. `NON-STRICT` is allowed, such as "
            "invalid UTF-8 that is found at the end of a message; `INFORMATIONAL` is what the RFC leaves open. taut "
            "in both roles, over TLS, proxies and HTTP/2 as well: [autobahn/](../autobahn/README.md)."
        )
        yield from ("", "![The Autobahn suite](comparison/autobahn.svg)", "")
        yield from head(("server", "version", *SECTIONS.values(), "compression"), 2)
        for name in self.servers:
            server = told["servers"][name]
            cells = [verdicts_told(figures.suite(server, (section,))) for section in SECTIONS]
            compression = verdicts_told(figures.suite(server, figures.DEFLATE)) if server["compressed"] else "none"
            yield line(name, server["version"], *cells, compression)
        yield ""
        yield (
            "OK, or OK / less strict / failed; cases that are informational whatever one does are left out, and so "
            "are those whose compression is not agreed on (*n/a*). With reserved bits, opcodes and fragments, "
            "less strict is who does not send the answer to what came right before a wrong frame."
        )
        failures = [(name, failures_of(told["servers"][name])) for name in self.servers]
        if any(cases for _, cases in failures):
            yield from ("", "Cases that fail:", "")
            yield from (f"- {name}: {', '.join(cases)}{self.why(name, cases)}" for name, cases in failures if cases)
        problems = [(name, problem) for name in self.servers for problem in told["servers"][name]["problems"]]
        if problems:
            yield from ("", "What went wrong besides:", "")
            yield from (f"- {name}: {problem.splitlines()[0]}" for name, problem in problems)

    def why(self, server: str, cases: list[str]) -> str:
        """The reasons that are known of these failures."""
        told = [
            f"{one.why} ([source]({self.link(one.source)}))"
            for one in self.features.failures
            if one.server == server and one.source and any(case.startswith(one.cases) for case in cases)
        ]
        return f": {'; '.join(told)}" if told else ""

    def attacks(self) -> Iterator[str]:
        yield (
            "Lengths and bits that must not be, floods, bombs, slow peers, requests that two readers could read in "
            f"two ways: what each server does, on {self.data.attacks['machine']['date']}. Each case with its rule, "
            "and what happened: [attacks.md](attacks.md), which also says what a server is not asked, and why."
        )
        yield from ("", "![The attack suite](comparison/attacks.svg)", "")
        yield "Failed, of those that were asked:"
        yield ""
        yield from head(("group", *self.attacked), 1)
        for group in figures.attack_groups(self.data.attacks):
            cells = []
            for server in self.attacked:
                counts = [figures.attacked(self.data.attacks, kind, server, group) for kind in figures.KINDS]
                failed = sum(one["failed"] for one in counts)
                asked = failed + sum(one["passed"] for one in counts)
                cells.append((f"**{failed}** of {asked}" if failed else f"0 of {asked}") if asked else "")
            yield line(group, *cells)

    def measurements(self) -> Iterator[str]:
        machine = self.data.results["echo"]["machine"]
        yield (
            f"On {machine['processor']}, {machine['cores']} cores, {machine['system']}; {machine['date']}. Ratios are "
            "those of pairs that were measured right after each other, with the interval that holds their median. "
            "Everything, and how sure it is: [results.md](benchmarks/results.md), [codec.md](benchmarks/codec.md), "
            "[deflate.md](benchmarks/deflate.md); how it is measured: [benches/rivals](../benches/rivals/README.md)."
        )
        yield from ("", "### An echo", "", "![An echo](comparison/echo.svg)", "")
        yield "Those of the scenarios at which taut is best, and at which it is worst, for each:"
        yield ""
        yield from head(
            ("server", "median", "taut is best at", "their time over its", "taut is worst at", "their time over its"), 1
        )
        for name, ratios in self.ratios.items():
            ranked = sorted(ratios.items(), key=lambda one: one[1].median)
            (worst, low), (best, high) = ranked[0], ranked[-1]
            yield line(name, f"{figures.middle(ratios.values()):.2f}", f"`{best}`", high, f"`{worst}`", low)
        yield from ("", "### Memory of an idle connection", "", "![Memory](benchmarks/idle.svg)", "")
        yield from self.memory()
        yield from ("", "### Handshakes and instructions", "")
        yield from self.handshakes()
        yield from ("", "### A broadcast", "", "![A broadcast](benchmarks/broadcast.svg)", "")
        yield from ("### The same work in memory", "", "![In memory](benchmarks/codec-messages.svg)", "")
        yield from self.in_memory("receive", "Nanoseconds to receive a message, as a server, binary:")
        yield ""
        yield from self.in_memory("send", "Nanoseconds to send one, as a server, binary:")
        yield ""
        yield "*bare* is no library, but the least that it takes."

    def memory(self) -> Iterator[str]:
        yield "The same with compression agreed on, windows of 32 KiB, after a message of 4 KiB:"
        yield ""
        yield from head(("server", "without", "without takeover", "with takeover"), 1)
        for name, by_mode in figures.compressing_memory(self.data.results).items():
            yield line(name, *(count_name(by_mode[mode]) if mode in by_mode else "" for mode in MODES))

    def handshakes(self) -> Iterator[str]:
        ratios = figures.handshake_ratios(self.data.results)
        counts = [figures.instructions(self.data.results, scenario) for scenario in COUNTED]
        yield (
            "CPU time of a handshake, over taut's; instructions in user space for a message. "
            f"{' and '.join(LEAVE_HANDSHAKES)} leave the request to others, and here nothing is checked for them."
        )
        yield ""
        yield from head(("server", "handshake", *(f"instructions, `{scenario}`" for scenario in COUNTED)), 1)
        for name in dict.fromkeys([OURS, *ratios, *(server for one in counts for server in one)]):
            cells = [f"{one[name]:,.0f}" if name in one else "" for one in counts]
            yield line(name, "1" if name == OURS else ratios.get(name, ""), *cells)

    def in_memory(self, kind: str, title: str) -> Iterator[str]:
        yield title
        yield ""
        yield from head(("", *(size_name(size) for _, _, size in WORK)), 1)
        for name, cells in figures.work(self.data.codec, kind, WORK).items():
            if name not in FORMS_ASIDE:
                yield line(
                    name,
                    *(
                        time_name(value, unit=False) if value and value >= 10 else f"{value:.3g}" if value else ""
                        for value in cells
                    ),
                )

    def hub(self) -> Iterator[str]:
        yield (
            "`taut serve` beside Socket.IO, which is measured, and Centrifugo, which is not; what the two others "
            "have is by their documentation. [hub.md](hub.md) is the guide."
        )
        yield from ("", *self.rows(self.features.hub_rows, self.features.hubs))
        yield from ("", "![The hub beside Socket.IO](benchmarks/hub.svg)", "")
        options = self.data.hub["options"]
        yield (
            f"{options['connections']:,} connections in one room, {options['size']} B to all; the tables, and what is "
            "better where: [hub.md](benchmarks/hub.md)."
        )

    def making(self) -> Iterator[str]:
        yield from head(("what", "command", "writes"), 3)
        for what, command, written in (
            ("this page, from the files below", "docs/comparison/make", "comparison.md"),
            ("versions, crates, `unsafe`; the sources of the rows", "docs/comparison/facts", "comparison/facts.json"),
            ("the Autobahn suite", "benches/rivals/autobahn", "comparison/autobahn.json"),
            ("the attack suite", "attack/run --rivals", "attacks.json"),
            (
                "echoes, memory, handshakes, instructions, compression",
                "benches/rivals/run --write",
                "benchmarks/results.json",
            ),
            ("the work in memory", "benches/rivals/run --parts codec --write", "benchmarks/codec.json"),
            ("the hub", "hub/compare/run --ahead --write", "benchmarks/hub.json"),
        ):
            yield line(what, f"`{command}`", f"[{written}]({written})")
        yield ""
        yield (
            "uWebSockets is no package: `--server uWebSockets='PROGRAM {port}'` measures it, and "
            "`benches/rivals/autobahn` takes the same. A row or a library is added in "
            "[features.toml](comparison/features.toml), whose head says how."
        )

    def autobahn_plot(self) -> str:
        colours = {"OK": plots.OK, "NON-STRICT": plots.LESSER, "INFORMATIONAL": plots.OPEN, "FAILED": plots.FAILED}
        names = {
            "OK": "as the RFC asks",
            "NON-STRICT": "less strict",
            "INFORMATIONAL": "left open, or not agreed on",
            "FAILED": "failed",
        }
        servers = self.data.autobahn["servers"]

        def bar(name: str, sections: Collection[str]) -> plots.Bar:
            counts = figures.suite(servers[name], sections)
            counts["INFORMATIONAL"] += counts.pop("UNIMPLEMENTED")
            parts = tuple(plots.Part(names[one], colours[one], counts[one]) for one in colours)
            return plots.Bar(name, parts, f"{counts['FAILED']} failed" if counts["FAILED"] else "all pass")

        compressing = [name for name in self.servers if servers[name]["compressed"]]
        panels = [("RFC 6455", [bar(name, SECTIONS) for name in self.servers])]
        if compressing:
            panels.append(("permessage-deflate", [bar(name, figures.DEFLATE) for name in compressing]))
        notes = ["Cases of the suite by its verdict. Those without compression have the left half alone."]
        return plots.stacked("The Autobahn suite", notes, panels)

    def attacks_plot(self) -> str:
        def bar(name: str, kind: str) -> plots.Bar:
            failed = figures.attacked(self.data.attacks, kind, name)["failed"]
            return plots.Bar(name, (plots.Part("failed", plots.FAILED, failed),), self.failed(kind, name))

        titles = {"must": "a MUST of an RFC", "hardening": "what a careful server does"}
        panels = [(titles[kind], [bar(server, kind) for server in self.attacked]) for kind in figures.KINDS]
        notes = ["Cases that a server fails, of those that it was asked: shorter is better."]
        return plots.stacked("The attack suite", notes, panels)

    def echo_plot(self) -> str:
        rows = [
            plots.Dots(
                name,
                self.groups[name],
                [(scenario_name(scenario), ratio.median) for scenario, ratio in ratios.items()],
                figures.middle(ratios.values()),
            )
            for name, ratios in self.ratios.items()
        ]
        rows.sort(key=lambda row: row.middle)
        notes = [
            "CPU time of the server for each echoed message, over taut's in the same round: right of 1, taut takes less.",
            "A dot is a scenario (size, connections, messages at once, binary or text), the bar the median of all.",
        ]
        return plots.beside("An echo, beside taut", notes, "times the CPU time of taut", rows)


def rank(fact: int | str) -> tuple[int, ...]:
    """A number, or a version, such that one can be less than another."""
    return tuple(int(part) for part in str(fact).split("."))[:2]


def ratio_told(ratios: dict | None) -> str:
    if not ratios:
        return ""
    medians = sorted(ratio.median for ratio in ratios.values())
    return f"× {figures.middle(ratios.values()):.2f} ({medians[0]:.2f}–{medians[-1]:.2f})"


def verdicts_told(counts: dict[str, int]) -> str:
    if counts["UNIMPLEMENTED"] and not counts["OK"]:
        return "n/a"
    bad = f"**{counts['FAILED']}**" if counts["FAILED"] else "0"
    less = counts["NON-STRICT"]
    return f"{counts['OK']} / {less} / {bad}" if less or counts["FAILED"] else str(counts["OK"])


def failures_of(server: dict) -> list[str]:
    return [case for case, told in server["not_ok"].items() if figures.verdict(told) == "FAILED"]
