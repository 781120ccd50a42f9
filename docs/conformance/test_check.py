"""The check of the requirements: what is missing, gone or doubled fails."""

import runpy
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
CHECK: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("check")))

RFC = """\
1.  Introduction

   1. Introduction ................. 2

2.  Requirements

   A client MUST mask
   each frame.  A server MUST NOT mask (see control-
   frames); it SHOULD also close.

Fette & Melnikov             Standards Track                   [Page 1]
\f
RFC 6455                 The WebSocket Protocol            December 2011

   It MAY wait.
"""

TOML = """
[rfc.6455]
title = "The WebSocket Protocol"
[rfc.6455.keywords]
"2" = 3

[[row]]
at = "6455 2"
text = "A client MUST mask each frame."
who = "client"
code = ["src/a.rs: // a reason"]
test = ["tests/a.rs::masks"]

[[row]]
at = "6455 2"
text = "A server MUST NOT mask [...] it SHOULD also close."
who = "server"
code = ["src/a.rs: fn close("]
test = ["tests/a.rs#F1: masked", "tests/a.rs::in_a_table", "autobahn 1.1.*"]
"""

SOURCE = "// a reason\nfn close() {}\nfn close_twice() {}\n"

TESTS = """
#[tokio::test(start_paused = true)]
async fn masks() {}

fn helper() {}

table! {
    in_a_table: framing::ROWS,
}

    Row {
        id: "F1",
        section: "2",
        requirement: "what is \\
            masked",
        check: |_| words,
    },
"""


class Requirements(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for path, text in {
            "src/a.rs": SOURCE,
            "tests/a.rs": TESTS,
            "autobahn/expected.json": '{"cases": ["1.1.1"]}',
        }.items():
            (self.root / path).parent.mkdir(exist_ok=True)
            (self.root / path).write_text(text)

    def problems(self, toml: str, rfc: str = RFC) -> list[str]:
        requirements = CHECK["Requirements"].read(toml)
        repository = CHECK["Repository"](self.root)
        return [
            *CHECK["check_rows"](requirements, repository),
            *CHECK["check_counts"](requirements),
            *CHECK["check_rfc"](requirements, 6455, rfc),
        ]

    def assert_problem(self, words: str, old: str, new: str) -> None:
        self.assertIn(old, TOML)
        problems = self.problems(TOML.replace(old, new))
        self.assertTrue(any(words in problem for problem in problems), problems)

    def test_what_is_right_passes(self) -> None:
        self.assertEqual(self.problems(TOML), [])

    def test_code_has_to_be_there_once(self) -> None:
        self.assert_problem("0 lines of src/a.rs", "// a reason", "// no reason")
        self.assert_problem("2 lines of src/a.rs", "fn close(", "fn close")
        self.assert_problem("no file of that name", "src/a.rs: fn", "src/b.rs: fn")

    def test_tests_have_to_be_there(self) -> None:
        self.assert_problem("has no test hides", "::masks", "::hides")
        self.assert_problem("helper is no test", "::masks", "::helper")
        self.assert_problem("has no row F2", "#F1", "#F2")
        self.assert_problem("has no row F1", "F1: masked", "F1: words")
        self.assert_problem("no such case", "autobahn 1.1.*", "autobahn 1.2.*")

    def test_each_row_has_code_and_test_or_a_reason(self) -> None:
        test = 'test = ["tests/a.rs::masks"]'
        self.assert_problem("the reason why not", test, "")
        self.assertEqual(self.problems(TOML.replace(test, 'unless = "it is so"')), [])
        self.assert_problem("nobody is called", '"client"', '"somebody"')
        self.assert_problem("no such key", "who = ", "whom = ")
        self.assert_problem("a level beside", 'who = "client"', 'who = "client"\nlevel = "MUST"')

    def test_each_keyword_has_a_row(self) -> None:
        self.assert_problem("no row for", " [...] it SHOULD also close.", "")
        self.assert_problem("3 keywords, and 2 in the rows", " [...] it SHOULD also close.", "")
        more = RFC.replace("It MAY wait.", "It MUST wait.")
        self.assertTrue(any("no row for" in problem for problem in self.problems(TOML, more)))
        self.assertTrue(any("has 4 keywords" in problem for problem in self.problems(TOML, more)))

    def test_rows_are_the_words_of_their_section(self) -> None:
        self.assert_problem("no such words", "A client MUST mask", "A client MUST hide")
        self.assert_problem("another row has them", "A server MUST NOT mask [...] it", "A client MUST mask [...] it")
        self.assert_problem("no such section", '"6455 2"', '"6455 4"')

    def test_keywords_that_are_explained_are_none(self) -> None:
        explained = "3.  Words\n\n   MUST and SHOULD are to be interpreted as described in\n   RFC 2119.\n"
        self.assertEqual(self.problems(TOML, RFC + explained), [])

    def test_only_lines_may_differ(self) -> None:
        without_lines = CHECK["without_lines"]
        link = "[a.rs:1](../src/a.rs#L1)"
        self.assertEqual(without_lines(link), without_lines("[a.rs:20](../src/a.rs#L20)"))
        self.assertNotEqual(without_lines(link), without_lines("[b.rs:1](../src/b.rs#L1)"))


if __name__ == "__main__":
    unittest.main()
