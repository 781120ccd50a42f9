//! The oracle of `pair`: two connections talk in every way there is, over a transport that stalls, cuts anywhere and
//! may end anywhere, and both of them see the same conversation.

mod end;
mod engine;
pub mod input;
pub mod seeds;
mod sending;

use taut::proto::{
    CloseCode, CloseFrame, Kind, Message, Prepared, ProtocolError, Role, release_thread_memory,
};

use crate::input::{Payload, Take};
use crate::sent::payload;
use end::{End, Pipe, UNASKED};
use input::{Action, CODES, Closer, Input, ReadWay, Step, Way, WriteWay};
use sending::{Sending, frames, metered};

/// Has two ends do what the input says, lets all of it arrive, and has them close.
///
/// # Panics
/// If they do not agree on what was said, or one does what it must not.
pub fn check(input: &Input) {
    release_thread_memory();
    let mut pair = Pair::new(input);
    for step in &input.script {
        pair.step(step);
    }
    pair.finish();
}

/// Two ends, and the transport between them.
struct Pair<'a> {
    input: &'a Input,
    ends: [End<'a>; 2],
    /// What each end has written, and the other not read.
    pipes: [Pipe; 2],
    prepared: Vec<(Prepared, Message)>,
    /// How many bytes were to be sent.
    length: usize,
}

impl<'a> Pair<'a> {
    fn new(input: &'a Input) -> Self {
        let [client, server] = &input.sides;
        let ends = [
            End::new(Role::Client, client, input.deflate()),
            End::new(Role::Server, server, input.deflate()),
        ];
        Self { input, ends, pipes: Default::default(), prepared: Vec::new(), length: 0 }
    }

    fn step(&mut self, Step { who, action }: &Step) {
        let who = *who;
        match action {
            Action::Send { text, way, payload } => self.send(who, *text, *way, payload),
            Action::Fragment { text, last, payload } => {
                let bytes = self.spend(payload.bytes());
                let (sending, sender, side) = self.ends[who].sending();
                let kind = if *text { Kind::Text } else { Kind::Binary };
                sending.fragment(sender, side, kind, &bytes, *last);
            }
            Action::Control { pong, payload } => {
                let mut bytes = self.spend(payload.clone());
                let (sending, sender, side) = self.ends[who].sending();
                let message = if *pong {
                    Message::Pong([UNASKED, &bytes].concat().into())
                } else {
                    if bytes.starts_with(UNASKED) {
                        // Its answer must not look like one of those.
                        bytes.clear();
                    }
                    Message::Ping(bytes.into())
                };
                sending.control(sender, side, &message);
            }
            Action::Close { code, reason } => self.close(who, close_frame(*code, reason)),
            Action::Write { most, way } => {
                self.ends[who].write(&mut self.pipes[who], *most, *way);
            }
            Action::Read { most, way } => {
                self.read(who, *most, *way);
            }
            Action::Take { count, take, echo } => {
                self.take(who, usize::from(count.wrapping_sub(1)) + 1, *take, *echo);
            }
            Action::Detach => self.ends[who].detach(),
            Action::Release { counted } => {
                let End { engine, sending, .. } = &mut self.ends[who];
                metered(&mut sending.memory, || engine.release());
                if *counted {
                    self.count();
                }
            }
            Action::Compress(on) => self.ends[who].sending().1.compress(*on),
            Action::Forget => self.ends[who].sending().1.forget_context(),
            Action::Split => {
                let End { engine, sending, .. } = &mut self.ends[who];
                metered(&mut sending.memory, || engine.split());
            }
            Action::End { keep } => {
                // What ended in peace has nothing to lose.
                if !self.pipes[who].ended {
                    self.pipes[who].lose(usize::from(*keep));
                }
            }
            Action::Turn => {
                self.turn(who);
            }
        }
        self.ends.iter_mut().for_each(End::check);
    }

    /// What is sent, until enough was sent: the fuzzer should try much, not wait long.
    fn spend(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.length += bytes.len();
        if self.length > MAX_LENGTH { Vec::new() } else { bytes }
    }

    fn send(&mut self, who: usize, text: bool, way: Way, payload: &Payload) {
        let mut bytes = self.spend(payload.bytes());
        if text {
            bytes = String::from_utf8_lossy(&bytes).into_owned().into_bytes();
        }
        let (sending, sender, side) = self.ends[who].sending();
        if frames(side, bytes.len()) > MOST_FRAMES {
            return;
        }
        let message = match text {
            true => Message::text(String::from_utf8(bytes).expect("it was made text")),
            false => Message::binary(bytes),
        };
        if way == Way::Prepared {
            let prepared = match &message {
                Message::Text(text) => Prepared::text(text),
                other => Prepared::binary(crate::sent::payload(&other.into())),
            };
            self.prepared.push((prepared, message.clone()));
        }
        match (way, self.prepared.last()) {
            (Way::Prepared | Way::PreparedAgain, Some(prepared)) => {
                sending.send_prepared(sender, side, prepared);
            }
            _ => sending.send(sender, side, way, &message),
        }
    }

