//! The seeds of `deflate`: the examples of RFC 7692 §7.2.3, each kind of block, bombs, ways to be wrong, limits,
//! and ways to drive a connection.

use taut::proto::Role;

use super::input::{End, Input, MESSAGES, Piece, RATIOS, Settings};
use crate::format::SIZES;

/// Every seed, with the name of its file.
#[must_use]
pub fn deflate() -> Vec<(String, Input)> {
    let mut seeds = Table(Vec::new());
    seeds.rfc();
    seeds.blocks();
    seeds.bombs();
    seeds.wrong();
    seeds.text();
    seeds.limits();
    seeds.ways();
    seeds.0
}

/// "Hello", compressed: RFC 7692 §7.2.3.1.
const HELLO: &[u8] = b"\xF2\x48\xCD\xC9\xC9\x07\x00";
/// RFC 7692 §7.2.3.2: "Hello" again, with the window of the first.
const HELLO_AGAIN: &[u8] = b"\xF2\x00\x11\x00\x00";
/// RFC 7692 §7.2.3.3: "Hello" in a block without compression.
const HELLO_STORED: &[u8] = b"\x00\x05\x00\xFA\xFFHello\x00";
/// RFC 7692 §7.2.3.4: "Hello" in a block with BFINAL.
const HELLO_FINAL: &[u8] = b"\xF3\x48\xCD\xC9\xC9\x07\x00\x00";
/// RFC 7692 §7.2.3.5: "Hello" in two blocks.
const HELLO_TWO_BLOCKS: &[u8] = b"\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00";

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
        let mut input = Input { settings: Settings::new(), cuts: [0; 2], script: script.into() };
        change(&mut input);
        self.0.push((name.into(), input));
    }

    fn rfc(&mut self) {
        self.add("rfc-hello", [bytes(HELLO)]);
        self.add("rfc-hello-in-two-frames", [bytes(&HELLO[..3]), Piece::Frame, bytes(&HELLO[3..])]);
        self.add(
            "rfc-hello-by-bytes",
            HELLO.iter().flat_map(|&byte| [bytes(&[byte]), Piece::Frame]).collect::<Vec<_>>(),
        );
        self.add("rfc-hello-twice", [bytes(HELLO), BINARY, bytes(HELLO)]);
        self.add("rfc-hello-again", [bytes(HELLO), BINARY, bytes(HELLO_AGAIN)]);
        self.set("rfc-hello-again-without-takeover", [bytes(HELLO), BINARY, bytes(HELLO_AGAIN)], no_takeover);
        self.add("rfc-hello-stored", [bytes(HELLO_STORED)]);
        self.add("rfc-hello-final", [bytes(HELLO_FINAL)]);
        self.add("rfc-hello-two-blocks", [bytes(HELLO_TWO_BLOCKS)]);
        self.add("rfc-empty", [bytes(b"\x00"), TEXT, bytes(b"\x00")]);
    }

    fn blocks(&mut self) {
        let then = |first: &[u8], second: &[u8]| [bytes(first), BINARY, bytes(second)];
        self.add("final-without-empty-block", [bytes(&HELLO_FINAL[..7])]);
        self.add("final-then-again", then(HELLO_FINAL, HELLO_AGAIN));
        self.add("final-without-empty-block-then-again", then(&HELLO_FINAL[..7], HELLO_AGAIN));
        self.add("final-without-empty-block-then-nothing", then(&HELLO_FINAL[..7], b""));
        self.add("final-with-the-tail-then-nothing", then(b"\x01", b""));
        self.add("final-then-more-in-one-message", [bytes(&HELLO_FINAL[..7]), bytes(HELLO)]);
        self.add("final-many", [bytes(&HELLO_FINAL[..7]), Piece::Repeat(40), bytes(HELLO)]);
        self.add("stored-then-again", then(HELLO_STORED, HELLO_AGAIN));
        self.add("stored-without-length", [bytes(b"\x01\x00\x00\xFF\xFF")]);
        self.add("stored-empty-many", [bytes(b"\x00\x00\x00\xFF\xFF"), Piece::Repeat(100), bytes(b"\x00")]);
        self.add("fixed-empty-many", [bytes(b"\x02\x08\x20\x80\x00"), Piece::Repeat(20)]);
        for level in 0..8 {
            let script = [
                packed(level, End::Flush, 20, b"one and two and three, "),
                packed(level, End::Cut, 3, "zwölf boxkämpfer jagen viktor, ".as_bytes()),
                BINARY,
                packed(level, End::Cut, 9, b"\x00\x01\x02\x03\xFE\xFF"),
            ];
            self.add(format!("level-{level}"), script.clone());
            self.set(format!("level-{level}-without-takeover"), script, no_takeover);
        }
        self.add(
            "final-packed",
            [packed(0, End::Final, 30, b"final "), bytes(b"\x00"), BINARY, bytes(HELLO)],
        );
        self.add("plain-between", [bytes(HELLO), PLAIN, bytes(b"plain"), BINARY, bytes(HELLO_AGAIN)]);
        self.add("ping-between", [bytes(&HELLO[..3]), Piece::Ping, bytes(&HELLO[3..]), Piece::Ping]);
    }

    fn bombs(&mut self) {
        for (index, max) in MESSAGES.into_iter().enumerate().filter(|&(_, max)| max > 4000) {
            self.set(
                format!("bomb-to-{max}"),
                [bomb(End::Cut), BINARY, bomb(End::Flush), bomb(End::Cut)],
                |input| {
                    input.settings.max_message = MESSAGES[index];
                    input.settings.borrows = true;
                },
            );
        }
        self.set("bomb-in-final-blocks", [bomb(End::Final), Piece::Repeat(5)], |input| {
            input.settings.borrows = true;
        });
        for ratio in RATIOS.into_iter().skip(1) {
            self.set(
                format!("bomb-of-ratio-{ratio}"),
                [bomb(End::Flush), bomb(End::Flush), bomb(End::Cut)],
                |input| {
                    input.settings.max_ratio = ratio;
                    input.cuts = [20, 9];
                },
            );
        }
        // Up to 64 KiB any ratio is right, beyond that it counts.
        for (name, times) in [("small", 1), ("large", 9)] {
            let script = [bomb(End::Flush), packed(0, End::Cut, times, &[0; 255])];
            self.set(format!("bomb-of-any-ratio-{name}"), script, |input| input.settings.max_ratio = 100);
        }
        let stored = [&b"\x00\x80\x00\x7F\xFF"[..], &[7; 128]].concat();
        let script = [bomb(End::Flush), bomb(End::Flush), bytes(&stored), Piece::Repeat(40), bytes(b"\x00")];
        self.set("bomb-for-a-while", script, |input| input.settings.max_ratio = 50);
    }

    fn wrong(&mut self) {
        self.add("wrong-type", [bytes(b"\x06")]);
        self.add("wrong-type-behind-data", [bytes(&HELLO_TWO_BLOCKS[..8]), bytes(b"\x07\x00")]);
        self.add("wrong-stored-length", [bytes(b"\x00\x05\x00\xFA\xFEHello\x00")]);
        self.add("wrong-distance", [bytes(b"\x02\x07\x00\x00")]);
        self.add("wrong-distance-of-another-message", [bytes(HELLO), BINARY, bytes(HELLO_AGAIN)]);
        self.add("wrong-dynamic-sizes", [bytes(b"\xFC\xFF\x00")]);
        self.add("wrong-dynamic-lengths", [bytes(b"\x04\xC0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")]);
        self.add("wrong-dynamic-empty", [bytes(b"\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")]);
        self.add("wrong-all-ones", [bytes(&[0xFF; 40])]);
        self.add("wrong-tail-left", [packed(0, End::Flush, 3, b"hello ")]);
        self.add("wrong-empty", []);
        self.add("wrong-empty-frames", [Piece::Frame, Piece::Frame]);
        for end in [1, 4, 6] {
            self.add(format!("wrong-cut-at-{end}"), [bytes(&HELLO[..end])]);
        }
        self.add("wrong-stored-cut", [bytes(&HELLO_STORED[..7])]);
        self.set("unfinished", [bytes(&HELLO[..4])], |input| input.settings.unfinished = true);
        self.set("unfinished-block", [packed(0, End::Flush, 9, b"hello ")], |input| {
            input.settings.unfinished = true;
        });
    }

    fn text(&mut self) {
        let text = |data: &[u8]| [packed(0, End::Cut, 1, data)];
        let as_text = |input: &mut Input| input.settings.text = true;
        self.set("text", text("Hello, κόσμε, 世界, 😀".as_bytes()), as_text);
        self.set("text-wrong", text(b"Hello\xFF"), as_text);
        self.set("text-cut-in-a-character", text(b"Hello \xF0\x9F\x98"), as_text);
        self.set("text-surrogate", text(b"Hello \xED\xA0\x80"), as_text);
        let smiley = "😀".as_bytes();
        let stored: Vec<u8> = [&b"\x00\x04\x00\xFB\xFF"[..], smiley, b"\x00"].concat();
        let by_bytes = stored.iter().flat_map(|&byte| [bytes(&[byte]), Piece::Frame]);
        self.set("text-character-by-bytes", by_bytes.collect::<Vec<_>>(), as_text);
        self.set(
            "text-long",
            [
                packed(0, End::Cut, 250, "aé€😀".as_bytes()),
                Piece::Message { text: true, plain: false },
                bytes(b"\x00"),
            ],
            |input| {
                input.settings.text = true;
                input.settings.borrows = true;
            },
        );
        // Several errors, one behind the other.
        self.set("text-wrong-then-corrupt", [packed(0, End::Flush, 1, b"a\xFFb"), bytes(b"\x06")], as_text);
        self.set("text-wrong-then-too-big", [packed(0, End::Cut, 9, b"ab\xFF")], |input| {
            input.settings.text = true;
            input.settings.max_message = 7;
        });
        self.set("too-big-then-corrupt", [packed(0, End::Flush, 9, b"abc"), bytes(b"\x06")], |input| {
            input.settings.max_message = 7;
        });
    }

    fn limits(&mut self) {
        for max in [0, 1, 7, 60] {
            for length in [max, max + 1] {
                let data = vec![b'x'; length];
                self.set(
                    format!("limit-message-{max}-of-{length}"),
                    [packed(0, End::Cut, 1, &data)],
                    |input| {
                        input.settings.max_message = max;
                    },
                );
            }
        }
        self.set("limit-message-of-nothing", [bytes(b"\x00\x00\x00\xFF\xFF"), Piece::Repeat(60)], |input| {
            input.settings.max_message = 60;
        });
        for size in [1, 7, 16] {
            self.set(
                format!("limit-frame-{size}"),
                [bytes(HELLO), BINARY, bytes(HELLO_TWO_BLOCKS)],
                |input| {
                    assert!(SIZES.contains(&size));
                    input.settings.max_frame = size;
                },
            );
        }
    }

    fn ways(&mut self) {
        let script = || {
            [
                packed(0, End::Flush, 100, "aé€😀 and more, ".as_bytes()),
                Piece::Frame,
                Piece::Cut,
                packed(6, End::Cut, 50, b"one two three "),
                TEXT,
                bytes(HELLO),
            ]
        };
        for role in [Role::Server, Role::Client] {
            for number in 0..16 {
                let bit = |place: u8| number >> place & 1 == 1;
                self.set(format!("way-{role:?}-{number}").to_lowercase(), script(), |input| {
                    let settings = &mut input.settings;
                    (settings.role, settings.text) = (role, true);
                    (settings.takeover, settings.reads) = (bit(0), bit(1));
                    (settings.borrows, settings.release) = (bit(2), bit(3));
                    input.cuts = [1, 7];
                });
            }
        }
    }
}

const BINARY: Piece = Piece::Message { text: false, plain: false };
const TEXT: Piece = Piece::Message { text: true, plain: false };
const PLAIN: Piece = Piece::Message { text: false, plain: true };

fn bytes(bytes: &[u8]) -> Piece {
    Piece::Bytes(bytes.to_vec())
}

fn packed(level: u8, end: End, times: u8, data: &[u8]) -> Piece {
    Piece::Compressed { level, end, times, data: data.to_vec() }
}

/// 65,025 bytes in less than a hundred.
fn bomb(end: End) -> Piece {
    packed(0, end, 255, &[0; 255])
}

fn no_takeover(input: &mut Input) {
    input.settings.takeover = false;
}
