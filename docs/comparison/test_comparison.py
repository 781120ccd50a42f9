"""The comparison: a cell without a source, a source that is gone, and a case that is counted wrong each fail."""

from __future__ import annotations

import runpy
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benches" / "rivals"), str(HERE.parents[1] / "hub" / "compare")]

import figures  # noqa: E402
import page  # noqa: E402
import plots  # noqa: E402
from features import Failure, Features, Source, Wrong  # noqa: E402

FACTS: dict[str, Any] = runpy.run_path(str(HERE / "facts"))
MAKE: dict[str, Any] = runpy.run_path(str(HERE / "make"))

TOML = """
[[library]]
name = "taut"
packages = ["taut"]
[[library]]
name = "other"
packages = ["other-crate"]
[[library]]
name = "foreign"
repository = "https://example.com/foreign"
commit = "abc"

[[row]]
group = "Protocol"
name = "pings"
taut = ["no", "", "taut/src/a.rs: fn ping"]
other = ["yes", "by itself", "other-crate/src/b.rs: fn pong"]
foreign = ["–", "", ""]
"""

AUTOBAHN = {
    "compressed": True,
    "problems": [],
    "sections": {"1": 4, "12": 3},
    "not_ok": {
        "1.1": ["NON-STRICT", "OK"],
        "1.2": ["OK", "UNCLEAN"],
        "1.3": ["OK", "INFORMATIONAL"],
        "12.1": ["UNIMPLEMENTED", "OK"],
        "12.2": None,
    },
}

ATTACKS = {
    "servers": {"taut": "1", "other": "2"},
    "verdicts": {
        "must": {
            "masks": {"a": {"taut": "passed", "other": "failed"}, "b": {"taut": "passed"}},
            "close": {"c": {"taut": "skipped", "other": "failed"}},
        },
        "hardening": {"floods": {"d": {"taut": "failed", "other": "passed"}}},
    },
}


class TheFile(unittest.TestCase):
    def test_a_cell_for_each_library(self) -> None:
        self.assertEqual(list(Features.read(TOML).rows[0].cells), ["taut", "other", "foreign"])
        with self.assertRaisesRegex(Wrong, "no cell for other"):
            Features.read(TOML.replace("other = [", "# ["))
        with self.assertRaisesRegex(Wrong, "nobody is another"):
            Features.read(TOML.replace("other = [", "another = ["))

    def test_a_cell_needs_a_source(self) -> None:
        with self.assertRaisesRegex(Wrong, "no source"):
            Features.read(TOML.replace("taut/src/a.rs: fn ping", ""))

    def test_sources_say_where_and_what(self) -> None:
        self.assertEqual(Source.parse("a/src/b.rs: let c: d"), Source("a", "src/b.rs", "let c: d"))
        self.assertEqual(Source.parse("a/src!: word"), Source("a", "src", "word", absent=True))
        self.assertEqual(Source.parse("a/README.md"), Source("a", "README.md"))
        self.assertEqual(Source.parse("https://example.com/a: b"), Source("", "https://example.com/a: b"))
        for wrong in ("a", "a/b.rs: ", "a/: word"):
            with self.assertRaises(Wrong):
                Source.parse(wrong)


class Sources(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "src").mkdir()
        (self.folder / "src" / "b.rs").write_text("fn pong() {}\n")

    def look(self, source: str) -> None:
        parsed = Source.parse(source)
        assert parsed
        parsed.look(self.folder)

    def test_what_stands_there(self) -> None:
        self.look("a/src/b.rs: fn pong")
        self.look("a/src")
        with self.assertRaisesRegex(Wrong, "lacks 'fn ping'"):
            self.look("a/src/b.rs: fn ping")
        with self.assertRaisesRegex(Wrong, "has no src/c.rs"):
            self.look("a/src/c.rs")

    def test_what_stands_nowhere(self) -> None:
        self.look("a/src!: deflate")
        self.look("a/src/b.rs!: deflate")
        with self.assertRaisesRegex(Wrong, "src/b.rs has 'PONG'"):
            self.look("a/src!: PONG")

    def test_problems_name_the_cell(self) -> None:
        features = Features.read(TOML)
        folders = {"other-crate": self.folder, "taut": self.folder}
        self.assertEqual(FACTS["look"](features, folders), ["pings, taut: taut has no src/a.rs"])


class TheFacts(unittest.TestCase):
    def test_the_crates_below_one(self) -> None:
        lines = ["0root v0", "1before v1", "1other v2", "2shared v1", "3deep v1", "2shared v1", "1after v1", ""]
        self.assertEqual(FACTS["subtree"](lines, "other"), {"other v2", "shared v1", "deep v1"})
        with self.assertRaises(Wrong):
            FACTS["subtree"](lines, "missing")

    def test_lines_of_unsafe_code(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a.rs").write_text(
                '#![forbid(unsafe_code)]\n// unsafe\n/* unsafe\n unsafe */ let a = "unsafe \\" unsafe";\n'
                "unsafe { b() } // unsafe { c() }\nunsafe /* in\n two */ { unsafe { d() } }\n"
            )
            self.assertEqual(FACTS["unsafe_lines"](Path(folder)), 3)


