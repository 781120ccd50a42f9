"""The results: read, printed, and written as JSON, Markdown and plots."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import broadcast_report, codec, deflate_plot, deflate_tables, plots, tables
from harness.bars import echoes_of
from harness.echo import MANY, PLAIN, TEXTS
from harness.machine import ROOT, Failed, say
from harness.summary import summary

RESULTS = ROOT / "docs" / "benchmarks"

# What holds other lists and is longer than this, in JSON, has a line for each of its items.
WIDE = 160

Table = Callable[[dict], Iterator[str]]

# The part that a section is about, its title, what writes it, and the plots above the table.
SECTIONS: tuple[tuple[str, str, Table, tuple[tuple[str, str], ...]], ...] = (
    (
        "echo",
        "Echo",
        tables.echo,
        (
            ("overview.svg", "CPU time against a bare echo"),
            ("echo.svg", "CPU time of binary echoes"),
            ("text.svg", "CPU time of text echoes"),
            ("many.svg", "CPU time with many connections"),
        ),
    ),
    ("echo", "Messages a second", tables.throughput, ()),
    ("growth", "Growth with connections", tables.growth, (("growth.svg", "CPU time by number of connections"),)),
    ("idle", "Memory of an idle connection", tables.idle, (("idle.svg", "Memory of an idle connection"),)),
    ("handshakes", "Handshakes", tables.handshakes, ()),
    (
        "broadcast",
        "Broadcast",
        broadcast_report.tables,
        (("broadcast.svg", "Delivery, CPU time and memory of a broadcast"),),
    ),
    ("instructions", "Instructions", tables.instructions, ()),
    ("syscalls", "System calls", tables.syscalls, ()),
)


def read(folder: Path | None, missing: dict | None = None) -> dict:
    file = (folder or RESULTS) / "results.json"
    if not file.exists():
        if missing is None:
            raise Failed(f"{file} is missing: measure first")
        return missing
    results = json.loads(file.read_text(encoding="utf-8"))
    in_memory = file.with_name("codec.json")
    if in_memory.exists():
        results["codec"] = json.loads(in_memory.read_text(encoding="utf-8"))
    return results


def write(results: dict, file: Path) -> None:
    file.write_text(pretty(results) + "\n", encoding="utf-8")


def publish(results: dict, folder: Path | None, write_too: bool) -> None:
    folder = folder or RESULTS
    if write_too:
        # First of all: tables can be made again, measurements cannot.
        folder.mkdir(parents=True, exist_ok=True)
        write({name: part for name, part in results.items() if name != "codec"}, folder / "results.json")
        if "codec" in results:
            write(results["codec"], folder / "codec.json")
    text = "\n".join(markdown(results))
    compressed = deflate_tables.write_tables(results["deflate"]) if "deflate" in results else ""
    print(text + compressed)
    if not write_too:
        return
    (folder / "results.md").write_text(text, encoding="utf-8")
    if "echo" in results:
        (folder / "summary.md").write_text(summarised(results), encoding="utf-8")
    if compressed:
        (folder / "deflate.md").write_text(compressed, encoding="utf-8")
    for name, drawn in pictures(results):
        (folder / name).write_text(drawn, encoding="utf-8")
    if "codec" in results:
        report_codec(results["codec"]["results"], folder)
    say(f"wrote {folder}")


def summarised(results: dict) -> str:
    return "\n".join(summary(results)) + "\n"


def report_codec(results: dict, folder: Path) -> None:
    """The report of codec/run below its plots."""
    with tempfile.TemporaryDirectory() as temporary:
        file, plotted = Path(temporary) / "codec.json", Path(temporary) / "plots"
        file.write_text(json.dumps(results), encoding="utf-8")
        command = [codec.RUN, "--redraw", file, "--plots", plotted]
        told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
        if told.returncode != 0:
            raise Failed("codec/run cannot make its report")
        plots_there = sorted(plotted.glob("*.svg"))
        for plot in plots_there:
            (folder / f"codec-{plot.name}").write_text(plot.read_text(encoding="utf-8"), encoding="utf-8")
    title, _, rest = told.stdout.partition("\n")
    links = "\n".join(f"![{plot.stem.capitalize()}](codec-{plot.name})\n" for plot in plots_there)
    (folder / "codec.md").write_text(f"{title}\n\n{links}{rest}", encoding="utf-8")


def markdown(results: dict) -> Iterator[str]:
    yield from ("# Beside rivals", "")
    for part in [part for part in results.values() if "machine" in part][:1]:
        yield from machine(part["machine"])
    yield from tables.disturbances(results)
    yield ""
    yield "[README](../../benches/rivals/README.md) tells how it is measured, and how each library is used."
    yield "Features, conformance and attacks stand beside it in [comparison.md](../comparison.md)."
    if "deflate" in results:
        yield "permessage-deflate has tables of its own: [deflate.md](deflate.md)."
    if "codec" in results:
        yield "So has the same work in memory: [codec.md](codec.md)."
    yield from ("", "## Bars", "")
    yield from tables.bars(results)
    yield from ("", "## Where a rival does better than taut", "")
    yield from tables.wins(results)
    drawn = {name for name, _ in pictures(results)}
    for part, title, table, pictured in SECTIONS:
        if part not in results:
            continue
        yield from ("", f"## {title}", "")
        if title == "Echo":
            yield from (*tables.scenario_key(), "")
        for name, about in pictured:
            if name in drawn:
                yield from (f"![{about}]({name})", "")
        yield from table(results)
        for server, problem in results[part].get("problems", {}).items():
            if isinstance(problem, str):
                yield from ("", f"{server} could not be measured: {problem}.")
    yield ""


def machine(told: dict) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    yield f"{told['processor']}, {told['cores']} cores; {told['system']}; {told['date']}. {versions}."


def pictures(results: dict) -> Iterator[tuple[str, str]]:
    """Each plot that the results have figures for, with the name of its file."""
    echoes = echoes_of(results, "echo")
    about = (
        "CPU time of the server for each message, user and system: median, and the interval that holds it. Shorter is "
        "better."
    )
    if echoes.samples:
        groups = results["echo"]["options"]["servers"]
        if any(echoes.ratio(one, "taut", "ideal-tokio") for one in echoes.samples):
            yield "overview.svg", plots.overview(echoes, groups)
        for name, title, scenarios in (
            ("echo.svg", "Echo of binary messages", PLAIN),
            ("text.svg", "Echo of text", TEXTS),
            ("many.svg", "Echo with many connections", MANY),
        ):
            there = [str(one) for one in scenarios if str(one) in echoes.samples]
            if there:
                yield name, plots.bars(echoes, groups, there, title, about)
    if "growth" in results:
        yield "growth.svg", plots.growth(echoes_of(results, "growth"), results["growth"]["options"]["servers"])
    if len(results.get("idle", {}).get("bytes", {})) > 1:
        yield "idle.svg", plots.idle(results["idle"], results["idle"]["options"]["servers"])
    if results.get("broadcast", {}).get("samples", {}).get("one"):
        yield "broadcast.svg", broadcast_report.plot(results["broadcast"])
    if "deflate" in results:
        yield "deflate-cpu.svg", deflate_plot.cpu(results["deflate"])
        yield "deflate-memory.svg", deflate_plot.memory(results["deflate"])


def pretty(value: object, indent: int = 0) -> str:
    """JSON in which whatever fits on a line is on one, so that a new run is a diff to be read."""
    inline = json.dumps(value, ensure_ascii=False)
    if len(inline) + indent <= WIDE or not isinstance(value, (dict, list)):
        return inline
    if not any(isinstance(one, (dict, list)) for one in (value.values() if isinstance(value, dict) else value)):
        return inline
    space = " " * (indent + 1)
    if isinstance(value, dict):
        items = [f"{json.dumps(name, ensure_ascii=False)}: {pretty(one, indent + 1)}" for name, one in value.items()]
    else:
        items = [pretty(one, indent + 1) for one in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(space + item for item in items) + "\n" + " " * indent + closing
