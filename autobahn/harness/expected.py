"""What each case of the suite must do, and how a report compares with it.

The committed `expected.json` lists every case by its id, one default result, and the exceptions to
it, each with its reason. A report that differs from it fails in both directions: a worse result is
a regression, a better one an exception that has lost its reason.
"""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROLES = ("server", "client")

# The verdicts of the suite (`autobahntestsuite/case/case.py`); any other word is a typing error.
BEHAVIORS = (
    "OK",
    "NON-STRICT",
    "INFORMATIONAL",
    "UNIMPLEMENTED",
    "WRONG CODE",
    "UNCLEAN",
    "FAILED BY CLIENT",
    "FAILED",
)

# In milliseconds. A case whose opening handshake failed has no beginning: the suite measures it from
# the year 1970.
DAY = 86_400_000


class InvalidFile(Exception):
    """`expected.json` breaks its own rules; the message says which, and where."""


@dataclass(frozen=True)
class Verdict:
    """What the suite says of one case: its behaviour, and how it was closed."""

    behavior: str
    behavior_close: str

    def __str__(self):
        return f"{self.behavior} / {self.behavior_close}"


@dataclass(frozen=True)
class Exemption:
    """A case that is expected to differ from the default, in some roles, for a reason."""

    case: str
    roles: tuple
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Selection:
    """The cases of one run: patterns to include, patterns to leave out."""

    include: tuple = ("*",)
    exclude: tuple = ()

    def __contains__(self, case):
        return _any_matches(self.include, case) and not _any_matches(self.exclude, case)


@dataclass(frozen=True)
class Row:
    """One case in one role: what was wanted, what came."""

    role: str
    case: str
    wanted: Verdict | None
    got: Verdict | None
    milliseconds: int = 0
    remote_code: int | None = None
    reason: str = ""

    @property
    def passed(self):
        return self.wanted is not None and self.wanted == self.got

    @property
    def difference(self):
        """Why the row failed, in words; empty if it passed."""
        if self.passed:
            return ""
        if self.wanted is None:
            return f"got {self.got}, but expected.json has no such case"
        if self.got is None:
            return f"missing from the report, wanted {self.wanted}"
        return f"got {self.got}, wanted {self.wanted}"


