//! Reserved bits and opcodes, and compression that was not agreed on.

use crate::case::Case;
use crate::case::Script::Fails;
use crate::deflate::Compressor;
use crate::peer::BEFORE;
use crate::wire::{Craft, RSV1, RSV2, RSV3, continuation, frames, ping, pong, text};

const S5_2: &str = "RFC 6455 §5.2";
const BITS: &str = "If a nonzero value is received and none of the negotiated extensions defines the meaning of such a \
     nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_.";
const OPCODES: &str =
    "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_.";

macro_rules! opcodes {
    ($($name:literal: $opcode:literal,)*) => {[$(
        Case::must($name, S5_2, OPCODES, concat!("a frame with the opcode ", $opcode), Fails(|| {
            Craft::new($opcode, "opcode").bytes()
        })),
    )*]};
}

pub(crate) const BITS_CASES: &[Case] = &[
    Case::must(
        "rsv1_without_agreement",
        S5_2,
        BITS,
        "a text frame with RSV1, and no extension (CVE-2026-59881)",
        Fails(|| text("bits").bits(RSV1).bytes()),
    ),
    Case::must(
        "compressed_without_agreement",
        S5_2,
        BITS,
        "a compressed message, and no extension (CVE-2026-59881)",
        Fails(|| text(Compressor::new().message(b"compressed")).bits(RSV1).bytes()),
    ),
    Case::must(
        "rsv2",
        S5_2,
        BITS,
        "a text frame with RSV2 (CVE-2022-21676: the error was not caught, and ended the process)",
        Fails(|| text("bits").bits(RSV2).bytes()),
    ),
    Case::must("rsv3", S5_2, BITS, "a text frame with RSV3", Fails(|| text("bits").bits(RSV3).bytes())),
    Case::must(
        "rsv_all",
        S5_2,
        BITS,
        "a text frame with all reserved bits",
        Fails(|| text("bits").bits(RSV1 | RSV2 | RSV3).bytes()),
    ),
    Case::must("rsv1_on_ping", S5_2, BITS, "a ping with RSV1", Fails(|| ping("bits").bits(RSV1).bytes())),
    Case::must(
        "rsv2_on_pong",
        S5_2,
        BITS,
        "a pong with RSV2, to which nobody would answer",
        Fails(|| pong("bits").bits(RSV2).bytes()),
    ),
    Case::must(
        "rsv3_on_close",
        S5_2,
        BITS,
        "a Close with RSV3, which is the end in either way",
        Fails(|| crate::wire::close(1000, "").bits(RSV3).bytes()),
    ),
    Case::must(
        "rsv1_on_continuation",
        S5_2,
        BITS,
        "a right first fragment, and a last one with RSV1",
        Fails(|| frames([text("half ").unfinished(), continuation("bits").bits(RSV1)])),
    ),
    Case::must(
        "rsv1_behind_a_message",
        S5_2,
        BITS,
        "a right message, and one with RSV1 behind it",
        Fails(|| frames([text(BEFORE), text("bits").bits(RSV1)])),
    ),
];

pub(crate) const OPCODES_CASES: &[Case] = &opcodes! {
    "opcode_3": 3,
    "opcode_4": 4,
    "opcode_5": 5,
    "opcode_6": 6,
    "opcode_7": 7,
    "opcode_11": 11,
    "opcode_12": 12,
    "opcode_13": 13,
    "opcode_14": 14,
    "opcode_15": 15,
};
