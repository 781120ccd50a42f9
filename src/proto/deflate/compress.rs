//! What goes out (RFC 7692 §7.2.1).

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use zlib_rs::{DeflateFlush, Status};

use super::super::agreement::Deflate;
use super::super::config::{Config, Role};
use super::pool::{self, Settings};

/// Compresses the messages of one direction, whole or piece by piece.
pub(crate) struct Compressor {
    /// How we compress, if we may.
    agreed: Option<Agreed>,
    /// Within a message; between messages only with context takeover.
    stream: Option<Box<zlib_rs::Deflate>>,
    /// The application wants messages compressed.
    wanted: bool,
}

#[derive(Clone, Copy)]
struct Agreed {
    settings: Settings,
    takeover: bool,
}

impl Compressor {
    pub(crate) fn new(deflate: Option<Deflate>, role: Role, config: &Config) -> Self {
        let agreed = deflate.map(|deflate| deflate.sent_by(role)).and_then(|direction| {
            let settings = Settings { level: config.deflate_level, window_bits: direction.window_bits };
            // RFC 7692 §6: an endpoint may leave any message as it is; with a window too small for zlib, all.
            let able = direction.window_bits >= Deflate::LEAST_OWN_BITS;
            able.then_some(Agreed { settings, takeover: direction.takeover })
        });
        Self { agreed, stream: None, wanted: true }
    }

    /// Whether a message of `len` bytes, if that is known, is to be compressed.
    pub(crate) fn wants(&self, len: Option<usize>, config: &Config) -> bool {
        let is_worth_it = |len| len > config.deflate_above as usize;
        self.agreed.is_some() && self.wanted && len.is_none_or(is_worth_it)
    }

    /// The memory that it holds.
    pub(crate) fn memory(&self) -> usize {
        let settings = self.settings().filter(|_| self.stream.is_some());
        settings.map_or(0, |settings| pool::compressor_memory(settings.window_bits))
    }

    /// Whether any message may be compressed.
    pub(crate) const fn is_on(&self) -> bool {
        self.agreed.is_some()
    }

    /// The longest payload that is not worth it.
    pub(crate) const fn most_plain(config: &Config) -> usize {
        config.deflate_above as usize
    }

    /// Says whether messages are to be compressed from now on.
    pub(crate) const fn want(&mut self, on: bool) {
        self.wanted = on;
    }

    /// A message, compressed; or nothing if that is not worth it. [`reuse`](Self::reuse) takes the memory back.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let agreed = self.agreed?;
        let out = self.piece(payload, true);
        // With takeover the window has the message now, and the peer must get it.
        if agreed.takeover || out.len() < payload.len() {
            return Some(out);
        }
        pool::put_scratch(out);
        None
    }

    /// A piece of a message, compressed such that the peer can inflate all of it at once.
    pub(crate) fn piece(&mut self, payload: &[u8], last: bool) -> Vec<u8> {
        let mut out = pool::take_scratch();
        if let Some(Agreed { settings, takeover }) = self.agreed {
            let stream = self.stream.get_or_insert_with(|| pool::take_compressor(settings));
            flush(stream, payload, last, &mut out);
            if last && !takeover {
                self.forget();
            }
        }
        out
    }

    /// Whether a message is queued by reference: it is large, and pins little more memory than is counted.
    pub(crate) fn may_share(out: &Vec<u8>, config: &Config) -> bool {
        let is_dense = out.len().saturating_mul(Config::MOST_PINNED) >= out.capacity();
        is_dense && out.len() > config.share_above as usize
    }

    /// Takes back the memory of a message that was copied elsewhere.
    pub(crate) fn reuse(out: Vec<u8>) {
        pool::put_scratch(out);
    }

    /// Begins the next message with an empty window, which a sender may do at any time.
    pub(crate) fn forget(&mut self) {
        if let (Some(agreed), Some(stream)) = (self.agreed, self.stream.take()) {
            pool::put_compressor(agreed.settings, stream);
        }
    }

    /// The level and window with which a message that stands alone is compressed.
    pub(crate) fn settings(&self) -> Option<Settings> {
        self.agreed.map(|agreed| agreed.settings)
    }
}

/// A message that stands alone, compressed; or nothing if that is not smaller.
pub(crate) fn compress_once(settings: Settings, payload: &[u8]) -> Option<Vec<u8>> {
    let mut stream = pool::take_compressor(settings);
    let mut out = Vec::new();
    flush(&mut stream, payload, true, &mut out);
    pool::put_compressor(settings, stream);
    (out.len() < payload.len()).then_some(out)
}

/// RFC 7692 §7.2.1: compress, end with an empty block, and of a message "remove 4 octets (that are 0x00 0x00
/// 0xff 0xff) from the tail end".
fn flush(stream: &mut zlib_rs::Deflate, payload: &[u8], last: bool, out: &mut Vec<u8>) {
    if payload.is_empty() {
        // zlib flushes nothing twice. RFC 7692 §7.2.3.6: "0x00" is an empty message.
        if last {
            out.push(0);
        }
        return;
    }
    let mut rest = payload;
    loop {
        let start = out.len();
        // Half of what is left, and more if that does not do.
        out.resize(start + (rest.len() / 2).clamp(LEAST_ROOM, MOST_ROOM), 0);
        let before = (stream.total_in(), stream.total_out());
        let status = stream.compress(rest, &mut out[start..], DeflateFlush::SyncFlush);
        debug_assert!(matches!(status, Ok(Status::Ok | Status::BufError)), "{status:?}");
        // Both are lengths of slices.
        rest = &rest[(stream.total_in() - before.0) as usize..];
        let written = (stream.total_out() - before.1) as usize;
        let full = start + written == out.len();
        out.truncate(start + written);
        // zlib takes at most 4 GiB at a time.
        if (rest.is_empty() && !full) || status.is_err() {
            break;
        }
    }
    if last {
        debug_assert!(out.ends_with(&TAIL), "a flush ends with an empty block");
        out.truncate(out.len() - TAIL.len());
    }
}

/// The length of an empty block without compression (RFC 1951 §3.2.4).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// The room in which a compressor writes in one go.
const LEAST_ROOM: usize = 128;
const MOST_ROOM: usize = 64 << 10;
