//! Lengths: the forms that must not be, and what is announced and never comes.

use crate::attack::Attack;
use crate::case::Script::{Echoes, Fails, FailsEarly, Run};
use crate::case::{Case, Judged, Miss};
use crate::wire::{BINARY, Form, binary, continuation, frames, text};

const S5_2: &str = "RFC 6455 §5.2";
const MINIMAL: &str = "the minimal number of bytes MUST be used to encode the length";
const TOP_BIT: &str = "a 64-bit unsigned integer (the most significant bit MUST be 0)";
const S10_4: &str = "RFC 6455 §10.4";
const LIMITS: &str = "[They] MUST protect themselves against exceeding those limits.";

pub(crate) const CASES: &[Case] = &[
    // The sender breaks a MUST; that a receiver has to mind is nowhere said.
    Case::hardening(
        "length_zero_in_16_bits",
        S5_2,
        MINIMAL,
        "an empty frame whose length takes 16 bits",
        Fails(|| text("").form(Form::Sixteen).bytes()),
    ),
    Case::hardening(
        "length_125_in_16_bits",
        S5_2,
        MINIMAL,
        "125 bytes whose length takes 16 bits",
        Fails(|| text([b'l'; 125]).form(Form::Sixteen).bytes()),
    ),
    Case::hardening(
        "length_5_in_64_bits",
        S5_2,
        MINIMAL,
        "5 bytes whose length takes 64 bits",
        Fails(|| text("hello").form(Form::SixtyFour).bytes()),
    ),
    Case::hardening(
        "length_65535_in_64_bits",
        S5_2,
        MINIMAL,
        "65,535 bytes whose length takes 64 bits",
        Fails(|| binary(vec![b'l'; 0xffff]).form(Form::SixtyFour).bytes()),
    ),
    Case::must(
        "length_with_top_bit",
        S5_2,
        TOP_BIT,
        "a length of 5 with the top bit set",
        FailsEarly(|| text("hello").form(Form::SixtyFour).announce(1 << 63 | 5).bytes()),
    ),
    Case::must(
        "length_2_63",
        S5_2,
        TOP_BIT,
        "a length of 2^63 (CVE-2020-13935: an endless loop; CVE-2026-1528: a crash)",
        FailsEarly(|| binary("").announce(1 << 63).bytes()),
    ),
    Case::must(
        "length_2_64_minus_1",
        S5_2,
        TOP_BIT,
        "the largest length that 64 bits hold (CVE-2020-27813: sums that overflow)",
        FailsEarly(|| binary("").announce(u64::MAX).bytes()),
    ),
    Case::hardening(
        "length_2_63_minus_1",
        S10_4,
        LIMITS,
        "the largest length there may be: over any limit by its header alone",
        FailsEarly(|| binary("").announce((1 << 63) - 1).bytes()),
    ),
    Case::hardening(
        "length_announced_1_tebibyte",
        S10_4,
        LIMITS,
        "a header that announces 1 TiB: over any limit by its header alone",
        FailsEarly(|| binary("").announce(1 << 40).bytes()),
    ),
    Case::hardening(
        "length_overflows_across_fragments",
        S10_4,
        LIMITS,
        "a byte, and a continuation that announces 2^63 - 1 (CVE-2020-27813)",
        FailsEarly(|| frames([binary("b").unfinished(), continuation("").announce((1 << 63) - 1)])),
    ),
    Case::hardening(
        "announced_length_is_not_allocated",
        "RUSTSEC-2022-0035, CVE-2022-35922",
        "memory follows the bytes that come, and not the length that a header announces",
        "200 connections that announce 15 MiB each, send one byte and wait: neither resident nor reserved memory grows \
         by a hundredth of that",
        Run(|attack| Box::pin(announced(attack))),
    )
    .memory(32)
    .needs_process(),
    Case::must(
        "length_boundaries",
        S5_2,
        "Payload length:  7 bits, 7+16 bits, or 7+64 bits",
        "messages of 0, 1, 125, 126, 127, 65,535, 65,536 and 65,537 bytes",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.open().await?;
                for length in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537] {
                    let payload: Vec<u8> = (0..length).map(|at: usize| at as u8).collect();
                    peer.send(&binary(&payload).bytes()).await;
                    peer.expect(BINARY, &payload).await?;
                }
                Ok("echoed".to_owned())
            })
        }),
    ),
    Case::must(
        "header_byte_by_byte",
        S5_2,
        "Payload length:  7 bits, 7+16 bits, or 7+64 bits",
        "a frame with a 64-bit length whose header comes byte by byte",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.open().await?;
                let payload = vec![b'b'; 70_000];
                let frame = binary(&payload).bytes();
                let (header, rest) = frame.split_at(14);
                for byte in header {
                    peer.send(&[*byte]).await;
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                peer.send(rest).await;
                peer.expect(BINARY, &payload).await
            })
        }),
    ),
    Case::must(
        "frames_in_one_write",
        S5_2,
        "The base protocol framing",
        "a thousand messages in one write, of which none is lost",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.open().await?;
                peer.send(&(0..1000).flat_map(|at| text(at.to_string()).bytes()).collect::<Vec<_>>()).await;
                for at in 0..1000 {
                    peer.expect(crate::wire::TEXT, at.to_string().as_bytes()).await?;
                }
                Ok("echoed".to_owned())
            })
        }),
    ),
    Case::must(
        "zero_length_message",
        S5_2,
        "The length of the \"Payload data\", in bytes: if 0-125, that is the payload length.",
        "an empty message, which is one",
        Echoes(|| binary("").bytes(), || (BINARY, Vec::new())),
    ),
];

async fn announced(attack: Attack) -> Judged {
    let process = attack.process()?;
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        peers.push(attack.open().await?);
    }
    let before = process.reserved().unwrap_or_default();
    for peer in &mut peers {
        peer.send(&binary("b").announce(ANNOUNCED).bytes()).await;
    }
    attack.slowest_healthy(1).await?;
    let grown = process.reserved().unwrap_or_default().saturating_sub(before);
    if grown > MOST_RESERVED {
        let announced = (CONNECTIONS * ANNOUNCED) >> 20;
        return Err(Miss::Failed(format!("{} MiB are reserved for {announced} MiB announced", grown >> 20)));
    }
    Ok(format!("{} MiB are reserved", grown >> 20))
}

const CONNECTIONS: u64 = 200;
/// Below the limits of most servers.
const ANNOUNCED: u64 = 15 << 20;
/// 3 GiB are announced. An arena of the allocator, of which a thread may take one at any time, is 64 MiB.
const MOST_RESERVED: u64 = 256 << 20;
