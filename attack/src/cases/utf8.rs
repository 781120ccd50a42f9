//! Text that is not UTF-8: every way to be wrong, cut everywhere.

use crate::attack::Attack;
use crate::case::Script::{Echoes, Fails, FailsEarly, Run};
use crate::case::{Case, Judged, Miss};
use crate::wire::{TEXT, binary, continuation, frames, ping, text};

const S8_1: &str = "RFC 6455 §8.1";
const INVALID: &str = "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in \
     fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_.";
const S5_6: &str = "RFC 6455 §5.6";
const PARTIAL: &str = "a particular text frame might include a partial UTF-8 sequence; however, the whole message MUST \
     contain valid UTF-8";
const FAST: &str = "bytes that no continuation could make UTF-8 need not be waited for";

macro_rules! invalid {
    ($($name:literal: $does:literal, $bytes:expr;)*) => {&[$(
        Case::must($name, S8_1, INVALID, $does, Fails(|| text($bytes).bytes())),
    )*]};
}

/// Whole messages that are wrong somewhere.
pub(crate) const INVALID_CASES: &[Case] = invalid! {
    "utf8_lone_continuation": "a continuation byte that continues nothing", b"a\x80b";
    "utf8_missing_continuation": "a first byte of two, and an ASCII character", b"a\xc3b";
    "utf8_overlong_2": "a slash in two bytes", b"\xc0\xaf";
    "utf8_overlong_3": "a slash in three bytes", b"\xe0\x80\xaf";
    "utf8_overlong_4": "a slash in four bytes", b"\xf0\x80\x80\xaf";
    "utf8_surrogate": "the surrogate U+D800", b"\xed\xa0\x80";
    "utf8_surrogate_pair": "a pair of surrogates, as CESU-8 has them", b"\xed\xa0\xbd\xed\xb8\x80";
    "utf8_above_10ffff": "U+110000", b"\xf4\x90\x80\x80";
    "utf8_5_bytes": "a character of five bytes, as before RFC 3629", b"\xf8\x88\x80\x80\x80";
    "utf8_byte_ff": "a byte that UTF-8 never has", b"a\xffb";
    "utf8_ends_inside_a_character": "a message that ends after 3 of 4 bytes of a character", b"a\xf0\x9f\x98";
    "utf8_wrong_in_the_last_byte": "a mebibyte of ASCII, and one wrong byte at its end", [&[b'a'; 1 << 20][..], b"\xff"].concat();
    "utf8_wrong_in_the_first_byte": "one wrong byte, and a mebibyte of ASCII", [b"\xff", &[b'a'; 1 << 20][..]].concat();
};

pub(crate) const CASES: &[Case] = &[
    Case::must(
        "utf8_wrong_across_fragments",
        S5_6,
        PARTIAL,
        "a character whose second byte, in the next fragment, is wrong",
        Fails(|| frames([text(b"a\xc3").unfinished(), continuation(b"(b")])),
    ),
    Case::must(
        "utf8_surrogate_across_fragments",
        S5_6,
        PARTIAL,
        "a surrogate whose bytes come in three fragments",
        Fails(|| {
            let parts = [text(b"\xed").unfinished(), continuation(b"\xa0").unfinished()];
            [frames(parts), continuation(b"\x80").bytes()].concat()
        }),
    ),
    Case::must(
        "utf8_ends_inside_a_character_with_an_empty_fragment",
        S5_6,
        PARTIAL,
        "half a character, a ping, and an empty last fragment",
        Fails(|| frames([text(b"a\xc3").unfinished(), ping("before"), continuation("")])),
    ),
    Case::must(
        "utf8_wrong_behind_a_cut_character",
        S5_6,
        PARTIAL,
        "a character in two fragments, and a wrong byte behind it",
        Fails(|| frames([text(b"\xe2\x82").unfinished(), continuation(b"\xac\xff")])),
    ),
    Case::hardening(
        "utf8_fails_fast_in_a_fragment",
        "failing fast",
        FAST,
        "a wrong byte in a first fragment, and nothing behind it",
        FailsEarly(|| text(b"a\xff").unfinished().bytes()),
    ),
    Case::hardening(
        "utf8_fails_fast_in_a_frame",
        "failing fast",
        FAST,
        "a frame of 1000 bytes with a wrong one among the first, and no more of it",
        FailsEarly(|| text(b"a\xffb").announce(1000).bytes()),
    ),
    Case::must(
        "utf8_cut_between_fragments",
        S5_6,
        PARTIAL,
        "a message whose characters are cut everywhere, a byte in each fragment",
        Run(|attack| Box::pin(cut(attack))),
    ),
    Case::must(
        "utf8_boundaries",
        S8_1,
        INVALID,
        "the first and the last character of each length, and those beside the surrogates: they are right",
        Echoes(|| text(BOUNDARIES).bytes(), || (TEXT, BOUNDARIES.as_bytes().to_vec())),
    ),
    Case::must(
        "utf8_not_asked_of_binary",
        S5_6,
        "The \"Payload data\" is arbitrary binary data whose interpretation is solely up to the application layer.",
        "a binary message that is not UTF-8: it is right",
        Echoes(
            || binary(b"\xff\x80\xed\xa0\x80").bytes(),
            || (crate::wire::BINARY, b"\xff\x80\xed\xa0\x80".to_vec()),
        ),
    ),
    Case::must(
        "utf8_state_ends_with_the_message",
        S5_6,
        PARTIAL,
        "a message in fragments that is right, and a continuation byte alone in the next one",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.open().await?;
                peer.send(&frames([text(b"\xe2\x82").unfinished(), continuation(b"\xac")])).await;
                peer.expect(TEXT, "€".as_bytes()).await?;
                peer.fails(&text(b"\x82").bytes()).await
            })
        }),
    ),
];

async fn cut(attack: Attack) -> Judged {
    let mut peer = attack.open().await?;
    let (last, rest) = BOUNDARIES.as_bytes().split_last().ok_or_else(|| Miss::failed("no text"))?;
    let mut bytes = text("").unfinished().bytes();
    bytes.extend(rest.iter().flat_map(|byte| continuation([*byte]).unfinished().bytes()));
    bytes.extend(continuation([*last]).bytes());
    peer.send(&bytes).await;
    peer.expect(TEXT, BOUNDARIES.as_bytes()).await
}

const BOUNDARIES: &str = "\0\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{10ffff}";
