//! Borrowed messages that go to the transport as they lie.

#![forbid(unsafe_code)]

use bytes::Buf;

use super::error::SendError;
use super::frame::MAX_HEADER;
use super::message::{Kind, MessageRef};
use super::send::Sender;

impl Sender {
    /// Sends a borrowed message, of which nothing is copied that the transport takes at once: `write` gets the header of
    /// a frame and the payload behind it, writes both as if they were one, and tells how many bytes went. The rest is
    /// queued as a copy, for [`output`](Self::output).
    ///
    /// `write` is called at most once, and only where nothing waits and the frame goes out as the message lies: one of a
    /// server, neither compressed nor in fragments, with more payload than is copied anyway
    /// ([`Config::share_above`](super::Config::share_above)). Any other message is queued, as by
    /// [`send_ref`](Self::send_ref). A transport that takes nothing, or failed, gave 0: it tells so again when the output
    /// is written.
    ///
    /// # Errors
    /// [`SendError`], and nothing was written or queued.
    ///
    /// ```
    /// use taut::proto::{Config, Connection, MessageRef};
    ///
    /// let mut connection = Connection::server(Config::new());
    /// let mut transport = Vec::new();
    /// let payload = vec![7; 100_000];
    /// connection.send_ref_with(MessageRef::Binary(&payload), |header, payload| {
    ///     transport.extend_from_slice(header);
    ///     transport.extend_from_slice(payload);
    ///     header.len() + payload.len()
    /// })?;
    /// assert_eq!(transport[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0]);
    /// assert!(transport.ends_with(&payload) && !connection.wants_output());
    /// # Ok::<(), taut::proto::SendError>(())
    /// ```
    #[inline]
    pub fn send_ref_with(
        &mut self,
        message: MessageRef<'_>,
        write: impl FnOnce(&[u8], &[u8]) -> usize,
    ) -> Result<(), SendError> {
        match message.data() {
            Some((kind, payload)) if payload.len() > self.config.share_above as usize => {
                self.send_lent(kind, payload, write)
            }
            _ => self.send_ref(message),
        }
    }

    fn send_lent(
        &mut self,
        kind: Kind,
        payload: &[u8],
        write: impl FnOnce(&[u8], &[u8]) -> usize,
    ) -> Result<(), SendError> {
        if let Some(refused) = self.refusal() {
            return Err(SendError::new(refused, None));
        }
        let in_one = payload.len() <= self.config.fragment_above && !self.wants_deflate(payload);
        let as_it_lies = in_one && !self.queue.masks() && !self.wants_output();
        let mut written = 0;
        if as_it_lies {
            let mut header = [0; MAX_HEADER];
            let length = self.queue.header(kind.into(), true, false, payload.len()).encode(&mut header);
            written = write(&header[..length], payload);
            if written >= length + payload.len() {
                return Ok(());
            }
        }
        self.data(kind.into(), payload);
        self.output().advance(written);
        Ok(())
    }
}
