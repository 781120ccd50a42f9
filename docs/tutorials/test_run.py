"""The runner of the tutorials: it finds what a reader sees, and fails where that is not what happens."""

import runpy
import shutil
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
RUN: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("run")))
FAILED: type[Exception] = RUN["Failed"]


class TestBlocks(unittest.TestCase):
    def test_a_block_has_the_paragraph_before_it(self) -> None:
        text = "# One\n\nA server;\n`src/main.rs`:\n\n```rust\nfn main() {}\n```\n\nIn a second terminal:\n\n```console\n$ ls\n```\n"
        rust, console = RUN["blocks"](text)
        self.assertEqual((rust.language, rust.line, rust.file), ("rust", 6, "src/main.rs"))
        self.assertEqual(rust.text, "fn main() {}\n")
        self.assertEqual((console.file, console.terminal), (None, 2))

    def test_only_a_paragraph_that_ends_in_a_name_names_a_file(self) -> None:
        for lead, name in [("`a.rs`:", "a.rs"), ("See `a.rs`.", None), ("`a.rs` is it:", None), ("x; `b/c.toml`:", "b/c.toml")]:
            self.assertEqual(RUN["Block"](1, "rust", "", lead).file, name, lead)

    def test_the_last_terminal_that_is_named_counts(self) -> None:
        for lead, number in [("The first terminal; in the third\nterminal:", 3), ("First, a terminal:", None)]:
            self.assertEqual(RUN["Block"](1, "console", "", " ".join(lead.split())).terminal, number)

    def test_steps_are_what_is_typed_and_what_follows(self) -> None:
        steps = RUN["steps"]("from before\n$ one \\\n    two\nout\n\n> typed\n^C\n")
        self.assertEqual(
            [(step.kind, step.typed, step.shown) for step in steps],
            [("", "", ["from before"]), ("$", "one two", ["out"]), (">", "typed", []), ("^C", "", [])],
        )


class TestDiffs(unittest.TestCase):
    OLD = "one\ntwo\n\nthree\ntwo\n"

    def test_hunks_are_applied(self) -> None:
        diff = "-one\n+ONE\n two\n@@\n three\n+four\n"
        self.assertEqual(RUN["changed"](self.OLD, diff), "ONE\ntwo\n\nthree\nfour\ntwo\n")

    def test_an_empty_line_is_a_line_of_both(self) -> None:
        self.assertEqual(RUN["changed"](self.OLD, "\n-three\n+drei\n"), "one\ntwo\n\ndrei\ntwo\n")

    def test_a_hunk_has_to_fit_at_one_place(self) -> None:
        for diff in ("-two\n+zwei\n", "-wo\n+zwei\n", "-five\n", "no diff\n"):
            with self.assertRaises(FAILED, msg=diff):
                RUN["changed"](self.OLD, diff)


class TestDocuments(unittest.TestCase):
    def test_documents_that_want_the_program_of_the_hub(self) -> None:
        for text, wants in [("$ taut serve", True), ("x\ntaut token --user a", True), ('taut = "0.1"', False)]:
            self.assertEqual(RUN["OF_THE_HUB"].search(text) is not None, wants, text)


class TestPorts(unittest.TestCase):
    def test_ports_of_this_machine_are_others_everywhere(self) -> None:
        text = RUN["with_free_ports"]("listen 9001; http://127.0.0.1:9001/ 127.0.0.1:9002 19001 10.0.0.1:9003 127.0.0.1:0")
        self.assertNotRegex(text, r"\b900[12]\b")
        self.assertIn("19001 10.0.0.1:9003 127.0.0.1:0", text)


