//! The seeds of `receive`: one for each opcode, form of a length, way to fragment, trap of UTF-8, close
//! code, limit, and way to drive a connection.

use taut::proto::Role;

use crate::format::{CLAIMS, COUNTS, FILLINGS, LENGTHS, SIZES};
use crate::input::{Feed, Form, Frame, Input, Payload, Piece, Take};

/// Every seed, with the name of its file.
#[must_use]
pub fn receive() -> Vec<(String, Input)> {
    let mut seeds = Table(Vec::new());
    seeds.opcodes();
    seeds.headers();
    seeds.lengths();
    seeds.controls();
    seeds.fragments();
    seeds.text();
    seeds.closes();
    seeds.limits();
    seeds.ways();
    seeds.0
}

pub(crate) const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;

/// The masking key of the seeds: that of RFC 6455 §5.7.
const KEY: u8 = 1;

struct Table(Vec<(String, Input)>);

impl Table {
    fn add(&mut self, name: impl Into<String>, script: impl Into<Vec<Piece>>) {
        self.set(name, script, |_| {});
    }

    /// With other settings than the default ones.
    fn set(
        &mut self,
        name: impl Into<String>,
        script: impl Into<Vec<Piece>>,
        change: impl FnOnce(&mut Input),
    ) {
        let mut input = Input::new(Role::Server, script.into());
        change(&mut input);
        self.0.push((name.into(), input));
    }

    fn opcodes(&mut self) {
        for opcode in 0..16 {
            self.add(format!("opcode-{opcode:x}-to-server"), [frame(FIN | opcode, b"\x03\xE8")]);
            self.set(format!("opcode-{opcode:x}-to-client"), [frame(FIN | opcode, b"\x03\xE8")], |input| {
                input.settings.role = Role::Client;
            });
        }
    }

