//! Fragments: out of order, without number, without end.

use std::time::Duration;

use crate::attack::Attack;
use crate::case::Script::{Echoes, Fails, Run};
use crate::case::{Case, Judged, Miss};
use crate::peer::{BEFORE, Sent};
use crate::wire::{BINARY, TEXT, binary, continuation, frames, ping, text};

const S5_4: &str = "RFC 6455 §5.4";
const ORDER: &str =
    "The fragments of one message MUST NOT be interleaved between the fragments of another message";
const BEGINS: &str = "A fragmented message consists of a single frame with the FIN bit clear and an opcode other than 0, \
     followed by zero or more frames with the FIN bit clear and the opcode set to 0";
const GHSA: &str = "CVE-2026-48779 (GHSA-96hv-2xvq-fx4p)";
const S10_4: &str = "RFC 6455 §10.4";
const LIMITS: &str = "[They] MUST protect themselves against exceeding those limits.";

pub(crate) const CASES: &[Case] = &[
    Case::must(
        "continuation_without_start",
        S5_4,
        BEGINS,
        "a continuation that continues nothing",
        Fails(|| continuation("of nothing").bytes()),
    ),
    Case::must(
        "continuation_without_start_unfinished",
        S5_4,
        BEGINS,
        "an empty continuation without FIN that continues nothing",
        Fails(|| continuation("").unfinished().bytes()),
    ),
    Case::must(
        "continuation_behind_a_message",
        S5_4,
        BEGINS,
        "a whole message, and a continuation behind it",
        Fails(|| frames([text(BEFORE), continuation("of nothing")])),
    ),
    Case::must(
        "continuation_behind_a_fragmented_message",
        S5_4,
        BEGINS,
        "a message in fragments, and one continuation too many",
        Fails(|| frames([text("be").unfinished(), continuation("fore"), continuation("of nothing")])),
    ),
    Case::must(
        "text_amid_text",
        S5_4,
        ORDER,
        "a first fragment, and another first fragment",
        Fails(|| frames([text("one ").unfinished(), text("another")])),
    ),
    Case::must(
        "binary_amid_text",
        S5_4,
        ORDER,
        "a first fragment of text, a whole binary message, and the rest of the text",
        Fails(|| frames([text("one ").unfinished(), binary("another"), continuation("two")])),
    ),
    Case::must(
        "empty_start_amid_text",
        S5_4,
        ORDER,
        "an empty first fragment, and another one",
        Fails(|| frames([text("").unfinished(), text("").unfinished(), continuation("")])),
    ),
    Case::must(
        "fragments_of_every_kind",
        S5_4,
        BEGINS,
        "a message of an empty first fragment, one of a byte, an empty one, and an empty last one",
        Echoes(
            || {
                let [start, middle, empty] =
                    [text(""), continuation("m"), continuation("")].map(|f| f.unfinished());
                frames([start, middle, empty, continuation("")])
            },
            || (TEXT, b"m".to_vec()),
        ),
    ),
    Case::must(
        "fragments_1000",
        S5_4,
        "An endpoint MUST be capable of handling control frames in the middle of a fragmented message",
        "a message of a thousand fragments with a ping in the middle",
        Echoes(
            || {
                let mut bytes = binary("b").unfinished().bytes();
                bytes.extend(continuation("b").unfinished().bytes().repeat(499));
                bytes.extend(ping("middle").bytes());
                bytes.extend(continuation("b").unfinished().bytes().repeat(499));
                bytes.extend(continuation("b").bytes());
                bytes
            },
            || (BINARY, vec![b'b'; 1000]),
        ),
    ),
    Case::hardening(
        "fragment_flood_empty",
        GHSA,
        "empty fragments are counted too: every limit in bytes misses them",
        "a message of a million empty fragments: the server ends it, or its memory stays where it is",
        Run(|attack| {
            Box::pin(async move {
                let empty = continuation("").unfinished().bytes().repeat(10_000);
                flood(&attack, text("").unfinished().bytes(), &empty, 100).await.map(|(detail, _)| detail)
            })
        }),
    )
    .memory(24)
    .needs_process(),
    Case::hardening(
        "fragment_flood_empty_is_ended",
        GHSA,
        "empty fragments are counted too: every limit in bytes misses them",
        "a message of a million empty fragments: the server ends the connection",
        Run(|attack| {
            Box::pin(async move {
                let empty = continuation("").unfinished().bytes().repeat(10_000);
                ended(flood(&attack, text("").unfinished().bytes(), &empty, 100).await?)
            })
        }),
    ),
    Case::hardening(
        "fragment_flood_1_byte",
        GHSA,
        "what a fragment costs beside its bytes is bounded",
        "a message of a million fragments of one byte: memory stays near the million bytes that it holds",
        Run(|attack| {
            Box::pin(async move {
                let bytes = continuation("f").unfinished().bytes().repeat(10_000);
                flood(&attack, text("").unfinished().bytes(), &bytes, 100).await.map(|(detail, _)| detail)
            })
        }),
    )
    .memory(24)
    .needs_process(),
    Case::hardening(
        "fragment_flood_with_pings",
        GHSA,
        "what a fragment costs beside its bytes is bounded",
        "a message of 200,000 fragments of one byte with a ping between each two, whose pongs are not read",
        Run(|attack| {
            Box::pin(async move {
                let both = frames([continuation("f").unfinished(), ping("p")]).repeat(2_000);
                flood(&attack, text("").unfinished().bytes(), &both, 100).await.map(|(detail, _)| detail)
            })
        }),
    )
    .memory(24)
    .needs_process(),
    Case::hardening(
        "fragments_without_end",
        "CVE-2026-42786",
        "the limit on a message holds across its fragments",
        "fragments of 1 MiB, 512 of them: the server ends the message before the last",
        Run(|attack| {
            Box::pin(async move {
                let large = continuation(vec![b'f'; 1 << 20]).unfinished().bytes();
                ended(flood(&attack, binary("").unfinished().bytes(), &large, 512).await?)
            })
        }),
    ),
    Case::hardening(
        "frame_without_end",
        S10_4,
        LIMITS,
        "a frame of 512 MiB, and its bytes: the server ends it before the last",
        Run(|attack| {
            Box::pin(async move {
                let header = binary("").announce(512 << 20).bytes();
                ended(flood(&attack, header, &vec![b'f'; 1 << 20], 511).await?)
            })
        }),
    ),
    Case::hardening(
        "reassembly_is_linear",
        "CVE-2026-65623",
        "the work for a fragment does not depend on how many came before it",
        "four messages in 20,000 fragments of 16 bytes, and then in 80,000: at most 8 times the time",
        Run(|attack| Box::pin(async move { attack.linear(20_000, reassemble).await })),
    )
    .needs_process(),
    Case::hardening(
        "slow_reads_of_a_frame_are_linear",
        "CVE-2026-65623",
        "the work for a piece of a frame does not depend on how much of it came before",
        "a frame in pieces of 64 bytes, 16,000 of them, and then 64,000: at most 8 times the time",
        Run(|attack| Box::pin(async move { attack.linear(16_000, pieces).await })),
    )
    .needs_process(),
];

