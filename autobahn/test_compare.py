"""The comparison with expected.json: any difference fails, for better or worse."""

import runpy
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))

from harness.expected import Expected, InvalidFile, Selection, Verdict, matches  # noqa: E402


class Comparison(unittest.TestCase):
    def test_results_as_expected_pass(self):
        self.assertEqual(differences(compare(REPORT)), {})

    def test_a_worse_behaviour_fails(self):
        rows = compare({**REPORT, "1.1.1": result("FAILED", "OK")})
        self.assertEqual(differences(rows), {"1.1.1": "got FAILED / OK, wanted OK / OK"})

    def test_a_worse_close_fails(self):
        rows = compare({**REPORT, "1.1.1": result("OK", "UNCLEAN")})
        self.assertEqual(differences(rows), {"1.1.1": "got OK / UNCLEAN, wanted OK / OK"})

    def test_a_better_behaviour_than_the_exception_fails(self):
        rows = compare({**REPORT, "7.1.6": result("OK", "INFORMATIONAL")})
        self.assertEqual(list(differences(rows)), ["7.1.6"])

    def test_a_better_close_than_the_exception_fails(self):
        rows = compare({**REPORT, "7.1.6": result("INFORMATIONAL", "OK")})
        self.assertEqual(list(differences(rows)), ["7.1.6"])

    def test_a_missing_row_fails(self):
        report = dict(REPORT)
        del report["2.10"]
        self.assertEqual(
            differences(compare(report)), {"2.10": "missing from the report, wanted OK / OK"}
        )

    def test_an_empty_report_fails_every_row(self):
        self.assertEqual(list(differences(compare({}))), ["1.1.1", "2.9", "2.10", "7.1.6"])

    def test_an_unknown_row_fails_even_if_it_is_ok(self):
        rows = compare({**REPORT, "8.1": result("OK", "OK")})
        self.assertEqual(
            differences(rows), {"8.1": "got OK / OK, but expected.json has no such case"}
        )

    def test_a_row_without_verdicts_fails(self):
        self.assertEqual(list(differences(compare({**REPORT, "1.1.1": {}}))), ["1.1.1"])

    def test_an_exception_holds_for_its_roles_only(self):
        content = {**CONTENT, "exceptions": [{**EXCEPTION, "roles": ["client"]}]}
        expected = Expected.parse(content)
        self.assertEqual(differences(expected.compare("client", REPORT)), {})
        self.assertEqual(list(differences(expected.compare("server", REPORT))), ["7.1.6"])

    def test_a_subset_compares_only_itself(self):
        rows = compare({"2.9": result("OK", "OK")}, Selection(include=("2.9", "3.*")))
        self.assertEqual([(row.case, row.passed) for row in rows], [("2.9", True)])

    def test_an_excluded_case_is_not_compared(self):
        rows = compare({**REPORT, "2.10": result("FAILED", "FAILED")}, Selection(exclude=("2.10",)))
        self.assertEqual(differences(rows), {})

    def test_rows_stand_in_the_order_of_the_suite(self):
        self.assertEqual([row.case for row in compare(REPORT)], ["1.1.1", "2.9", "2.10", "7.1.6"])

    def test_a_passed_exception_carries_its_reason(self):
        self.assertEqual(compare(REPORT)[-1].reason, EXCEPTION["reason"])


class Patterns(unittest.TestCase):
    def test_patterns_match_as_in_the_suite(self):
        for pattern, case, wanted in (
            ("*", "1.1.1", True),
            ("1.*", "1.1.1", True),
            ("1.*", "10.1.1", False),
            ("9.1.*", "9.10.1", False),
            ("7.1.6", "7.1.6", True),
            ("7.1", "7.1.6", False),
        ):
            self.assertEqual(matches(pattern, case), wanted, (pattern, case))


