"""permessage-deflate, as tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from harness.names import head, line, size_name

# Less of a difference in bytes is none.
MATTERS = 0.01

MODE_NAMES = {"plain": "no compression", "no-takeover": "no context takeover", "takeover": "context takeover"}


def write_tables(results: dict) -> str:
    settings = results["settings"]
    parts = ["# permessage-deflate: taut and rivals", "", *machine(results), ""]
    parts += ["## Echo", "", *echo_introduction(settings), ""]
    parts += ["![CPU time of a compressed echo](deflate-cpu.svg)", ""]
    sizes = sorted({row["size"] for row in results["echo"]})
    for size in sizes:
        parts += [f"### {size_name(size)}", "", *echo_table(results, size), ""]
    parts += ["### Each at its own default level", "", *defaults_table(results, sizes), ""]
    parts += ["## Memory of an idle connection", "", *memory_introduction(settings), ""]
    parts += ["![Memory of an idle connection](deflate-memory.svg)", "", *memory_table(results), ""]
    parts += ["## Where a rival does better than taut", "", *wins(results), ""]
    if results["instructions"]:
        parts += ["## Instructions for a message of 1 KiB", "", *instructions(results), ""]
    return "\n".join(parts)


def machine(results: dict) -> Iterator[str]:
    told = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    others = [share for row in results["echo"] for share in row.get("others", [])]
    spreads = [spread(row["microseconds"]) for row in results["echo"] if "microseconds" in row]
    yield f"{told['processor']}, {told['cores']} cores; {told['system']}; {told['date']}. {versions}."
    if others and spreads:
        yield (
            f"Other processes took {statistics.median(others):.0%} of a core during the median measurement of an echo, "
            f"{max(others):.0%} at most; the rounds of a figure differ by ±{statistics.median(spreads):.0%} in the "
            f"median, ±{max(spreads):.0%} at most."
        )


def echo_introduction(settings: dict) -> Iterator[str]:
    yield (
        f"CPU time of the server for each message (user and system), median of {settings['rounds']} rounds of "
        f"{settings['seconds']:g} s of it; {settings['connections']} connections, one message on its way on each. "
        f"In parentheses: the ratio to {settings['base']} at the same level, median of the rounds. `sent` is the share "
        "of the plain bytes that the server sends; ± is half of the range of the rounds."
    )


def echo_table(results: dict, size: int) -> Iterator[str]:
    rows = [row for row in results["echo"] if row["size"] == size]
    yield from head(("context", "level", "server", "µs a message", "±", "sent", "messages/s"), 3)
    for row in rows:
        level = "" if row["mode"] == "plain" else str(row["level"])
        if "problem" in row:
            yield line(MODE_NAMES[row["mode"]], level, row["server"], f"cannot: {row['problem']}", "", "", "")
            continue
        yield line(
            MODE_NAMES[row["mode"]],
            level,
            row["server"],
            time_of(results, row),
            f"{spread(row['microseconds']):.0%}",
            f"{row['sent']:.1%}",
            f"{row['messages_per_second']:,.0f}",
        )


def defaults_table(results: dict, sizes: list[int]) -> Iterator[str]:
    defaults = results["settings"]["defaults"]
    modes = ("no-takeover", "takeover")
    columns = [(size, mode) for size in sizes for mode in modes]
    names = [f"{size_name(size)}, {MODE_NAMES[mode]}" for size, mode in columns]
    yield from head(("server", "level", *names), 1)
    base = results["settings"]["base"]
    for server, level in defaults.items():
        cells = []
        for size, mode in columns:
            row = cell(results, size, mode, level, server)
            ours = cell(results, size, mode, defaults[base], base)
            if not row or not ours or "problem" in row:
                cells.append("not measured")
                continue
            ratio = ratios(row, ours)
            cells.append(f"{statistics.median(row['microseconds']):.1f} µs ({ratio:.2f}), {row['sent']:.1%}")
        yield line(server, level, *cells)


def wins(results: dict) -> list[str]:
    """What rivals do in less time, fewer bytes or less memory, under the same settings."""
    base = results["settings"]["base"]
    found = []
    for row in results["echo"]:
        ours = cell(results, row["size"], row["mode"], row["level"], base)
        if row["server"] == base or "problem" in row or "problem" in ours:
            continue
        level = "" if row["mode"] == "plain" else f", level {row['level']}"
        where = f"{size_name(row['size'])}, {MODE_NAMES[row['mode']]}{level}"
        ratio = ratios(row, ours)
        if ratio < 1:
            noise = max(spread(row["microseconds"]), spread(ours["microseconds"]))
            doubt = ", less than the noise" if 1 - ratio < noise else ""
            found.append((0, f"- {row['server']}, {where}: {ratio:.2f} of {base}'s time{doubt}."))
        if row["sent"] < ours["sent"] * (1 - MATTERS):
            found.append((1, f"- {row['server']}, {where}: sends {row['sent'] / ours['sent']:.2f} of {base}'s bytes."))
    for row in results["memory"]:
        same = (r for r in results["memory"] if (r["mode"], r["bits"], r["server"]) == (row["mode"], row["bits"], base))
        ours = next(same, row)
        if "problem" not in row and "problem" not in ours and row["bytes"] < ours["bytes"] * (1 - MATTERS):
            bits = "" if row["mode"] == "plain" else f", {row['bits']} bits"
            ratio = row["bytes"] / ours["bytes"]
            found.append((2, f"- {row['server']}, {MODE_NAMES[row['mode']]}{bits}: {ratio:.2f} of {base}'s memory."))
    return [text for _, text in sorted(found, key=lambda one: one[0])] or ["Nowhere in this run."]


def memory_introduction(settings: dict) -> Iterator[str]:
    yield (
        f"Resident bytes of the server for each of {settings['idle_connections']} connections that exchanged a dozen "
        f"messages of {size_name(settings['memory_size'])} in turns and fell silent, KiB, median of "
        f"{settings['memory_rounds']} rounds; each library at its default level. `bits` is the window of the server; "
        "that of the client is 15."
    )


def memory_table(results: dict) -> Iterator[str]:
    servers = list(dict.fromkeys(row["server"] for row in results["memory"]))
    yield from head(("context", "bits", *servers), 1)
    for mode, bits in dict.fromkeys((row["mode"], row["bits"]) for row in results["memory"]):
        cells = []
        for server in servers:
            wanted = (mode, bits, server)
            row = next((r for r in results["memory"] if (r["mode"], r["bits"], r["server"]) == wanted), None)
            if row is None:
                cells.append("")
            elif "problem" in row:
                cells.append(f"cannot: {row['problem']}")
            else:
                cells.append(f"{row['bytes'] / 1024:.1f}")
        yield line(MODE_NAMES[mode], "" if mode == "plain" else bits, *cells)


def instructions(results: dict) -> Iterator[str]:
    yield (
        "In user space, counted by callgrind, which hides AVX-512 from the programs: nearly the same figure on every "
        "machine of this architecture, and not one of time. That of sockudo-ws differs by up to 3,500 between runs."
    )
    yield ""
    rows = results["instructions"]
    servers = list(dict.fromkeys(row["server"] for row in rows))
    yield from head(("context", "level", *servers), 1)
    for mode, level in dict.fromkeys((row["mode"], row["level"]) for row in rows):
        counts = {row["server"]: row["instructions"] for row in rows if (row["mode"], row["level"]) == (mode, level)}
        yield line(MODE_NAMES[mode], level or "", *(f"{counts[server]:,}" for server in servers))


def time_of(results: dict, row: dict) -> str:
    text = f"{statistics.median(row['microseconds']):.1f}"
    base = results["settings"]["base"]
    if row["server"] == base:
        return text
    ours = cell(results, row["size"], row["mode"], row["level"], base)
    return f"{text} ({ratios(row, ours):.2f})" if "problem" not in ours else text


def cell(results: dict, size: int, mode: str, level: int, server: str) -> dict | None:
    wanted = (size, mode, level, server)
    rows = results["echo"]
    return next((r for r in rows if (r["size"], r["mode"], r["level"], r["server"]) == wanted), None)


def ratios(row: dict, ours: dict) -> float:
    return statistics.median(theirs / own for theirs, own in zip(row["microseconds"], ours["microseconds"]))


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / 2 / statistics.median(values)
