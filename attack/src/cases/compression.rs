//! permessage-deflate: bombs, streams that are none, offers that must be declined. Skipped if the server does not
//! agree to it.

use crate::attack::Attack;
use crate::case::Script::Run;
use crate::case::{Case, Judged, Miss};
use crate::deflate::{Compressor, bomb};
use crate::peer::{Answer, BEFORE, Peer, Sent};
use crate::wire::{BINARY, Craft, RSV1, RSV2, TEXT, binary, continuation, frames, ping, text};

const S6: &str = "RFC 7692 §6";
const FIRST_ONLY: &str = "An endpoint MUST NOT set the \"Per-Message Compressed\" bit of control frames and non-first \
     fragments of a data message. An endpoint receiving such a frame MUST _Fail the WebSocket Connection_.";
const INFLATE: &str = "Decompress the resultant data using DEFLATE.";
const S10_7: &str = "RFC 6455 §10.7";
const VALIDATED: &str = "Incoming data MUST always be validated by both clients and servers.";
const S7_1: &str = "RFC 7692 §7.1";
const BOMB: &str = "inflating stops at the limit on a message";

macro_rules! inflates {
    ($($name:literal: $section:literal, $does:literal, $payload:expr, $message:expr;)*) => {&[$(
        Case::must($name, $section, INFLATE, $does, Run(|attack| Box::pin(async move {
            let mut peer = agreed(&attack).await?;
            peer.send(&text($payload).bits(RSV1).bytes()).await;
            peer.expect(TEXT, $message).await?;
            peer.goes_on().await.map(|_| "echoed".to_owned())
        }))),
    )*]};
}

macro_rules! corrupt {
    ($($kind:ident $name:literal: $does:literal, $payload:expr;)*) => {&[$(
        Case::$kind($name, S10_7, VALIDATED, $does, Run(|attack| Box::pin(async move {
            agreed(&attack).await?.fails(&binary($payload).bits(RSV1).bytes()).await
        }))),
    )*]};
}

macro_rules! declined {
    ($($name:literal: $words:literal, $does:literal, $offers:expr;)*) => {&[$(
        Case::must($name, S7_1, concat!("A server MUST decline an extension negotiation offer […] if […] ", $words), $does, Run(|attack| Box::pin(declines(attack, &$offers)))),
    )*]};
}

/// What an inflater has to read: the examples of RFC 7692, and more.
pub(crate) const INFLATES: &[Case] = inflates! {
    "deflate_one_block": "RFC 7692 §7.2.3.1", "the first example of the RFC", b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello";
    "deflate_stored_block": "RFC 7692 §7.2.3.3", "a block that is not compressed",
        b"\x00\x05\x00\xfa\xffHello\x00", b"Hello";
    "deflate_final_block": "RFC 7692 §7.2.3.4", "a block that says that it is the last one",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello";
    "deflate_two_blocks": "RFC 7692 §7.2.3.5", "a message in two blocks",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello";
    "deflate_empty_message": "RFC 7692 §7.2.3.6", "an empty message, which takes a byte", b"\x00", b"";
};

/// What is no DEFLATE.
pub(crate) const CORRUPT: &[Case] = corrupt! {
    must "deflate_block_of_no_type": "a block of the reserved type", b"\x06\x00\x00\x00";
    must "deflate_stored_length_is_wrong": "a stored block whose length and its complement differ",
        b"\x00\x05\x00\xfb\xffHello\x00";
    must "deflate_distance_is_too_far": "a match that goes back to before the first byte", b"\xf2\x00\x11\x00\x00";
    must "deflate_of_garbage": "a message of 0xff", [0xff; 64];
    hardening "deflate_ends_inside_a_block": "a message that ends in the middle of a block", {
        let mut payload = Compressor::new().message(&PROSE.repeat(20));
        payload.truncate(payload.len() / 2);
        payload
    };
};

