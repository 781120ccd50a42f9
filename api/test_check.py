"""The checks of the public API and of the archive: each difference is told for what it is."""

import runpy
import sys
import unittest
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
CHECK: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("check")))

OLD = [
    "version 0.1.3",
    "crate bytes 1",
    "pub fn taut::a()",
    "pub fn taut::b(u8)",
    "pub enum taut::c::Closed",
    "pub taut::c::Closed::One",
    "#[non_exhaustive] pub enum taut::c::Open",
    "pub taut::c::Open::One",
    "#[non_exhaustive] pub taut::c::Open::Two",
    "pub struct taut::c::Fields<'a>",
    "pub trait taut::c::Trait: core::marker::Send",
]


def report(new: list[str], version: str = "0.1.4") -> str:
    gone, come = CHECK["compare"](OLD, [f"version {version}", *new])
    return CHECK["describe"](OLD, gone, come, version)


class Surface(unittest.TestCase):
    def test_what_is_as_it_was_is_no_difference(self) -> None:
        self.assertEqual(report(OLD[1:], "0.1.3"), "")

    def test_a_new_line_breaks_nothing(self) -> None:
        said = report([*OLD[1:], "pub fn taut::c()"])
        self.assertIn("+ pub fn taut::c()", said)
        self.assertIn("grew", said)
        self.assertNotIn("breaks", said)

    def test_a_line_that_went_or_changed_breaks_programs(self) -> None:
        for new in [[*OLD[1:3], *OLD[4:]], [*OLD[1:3], "pub fn taut::b(u16)", *OLD[4:]]]:
            said = report(new)
            self.assertIn("- pub fn taut::b(u8)", said)
            self.assertIn("breaks programs that use taut 0.1.3", said)
            self.assertIn("next version is 0.2", said)

    def test_another_major_version_of_a_crate_breaks_programs(self) -> None:
        self.assertIn("breaks", report(["crate bytes 2", *OLD[2:]]))

    def test_a_variant_or_field_breaks_programs_where_all_were_known(self) -> None:
        for line, breaks in [
            ("pub taut::c::Closed::Two(u8)", True),
            ("pub taut::c::Open::Three", False),
            ("#[non_exhaustive] pub taut::c::Open::Three", False),
            ("pub taut::c::Open::One::field: u8", True),
            ("pub taut::c::Open::Two::field: u8", False),
            ("pub taut::c::Fields::more: &'a u8", True),
            ("pub const fn taut::c::Fields<'a>::more(&self)", False),
            ("pub const taut::c::Fields::MORE: u8", False),
        ]:
            self.assertEqual("breaks" in report([*OLD[1:], line]), breaks, line)

    def test_what_a_trait_wants_breaks_programs_and_what_it_offers_does_not(self) -> None:
        method = "pub fn taut::c::Trait::more(&self)"
        self.assertNotIn("breaks", report([*OLD[1:], method]))
        self.assertIn("breaks", report([*OLD[1:], method, "required taut::c::Trait::more"]))
        # All of a new trait is new.
        new = ["pub trait taut::New", "pub fn taut::New::a(&self)", "required taut::New::a"]
        self.assertNotIn("breaks", report([*OLD[1:], *new]))

    def test_what_must_be_given_is_told_from_what_may_be(self) -> None:
        def function(name: str, has_body: bool) -> dict[str, Any]:
            return {"name": name, "crate_id": 0, "inner": {"function": {"has_body": has_body}}}

        described = {
            "index": {
                "1": {"name": "Trait", "crate_id": 0, "inner": {"trait": {"items": [2, 3, 4]}}},
                "2": function("must", False),
                "3": function("may", True),
                "4": {"name": "Type", "crate_id": 0, "inner": {"assoc_type": {}}},
                "5": {"name": "Hidden", "crate_id": 0, "inner": {"trait": {"items": [2]}}},
            }
        }
        self.assertEqual(CHECK["required"](described, OLD), ["required taut::c::Trait::must"])

    def test_a_type_that_is_not_sync_any_more_breaks_programs(self) -> None:
        for line in ["impl !core::marker::Sync for taut::A", "impl<S> core::marker::Send for taut::A<S> where S: core::marker::Sync"]:
            said = report([*OLD[1:], line])
            self.assertEqual("breaks" in said, " !core" in line, said)

    def test_an_incompatible_version_may_break_programs(self) -> None:
        said = report(OLD[1:3], "0.2.0")
        self.assertNotIn("Keep the old", said)
        self.assertIn("as 0.2.0 may", said)

    def test_compatible_versions_are_those_that_cargo_takes_for_each_other(self) -> None:
        for old, new, expected in [
            ("0.1.0", "0.1.9", True),
            ("0.1.0", "0.2.0", False),
            ("0.0.1", "0.0.2", False),
            ("1.2.3", "1.9.0", True),
            ("1.2.3", "2.0.0", False),
        ]:
            self.assertEqual(CHECK["compatible"](old, new), expected, (old, new))

    def test_crates_of_others_need_a_reason_and_reasons_a_crate(self) -> None:
        lines = [
            "impl<S: tokio::io::AsyncRead> taut::tokio::A<S>",
            "pub fn taut::http::b(&'static h3::C, core::time::Duration) -> <Self as bytes::Buf>::D",
        ]
        judge = CHECK["judge_crates"]
        self.assertEqual(judge(lines, {"tokio": "", "h3": "", "bytes": ""}), [])
        self.assertEqual([problem.split(",")[0] for problem in judge(lines, {"tokio": "", "bytes": ""})], ["the public API names the crate h3"])
        self.assertIn("which the public API does not name", judge(lines, {"tokio": "", "h3": "", "bytes": "", "hyper": ""})[0])

    def test_the_engine_names_no_crate_but_bytes(self) -> None:
        for line, fine in [
            ("pub fn taut::proto::Output::pop(&mut self) -> bytes::bytes::Bytes", True),
            ("impl bytes::buf::Buf for taut::proto::Output", True),
            ("impl tokio::io::AsyncRead for taut::proto::Output", False),
            ("impl<'a> tokio::io::AsyncRead for taut::proto::OutputRef<'a>", False),
            ("impl<S: tokio::io::AsyncRead> core::fmt::Debug for taut::proto::Output<S>", False),
            ("impl<S: tokio::io::AsyncRead> taut::proto::Output<S>", False),
            ("pub fn taut::proto::a(tokio::time::Instant)", False),
            ("#[non_exhaustive] pub taut::proto::E::At(tokio::time::Instant)", False),
            ("impl core::convert::From<taut::proto::Message> for taut::tokio::A<tokio::net::TcpStream>", True),
            ("pub fn taut::tokio::a(taut::proto::Message) -> tokio::time::Instant", True),
        ]:
            said = CHECK["judge_crates"]([line], {name: "" for name in CHECK["crates_of"](line)})
            self.assertEqual(said == [], fine, line)

    def test_types_that_are_not_sync_need_a_reason_and_reasons_a_type(self) -> None:
        lines = ["impl<S> !core::marker::Sync for taut::a::B<S>", "impl !core::marker::Send for taut::C"]
        judge = CHECK["judge_traits"]
        self.assertEqual(judge(lines, {"a::B: !Sync": "", "C: !Send": ""}), [])
        self.assertEqual(judge(lines, {"a::B: !Sync": ""}), ["C: !Send is new, and breaks programs that share it"])
        self.assertEqual(len(judge(lines, {"a::B: !Sync": "", "C: !Send": "", "C: !Sync": ""})), 1)


