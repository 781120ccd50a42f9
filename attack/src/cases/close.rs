//! The closing handshake: what a Close must not be, and what comes behind one.

use crate::attack::Attack;
use crate::case::Script::{Fails, Run};
use crate::case::{Case, Judged, Miss};
use crate::peer::{Seen, TOO_LATE};
use crate::wire::{CLOSE, Craft, PING, PONG, close, continuation, frames, ping, text};

const S5_5_1: &str = "RFC 6455 §5.5.1";
const BODY: &str = "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in network \
     byte order) representing a status code";
const ANSWER: &str = "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint MUST \
     send a Close frame in response.";
const S7_4_1: &str = "RFC 6455 §7.4.1";
const RESERVED: &str =
    "is a reserved value and MUST NOT be set as a status code in a Close control frame by an endpoint";
const S7_4_2: &str = "RFC 6455 §7.4.2";
const LAST: &str = "The application MUST NOT send any more data frames after sending a Close frame.";

macro_rules! codes {
    ($kind:ident, $source:expr, $words:expr, $($name:literal: $code:literal,)*) => {&[$(
        Case::$kind($name, $source, $words, concat!("a Close with the code ", $code), Run(|attack| {
            Box::pin(code(attack, $code))
        })),
    )*]};
}

/// What must not be on the wire may end the connection in any way, but it must not be sent back.
pub(crate) const RESERVED_CODES: &[Case] = codes! {
    must, S7_4_1, RESERVED,
    "close_code_1005": 1005,
    "close_code_1006": 1006,
    "close_code_1015": 1015,
};

/// Nowhere is said that a receiver has to mind; sent back, they would go on as if they meant something.
pub(crate) const UNUSED_CODES: &[Case] = codes! {
    hardening, S7_4_2, "Status codes in the range 0-999 are not used. […] 1000-2999 are reserved for definition by this protocol",
    "close_code_0": 0,
    "close_code_999": 999,
    "close_code_1004": 1004,
    "close_code_1016": 1016,
    "close_code_2999": 2999,
    "close_code_5000": 5000,
    "close_code_65535": 65535,
};

pub(crate) const CASES: &[Case] = &[
    Case::must(
        "close_is_answered",
        S5_5_1,
        ANSWER,
        "a Close with each code that may be used: it is answered, and TCP ends",
        Run(|attack| {
            Box::pin(async move {
                for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
                    attack.open().await?.closes(code).await.map_err(|miss| match miss {
                        Miss::Failed(why) => Miss::Failed(format!("{code}: {why}")),
                        skipped @ Miss::Skipped(_) => skipped,
                    })?;
                }
                Ok("answered".to_owned())
            })
        }),
    ),
    Case::must(
        "close_without_body",
        S5_5_1,
        ANSWER,
        "a Close without a body: it is answered, and TCP ends",
        Run(|attack| Box::pin(after(attack, || Craft::new(CLOSE, "").bytes()))),
    ),
    Case::must(
        "close_of_125_bytes",
        S5_5_1,
        ANSWER,
        "a Close with a reason of 123 bytes: it is answered, and TCP ends",
        Run(|attack| Box::pin(after(attack, || close(1000, [b'r'; 123]).bytes()))),
    ),
    Case::must(
        "close_of_126_bytes",
        "RFC 6455 §5.5",
        "All control frames MUST have a payload length of 125 bytes or less",
        "a Close with a reason of 124 bytes",
        Fails(|| close(1000, [b'r'; 124]).bytes()),
    ),
    Case::must(
        "close_of_1_byte",
        S5_5_1,
        BODY,
        "a Close with a body of one byte",
        Fails(|| Craft::new(CLOSE, [3]).bytes()),
    ),
    Case::must(
        "close_reason_is_not_utf8",
        "RFC 6455 §5.5.1",
        "the body MAY contain UTF-8-encoded data with value /reason/",
        "a Close whose reason is not UTF-8: it must not be sent back",
        Fails(|| close(1000, b"\xff\xfe").bytes()),
    ),
    Case::must(
        "close_reason_ends_inside_a_character",
        "RFC 6455 §5.5.1",
        "the body MAY contain UTF-8-encoded data with value /reason/",
        "a Close whose reason ends after 3 of 4 bytes of a character: it must not be sent back",
        Fails(|| close(1000, b"r\xf0\x9f\x98").bytes()),
    ),
    Case::must(
        "data_behind_a_close",
        S5_5_1,
        LAST,
        "a Close, and a message behind it, which is not answered",
        Run(|attack| Box::pin(after(attack, || frames([close(1000, ""), text(TOO_LATE)])))),
    ),
    Case::must(
        "ping_behind_a_close",
        "RFC 6455 §5.5.2",
        "an endpoint MUST send a Pong frame in response, unless it already received a Close frame",
        "a Close, and a ping behind it: nothing comes behind the server's Close",
        Run(|attack| Box::pin(after(attack, || frames([close(1000, ""), ping(TOO_LATE)])))),
    ),
    Case::must(
        "close_twice",
        S5_5_1,
        ANSWER,
        "two Closes: one is answered",
        Run(|attack| Box::pin(after(attack, || frames([close(1000, ""), close(1001, "again")])))),
    ),
    Case::must(
        "close_flood",
        S5_5_1,
        ANSWER,
        "100,000 Closes: one is answered",
        Run(|attack| Box::pin(after(attack, || close(1000, "again").bytes().repeat(100_000)))),
    )
    .memory(24),
    Case::must(
        "garbage_behind_a_close",
        S5_5_1,
        ANSWER,
        "a Close, and a mebibyte of bytes that are no frames: the Close is answered",
        Run(|attack| Box::pin(after(attack, || [close(1000, "").bytes(), vec![0xff; 1 << 20]].concat()))),
    )
    .memory(24),
    Case::must(
        "close_amid_a_message",
        S5_5_1,
        ANSWER,
        "a Close between two fragments: it is answered, and the message is nobody's",
        Run(|attack| {
            Box::pin(after(attack, || frames([text("half").unfinished(), close(1000, ""), continuation("")])))
        }),
    ),
];

/// Judges that a Close with this code ends the connection and is not sent back.
async fn code(attack: Attack, code: u16) -> Judged {
    let mut peer = attack.open().await?;
    peer.send(&close(code, "").bytes()).await;
    loop {
        match peer.next().await {
            Seen::Frame(frame) if frame.opcode == CLOSE && frame.code() == Some(code) => {
                return Err(Miss::failed("it is sent back"));
            }
            Seen::Frame(frame) if frame.opcode == CLOSE => {
                return match frame.fault(false) {
                    Some(fault) => Err(Miss::Failed(fault)),
                    None => Ok(crate::peer::describe_close(&frame)),
                };
            }
            Seen::Frame(frame) if matches!(frame.opcode, PING | PONG) => {}
            Seen::Frame(frame) => return Err(Miss::Failed(format!("it is answered with {frame:?}"))),
            Seen::End(ending) => return Ok(ending.to_string()),
            Seen::Silence => return Err(Miss::failed("the connection stays open")),
        }
    }
}

/// Judges that these bytes, which begin with or contain a right Close, are answered by one Close and the end.
async fn after(attack: Attack, bytes: fn() -> Vec<u8>) -> Judged {
    let mut peer = attack.open().await?;
    peer.send(&bytes()).await;
    peer.closed().await
}