/// Offers of which nobody may agree to any.
pub(crate) const DECLINED: &[Case] = declined! {
    "deflate_declines_window_bits": "the negotiation offer contains an extension parameter with an invalid value.",
        "windows of 0, 7, 16, 015, +9, 99999999999999999999 and of none, one offer a handshake (CVE-2026-2229)", [
            "server_max_window_bits", "server_max_window_bits=", "server_max_window_bits=0",
            "server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=015",
            "server_max_window_bits=+9", "server_max_window_bits=9.0", "server_max_window_bits=\"16\"",
            "server_max_window_bits=99999999999999999999", "client_max_window_bits=", "client_max_window_bits=0",
            "client_max_window_bits=7", "client_max_window_bits=16", "client_max_window_bits=08",
            "client_max_window_bits=-1"
        ];
    "deflate_declines_unknown_parameters":
        "the negotiation offer contains an extension parameter not defined for use in an offer.",
        "parameters that nobody knows, one offer a handshake",
        ["x", "max_window_bits=10", "__proto__=1", "server_max_window_bit=10", "constructor"];
    "deflate_declines_repeated_parameters":
        "the negotiation offer contains multiple extension parameters with the same name.",
        "parameters twice, one offer a handshake", [
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=10; server_max_window_bits=11",
            "client_max_window_bits; client_max_window_bits=12"
        ];
    "deflate_declines_values_of_flags": "the negotiation offer contains an extension parameter with an invalid value.",
        "values for parameters without one, one offer a handshake",
        ["server_no_context_takeover=1", "client_no_context_takeover=true", "server_no_context_takeover=\"\""];
};

