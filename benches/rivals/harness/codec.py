"""The work in memory, which codec/run measures: one row for each work, case and contestant, with the nanoseconds of
each round. What it is held against, and its tables."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Iterator

from harness.machine import HERE
from harness.names import head, line, size_name
from harness.ratio import Interval, interval
from harness.verdict import Case, Verdict, verdict

RUN = HERE / "codec" / "run"

BORROWED, OWNED = "taut, borrowed", "taut, owned"
# Read into memory of the connection, out of which large messages are shared, as rivals do.
SHARED = "taut, owned, large_input()"
IN_PLACE = "taut, in place"
# Rivals whose work is another when they send as a client. Whose masking keys anybody can guess, which RFC 6455 §5.3 and
# §10.3 forbid: fast generators, the default of these or the one that they are faster with.
GUESSED = ("tokio-websockets", "wtx", "sockudo-ws")
# Who masks the caller's buffer, which is spent then.
SPENDING = ("fastwebsockets", "soketto", "wtx")
BARE = "bare"
# Ours, and the bounds.
NO_RIVALS = ("taut", "bare", "memcpy")

SMALL = 125
BORROWED_BINARY, BORROWED_TEXT = 0.35, 0.5
MEDIUM = 1024
OWNED_MEDIUM, NEAR_BARE = 0.8, 1.05

CASE = ("role", "kind", "size", "offset")

Cases = dict[tuple, dict[str, list[float]]]


def rows(part: dict) -> list[dict]:
    found = part["results"]
    return found if isinstance(found, list) else found["rows"]


def verdicts(part: dict | None) -> list[Verdict]:
    every = rows(part) if part else []
    receive, send = cases(every, "receive"), cases(every, "send")
    best = "the best rival"
    return [
        verdict(
            "receive in memory, borrowed, ≤ 125 B",
            f"≤ {BORROWED_BINARY} × {best} for binary, ≤ {BORROWED_TEXT} × for text",
            (borrowed(case, found) for case, found in receive.items() if size_of(case) <= SMALL),
        ),
        verdict(
            "receive in memory, owned, every size",
            f"≤ {OWNED_MEDIUM} × {best} up to 1 KiB; above, ≤ 1.0 × or ≤ {NEAR_BARE} × the bare parser, shared or copied",
            (owned(case, found) for case, found in receive.items()),
        ),
        verdict(
            "send in memory, both roles, every size",
            f"≤ 1.0 × {best} at the same work: a client's keys that nobody can guess, and masks in a copy; or both in place",
            (one for case, found in send.items() for one in sent(case, found)),
        ),
        verdict(
            "masking and UTF-8 alone, every size",
            f"≤ 1.0 × {best}",
            (
                hardest(case, found, next((one for one in found if one.startswith("taut")), ""), 1.0)
                for work in ("mask", "utf8")
                for case, found in cases(every, work).items()
            ),
        ),
    ]


def cases(every: Iterable[dict], work: str) -> Cases:
    found: Cases = {}
    for row in every:
        if row["work"] == work and row["nanoseconds"]:
            case = (work, *(row.get(name) for name in CASE))
            found.setdefault(case, {})[row["who"]] = row["nanoseconds"]
    return found


def size_of(case: tuple) -> int:
    return case[1 + CASE.index("size")]


def borrowed(case: tuple, found: dict[str, list[float]]) -> Case | None:
    bar = BORROWED_BINARY if case[1 + CASE.index("kind")] == "binary" else BORROWED_TEXT
    return hardest(case, found, BORROWED, bar)


def owned(case: tuple, found: dict[str, list[float]]) -> Case | None:
    if size_of(case) <= MEDIUM:
        return hardest(case, found, OWNED, OWNED_MEDIUM)
    form = better(found, (OWNED, SHARED))
    against = hardest(case, found, form, 1.0)
    if against is None:
        return None
    name = f"{against.name}, {'shared' if form == SHARED else 'copied'}"
    if not against.met and BARE in found:
        near = ratio(found[form], found[BARE])
        if near.reaches(NEAR_BARE):
            return Case(name, True, f"{near} × the bare parser", near.median)
    return dataclasses.replace(against, name=name)


def sent(case: tuple, found: dict[str, list[float]]) -> Iterator[Case | None]:
    """Each form of taut against the rivals that do the same."""
    form = better(found, (BORROWED, OWNED))
    if case[1 + CASE.index("role")] == "server":
        yield hardest(case, found, form, 1.0)
        return
    yield hardest(case, same_work(found, form), form, 1.0)
    in_place = hardest(case, same_work(found, IN_PLACE), IN_PLACE, 1.0)
    yield in_place and dataclasses.replace(in_place, name=f"{in_place.name}, in place")


def same_work(found: dict[str, list[float]], form: str) -> dict[str, list[float]]:
    """A form of taut as a client that sends, with the rivals that do the same."""
    spends = form == IN_PLACE
    return {
        who: samples
        for who, samples in found.items()
        if who == form
        or not who.startswith(NO_RIVALS)
        and who not in GUESSED
        and (who in SPENDING) == spends
    }


def better(found: dict[str, list[float]], forms: Iterable[str]) -> str:
    """The form of taut that takes less."""
    ours = [one for one in forms if one in found]
    return min(ours, key=lambda one: statistics.median(found[one]), default="")


def hardest(case: tuple, found: dict[str, list[float]], ours: str, bar: float) -> Case | None:
    """Against the rival that is hardest to reach."""
    rivals = [who for who in found if not who.startswith(NO_RIVALS)]
    if ours not in found or not rivals:
        return None
    ratios = [(ratio(found[ours], found[who]), who) for who in rivals]
    worst, who = max(ratios, key=lambda pair: (not pair[0].reaches(bar), pair[0].median))
    return Case(case_name(case), worst.reaches(bar), f"{worst} × {who}", worst.median / bar)


def ratio(ours: list[float], theirs: list[float]) -> Interval:
    """Of each round, in which they took turns."""
    return interval([mine / other for mine, other in zip(ours, theirs)])


def case_name(case: tuple) -> str:
    work, role, kind, size, offset = case
    moved = f"offset {offset}" if offset else None
    return ", ".join(str(part) for part in (work, role, kind, size_name(size), moved) if part is not None)


def tables(part: dict) -> Iterator[str]:
    """Nanoseconds for a message, or for a buffer, by size."""
    yield from ("", "## The same work in memory", "")
    yield "Nanoseconds for a message, or for a buffer; medians of rounds in which all take turns."
    every = rows(part)
    groups: dict[str, Cases] = {}
    for work in ("receive", "send", "mask", "utf8"):
        for case, found in cases(every, work).items():
            _, role, kind, _, offset = case
            if not offset:
                title = ", ".join(word for word in (work, role, kind) if word)
                groups.setdefault(title, {})[case] = found
    for title, found in groups.items():
        yield from ("", f"### {title[0].upper()}{title[1:]}", "")
        yield from head(("", *(size_name(size_of(case)) for case in found)), 1)
        for who in dict.fromkeys(who for players in found.values() for who in players):
            values = (players.get(who) for players in found.values())
            yield line(who, *("" if one is None else digits(statistics.median(one)) for one in values))


def digits(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{float(f'{value:.3g}'):,.0f}"
