//! A message encoded once for many connections.

#![forbid(unsafe_code)]

#[cfg(feature = "deflate")]
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
#[cfg(feature = "deflate")]
use std::sync::OnceLock;

use bytes::Bytes;

#[cfg(feature = "deflate")]
use super::agreement::Deflate;
#[cfg(feature = "deflate")]
use super::deflate::{Settings, compress_once};
use super::encode::put_frame;
use super::frame::{Header, MAX_HEADER, OpCode};

/// A message encoded once for many connections: header and payload lie in one `Bytes`, which every
/// server connection queues by reference; or copies, where no more than
/// [`Config::share_above`](super::Config::share_above) waits and there is memory at hand. Clients mask a copy.
/// It is one frame, whatever [`Config::fragment_above`](super::Config::fragment_above) says.
///
/// For connections that agreed on permessage-deflate it is compressed when the first of them sends it, once for
/// each size of window, at the level of that first one. Such a message stands alone: where context takeover
/// was agreed on, the connection's next message begins with an empty window.
///
/// ```
/// use taut::proto::{Config, Connection, Prepared};
///
/// let news = Prepared::text("news for all");
/// let mut connections = [Connection::server(Config::new()), Connection::server(Config::new())];
/// for connection in &mut connections {
///     connection.send_prepared(&news)?;
/// }
/// for mut connection in connections {
///     assert_eq!(connection.output().pop().unwrap(), &b"\x81\x0cnews for all"[..]);
/// }
/// # Ok::<(), taut::proto::SendError>(())
/// ```
#[derive(Clone)]
pub struct Prepared {
    plain: Encoded,
    #[cfg(feature = "deflate")]
    deflated: Arc<[OnceLock<Option<Encoded>>; WINDOWS]>,
}

/// A frame of a server.
#[derive(Clone)]
pub(crate) struct Encoded {
    pub(crate) opcode: OpCode,
    pub(crate) rsv1: bool,
    header: u8,
    pub(crate) frame: Bytes,
}

impl Prepared {
    /// Encodes a text message.
    #[must_use]
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::new(OpCode::Text, text.as_ref().as_bytes())
    }

    /// Encodes a binary message.
    #[must_use]
    pub fn binary(bytes: impl AsRef<[u8]>) -> Self {
        Self::new(OpCode::Binary, bytes.as_ref())
    }

    /// How many bytes the payload has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.plain.payload().len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn new(opcode: OpCode, payload: &[u8]) -> Self {
        Self {
            plain: Encoded::new(opcode, false, payload),
            #[cfg(feature = "deflate")]
            deflated: Arc::default(),
        }
    }

    pub(crate) const fn plain(&self) -> &Encoded {
        &self.plain
    }

    /// The message compressed, unless that makes it no smaller.
    #[cfg(feature = "deflate")]
    pub(crate) fn deflated(&self, settings: Settings) -> Option<&Encoded> {
        let window = usize::from(settings.window_bits.checked_sub(Deflate::LEAST_OWN_BITS)?);
        let compress = || {
            let payload = compress_once(settings, self.plain.payload())?;
            Some(Encoded::new(self.plain.opcode, true, &payload))
        };
        self.deflated.get(window)?.get_or_init(compress).as_ref()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads stay out of logs.
        f.debug_struct("Prepared")
            .field("opcode", &self.plain.opcode)
            .field("len", &self.plain.payload().len())
            .finish_non_exhaustive()
    }
}

impl Encoded {
    fn new(opcode: OpCode, rsv1: bool, payload: &[u8]) -> Self {
        let header = Header { fin: true, rsv1, opcode, key: None, len: payload.len() as u64 };
        let mut frame = Vec::with_capacity(MAX_HEADER + payload.len());
        put_frame(&mut frame, &header, payload);
        Self { opcode, rsv1, header: (frame.len() - payload.len()) as u8, frame: frame.into() }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.frame[usize::from(self.header)..]
    }
}

/// The sizes of window that we compress with.
#[cfg(feature = "deflate")]
const WINDOWS: usize = (Deflate::MOST_BITS - Deflate::LEAST_OWN_BITS + 1) as usize;
