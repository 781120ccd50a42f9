//! A frame as bytes.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use bytes::Bytes;

use super::frame::{Header, MAX_CONTROL_PAYLOAD, MAX_HEADER};
use super::mask;
use super::pool;

#[inline]
pub(crate) fn put_header(out: &mut Vec<u8>, header: &Header) {
    let mut bytes = [0; MAX_HEADER];
    let length = header.encode(&mut bytes);
    // As many bytes each time are two moves, where `length` bytes are a call.
    let start = out.len();
    out.extend_from_slice(&bytes);
    out.truncate(start + length);
}

#[inline]
pub(crate) fn put_frame(out: &mut Vec<u8>, header: &Header, payload: &[u8]) {
    out.reserve(MAX_HEADER + payload.len());
    put_header(out, header);
    match header.key {
        Some(key) => mask::copy(payload, out, key),
        None => out.extend_from_slice(payload),
    }
}

/// The body of a Close with this code and reason, which fit into a control frame.
pub(crate) fn close_body<'a>(body: Option<(u16, &str)>, room: &'a mut [u8; MAX_CONTROL_PAYLOAD]) -> &'a [u8] {
    let Some((code, reason)) = body else { return &[] };
    // RFC 6455 §5.5.1: "the first two bytes of the body MUST be a 2-byte unsigned integer (in network byte
    // order)".
    room[..2].copy_from_slice(&code.to_be_bytes());
    let len = 2 + reason.len();
    room[2..len].copy_from_slice(reason.as_bytes());
    &room[..len]
}

/// The payload under its masking key: in its own memory if nobody shares it, else in a copy.
pub(crate) fn masked(payload: Bytes, key: [u8; 4]) -> Bytes {
    match payload.try_into_mut() {
        Ok(mut payload) => {
            mask::apply(&mut payload, key, 0);
            payload.freeze()
        }
        Err(shared) if shared.len() >= pool::LARGE => pool::copy_large::<false>(&shared, Some(key)).0,
        Err(shared) => pool::copy::<false>(&shared, Some(key)).0.into(),
    }
}
