//! Sec-WebSocket-Key and Sec-WebSocket-Accept (RFC 6455 §4.1, §4.2.2, §11.3.1, §11.3.3).

#![forbid(unsafe_code)]

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

/// The value of Sec-WebSocket-Accept that answers a key, as it stands in the field: base64 of the
/// SHA-1 of the key and a fixed GUID (RFC 6455 §4.2.2). The key is taken as it is; whether it is one
/// is not asked.
#[must_use]
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut text = [0; 28];
    encode(&digest, &mut text);
    text
}

/// The value of Sec-WebSocket-Key for a nonce.
pub(super) fn key_text(nonce: [u8; 16]) -> [u8; 24] {
    let mut text = [0; 24];
    encode(&nonce, &mut text);
    text
}

/// Whether the value of a Sec-WebSocket-Key field stands for 16 bytes.
pub(super) fn is_key(text: &[u8; 24]) -> bool {
    let mut nonce = [0; 16];
    BASE64.decode_slice(text, &mut nonce) == Ok(16)
}

/// `text` is as long as the base64 of `bytes`.
fn encode(bytes: &[u8], text: &mut [u8]) {
    let written = BASE64.encode_slice(bytes, text);
    debug_assert_eq!(written, Ok(text.len()));
}

/// RFC 6455 §1.3: the GUID "is unlikely to be used by network endpoints that do not understand the
/// WebSocket Protocol".
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// With padding. The four bits that a key leaves over may be anything: clients that draw 24 characters
/// instead of 16 bytes are in use, and nothing depends on those bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_3_example() {
        assert_eq!(key_text(*b"the sample nonce"), *b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), *b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn s4_2_1_a_key_is_sixteen_bytes() {
        let is_key = |text: &[u8]| text.try_into().is_ok_and(is_key);
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(is_key(b"AAAAAAAAAAAAAAAAAAAAAA=="));
        assert!(is_key(b"AQIDBAUGBwgJCgsMDQ4PEC=="), "bits that are left over");
        for wrong in [
            &b""[..],
            b"=",
            b"AAAA",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ= ",
            b"dGhlIHNhbXBsZSBub25jZTE=",
            b"dGhlIHNhbXBsZSBub25jZTEy",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25j\x00Q==",
            b"dGhlIHNhbXBsZSBub25j-Q==",
            b"========================",
            &[0xFF; 24],
        ] {
            assert!(!is_key(wrong), "{wrong:?}");
        }
    }
}
