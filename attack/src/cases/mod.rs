//! The cases, a file for each group.

mod close;
mod compression;
mod control;
mod deadlines;
mod ends;
mod floods;
mod fragments;
mod handshake;
mod heads;
mod lengths;
mod masks;
mod pings;
mod reserved;
mod smuggling;
mod utf8;

use crate::Case;

/// Cases that belong together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) cases: &'static [&'static [Case]],
}

/// Every group, in the order in which they run.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "smuggling",
        title: "requests that two readers could read in two ways",
        cases: &[smuggling::CASES],
    },
    Group {
        name: "handshake",
        title: "fields of the opening handshake",
        cases: &[handshake::REFUSED, handshake::CASES],
    },
    Group {
        name: "heads",
        title: "the head of a request: size, count, pieces, costly values",
        cases: &[heads::CASES, heads::LINEAR_CASES],
    },
    Group { name: "masks", title: "frames of a client that are not masked", cases: &[masks::CASES] },
    Group { name: "lengths", title: "lengths that must not be, or never come", cases: &[lengths::CASES] },
    Group {
        name: "reserved",
        title: "reserved bits and opcodes",
        cases: &[reserved::BITS_CASES, reserved::OPCODES_CASES],
    },
    Group { name: "control", title: "control frames", cases: &[control::CASES] },
    Group {
        name: "fragments",
        title: "fragments out of order, without number, without end",
        cases: &[fragments::CASES],
    },
    Group { name: "pings", title: "pings, pongs and messages without number", cases: &[pings::CASES] },
    Group { name: "utf8", title: "text that is not UTF-8", cases: &[utf8::INVALID_CASES, utf8::CASES] },
    Group {
        name: "close",
        title: "the closing handshake",
        cases: &[close::CASES, close::RESERVED_CODES, close::UNUSED_CODES],
    },
    Group {
        name: "compression",
        title: "permessage-deflate",
        cases: &[compression::CASES, compression::INFLATES, compression::CORRUPT, compression::DECLINED],
    },
    Group { name: "ends", title: "ends and resets at every state", cases: &[ends::CASES] },
    Group { name: "floods", title: "connections without number", cases: &[floods::CASES] },
    Group { name: "deadlines", title: "peers that are slow or silent for ever", cases: &[deadlines::CASES] },
];

impl Group {
    pub(crate) fn cases(&self) -> impl Iterator<Item = &'static Case> {
        self.cases.iter().copied().flatten()
    }
}

/// Every case, with the name of its group.
pub fn cases() -> impl Iterator<Item = (&'static str, &'static Case)> {
    GROUPS.iter().flat_map(|group| group.cases().map(|case| (group.name, case)))
}
