"""What the library's documentation shows of the measurements is what was measured."""

from __future__ import annotations

import unittest

from harness.report import RESULTS, read, summarised


class Summary(unittest.TestCase):
    def test_it_is_made_of_the_results(self) -> None:
        there = (RESULTS / "summary.md").read_text(encoding="utf-8")
        self.assertEqual(there, summarised(read(None)), "summary.md is stale: run benches/rivals/run --redraw")


if __name__ == "__main__":
    unittest.main()