pub(crate) const CASES: &[Case] = &[
    Case::must(
        "deflate_answer_fits_the_offer",
        S7_1,
        "A server accepts an extension negotiation offer that includes the \"server_no_context_takeover\" extension \
         parameter by including [it] in the corresponding extension negotiation response",
        "offers with a window and without takeover: the answer has them, and no client_max_window_bits",
        Run(|attack| Box::pin(fits(attack))),
    ),
    Case::must(
        "deflate_only_if_offered",
        "RFC 6455 §9.1",
        "containing one or more extensions that were requested by the client",
        "no offer: no agreement",
        Run(|attack| Box::pin(async move {
            agreed(&attack).await?;
            let peer = attack.open().await?;
            if peer.deflate.is_some() { Err(Miss::failed("agreed to nevertheless")) } else { Ok("none".to_owned()) }
        })),
    ),
    Case::must(
        "deflate_mixed_with_plain",
        "RFC 7692 §6",
        "the \"Per-Message Compressed\" bit tells for each message whether it is compressed",
        "compressed and plain messages in turns",
        Run(|attack| Box::pin(async move {
            let mut peer = agreed(&attack).await?;
            let mut compressor = Compressor::new();
            for turn in 0..10_u8 {
                let message = [PROSE, &[turn]].concat();
                if peer.deflate.as_ref().is_some_and(|parameters| parameters.contains("client_no_context_takeover")) {
                    compressor = Compressor::new();
                }
                peer.send(&binary(compressor.message(&message)).bits(RSV1).bytes()).await;
                peer.expect(BINARY, &message).await?;
                peer.send(&binary(&message).bytes()).await;
                peer.expect(BINARY, &message).await?;
            }
            Ok("echoed".to_owned())
        })),
    ),
    Case::must(
        "deflate_in_fragments",
        "RFC 7692 §6.1",
        "compression works on the message, whatever its frames",
        "a compressed message in fragments of a byte, with a ping in the middle",
        Run(|attack| Box::pin(async move {
            let mut peer = agreed(&attack).await?;
            let payload = Compressor::new().message(PROSE);
            let mut bytes = binary(&payload[..1]).bits(RSV1).unfinished().bytes();
            bytes.extend(ping("").bytes());
            bytes.extend(payload[1..].iter().flat_map(|byte| continuation([*byte]).unfinished().bytes()));
            bytes.extend(continuation("").bytes());
            peer.send(&bytes).await;
            peer.expect(BINARY, PROSE).await
        })),
    ),
    Case::must(
        "deflate_rsv1_on_continuation",
        S6,
        FIRST_ONLY,
        "a compressed first fragment, and a last one with RSV1",
        Run(|attack| Box::pin(async move {
            let start = text(b"\xf2\x48").bits(RSV1).unfinished();
            let end = continuation(b"\xcd\xc9\xc9\x07\x00").bits(RSV1);
            agreed(&attack).await?.fails(&frames([start, end])).await
        })),
    ),
    Case::must(
        "deflate_rsv1_on_ping",
        S6,
        FIRST_ONLY,
        "a ping with RSV1",
        Run(|attack| Box::pin(async move {
            agreed(&attack).await?.fails(&ping("").bits(RSV1).bytes()).await
        })),
    ),
    Case::must(
        "deflate_rsv2",
        "RFC 6455 §5.2",
        "If a nonzero value is received and none of the negotiated extensions defines the meaning of such a nonzero \
         value, the receiving endpoint MUST _Fail the WebSocket Connection_.",
        "a compressed message with RSV2 too",
        Run(|attack| Box::pin(async move {
            agreed(&attack).await?.fails(&text(b"\x00").bits(RSV1 | RSV2).bytes()).await
        })),
    ),
    Case::must(
        "deflate_text_is_not_utf8",
        "RFC 6455 §8.1",
        "finds that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket \
         Connection_.",
        "compressed text with a surrogate in it",
        Run(|attack| Box::pin(async move {
            let payload = Compressor::new().message(b"before \xed\xa0\x80 behind");
            agreed(&attack).await?.fails(&text(payload).bits(RSV1).bytes()).await
        })),
    ),
    Case::hardening(
        "inflate_bomb_single",
        "CVE-2026-1526, CVE-2018-1000518",
        BOMB,
        "a frame of 1 MiB that inflates to 1 GiB",
        Run(|attack| Box::pin(async move {
            explode(&attack, vec![binary(bomb(1024)).bits(RSV1)]).await
        })),
    )
    .memory(256),
    Case::hardening(
        "inflate_bomb_fragmented",
        "CVE-2026-1526, CVE-2018-1000518",
        BOMB,
        "a message of 1 MiB in fragments of 1 KiB that inflates to 1 GiB",
        Run(|attack| Box::pin(async move {
            let payload = bomb(1024);
            let start = binary("").bits(RSV1).unfinished();
            let rest = payload.chunks(1 << 10).map(|piece| continuation(piece).unfinished());
            explode(&attack, std::iter::once(start).chain(rest).collect()).await
        })),
    )
    .memory(256),
    Case::hardening(
        "inflate_bomb_context_takeover",
        "CVE-2026-1526",
        "what inflates from many messages is bounded for a peer that does not read",
        "100 messages of a few KiB that inflate to 12 MiB each, with the window of those before, whose echoes are not read",
        Run(|attack| Box::pin(async move {
            let peer = agreed(&attack).await?;
            let zeros = vec![0; 12 << 20];
            let mut compressor = Compressor::new();
            let takeover = peer.deflate.as_ref().is_some_and(|with| !with.contains("client_no_context_takeover"));
            let first = binary(compressor.message(&zeros)).bits(RSV1).bytes();
            let more = if takeover { binary(compressor.message(&zeros)).bits(RSV1).bytes() } else { first.clone() };
            let mut sent = peer.push(&first).await;
            for _ in 1..100 {
                if sent == Sent::All {
                    sent = peer.push(&more).await;
                }
            }
            // Inflating goes on behind the last byte that was sent.
            attack.settled().await;
            attack.slowest_healthy(1).await?;
            Ok(if sent == Sent::All { "taken" } else { "not taken to the end" }.to_owned())
        })),
    )
    .memory(256)
    .needs_process(),
    Case::hardening(
        "inflate_empty_blocks",
        "CVE-2026-48779 and its kind",
        "what inflates to nothing is bounded too",
        "a message of 2 million empty blocks, 10 MiB that inflate to nothing",
        Run(|attack| Box::pin(async move {
            let mut peer = agreed(&attack).await?;
            let mut payload = b"\x00\x00\x00\xff\xff".repeat(2_000_000);
            payload.push(0);
            peer.send(&binary(payload).bits(RSV1).bytes()).await;
            match peer.message().await {
                Ok((BINARY, payload)) if payload.is_empty() => Ok("echoed".to_owned()),
                Ok(_) => Err(Miss::failed("the echo is another message")),
                Err(Miss::Failed(why)) if why == "no message in time" => Err(Miss::Failed(why)),
                Err(Miss::Failed(why)) => Ok(why),
                Err(skipped) => Err(skipped),
            }
        })),
    )
    .memory(48),
];

