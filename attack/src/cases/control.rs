//! Control frames: too long, in fragments, between fragments.

use crate::case::Script::{Echoes, Fails, FailsEarly, Run};
use crate::case::{Case, Miss};
use crate::peer::Seen;
use crate::wire::{CLOSE, Craft, PING, PONG, TEXT, continuation, frames, ping, pong, text};

const S5_5: &str = "RFC 6455 §5.5";
const SMALL: &str =
    "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented.";
const S5_4: &str = "RFC 6455 §5.4";
const INJECTED: &str = "Control frames […] MAY be injected in the middle of a fragmented message.";

pub(crate) const CASES: &[Case] = &[
    Case::must("ping_126_bytes", S5_5, SMALL, "a ping of 126 bytes", Fails(|| ping([b'p'; 126]).bytes())),
    Case::must(
        "pong_126_bytes",
        S5_5,
        SMALL,
        "a pong of 126 bytes, to which nobody would answer",
        Fails(|| pong([b'p'; 126]).bytes()),
    ),
    Case::must(
        "ping_65536_bytes",
        S5_5,
        SMALL,
        "a ping of 65,536 bytes",
        Fails(|| ping(vec![b'p'; 65_536]).bytes()),
    ),
    Case::hardening(
        "ping_header_is_enough",
        S5_5,
        SMALL,
        "the header of a ping of 60,000 bytes, and nothing behind it: the payload need not be waited for",
        FailsEarly(|| ping("").announce(60_000).bytes()),
    ),
    Case::must(
        "ping_announces_2_63_minus_1",
        S5_5,
        SMALL,
        "the header of a ping with the largest length",
        FailsEarly(|| ping("").announce((1 << 63) - 1).bytes()),
    ),
    Case::must("ping_fragment", S5_5, SMALL, "a ping without FIN", Fails(|| ping("p").unfinished().bytes())),
    Case::must("pong_fragment", S5_5, SMALL, "a pong without FIN", Fails(|| pong("p").unfinished().bytes())),
    Case::must(
        "close_fragment",
        S5_5,
        SMALL,
        "a Close without FIN, which is the end in either way",
        Fails(|| Craft::new(CLOSE, [3, 232]).unfinished().bytes()),
    ),
    Case::must(
        "ping_continued",
        S5_5,
        SMALL,
        "a ping without FIN and its continuation",
        Fails(|| frames([ping("p").unfinished(), continuation("q")])),
    ),
    Case::must(
        "ping_of_125_bytes_is_answered",
        "RFC 6455 §5.5.3",
        "A Pong frame sent in response to a Ping frame must have identical \"Application data\"",
        "pings of 0, 1 and 125 bytes, each of which gets its pong",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.open().await?;
                for length in [0, 1, 125] {
                    let payload = vec![b'p'; length];
                    peer.send(&ping(&payload).bytes()).await;
                    match peer.next().await {
                        Seen::Frame(pong) if (pong.opcode, &pong.payload) == (PONG, &payload) => {}
                        other => return Err(Miss::Failed(format!("not its pong, but {other:?}"))),
                    }
                }
                Ok("answered".to_owned())
            })
        }),
    ),
    Case::must(
        "ping_between_fragments",
        S5_4,
        INJECTED,
        "a ping between the fragments of a message: both are answered",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.open().await?;
                peer.send(&frames([text("be").unfinished(), ping("between")])).await;
                loop {
                    match peer.next().await {
                        Seen::Frame(frame) if frame.opcode == PING => {}
                        Seen::Frame(frame) if (frame.opcode, &*frame.payload) == (PONG, b"between") => break,
                        other => return Err(Miss::Failed(format!("not its pong, but {other:?}"))),
                    }
                }
                peer.send(&continuation("tween").bytes()).await;
                peer.expect(TEXT, b"between").await
            })
        }),
    ),
    Case::must(
        "pong_between_fragments",
        S5_4,
        INJECTED,
        "a pong that nobody asked for between the fragments of a message",
        Echoes(
            || frames([text("to").unfinished(), pong("unasked"), continuation("gether")]),
            || (TEXT, b"together".to_vec()),
        ),
    ),
    Case::must(
        "unsolicited_pong_is_ignored",
        "RFC 6455 §5.5.3",
        "A response to an unsolicited Pong frame is not expected.",
        "a pong that nobody asked for, and a message",
        Echoes(|| frames([pong("unasked"), text("on")]), || (TEXT, b"on".to_vec())),
    ),
];
