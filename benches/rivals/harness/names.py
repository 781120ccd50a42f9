"""How figures and scenarios are written, in tables and plots."""

from __future__ import annotations

from collections.abc import Iterator

KINDS = {"text": " text", "mixed": " mixed text"}


def scenario_name(scenario: str) -> str:
    size, connections, depth, *kind = scenario.split(",")
    many = "1 connection" if connections == "1" else f"{int(connections):,} connections"
    return f"{size_name(int(size))}{KINDS[kind[0]] if kind else ''} · {many} · depth {depth}"


def size_name(size: int) -> str:
    if size and size % (1 << 20) == 0:
        return f"{size >> 20} MiB"
    return f"{size >> 10} KiB" if size and size % 1024 == 0 else f"{size} B"


def count_name(size: float) -> str:
    """A number of bytes that need not be round."""
    return f"{size:,.0f} B" if size < 1024 else f"{size / 1024:.3g} KiB"


def time_name(nanoseconds: float, unit: bool = True) -> str:
    """Three digits; for a plot with the unit that fits, for a table in nanoseconds."""
    if not unit:
        return f"{float(f'{nanoseconds:.3g}'):,.0f}"
    if nanoseconds >= 1000:
        return f"{nanoseconds / 1000:.3g} µs"
    return f"{nanoseconds:.3g} ns" if nanoseconds else "0"


def head(columns: tuple[str, ...], names: int) -> Iterator[str]:
    """A row of titles, of which so many stand over words and the others over figures."""
    yield line(*columns)
    yield "|" + "|".join("---" if number < names else "--:" for number in range(len(columns))) + "|"


def line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