    fn headers(&mut self) {
        for (number, bit) in [(1, 0x40), (2, 0x20), (3, 0x10)] {
            self.add(format!("reserved-bit-{number}"), [frame(FIN | bit | TEXT, b"a")]);
            self.add(format!("reserved-bit-{number}-control"), [frame(FIN | bit | PING, b"a")]);
        }
        let wrong = || [Piece::Frame(Frame { wrong_mask: true, ..new(FIN | TEXT, b"Hello") })];
        self.add("mask-missing", wrong());
        self.set("mask-from-server", wrong(), |input| input.settings.role = Role::Client);
        self.add("mask-of-zeros", [Piece::Frame(Frame { key: 0, ..new(FIN | TEXT, b"Hello") })]);
        self.add(
            "random-bytes",
            [Piece::Raw(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\xff\x00".to_vec())],
        );
        for length in 0..6 {
            let script =
                [frame(FIN | BINARY, b""), frame(FIN | TEXT, b"Hello"), Piece::Truncate(11 - length)];
            self.add(format!("header-cut-at-{length}"), script);
        }
    }

    fn lengths(&mut self) {
        for index in 0..LENGTHS.len() as u8 {
            let length = LENGTHS[usize::from(index)];
            self.add(format!("length-{length}"), [filled(FIN | BINARY, index, 6)]);
            self.add(format!("length-{length}-text"), [filled(FIN | TEXT, index, 1)]);
        }
        for (name, form) in [("16", Form::Bits16), ("64", Form::Bits64)] {
            for payload in [&b""[..], &[7; 125], &[7; 126]] {
                let script = [Piece::Frame(Frame { form, ..new(FIN | BINARY, payload) })];
                self.add(format!("length-in-{name}-bits-{}", payload.len()), script);
            }
            self.add(
                format!("length-in-{name}-bits-control"),
                [Piece::Frame(Frame { form, ..new(FIN | PING, b"a") })],
            );
        }
        for (claim, length) in (0_u8..).zip(CLAIMS) {
            let lie = Frame { form: Form::Claim(claim), ..new(FIN | TEXT, b"Hello") };
            self.add(format!("length-claimed-{length:x}"), [Piece::Frame(lie), frame(FIN | TEXT, b"Hello")]);
        }
        let payload = Payload::Filled { length: 13, filling: 6 };
        let script = [Piece::Frame(Frame { form: Form::Bits64, payload, ..new(FIN | BINARY, b"") })];
        self.add("length-in-64-bits-65535", script);
        // A 64-bit length whose first seven bytes are above the limit, and which is not minimal.
        self.set("length-in-64-bits-over-the-limit", [Piece::Raw(claim(0xFF01, FIN | BINARY))], |input| {
            input.settings.max_message = SIZES[7];
            input.cuts = [1, 1];
        });
    }

    fn controls(&mut self) {
        for (name, opcode) in [("ping", PING), ("pong", PONG), ("close", CLOSE)] {
            self.add(format!("{name}-empty"), [frame(FIN | opcode, b"")]);
            self.add(format!("{name}-125"), [filled(FIN | opcode, 4, 15), frame(FIN | TEXT, b"behind")]);
            self.add(format!("{name}-126"), [filled(FIN | opcode, 5, 15)]);
            self.add(format!("{name}-fragmented"), [frame(opcode, b"")]);
        }
        self.add("pings-many", [frame(FIN | PING, b"1"), Piece::Repeat(255)]);
        let differ = [b"1", b"2", b"3"].map(|payload| frame(FIN | PING, payload));
        self.add("pings-that-differ", differ);
        self.add("ping-then-close", [frame(FIN | PING, b"1"), close(1000, b"")]);
        self.add("ping-then-error", [frame(FIN | PING, b"1"), frame(FIN | 0x3, b"")]);
        self.set("ping-answered-by-nobody", [frame(FIN | PING, b"1")], |input| {
            input.settings.auto_pong = false
        });
    }

    fn fragments(&mut self) {
        let [begin, middle, end] = [frame(TEXT, b"Hel"), frame(0, b"l"), frame(FIN, b"o")];
        let ping = || frame(FIN | PING, b"between");
        self.add("fragments-3", [begin.clone(), middle.clone(), end.clone()]);
        self.add("fragments-and-pings", [begin.clone(), ping(), middle.clone(), ping(), end.clone()]);
        self.add("fragments-of-binary", [frame(BINARY, b"\xFF"), frame(FIN, b"\xFE")]);
        self.add("fragments-all-empty", [frame(TEXT, b""), frame(0, b""), frame(FIN, b"")]);
        self.add("fragments-last-empty", [begin.clone(), frame(FIN, b"")]);
        self.add("fragments-without-end", [begin.clone(), middle.clone()]);
        self.add("fragments-without-begin", [end]);
        self.add("fragments-begun-twice", [begin.clone(), frame(FIN | BINARY, b"")]);
        self.add("fragments-then-close", [begin.clone(), close(1000, b"")]);
        self.add("fragments-large", [filled(TEXT, 10, 5), filled(0, 9, 1), filled(FIN, 8, 2)]);
        self.add("fragments-many", [begin, middle, Piece::Repeat(255), frame(FIN, b"")]);
    }

    fn text(&mut self) {
        for (index, filling) in (0_u8..).zip(FILLINGS).take(15) {
            self.add(format!("text-filling-{index}"), [frame(FIN | TEXT, filling)]);
            self.add(format!("text-filling-{index}-cut-by-its-length"), [filled(FIN | TEXT, 8, index)]);
        }
        for character in ["é", "€", "😀"] {
            let (bytes, width) = (character.as_bytes(), character.len());
            for at in 1..width {
                let (front, back) = bytes.split_at(at);
                let name = format!("text-character-of-{width}-cut-at-{at}");
                let read = [frame(FIN | TEXT, bytes), Piece::Spoil { back: 0, xor: 0 }];
                self.set(format!("{name}-by-reads"), read, |input| input.cuts = [6 + at as u8, 0]);
                self.add(format!("{name}-by-frames"), [frame(TEXT, front), frame(FIN, back)]);
                self.add(format!("{name}-by-the-end"), [frame(FIN | TEXT, front)]);
                self.add(format!("{name}-by-the-last-frame"), [frame(TEXT, front), frame(FIN, b"")]);
                self.add(format!("{name}-then-another"), [frame(TEXT, front), frame(FIN, b"a")]);
            }
            let single = bytes.iter().map(|&byte| frame(0, &[byte]));
            let script: Vec<Piece> = [frame(TEXT, b"")].into_iter().chain(single).collect();
            self.add(
                format!("text-character-of-{width}-byte-by-byte"),
                [script, vec![frame(FIN, b"")]].concat(),
            );
        }
        self.add(
            "text-wrong-in-the-second-frame",
            [frame(TEXT, "κό".as_bytes()), frame(FIN, b"\xED\xA0\x80")],
        );
        self.add("text-wrong-before-its-end", [frame(FIN | TEXT, b"ok\xFFok"), Piece::Truncate(2)]);
        self.add("text-not-checked-in-binary", [frame(FIN | BINARY, b"\xFF\xC0\x80")]);
    }

    fn closes(&mut self) {
        let codes =
            [0, 999, 1000, 1003, 1004, 1005, 1006, 1007, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65_535];
        for code in codes {
            self.add(format!("close-{code}"), [close(code, b"")]);
        }
        self.add("close-of-one-byte", [frame(FIN | CLOSE, b"\x03")]);
        self.add("close-reason", [close(1000, "adiós".as_bytes())]);
        self.add("close-reason-123", [close(1000, &[b'a'; 123])]);
        self.add("close-reason-wrong", [close(1000, b"a\xFF")]);
        self.add("close-reason-cut", [close(1000, b"a\xE2\x82")]);
        self.add(
            "close-then-data",
            [close(1000, b""), frame(FIN | TEXT, b"late"), frame(FIN | PING, b"late")],
        );
        self.set("close-to-client", [close(1001, b"")], |input| input.settings.role = Role::Client);
        let talk =
            || [frame(FIN | TEXT, b"a"), frame(FIN | PING, b"b"), frame(FIN | TEXT, b"c"), close(3000, b"")];
        self.set("close-by-the-application", talk(), |input| input.settings.auto_close = false);
        self.set("close-by-us", talk(), |input| {
            input.settings.close_after = 1;
            input.settings.write = 1000;
            input.cuts = [1, 1];
        });
    }

    fn limits(&mut self) {
        let two = || [frame(BINARY, &[1; 40]), frame(FIN, &[2; 40])];
        for index in [1, 7, 8] {
            self.set(format!("limit-message-{}", SIZES[index]), two(), |input| {
                input.settings.max_message = SIZES[index];
            });
            self.set(format!("limit-frame-{}", SIZES[index]), two(), |input| {
                input.settings.max_frame = SIZES[index];
            });
        }
        for count in [1, 2, 3] {
            let script = [frame(TEXT, b""), frame(0, b""), frame(FIN, b"")];
            self.set(format!("limit-fragments-{}", COUNTS[count]), script.clone(), |input| {
                input.settings.max_fragments = COUNTS[count];
            });
            self.set(format!("limit-empty-fragments-{}", COUNTS[count]), script, |input| {
                input.settings.max_empty_fragments = COUNTS[count];
            });
        }
        let many = || [frame(FIN | TEXT, b"Hello"), Piece::Repeat(20), frame(FIN | PING, b"now")];
        for index in [1, 2, 7] {
            self.set(format!("limit-queue-{}", SIZES[index]), many(), |input| {
                input.settings.max_queued = SIZES[index];
            });
        }
    }

    fn ways(&mut self) {
        let script = || {
            [
                frame(TEXT, "a€".as_bytes()),
                filled(FIN, 8, 3),
                frame(FIN | PING, b"ping"),
                filled(FIN | BINARY, 9, 6),
                Piece::Cut,
                close(1000, b"bye"),
            ]
        };
        for role in [Role::Server, Role::Client] {
            for feed in [Feed::Copied, Feed::Lent, Feed::Read] {
                for take in [Take::Owned, Take::Borrowed, Take::Halves] {
                    let name = format!("way-{role:?}-{feed:?}-{take:?}").to_lowercase();
                    self.set(name, script(), |input| {
                        let settings = &mut input.settings;
                        (settings.role, settings.feed, settings.take) = (role, feed, take);
                        settings.release = take == Take::Borrowed;
                        (settings.copy_below, settings.share_above) = (SIZES[7], SIZES[9]);
                        (settings.fragment_above, settings.write) = (SIZES[11], 300);
                        input.cuts = [1, 7];
                    });
                }
            }
        }
    }
}

pub(crate) fn new(first: u8, payload: &[u8]) -> Frame {
    let payload = Payload::Literal(payload.to_vec());
    Frame { first, form: Form::Shortest, wrong_mask: false, key: KEY, payload }
}

pub(crate) fn frame(first: u8, payload: &[u8]) -> Piece {
    Piece::Frame(new(first, payload))
}

pub(crate) fn filled(first: u8, length: u8, filling: u8) -> Piece {
    Piece::Frame(Frame { payload: Payload::Filled { length, filling }, ..new(first, b"") })
}

pub(crate) fn close(code: u16, reason: &[u8]) -> Piece {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A masked header with a 64-bit length, and nothing behind it.
fn claim(length: u64, first: u8) -> Vec<u8> {
    [&[first, 0xFF][..], &length.to_be_bytes(), &[0; 4]].concat()
}
