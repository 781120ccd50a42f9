//! Messages of permessage-deflate (RFC 7692 §7.2): compressed by miniz_oxide, and written by hand where no
//! compressor would.

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use miniz_oxide::{DataFormat, MZFlush};

use crate::case::Miss;

/// The tail that a sender cuts off and a receiver appends (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Compresses messages, each knowing those before it.
pub(crate) struct Compressor(Box<CompressorOxide>);

impl Compressor {
    pub(crate) fn new() -> Self {
        let flags = create_comp_flags_from_zip_params(BEST, RAW, 0);
        let mut compressor = CompressorOxide::new(flags);
        compressor.set_format_and_level(DataFormat::Raw, BEST as u8);
        Self(Box::new(compressor))
    }

    /// What these bytes compress to, up to and with the empty block of a flush.
    pub(crate) fn flushed(&mut self, bytes: &[u8]) -> Vec<u8> {
        // DEFLATE adds at most 5 bytes for each block of 32 KiB, and a few for the flush.
        let mut output = vec![0; bytes.len() + bytes.len() / 1000 + 256];
        let done = deflate(&mut self.0, bytes, &mut output, MZFlush::Sync);
        output.truncate(done.bytes_written);
        output
    }

    /// The payload of a message.
    pub(crate) fn message(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut payload = self.flushed(bytes);
        payload.truncate(payload.len() - TAIL.len());
        payload
    }
}

/// The payload of a message that inflates to so many mebibytes of zeros.
pub(crate) fn bomb(mebibytes: usize) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut compressor = Compressor::new();
    let mut payload = compressor.flushed(&zeros);
    // From the second on they are alike, since each finds the same window.
    let again = compressor.flushed(&zeros);
    for _ in 1..mebibytes {
        payload.extend(&again);
    }
    payload.truncate(payload.len() - TAIL.len());
    payload
}

/// Inflates the messages of a connection. It keeps them all, and so has no window to get wrong.
#[derive(Debug, Default)]
pub(crate) struct Inflater {
    stream: Vec<u8>,
    inflated: usize,
}

impl Inflater {
    /// The bytes of the next message; with takeover it knows those before.
    pub(crate) fn message(&mut self, payload: &[u8], takeover: bool) -> Result<Vec<u8>, Miss> {
        if !takeover {
            *self = Self::default();
        }
        self.stream.extend(payload);
        self.stream.extend(TAIL);
        // An empty last block behind it, so that the stream has an end.
        let stream = [&self.stream[..], &[0x01, 0x00, 0x00, 0xff, 0xff]].concat();
        let inflated = decompress_to_vec_with_limit(&stream, MOST).map_err(|error| {
            Miss::Failed(format!("the server's message is no DEFLATE: {:?}", error.status))
        })?;
        let message = inflated[self.inflated..].to_vec();
        self.inflated = inflated.len();
        Ok(message)
    }
}

const BEST: i32 = 9;
/// A window of 32 KiB without the header of zlib, in zlib's notation.
const RAW: i32 = -15;
/// More than any case asks for.
const MOST: usize = 64 << 20;