    fn close(&mut self, who: usize, frame: Option<CloseFrame>) {
        let (sending, sender, _) = self.ends[who].sending();
        sending.close(sender, frame);
    }

    /// Reads, and takes all events if the buffer is lent; gives how many bytes that were.
    fn read(&mut self, who: usize, most: usize, way: ReadWay) -> usize {
        let (count, lent) = self.ends[who].read(&mut self.pipes[1 - who], most, way);
        if let Some(size) = lent {
            self.take(who, usize::MAX, Take::Borrowed, false);
            self.ends[who].reclaim(size);
        }
        count
    }

    /// Takes at most so many events; gives how many.
    fn take(&mut self, who: usize, most: usize, take: Take, echo: bool) -> usize {
        for taken in 0..most {
            let Some(event) = self.ends[who].take(take, echo) else {
                if let Some(error) = self.ends[who].error {
                    self.justify(who, error);
                }
                return taken;
            };
            let message = self.ends[who].record(event);
            self.compare(who, message.as_ref());
            self.ends[who].check();
        }
        most
    }

    /// Compares what arrived last with what was sent.
    fn compare(&mut self, who: usize, message: Option<&Message>) {
        let [client, server] = &mut self.ends;
        let (end, peer) = if who == 0 { (client, server) } else { (server, client) };
        let count = end.received.len();
        match message {
            Some(Message::Close(frame)) => {
                assert_eq!(Some(frame), peer.sending.close.as_ref(), "the Close that was sent");
                assert_eq!(count, peer.sending.sent.len(), "a Close comes behind all that was accepted");
            }
            Some(message) => {
                let sent = peer.sending.sent.get(count - 1);
                assert_eq!(Some(message), sent, "what was accepted arrives once, in order, unchanged");
                let length = payload(&message.into()).len();
                let control = !message.is_data();
                assert!(control || end.side.default || length <= end.side.max_message, "over the limit");
            }
            None => {
                if let Some((_, bytes)) = &end.partial {
                    let sent = content_from(&peer.sending.sent[count..], &peer.sending.partial);
                    assert!(sent.starts_with(bytes), "chunks of what was not sent");
                }
            }
        }
        // RFC 6455 §5.5.3: a pong may answer "only the most recently processed Ping frame".
        while let Some(pong) = end.pongs.get(end.answered..).and_then(|pongs| pongs.first()) {
            let place = peer.pings.iter().position(|ping| ping == pong);
            let place = place.expect("a pong answers a ping that was seen, and behind those answered before");
            assert!(peer.side.auto_pong, "the application answers pings");
            peer.pings.drain(..=place);
            end.answered += 1;
        }
    }

    /// Two ends of the same library accuse each other of nothing but messages over a limit.
    fn justify(&self, who: usize, error: ProtocolError) {
        let (end, peer) = (&self.ends[who], &self.ends[1 - who]);
        let next = content_from(&peer.sending.sent[end.received.len()..], &peer.sending.partial);
        let justified = match error {
            ProtocolError::MessageTooBig { max } => {
                !end.side.chunks && max == end.side.max_message && next.len() > max
            }
            ProtocolError::StreamTooBig { max } => {
                end.side.chunks && max == end.side.max_message as u64 && next.len() as u64 > max
            }
            ProtocolError::TooManyEmptyFragments { max } => {
                // A fragment with content may be empty once it is compressed, but is never the last then.
                end.side.default && peer.sending.most_empty > max
            }
            _ => false,
        };
        assert!(justified, "accuses the peer: {error:?}");
    }

    /// The loop at `Connection`, once. Tells whether anything happened.
    fn turn(&mut self, who: usize) -> bool {
        let mut progress = false;
        while !self.pipes[who].ended && self.ends[who].engine.wants_output() {
            let written = self.ends[who].write(&mut self.pipes[who], usize::MAX, WriteWay::Vectored);
            assert!(written > 0, "it wants to write, and has nothing");
            progress = true;
        }
        if self.pipes[who].lost {
            self.ends[who].write(&mut self.pipes[who], 0, WriteWay::Chunk);
        }
        if !self.pipes[who].ended && self.ends[who].wants_shutdown() {
            self.pipes[who].ended = true;
            progress = true;
        }
        progress |= self.take(who, usize::MAX, Take::Owned, false) > 0;
        let eof = self.ends[who].eof;
        if self.ends[who].engine.wants_input() || self.ends[who].wants_discard() {
            progress |= self.read(who, usize::MAX, ReadWay::Input) > 0;
            progress |= self.ends[who].eof != eof;
        }
        progress |= self.take(who, usize::MAX, Take::Owned, false) > 0;
        let Sending { peer_closed, close, over, .. } = &self.ends[who].sending;
        if *peer_closed && close.is_none() && !over {
            self.close(who, None);
            progress = true;
        }
        self.ends.iter_mut().for_each(End::check);
        progress
    }