class TestTutorials(unittest.TestCase):
    """Whole documents, in a shell without cargo."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def follow(self, text: str, patience: float = 30.0) -> None:
        tutorial = self.folder / "some.md"
        tutorial.write_text(textwrap.dedent(text))
        environment = RUN["environment_for"](self.folder / "target", None)
        RUN["follow"](tutorial, self.folder / "work", environment, patience)

    def fails(self, text: str, why: str, patience: float = 30.0) -> None:
        with self.assertRaisesRegex(FAILED, why):
            self.follow(text, patience)

    def test_files_commands_and_outputs(self) -> None:
        self.follow(
            """
            ```console
            $ mkdir project
            $ cd project
            ```

            `in/words`:

            ```text-file
            one
            two
            ```

            Changed; `in/words`:

            ```diff
             one
            -two
            +three
            ```

            ```console
            $ cat in/words
            one
            t…e
            $ seq 10
            1
            …
            9
            10
            $ seq 10
            1
            …
            ```

            In a second terminal, which begins in the same folder:

            ```console
            $ cat
            > straße
            straße
            ^C
            ```
            """
        )

    def test_terminals_run_side_by_side(self) -> None:
        self.follow(
            """
            ```console
            $ mkfifo pipe
            $ echo ready; cat pipe; cat
            ready
            ```

            In a second terminal:

            ```console
            $ echo from the second > pipe
            ```

            In the first terminal:

            ```console
            from the second
            > and on
            and on
            ```
            """
        )

    def test_what_comes_has_to_be_what_is_shown(self) -> None:
        self.fails("```console\n$ echo one\ntwo\n```\n", "some.md:1: shown:\n    two\ncame:\n    one")
        self.fails("```console\n$ printf 'one\\ntwo\\n'; cat\ntwo\n```\n", "came")
        self.fails("```console\n$ echo one\none\ntwo\n```\n", "shown")
        self.fails("```console\n$ printf 'one\\ntwo\\n'\none\n$ true\n```\n", "not shown:\n    two")
        self.fails("```console\n$ echo one\n```\n", "not shown")

    def test_what_a_terminal_said_last_counts_too(self) -> None:
        self.fails("```console\n$ echo one; sleep 0.1; echo two\none\n```\n\n```console\n$ true\n```\n", "not shown")

    def test_commands_have_to_succeed(self) -> None:
        self.fails("```console\n$ false\n```\n", "status 1")
        self.fails("```console\n$ echo one; false\none\n$ true\n```\n", "status 1")

    def test_a_command_that_shows_nothing_has_to_end(self) -> None:
        self.fails("```console\n$ cat\n```\n", "in vain", patience=0.3)

    def test_a_script_is_pasted_as_a_whole(self) -> None:
        self.follow("```sh\nsleep 1000 &\ncat <<END > words\none\nEND\n```\n\n```sh\ngrep one words\nkill %1\n```\n")
        self.fails("```sh\nfalse\ntrue\n```\n", "the shell ended")
        self.fails("```sh\nsleep 1000 &\nfalse\n```\n", "the shell ended")
        self.fails("```sh\necho left > some.log; false | true\n```\n", "in some.log:\n    left")

    def test_a_block_wants_a_file(self) -> None:
        self.fails("Here:\n\n```rust\nfn main() {}\n```\n", "some.md:3: the paragraph before it names no file")

    def test_programs_are_formatted(self) -> None:
        self.follow("Well; `a.rs`:\n\n```rust\nfn main() {}\n```\n")
        self.fails("Not; `a.rs`:\n\n```rust\nfn main(){}\n```\n", "rustfmt")

    def test_nothing_runs_on_behind_it(self) -> None:
        for ignore in ("", "trap '' HUP; "):
            self.follow(f"```console\n$ sh -c \"{ignore}echo \\$\\$ > pid; echo running; sleep 1000\"\nrunning\n```\n")
            pid = int((self.folder / "work/pid").read_text())
            stat = Path(f"/proc/{pid}/stat")
            # Whoever takes over the orphans may not have collected it.
            self.assertTrue(not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z", ignore)


if __name__ == "__main__":
    unittest.main()