class TheFigures(unittest.TestCase):
    def test_the_worse_of_two_verdicts(self) -> None:
        self.assertEqual(figures.verdict(["NON-STRICT", "OK"]), "NON-STRICT")
        self.assertEqual(figures.verdict(["NON-STRICT", "INFORMATIONAL"]), "INFORMATIONAL")
        for failed in (["OK", "UNCLEAN"], ["WRONG CODE", "OK"], ["FAILED", "INFORMATIONAL"], None):
            self.assertEqual(figures.verdict(failed), "FAILED")

    def test_cases_of_the_suite(self) -> None:
        without = {"OK": 1, "NON-STRICT": 1, "INFORMATIONAL": 1, "UNIMPLEMENTED": 0, "FAILED": 1}
        self.assertEqual(figures.suite(AUTOBAHN, page.SECTIONS), without)
        self.assertEqual(figures.suite(AUTOBAHN, ("1",)), without)
        compression = {"OK": 1, "NON-STRICT": 0, "INFORMATIONAL": 0, "UNIMPLEMENTED": 1, "FAILED": 1}
        self.assertEqual(figures.suite(AUTOBAHN, figures.DEFLATE), compression)
        self.assertEqual(page.failures_of(AUTOBAHN), ["1.2", "12.2"])

    def test_cases_of_the_attacks(self) -> None:
        self.assertEqual(figures.attacked(ATTACKS, "must", "taut"), {"passed": 2, "failed": 0, "skipped": 1})
        self.assertEqual(figures.attacked(ATTACKS, "must", "other", "masks"), {"passed": 0, "failed": 1, "skipped": 0})
        self.assertEqual(figures.attack_groups(ATTACKS), ["masks", "close", "floods"])

    def test_memory_is_that_of_the_widest_windows(self) -> None:
        rows = [
            {"mode": "plain", "bits": 15, "server": "a", "bytes": 1},
            {"mode": "takeover", "bits": 15, "server": "a", "bytes": 3},
            {"mode": "takeover", "bits": 9, "server": "a", "bytes": 2},
        ]
        self.assertEqual(figures.compressing_memory({"deflate": {"memory": rows}}), {"a": {"plain": 1, "takeover": 3}})


class ThePage(unittest.TestCase):
    def page(self, facts: dict) -> page.Page:
        data = figures.Data({}, {}, {}, ATTACKS, {"servers": {"other": AUTOBAHN}}, facts)
        return page.Page(data, Features.read(TOML))

    def test_what_is_less_here_than_there(self) -> None:
        facts = {
            "taut": {"crates": 9, "rust": "1.9"},
            "a": {"crates": 8, "rust": "1.10"},
            "b": {"crates": 9, "rust": None},
        }
        made = self.page(facts)
        self.assertEqual(made.less("crates"), ["a (8)"])
        self.assertEqual(made.less("rust"), [])

    def test_reasons_are_told_of_what_fails(self) -> None:
        made = self.page({})
        made.features.failures.append(Failure("other", "1.", "a limit", Source("", "https://example.com/")))
        self.assertEqual(made.why("other", ["1.2"]), ": a limit ([source](https://example.com/))")
        self.assertEqual(made.why("other", ["12.1"]), "")
        self.assertEqual(made.why("another", ["1.2"]), "")

    def test_links(self) -> None:
        made = self.page({"other": {"versions": {"other-crate": "1.2.3"}}})
        for source, address in (
            ("other-crate/src/b.rs: c", "https://docs.rs/crate/other-crate/1.2.3/source/src/b.rs"),
            ("other-crate/src!: c", "https://docs.rs/crate/other-crate/1.2.3/source/src/"),
            ("foreign/src/c.h", "https://example.com/foreign/blob/abc/src/c.h"),
            ("taut/src/a.rs", "../src/a.rs"),
            ("taut/docs/a.md", "a.md"),
            ("https://example.com/", "https://example.com/"),
        ):
            parsed = Source.parse(source)
            assert parsed
            self.assertEqual(made.link(parsed), address)

    def test_failures_stand_out(self) -> None:
        self.assertEqual(page.verdicts_told(figures.suite(AUTOBAHN, page.SECTIONS)), "1 / 1 / **1**")
        self.assertEqual(page.verdicts_told(dict.fromkeys(figures.VERDICTS, 0) | {"OK": 3, "INFORMATIONAL": 1}), "3")

    def test_bars_are_as_long_as_their_values(self) -> None:
        bars = [
            plots.Bar(name, (plots.Part("failed", "#000", value),), "")
            for name, value in (("a", 4), ("b", 2), ("c", 0))
        ]
        drawn = plots.stacked("Title", [], [("panel", bars)])
        lengths = [
            float(piece.split('width="')[1].split('"')[0])
            for piece in drawn.splitlines()
            if ": 4 failed" in piece or ": 2 failed" in piece
        ]
        self.assertAlmostEqual(lengths[0], 2 * lengths[1], delta=0.2)

    def test_a_stale_file_is_noticed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.md"
            self.assertFalse(MAKE["same"](file, "text"))
            file.write_text("text")
            self.assertTrue(MAKE["same"](file, "text"))
            self.assertFalse(MAKE["same"](file, "other text"))


if __name__ == "__main__":
    unittest.main()