    /// Has all that can happen happen.
    fn settle(&mut self) {
        // Each turn moves a byte at least, an event, or an end.
        for _ in 0..10 * MAX_LENGTH {
            let progress = [0, 1].map(|who| self.turn(who));
            if progress == [false; 2] {
                return;
            }
        }
        panic!("it goes on for ever");
    }

    fn finish(mut self) {
        self.ends.iter_mut().for_each(End::attach);
        self.settle();
        let lost = self.pipes.iter().any(|pipe| pipe.lost);
        let untouched = |end: &End<'_>| end.sending.close.is_none() && !end.sending.over;
        if !lost && self.ends.iter().all(untouched) {
            for who in 0..2 {
                self.all_arrived(who);
                // RFC 6455 §5.5.3: the latest ping must be answered, those before it may be.
                let (end, peer) = (&self.ends[who], &self.ends[1 - who]);
                let latest = peer.latest_ping.as_ref().filter(|_| peer.side.auto_pong);
                assert_eq!(end.pongs.last(), latest, "the latest ping is answered");
            }
        }
        let closers: &[usize] = match self.input.closer {
            Closer::Client => &[0],
            Closer::Server => &[1],
            Closer::Both => &[0, 1],
        };
        for &who in closers {
            self.close(who, Some(CloseFrame::from(CloseCode::NORMAL)));
        }
        self.settle();
        if lost {
            // What lost one direction loses the other.
            self.pipes.iter_mut().filter(|pipe| !pipe.ended).for_each(|pipe| pipe.lose(usize::MAX));
            self.settle();
        }
        for who in 0..2 {
            let closed = self.ends[who].sending.peer_closed;
            assert!(closed || lost || self.has_failed(), "the closing handshake ends");
            if closed {
                self.all_arrived(who);
            }
            let peer_close = self.ends[1 - who].sending.close.clone().filter(|_| closed);
            let written = self.ends[who].close_written || self.ends[1 - who].sending.peer_closed;
            assert!(self.pipes[who].is_empty(), "bytes that nobody reads");
            self.ends[who].check_end(peer_close.as_ref(), written);
        }
        self.count();
        self.drop_all();
    }

    fn has_failed(&self) -> bool {
        self.ends.iter().any(|end| end.error.is_some())
    }

    fn all_arrived(&self, who: usize) {
        let (end, peer) = (&self.ends[who], &self.ends[1 - who]);
        assert_eq!(end.received.len(), peer.sending.sent.len(), "all that was accepted arrives");
    }

    /// Has both give back what they hold without a reason, and looks at the rest: at most four bytes for one.
    fn count(&mut self) {
        if self.input.deflate().is_some() || self.ends.iter().any(End::is_detached) {
            return;
        }
        let mut reasons = 0;
        for end in &mut self.ends {
            metered(&mut end.sending.memory, || end.engine.release());
            reasons += end.reasons();
        }
        metered(&mut self.ends[0].sending.memory, release_thread_memory);
        let memory: isize = self.ends.iter().map(|end| end.sending.memory).sum();
        let most = 4 * reasons as isize + BOTH_ENDS;
        assert!(memory <= most, "{memory} bytes are held, of {most}");
    }

    /// Nothing is left when both are gone.
    fn drop_all(self) {
        let Self { input, ends, prepared, .. } = self;
        let mut memory = 0;
        for end in ends {
            let End { engine, sending, .. } = end;
            memory += sending.memory;
            metered(&mut memory, || drop(engine));
        }
        metered(&mut memory, release_thread_memory);
        assert!(input.deflate().is_some() || memory == 0, "{memory} bytes are left");
        drop(prepared);
    }
}

/// What is next of the data that was sent, complete or not.
fn content_from<'a>(sent: &'a [Message], partial: &'a Option<(Kind, Vec<u8>)>) -> &'a [u8] {
    match (sent.iter().find(|message| message.is_data()), partial) {
        (Some(message), _) => payload(&message.into()),
        (None, Some((_, bytes))) => bytes,
        (None, None) => &[],
    }
}

/// A Close with one of the codes, and as much of the reason as it holds.
fn close_frame(code: u8, reason: &[u8]) -> Option<CloseFrame> {
    let code = CloseCode::new(CODES[usize::from(code)])?;
    let mut reason = String::from_utf8_lossy(reason).into_owned();
    while reason.len() > CloseFrame::MAX_REASON {
        reason.pop();
    }
    Some(CloseFrame::new(code, reason).expect("it was made short enough"))
}

/// How many bytes one input sends.
const MAX_LENGTH: usize = 192 << 10;

/// In how many frames a message leaves at most.
const MOST_FRAMES: usize = 1000;

/// What two connections hold at all times: settings, sources of keys, what this test has boxed.
const BOTH_ENDS: isize = 4096;
