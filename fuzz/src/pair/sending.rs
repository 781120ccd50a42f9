//! What the application at one end sends: whether it may, and what must arrive.

use bytes::Bytes;
use taut::proto::frame::MAX_HEADER;
use taut::proto::{
    ChunkRef, CloseFrame, Event, EventRef, Kind, Message, MessageRef, Prepared, SendError, SendErrorKind,
    Sender,
};

use super::input::{Side, Way};
use crate::allocations;
use crate::sent::payload;

/// What was sent, and what is still allowed.
#[derive(Default)]
pub(super) struct Sending {
    /// What was accepted, in the order in which it must arrive.
    pub(super) sent: Vec<Message>,
    /// The fragments of a message whose last was not sent.
    pub(super) partial: Option<(Kind, Vec<u8>)>,
    /// The most empty fragments of one message.
    pub(super) most_empty: u32,
    empty: u32,
    /// Our Close.
    pub(super) close: Option<Option<CloseFrame>>,
    /// The application has seen the peer's Close.
    pub(super) peer_closed: bool,
    /// The connection failed, or the transport ended.
    pub(super) over: bool,
    /// The most bytes that one message took in the queue.
    pub(super) largest: usize,
    /// What the engine holds, more than before.
    pub(super) memory: isize,
}

impl Sending {
    /// Sends a message.
    pub(super) fn send(&mut self, sender: &mut Sender, side: &Side, way: Way, message: &Message) {
        let refusal = self.refusal(sender, side);
        let accepted = self.offer(sender, side, refusal, length(message), |sender| match way {
            Way::Owned => {
                let sent = sender.send(copy(message));
                sent.inspect_err(|error| {
                    assert_eq!(error.clone().into_message().as_ref(), Some(message), "it is handed back");
                })
            }
            _ => sender.send_ref(message.into()),
        });
        if accepted {
            self.sent.push(message.clone());
        }
    }

    pub(super) fn send_prepared(&mut self, sender: &mut Sender, side: &Side, prepared: &(Prepared, Message)) {
        let refusal = self.refusal(sender, side);
        let (prepared, message) = prepared;
        if self.offer(sender, side, refusal, length(message), |sender| sender.send_prepared(prepared)) {
            self.sent.push(message.clone());
        }
    }

    /// Sends a piece of a message.
    pub(super) fn fragment(&mut self, sender: &mut Sender, side: &Side, kind: Kind, data: &[u8], last: bool) {
        let wrong = |(begun, bytes): &(Kind, Vec<u8>)| {
            if *begun != kind {
                return Some(SendErrorKind::MessageInProgress);
            }
            let is_wrong = match std::str::from_utf8(&[bytes, data].concat()) {
                Ok(_) => false,
                Err(error) => last || error.error_len().is_some(),
            };
            (kind == Kind::Text && is_wrong).then_some(SendErrorKind::InvalidUtf8)
        };
        let answers_nothing = self.close.is_none() && !self.over;
        // RFC 6455 §5.5.1: the rest of a message may go out before the Close that answers.
        let refusal = match self.refuses_any(sender, side) {
            Some(SendErrorKind::Closed) if self.partial.is_some() && answers_nothing => {
                (sender.queued() >= max_queued(side)).then_some(SendErrorKind::Full)
            }
            refusal => refusal,
        };
        let refusal = refusal.or_else(|| wrong(self.partial.as_ref().unwrap_or(&(kind, Vec::new()))));
        let accepted =
            self.offer(sender, side, refusal, data.len(), |sender| sender.send_fragment(kind, data, last));
        if !accepted {
            return;
        }
        self.empty += u32::from(data.is_empty() && !last);
        self.most_empty = self.most_empty.max(self.empty);
        let (_, mut bytes) = self.partial.take().unwrap_or((kind, Vec::new()));
        bytes.extend_from_slice(data);
        if last {
            self.empty = 0;
            self.sent.push(match kind {
                Kind::Text => Message::text(String::from_utf8(bytes).expect("the whole was checked")),
                Kind::Binary => Message::binary(bytes),
            });
        } else {
            self.partial = Some((kind, bytes));
        }
    }

