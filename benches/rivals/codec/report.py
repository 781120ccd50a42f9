"""The measurements as tables in Markdown: the bars, ratios to the best rival, times, calls, growth, instructions."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator

from harness import codec
from harness.names import head, line, size_name
from harness.ratio import interval

OURS = ("taut", "bare", "memcpy")
UNITS = {
    "bytes": "byte",
    "bytes of text": "byte",
    "frames": "frame",
    "fragments": "fragment",
    "fragments of text": "fragment",
}


def write_report(results: dict) -> str:
    part = {"results": results["rows"]}
    return "\n".join(
        [
            "# The work in memory",
            "",
            *machine(results),
            *bars(part),
            *best(results["rows"]),
            *codec.tables(part),
            *moved(results["rows"]),
            *calls(results["rows"]),
            *growth(results["rows"]),
            *instructions(results["instructions"]),
            "",
        ]
    )


def machine(results: dict) -> Iterator[str]:
    told, settings = results["machine"], results["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    yield f"{told['processor']}, {told['cores']} cores; {told['system']}; {told['date']}. {versions}."
    yield (
        f"{settings['rounds']} rounds, {settings['turn']} µs for each turn at least. Medians; ratios are taken within "
        "a round, with the interval that holds the true median with a probability of 95 %, given six rounds or more."
    )


def bars(part: dict) -> Iterator[str]:
    yield from ("", "## Bars", "")
    yield "A bar is met when the interval of the ratio to each rival reaches it."
    yield ""
    yield from head(("work", "bar", "", "closest, or those that fail"), 4)
    for verdict in codec.verdicts(part):
        yield line(verdict.work, verdict.bar, verdict.met, verdict.detail)


def best(rows: list[dict]) -> Iterator[str]:
    """Each form of taut beside the fastest rival in the same case."""
    yield from ("", "## Beside the best rival", "")
    for work in ("receive", "send"):
        cases = codec.cases(rows, work)
        for role, kind in dict.fromkeys(case[1:3] for case in cases):
            here = {case[3]: found for case, found in cases.items() if case[1:3] == (role, kind)}
            yield from ("", f"### {work.capitalize()}, {role}, {kind}: ratio to the best rival", "")
            yield from head(("", *map(size_name, here)), 1)
            rivals = {size: fastest(found, rivals_in(found)) for size, found in here.items()}
            for who in ours_in(here.values()):
                yield line(who, *(ratio(found, who, rivals[size]) for size, found in here.items()))
            if role == "client" and work == "send":
                yield line("taut, borrowed, beside those who do the same", *map(copying, here.values()))
                yield line("taut, in place, beside those who do the same", *map(spending, here.values()))
            yield line("best rival", *rivals.values())


def copying(found: dict[str, list[float]]) -> str:
    return beside_same(found, codec.BORROWED)


def spending(found: dict[str, list[float]]) -> str:
    return beside_same(found, codec.IN_PLACE)


def beside_same(found: dict[str, list[float]], form: str) -> str:
    return ratio(found, form, fastest(found, rivals_in(codec.same_work(found, form))))


def fastest(found: dict[str, list[float]], of: list[str]) -> str:
    return min(of, key=lambda who: middle(found, who), default="")


def ratio(found: dict[str, list[float]], who: str, rival: str) -> str:
    if who not in found or rival not in found:
        return ""
    return str(interval([ours / theirs for ours, theirs in zip(found[who], found[rival])]))


def moved(rows: list[dict]) -> Iterator[str]:
    """Masks and validators where buffers are not aligned."""
    offsets = sorted({row["offset"] for row in rows if row.get("offset")})
    for work in ("mask", "utf8"):
        cases = codec.cases(rows, work)
        for kind, offset in dict.fromkeys((case[2], case[4]) for case in cases if case[4] in offsets):
            here = {case[3]: found for case, found in cases.items() if (case[2], case[4]) == (kind, offset)}
            title = ", ".join(word for word in (work, kind) if word)
            yield from ("", f"### {title[0].upper()}{title[1:]}, {offset} bytes behind a multiple of 64", "")
            yield from head(("", *map(size_name, here)), 1)
            for who in dict.fromkeys(who for found in here.values() for who in found):
                yield line(who, *(codec.digits(middle(found, who)) for found in here.values()))


def calls(rows: list[dict]) -> Iterator[str]:
    """Reads and writes a message: what a system call would cost is not in the times."""
    for work, name in (("receive", "Reads"), ("send", "Writes")):
        for role in ("server", "client"):
            here = [row for row in rows if (row["work"], row.get("role"), row.get("kind")) == (work, role, "binary")]
            if not here:
                continue
            sizes = list(dict.fromkeys(row["size"] for row in here))
            yield from ("", f"### {name} for each message, {role}, binary", "")
            yield from head(("", *map(size_name, sizes)), 1)
            for who in dict.fromkeys(row["who"] for row in here):
                found = {row["size"]: row["calls"] for row in here if row["who"] == who}
                yield line(who, *(f"{found[size]:.3g}" if size in found else "" for size in sizes))


def growth(rows: list[dict]) -> Iterator[str]:
    every = [row for row in rows if row["work"] == "growth" and row["nanoseconds"]]
    if not every:
        return
    yield from ("", "## Growth", "", "Received by a fresh connection of a server; nanoseconds for each unit.")
    for series in dict.fromkeys(row["series"] for row in every):
        here = [row for row in every if row["series"] == series]
        places = list(dict.fromkeys(row["place"] for row in here))
        yield from ("", f"### {series.capitalize()}: nanoseconds for each {UNITS[series]}", "")
        yield from head(("", *map(place_name, places)), 1)
        for who in dict.fromkeys(row["who"] for row in here):
            found = {row["place"]: statistics.median(row["nanoseconds"]) for row in here if row["who"] == who}
            yield line(who, *(f"{found[place] / place:.3g}" if place in found else "" for place in places))


def instructions(rows: list[dict]) -> Iterator[str]:
    if not rows:
        return
    yield from ("", "## Instructions", "")
    yield "For each message, by callgrind, which hides AVX-512 from the programs; the transport's copies are in it."
    for work, role in dict.fromkeys((row["work"], row["role"]) for row in rows):
        here = [row for row in rows if (row["work"], row["role"]) == (work, role)]
        cases = list(dict.fromkeys((row["kind"], row["size"]) for row in here))
        yield from ("", f"### {work.capitalize()}, {role}", "")
        yield from head(("", *(f"{size_name(size)} {kind}" for kind, size in cases)), 1)
        for who in dict.fromkeys(row["who"] for row in here):
            found = {(row["kind"], row["size"]): row["instructions"] for row in here if row["who"] == who}
            yield line(who, *(f"{found[case]:,.0f}" if case in found else "" for case in cases))


def middle(found: dict[str, list[float]], who: str) -> float:
    return statistics.median(found[who]) if who in found else float("inf")


def rivals_in(found: Iterable[str]) -> list[str]:
    return [who for who in found if not who.startswith(OURS)]


def ours_in(cases: Iterable[dict[str, list[float]]]) -> list[str]:
    return list(dict.fromkeys(who for found in cases for who in found if who.startswith("taut")))


def place_name(place: int) -> str:
    for shift, unit in ((20, "Mi"), (10, "Ki")):
        if place % (1 << shift) == 0:
            return f"{place >> shift} {unit}"
    return str(place)