class TheFile(unittest.TestCase):
    def test_an_exception_needs_a_reason(self):
        for reason in ("", "  ", None):
            self.assert_refused({"exceptions": [{**EXCEPTION, "reason": reason}]}, "has no reason")
        without = {key: value for key, value in EXCEPTION.items() if key != "reason"}
        self.assert_refused({"exceptions": [without]}, "must have the keys")

    def test_an_exception_must_be_one(self):
        equal = {**EXCEPTION, "behavior": "OK", "behaviorClose": "OK"}
        self.assert_refused({"exceptions": [equal]}, "equals the default")

    def test_an_exception_stands_once_and_names_a_case_and_roles(self):
        self.assert_refused({"exceptions": [EXCEPTION, EXCEPTION]}, "twice for the server")
        self.assert_refused({"exceptions": [{**EXCEPTION, "case": "7.1.7"}]}, "not among the cases")
        self.assert_refused({"exceptions": [{**EXCEPTION, "roles": []}]}, "roles must be")
        self.assert_refused({"exceptions": [{**EXCEPTION, "roles": ["peer"]}]}, "roles must be")

    def test_verdicts_are_words_of_the_suite(self):
        self.assert_refused({"exceptions": [{**EXCEPTION, "behavior": "FINE"}]}, "behavior must be")

    def test_a_case_is_an_id_and_stands_once(self):
        self.assert_refused({"cases": ["1.*"]}, "no case id")
        self.assert_refused({"cases": ["1.1.1", "1.1.1"]}, "stands there twice")

    def test_an_update_keeps_reasons_and_asks_for_new_ones(self):
        report = {**REPORT, "8.1": result("OK", "OK"), "2.9": result("OK", "UNCLEAN")}
        del report["2.10"]
        expected = Expected.parse(CONTENT)
        rows = [row for role in ("server", "client") for row in expected.compare(role, report)]
        updated = expected.updated(rows)
        self.assertEqual(updated.cases, ["1.1.1", "2.9", "7.1.6", "8.1"])
        self.assertEqual(
            [(e.case, e.roles, e.verdict, e.reason) for e in updated.exceptions],
            [
                ("2.9", ("server", "client"), Verdict("OK", "UNCLEAN"), ""),
                ("7.1.6", ("server", "client"), INFORMATIONAL, EXCEPTION["reason"]),
            ],
        )

    def test_an_update_of_a_subset_leaves_the_others(self):
        expected = Expected.parse(CONTENT)
        rows = [
            row
            for role in ("server", "client")
            for row in expected.compare(role, {"2.9": result("OK", "OK")}, Selection(include=("2.9",)))
        ]
        self.assertEqual(expected.updated(rows).dump(), expected.dump())

    def test_the_committed_file_excuses_only_what_the_suite_leaves_open(self):
        expected = Expected.load(HERE / "expected.json")
        self.assertEqual(expected.default, Verdict("OK", "OK"))
        self.assertEqual([e.case for e in expected.exceptions], ["7.1.6", "7.13.1", "7.13.2"])
        self.assertEqual({e.verdict for e in expected.exceptions}, {INFORMATIONAL})

    def test_the_committed_file_has_every_case_of_the_suite(self):
        cases = Expected.load(HERE / "expected.json").cases
        self.assertEqual((len(cases), len(set(cases))), (517, 517))

    def test_the_committed_file_is_written_as_an_update_writes_it(self):
        path = HERE / "expected.json"
        self.assertEqual(Expected.load(path).dump(), path.read_text(encoding="utf-8"))

    def assert_refused(self, change, message):
        with self.assertRaisesRegex(InvalidFile, message):
            Expected.parse({**CONTENT, **change})


class ForPrograms(unittest.TestCase):
    def test_each_case_has_its_verdict_or_none(self):
        run = runpy.run_path(str(HERE / "run"))
        report = {**REPORT, "1.1.1": result("FAILED", "OK")}
        del report["2.10"]
        role = SimpleNamespace(name="server", problems=["the testee died"])
        told = run["verdicts"](SimpleNamespace(version="1.2"), [role], {"server": compare(report)})
        self.assertEqual(told["suite"], "1.2")
        self.assertEqual(told["roles"]["server"]["problems"], ["the testee died"])
        cases = told["roles"]["server"]["cases"]
        self.assertEqual(cases["1.1.1"], ["FAILED", "OK"])
        self.assertEqual(cases["7.1.6"], ["INFORMATIONAL", "INFORMATIONAL"])
        self.assertIsNone(cases["2.10"])


def result(behavior, behavior_close):
    return {"behavior": behavior, "behaviorClose": behavior_close, "duration": 1, "remoteCloseCode": 1000}


def compare(report, selection=Selection()):
    return Expected.parse(CONTENT).compare("server", report, selection)


def differences(rows):
    return {row.case: row.difference for row in rows if not row.passed}


INFORMATIONAL = Verdict("INFORMATIONAL", "INFORMATIONAL")

EXCEPTION = {
    "case": "7.1.6",
    "roles": ["server", "client"],
    "behavior": "INFORMATIONAL",
    "behaviorClose": "INFORMATIONAL",
    "reason": "The suite has no opinion.",
}

CONTENT = {
    "default": {"behavior": "OK", "behaviorClose": "OK"},
    "cases": ["1.1.1", "2.9", "2.10", "7.1.6"],
    "exceptions": [EXCEPTION],
}

REPORT = {
    "1.1.1": result("OK", "OK"),
    "2.9": result("OK", "OK"),
    "2.10": result("OK", "OK"),
    "7.1.6": result("INFORMATIONAL", "INFORMATIONAL"),
}


if __name__ == "__main__":
    unittest.main()