/// Sends the start of a message and then so many pieces of it, until the server takes no more. Nothing is read.
async fn flood(attack: &Attack, start: Vec<u8>, piece: &[u8], times: usize) -> Result<(String, bool), Miss> {
    let mut peer = attack.open().await?;
    peer.send(&start).await;
    let mut taken = "all of it is taken".to_owned();
    for at in 0..times {
        match peer.push(piece).await {
            Sent::All => {}
            Sent::Ended => break,
            Sent::Stuck(_) => {
                taken = format!("not read on after {at} of {times} pieces");
                break;
            }
        }
    }
    // Whether the end is on its way shows soon.
    Ok(match peer.farewell(FAREWELL).await {
        Some(farewell) => (farewell, true),
        None => (taken, false),
    })
}

fn ended((detail, ended): (String, bool)) -> Judged {
    if ended { Ok(detail) } else { Err(Miss::Failed(detail)) }
}

/// How long a server may think about what it was sent.
const FAREWELL: Duration = Duration::from_secs(2);

async fn reassemble(attack: Attack, fragments: usize) -> Result<(), Miss> {
    for _ in 0..4 {
        let mut peer = attack.open().await?;
        let mut bytes = binary("").unfinished().bytes();
        bytes.extend(continuation([b'f'; 16]).unfinished().bytes().repeat(fragments));
        bytes.extend(continuation("").bytes());
        peer.send(&bytes).await;
        // The echo, or the end: both show that the server is done.
        let _ = peer.message().await;
    }
    Ok(())
}

async fn pieces(attack: Attack, pieces: usize) -> Result<(), Miss> {
    let mut peer = attack.open().await?;
    let frame = binary(vec![b'p'; pieces * 64]).bytes();
    for piece in frame.chunks(64) {
        peer.send(piece).await;
        // So that the server gets a chance to read it alone.
        tokio::task::yield_now().await;
    }
    let _ = peer.message().await;
    Ok(())
}