class Package(unittest.TestCase):
    FILES = {name: 1 for name in CHECK["WANTED"]}

    def test_files_that_are_missing_or_not_wanted_are_named(self) -> None:
        judge = CHECK["judge_files"]
        self.assertEqual(judge({**self.FILES, "docs/a.md": 1, "examples/a.rs": 1, "src/a/b.rs": 1}, 9), [])
        for name in ["autobahn/README.md", "docs/benchmarks/a.svg", "examples/runtimes/a.rs", "tests/a.rs"]:
            self.assertEqual(judge({**self.FILES, name: 1}, 9), [f"the archive has {name}, which no user needs"])
        self.assertEqual(judge({name: 1 for name in self.FILES if name != "README.md"}, 9), ["the archive has no README.md"])

    def test_an_archive_that_grew_too_big_names_its_largest_files(self) -> None:
        said = CHECK["judge_files"]({**self.FILES, "src/big.rs": 1 << 21}, 1 << 20)
        self.assertIn("the largest: src/big.rs", said[0])

    def test_a_manifest_without_tests_keeps_the_rest(self) -> None:
        manifest = (
            '[package]\nname = "taut"\n\n[lib]\nbench = false\n\n[[example]]\nname = "a"\n\n[[test]]\nname = "b"\n\n'
            '[dependencies.bytes]\nversion = "1"\n\n[dev-dependencies.axum]\nversion = "0.8"\n\n'
            '[target."cfg(unix)".dependencies.c]\nversion = "1"\n\n[target."cfg(unix)".dev-dependencies.d]\nversion = "1"\n'
        )
        left = CHECK["without_tests"](manifest)
        for kept in ["[package]", "[lib]", "[dependencies.bytes]", "dependencies.c]"]:
            self.assertIn(kept, left)
        for dropped in ["[[example]]", "[[test]]", "axum", "dependencies.d]"]:
            self.assertNotIn(dropped, left)


if __name__ == "__main__":
    unittest.main()