    /// Sends a ping or a pong.
    pub(super) fn control(&mut self, sender: &mut Sender, side: &Side, message: &Message) {
        let long = (length(message) > 125).then_some(SendErrorKind::ControlTooLong);
        let refusal = long.or_else(|| self.refuses_any(sender, side));
        if self.offer(sender, side, refusal, length(message), |sender| sender.send_ref(message.into())) {
            self.sent.push(message.clone());
        }
    }

    pub(super) fn close(&mut self, sender: &mut Sender, frame: Option<CloseFrame>) {
        metered(&mut self.memory, || match &frame {
            None => sender.send(Message::Close(None)).expect("a Close is never refused"),
            Some(close) => sender.close(Some(copy_close(close))),
        });
        self.note_close(frame);
    }

    /// Notes a Close of ours, if it is the first.
    pub(super) fn note_close(&mut self, frame: Option<CloseFrame>) {
        if !self.over {
            self.close.get_or_insert(frame);
        }
    }

    /// Sends an event back, while it is looked at.
    pub(super) fn echo(&mut self, sender: &mut Sender, side: &Side, event: &EventRef<'_>) {
        match event {
            EventRef::Message(message @ (MessageRef::Text(_) | MessageRef::Binary(_))) => {
                self.send(sender, side, Way::Borrowed, &message.to_message());
            }
            EventRef::Chunk(ChunkRef { data, last, .. }) => {
                self.fragment(sender, side, data.kind(), data.as_bytes(), *last);
            }
            EventRef::Message(_) => {}
        }
    }

    /// Why a message must be refused.
    pub(super) fn refusal(&self, sender: &Sender, side: &Side) -> Option<SendErrorKind> {
        let under_way = self.partial.is_some().then_some(SendErrorKind::MessageInProgress);
        self.refuses_any(sender, side).or(under_way)
    }

    fn refuses_any(&self, sender: &Sender, side: &Side) -> Option<SendErrorKind> {
        if self.close.is_some() || self.peer_closed || self.over {
            return Some(SendErrorKind::Closed);
        }
        (sender.queued() >= max_queued(side)).then_some(SendErrorKind::Full)
    }

    /// Offers something of so many bytes; it must be refused for this reason, or accepted.
    fn offer(
        &mut self,
        sender: &mut Sender,
        side: &Side,
        refusal: Option<SendErrorKind>,
        length: usize,
        send: impl FnOnce(&mut Sender) -> Result<(), SendError>,
    ) -> bool {
        let before = sender.queued();
        let result = metered(&mut self.memory, || send(sender).map_err(|error| error.kind()));
        assert_eq!(result.err(), refusal, "why it is refused");
        if refusal.is_some() {
            assert_eq!(sender.queued(), before, "what is refused takes no room");
            return false;
        }
        let taken = sender.queued() - before;
        // What does not compress grows, by a few bytes for each block and flush.
        let most = length + length / 8 + 64 + frames(side, length) * MAX_HEADER;
        assert!(taken <= most, "{taken} bytes for {length}");
        self.largest = self.largest.max(taken);
        true
    }
}

/// How much more the engine holds after this work.
pub(super) fn metered<T>(memory: &mut isize, work: impl FnOnce() -> T) -> T {
    let before = allocations::held();
    let result = work();
    *memory += allocations::held() - before;
    result
}

/// How many bytes may wait.
pub(super) fn max_queued(side: &Side) -> usize {
    if side.default { 1 << 20 } else { side.max_queued }
}

/// In how many frames a message of so many bytes leaves, at most.
pub(super) fn frames(side: &Side, length: usize) -> usize {
    let most = if side.default { usize::MAX } else { side.fragment_above.max(1) };
    (length + length / 8 + 64) / most + 1
}

fn length(message: &Message) -> usize {
    payload(&message.into()).len()
}

/// The same event, of which nothing is shared with the engine.
pub(super) fn copy_event(event: EventRef<'_>) -> Event {
    match event {
        EventRef::Message(MessageRef::Close(Some(frame))) => {
            Event::Message(Message::Close(Some(copy_close(frame))))
        }
        event => event.to_event(),
    }
}

fn copy(message: &Message) -> Message {
    match message {
        Message::Text(text) => Message::text(&**text),
        Message::Binary(bytes) => Message::Binary(Bytes::copy_from_slice(bytes)),
        other => other.clone(),
    }
}

fn copy_close(frame: &CloseFrame) -> CloseFrame {
    CloseFrame::new(frame.code(), &**frame.reason()).expect("it was short enough before")
}