class Expected:
    """The content of `expected.json`."""

    def __init__(self, default, cases, exceptions):
        self.default = default
        self.cases = list(cases)
        self.exceptions = list(exceptions)
        self._by_role_and_case = {(role, e.case): e for e in self.exceptions for role in e.roles}

    @classmethod
    def load(cls, path):
        """Reads and checks the file. Raises `InvalidFile`."""
        try:
            return cls.parse(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InvalidFile(f"{path}: {error}") from error
        except InvalidFile as error:
            raise InvalidFile(f"{path}: {error}") from error

    @classmethod
    def parse(cls, content):
        """Checks a decoded file. Raises `InvalidFile`."""
        _check_keys("the file", content, {"default", "cases", "exceptions"})
        default = _verdict("default", content["default"])
        _check_keys("default", content["default"], {"behavior", "behaviorClose"})
        cases = content["cases"]
        for case in cases:
            if not re.fullmatch(r"\d+(\.\d+)+", case):
                raise InvalidFile(f"cases: '{case}' is no case id such as 1.2.3")
        for case in sorted({case for case in cases if cases.count(case) > 1}, key=sort_key):
            raise InvalidFile(f"cases: {case} stands there twice")

        exceptions, seen = [], set()
        for content_of_row in content["exceptions"]:
            exception = _exception(content_of_row)
            where = f"exception {exception.case}"
            if exception.case not in cases:
                raise InvalidFile(f"{where}: is not among the cases")
            if exception.verdict == default:
                raise InvalidFile(f"{where}: equals the default; remove it")
            for role in exception.roles:
                if (role, exception.case) in seen:
                    raise InvalidFile(f"{where}: stands there twice for the {role}")
                seen.add((role, exception.case))
            exceptions.append(exception)
        return cls(default, cases, exceptions)

    def compare(self, role, report, selection=Selection()):
        """A row for each selected case that is expected or reported, in the suite's order.

        `report` is the suite's `index.json` for one agent: case id to its results.
        """
        cases = {case for case in (*self.cases, *report) if case in selection}
        return [self._row(role, case, report.get(case)) for case in sorted(cases, key=sort_key)]

    def updated(self, rows):
        """The same file with the results of `rows`, which hold every role.

        Reasons are kept; an exception that is new has none, so that the file cannot be loaded until
        someone writes it.
        """
        selected = {row.case for row in rows}
        cases = {case for case in self.cases if case not in selected}
        cases |= {row.case for row in rows if row.got is not None}
        exceptions = [e for e in self.exceptions if e.case not in selected]
        grouped = {}
        for row in rows:
            if row.got is not None and row.got != self.default:
                grouped.setdefault((row.case, row.got), []).append(row)
        for (case, verdict), same in grouped.items():
            reason = next((row.reason for row in same if row.wanted == verdict), "")
            roles = tuple(role for role in ROLES if role in {row.role for row in same})
            exceptions.append(Exemption(case, roles, verdict, reason))
        exceptions.sort(key=lambda e: (sort_key(e.case), e.roles))
        return Expected(self.default, sorted(cases, key=sort_key), exceptions)

    def dump(self):
        """The file's text: a line or more for each group of cases, two lines for each exception."""
        groups = {}
        for case in self.cases:
            groups.setdefault(case.rpartition(".")[0], []).append(json.dumps(case))
        indent = {"initial_indent": "    ", "subsequent_indent": "      "}
        cases = [textwrap.fill(", ".join(group), width=110, **indent) for group in groups.values()]
        rows = [
            "    {%s,\n     %s}"
            % (
                json.dumps({"case": e.case, "roles": e.roles, **_verdict_as_json(e.verdict)})[1:-1],
                json.dumps({"reason": e.reason}, ensure_ascii=False)[1:-1],
            )
            for e in self.exceptions
        ]
        return (
            "{\n"
            + f'  "default": {json.dumps(_verdict_as_json(self.default))},\n'
            + '  "cases": [\n' + ",\n".join(cases) + "\n  ],\n"
            + '  "exceptions": [\n' + ",\n".join(rows) + "\n  ]\n"
            + "}\n"
        )

    def _row(self, role, case, result):
        exception = self._by_role_and_case.get((role, case))
        wanted = None
        if case in self.cases:
            wanted = exception.verdict if exception else self.default
        if result is None:
            return Row(role, case, wanted, None)
        milliseconds = result.get("duration", 0)
        return Row(
            role,
            case,
            wanted,
            Verdict(result.get("behavior", "?"), result.get("behaviorClose", "?")),
            milliseconds=milliseconds if milliseconds < DAY else 0,
            remote_code=result.get("remoteCloseCode"),
            reason=exception.reason if exception else "",
        )


def sort_key(case):
    """Orders case ids as the suite does: 2.9 before 2.10."""
    return tuple(int(part) for part in case.split("."))


def matches(pattern, case):
    """Whether a case matches a pattern, by the rule of the suite: `*` is any text, and a pattern
    with a `*` matches the start of the id; one without matches the whole."""
    if "*" not in pattern:
        return pattern == case
    return re.match(re.escape(pattern).replace(r"\*", ".*"), case) is not None


def _any_matches(patterns, case):
    return any(matches(pattern, case) for pattern in patterns)


def _exception(content):
    where = f"exception {content.get('case', '?')}"
    _check_keys(where, content, {"case", "roles", "behavior", "behaviorClose", "reason"})
    roles = tuple(content["roles"])
    if not roles or not set(roles) <= set(ROLES):
        raise InvalidFile(f"{where}: roles must be some of {', '.join(ROLES)}")
    if not isinstance(content["reason"], str) or not content["reason"].strip():
        raise InvalidFile(f"{where}: has no reason; write why the result is right, or fix it")
    return Exemption(content["case"], roles, _verdict(where, content), content["reason"])


def _verdict(where, content):
    for key in ("behavior", "behaviorClose"):
        if content.get(key) not in BEHAVIORS:
            raise InvalidFile(f"{where}: {key} must be one of {', '.join(BEHAVIORS)}")
    return Verdict(content["behavior"], content["behaviorClose"])


def _verdict_as_json(verdict):
    return {"behavior": verdict.behavior, "behaviorClose": verdict.behavior_close}


def _check_keys(where, content, wanted):
    if set(content) != wanted:
        raise InvalidFile(f"{where}: must have the keys {', '.join(sorted(wanted))} and no others")