/// A connection with permessage-deflate.
async fn agreed(attack: &Attack) -> Result<Peer, Miss> {
    let peer = attack.open_with("permessage-deflate").await?;
    if peer.deflate.is_some() { Ok(peer) } else { Err(Miss::skipped(NOT_AGREED)) }
}

/// Judges that none of these parameters is agreed on.
async fn declines(attack: Attack, offers: &[&str]) -> Judged {
    agreed(&attack).await?;
    for parameters in offers {
        let offer = format!("permessage-deflate; {parameters}");
        let request = attack.request().add("Sec-WebSocket-Extensions", &offer);
        match attack.ask(&request).await?.answer().await {
            Answer::Response(response) if response.status == 101 => {
                if let Some(agreed) = response.values("sec-websocket-extensions").next() {
                    return Err(Miss::Failed(format!("{offer} is answered with {agreed}")));
                }
            }
            Answer::Response(_) | Answer::End(_) => {}
            Answer::Silence => return Err(Miss::Failed(format!("{offer} gets no answer"))),
        }
    }
    Ok(format!("{} offers are declined", offers.len()))
}

/// Judges that answers contain what was asked for, and nothing that must not be.
async fn fits(attack: Attack) -> Judged {
    agreed(&attack).await?;
    for offer in ["server_no_context_takeover", "server_max_window_bits=10", "client_no_context_takeover"] {
        let request =
            attack.request().add("Sec-WebSocket-Extensions", format!("permessage-deflate; {offer}"));
        let response = match attack.ask(&request).await?.answer().await {
            Answer::Response(response) if response.status == 101 => response,
            Answer::Response(_) | Answer::End(_) => continue,
            Answer::Silence => return Err(Miss::Failed(format!("{offer} gets no answer"))),
        };
        // To decline is a choice, and to refuse.
        let Some(agreed) = response.values("sec-websocket-extensions").next() else { continue };
        let parameters: Vec<_> = agreed.split(';').map(str::trim).collect();
        let window =
            parameters.iter().find_map(|parameter| parameter.strip_prefix("server_max_window_bits="));
        let fits = match offer {
            "server_max_window_bits=10" => window.is_some_and(|bits| matches!(bits, "8" | "9" | "10")),
            "server_no_context_takeover" => parameters.contains(&offer),
            _ => true,
        };
        if !fits || parameters.iter().any(|parameter| parameter.starts_with("client_max_window_bits")) {
            return Err(Miss::Failed(format!("{offer} is answered with {agreed}")));
        }
    }
    Ok("the answers fit".to_owned())
}

/// Judges that these frames, which are one message, end the connection.
async fn explode(attack: &Attack, bomb: Vec<Craft>) -> Judged {
    let mut peer = agreed(attack).await?;
    peer.send(&text(Compressor::new().message(BEFORE.as_bytes())).bits(RSV1).bytes()).await;
    peer.expect(TEXT, BEFORE.as_bytes()).await?;
    let bytes: Vec<u8> = bomb.into_iter().flat_map(Craft::bytes).collect();
    peer.send(&bytes).await;
    peer.failed().await
}

const NOT_AGREED: &str = "the server does not agree to permessage-deflate";

const PROSE: &[u8] =
    b"It is a truth universally acknowledged, that a single server in possession of a good port, must \
     be in want of a client.";
