//! What the application of `receive` sends back, and how it is written.

use std::io::IoSlice;

use bytes::Buf;
use taut::proto::frame::MAX_HEADER;
use taut::proto::{
    CloseFrame, EventRef, Kind, Message, MessageRef, Output, SendError, SendErrorKind, Sender,
};

use crate::input::Settings;

/// What the application sent, and what was written.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) messages: Vec<Message>,
    /// The fragments of a message whose last was not sent.
    pub(crate) partial: Option<(Kind, Vec<u8>)>,
    pub(crate) close: Option<Option<CloseFrame>>,
    pub(crate) bytes: Vec<u8>,
    /// How often something was written.
    writes: usize,
    /// The most bytes that one message took in the queue.
    pub(crate) largest: usize,
}

impl Sent {
    /// Sends back a borrowed event: as a copy that the queue may take over, borrowed, or past the queue to a transport that
    /// takes some of it.
    pub(crate) fn echo(&mut self, sender: &mut Sender, settings: &Settings, event: &EventRef<'_>) {
        match event {
            EventRef::Message(message) if message.is_data() => {
                let (number, payload) = (self.messages.len(), payload(message));
                let frames = frames(payload, settings);
                let most = number * 13 % (payload.len() + 2 * MAX_HEADER);
                let mut past = Vec::new();
                let accepted = self.offer(sender, settings, payload, frames, |sender| match number % 3 {
                    0 => sender.send_ref(*message),
                    1 => sender.send(message.to_message()),
                    _ => sender.send_ref_with(*message, |header, payload| {
                        past.extend([header, payload].concat().into_iter().take(most));
                        past.len()
                    }),
                });
                self.bytes.append(&mut past);
                if accepted {
                    self.messages.push(message.to_message());
                }
            }
            EventRef::Message(_) => {}
            EventRef::Chunk(chunk) => {
                let (kind, data) = (chunk.data.kind(), chunk.data.as_bytes());
                let send = |sender: &mut Sender| sender.send_fragment(kind, data, chunk.last);
                if self.offer(sender, settings, data, 1, send) {
                    add_chunk(&mut self.partial, &mut self.messages, kind, data, chunk.last);
                }
            }
        }
    }

    /// Sends, after writing all that waits if there is no room. Tells whether it was accepted.
    pub(crate) fn offer(
        &mut self,
        sender: &mut Sender,
        settings: &Settings,
        payload: &[u8],
        frames: usize,
        mut send: impl FnMut(&mut Sender) -> Result<(), SendError>,
    ) -> bool {
        if frames > MOST_FRAMES {
            return false;
        }
        let mut before = sender.queued();
        let mut result = send(sender);
        if result.as_ref().is_err_and(|error| error.kind() == SendErrorKind::Full) {
            assert!(before >= settings.max_queued, "full at {before} bytes");
            assert_eq!(sender.queued(), before, "what is refused takes no room");
            while sender.wants_output() {
                self.write(sender.output(), usize::MAX);
            }
            before = 0;
            result = send(sender);
        }
        match result.map_err(|error| error.kind()) {
            Ok(()) => {
                assert!(before < settings.max_queued, "accepted behind {before} bytes");
                let taken = sender.queued() - before;
                assert!(taken <= payload.len() + frames * MAX_HEADER, "{taken} bytes for {}", payload.len());
                self.largest = self.largest.max(taken);
                true
            }
            Err(SendErrorKind::Closed) => {
                assert!(self.close.is_some(), "closed without a reason");
                false
            }
            Err(error) => {
                assert_eq!((error, settings.max_queued), (SendErrorKind::Full, 0));
                false
            }
        }
    }

    /// Writes at most so many bytes, in turn as one piece, as several, and as pieces that are taken away whole.
    pub(crate) fn write(&mut self, output: &mut Output, most: usize) {
        self.writes += 1;
        let before = self.bytes.len();
        match self.writes % 3 {
            0 => {
                let piece = output.chunk();
                self.bytes.extend_from_slice(&piece[..piece.len().min(most)]);
            }
            1 => {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = output.chunks_vectored(&mut slices);
                for slice in &slices[..count] {
                    let left = most - (self.bytes.len() - before);
                    self.bytes.extend_from_slice(&slice[..slice.len().min(left)]);
                }
            }
            _ => {
                self.bytes.extend(output.pop().unwrap_or_default());
                return;
            }
        }
        let written = self.bytes.len() - before;
        assert!(written > 0 || output.is_empty(), "no piece of the {} bytes that wait", output.len());
        output.advance(written);
    }
}

/// The most frames that an echo leaves in: more would tell nothing new, and take their time.
const MOST_FRAMES: usize = 1000;

pub(crate) fn payload<'a>(message: &MessageRef<'a>) -> &'a [u8] {
    match *message {
        MessageRef::Text(text) => text.as_bytes(),
        MessageRef::Binary(bytes) | MessageRef::Ping(bytes) | MessageRef::Pong(bytes) => bytes,
        MessageRef::Close(_) => &[],
    }
}

/// In how many frames a message leaves, at most.
pub(crate) fn frames(payload: &[u8], settings: &Settings) -> usize {
    payload.len() / settings.fragment_above.max(1) + 1
}

/// Puts a chunk behind those before it; the last makes a message of them.
pub(crate) fn add_chunk(
    partial: &mut Option<(Kind, Vec<u8>)>,
    messages: &mut Vec<Message>,
    kind: Kind,
    data: &[u8],
    last: bool,
) {
    let (begun, bytes) = partial.get_or_insert((kind, Vec::new()));
    assert_eq!(*begun, kind, "the chunks of a message are of one kind");
    bytes.extend_from_slice(data);
    if last {
        let (_, bytes) = partial.take().unwrap_or((kind, Vec::new()));
        messages.push(match kind {
            Kind::Text => Message::text(String::from_utf8(bytes).expect("chunks of text are text")),
            Kind::Binary => Message::binary(bytes),
        });
    }
}
