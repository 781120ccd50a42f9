//! Masking: what is not masked ends the connection.

use crate::case::Case;
use crate::case::Script::{Echoes, Fails, FailsEarly, Run};
use crate::peer::BEFORE;
use crate::wire::{BINARY, CLOSE, Craft, TEXT, binary, close, continuation, frames, ping, text};

const S5_1: &str = "RFC 6455 §5.1";
const UNMASKED: &str = "The server MUST close the connection upon receiving a frame that is not masked.";

pub(crate) const CASES: &[Case] = &[
    Case::must(
        "unmasked_text",
        S5_1,
        UNMASKED,
        "a text frame without a mask",
        Fails(|| text("unmasked").unmasked().bytes()),
    ),
    Case::must(
        "unmasked_empty_binary",
        S5_1,
        UNMASKED,
        "an empty frame without a mask",
        Fails(|| binary("").unmasked().bytes()),
    ),
    Case::must(
        "unmasked_ping",
        S5_1,
        UNMASKED,
        "a ping without a mask",
        Fails(|| ping("unmasked").unmasked().bytes()),
    ),
    Case::must(
        "unmasked_close",
        S5_1,
        UNMASKED,
        "a Close without a mask: it may be answered, or be an error, and is the end",
        Fails(|| close(1000, "").unmasked().bytes()),
    ),
    Case::must(
        "unmasked_continuation",
        S5_1,
        UNMASKED,
        "a masked first fragment, and a last one without a mask",
        Fails(|| frames([text("half ").unfinished(), continuation("unmasked").unmasked()])),
    ),
    Case::must(
        "unmasked_after_masked",
        S5_1,
        UNMASKED,
        "a right message, and one without a mask behind it",
        Fails(|| frames([text(BEFORE), text("unmasked").unmasked()])),
    ),
    Case::hardening(
        "unmasked_header_is_enough",
        "RFC 6455 §5.1",
        UNMASKED,
        "the header of a frame without a mask, and nothing behind it: the payload need not be waited for",
        FailsEarly(|| text("").unmasked().announce(60_000).bytes()),
    ),
    Case::must(
        "masked_with_zeros",
        "RFC 6455 §5.3",
        "The masking key is a 32-bit value chosen at random by the client.",
        "a frame whose masking key is zero, which is one like any other",
        Echoes(|| text("zero").mask([0; 4]).bytes(), || (TEXT, b"zero".to_vec())),
    ),
    Case::must(
        "server_never_masks",
        "RFC 6455 §5.1",
        "A server MUST NOT mask any frames that it sends to the client.",
        "messages of many lengths, a ping and a Close: a look at the header of each answer",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.open().await?;
                for length in [0, 1, 125, 126, 65_535, 65_536] {
                    let payload = vec![b'm'; length];
                    peer.send(&frames([ping("m"), Craft::new(BINARY, &payload)])).await;
                    peer.expect(BINARY, &payload).await?;
                }
                peer.send(&Craft::new(CLOSE, "").bytes()).await;
                peer.closed().await.map(|_| "no answer was masked".to_owned())
            })
        }),
    ),
];
