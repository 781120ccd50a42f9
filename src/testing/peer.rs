//! `Peer`: the other end of a connection, by script.

#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::{self, Write};
use core::future::Future;
use core::panic::Location;
use core::time::Duration;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::time::timeout;
use bytes::{Buf, BufMut, BytesMut};

use super::came::{Bits, Came, code_of, text_of, text_of_frame};
use super::raw_frame::RawFrame;
use super::stream::MemoryStream;
use crate::error::Error;
use crate::options::Options;
use crate::proto::frame::{Header, OpCode};
use crate::proto::handshake::{Accept, ClientRequest, Request};
use crate::proto::{CloseCode, CloseFrame, Message, ProtocolError, Role, Utf8Bytes, decode_close, mask};
use crate::tokio::frames::Frame;
use crate::tokio::{Incoming, connect_over};

/// The other end of a connection, by script: sends what it is told to, good or bad, and panics if something else comes
/// than what it expects. The panic says where in the test that was, what was expected, what came, and what was before.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use taut::testing::{Peer, RawFrame, pair};
///
/// let (ours, theirs) = pair(4096);
/// let client = tokio::spawn(async move { Peer::connect(theirs, "ws://server.test/").await });
/// let mut socket = taut::tokio::accept(ours).await.unwrap();
/// let mut peer = client.await.unwrap();
///
/// peer.send("hello").await;
/// assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
///
/// // Text that is none: the socket closes with 1007.
/// peer.send(RawFrame::text(&b"\xff"[..])).await;
/// assert!(socket.recv().await.is_err());
/// peer.expect_close(1007).await;
/// # }
/// ```
///
/// By itself it does one thing: it answers pings, unless [told not to](Self::leave_pings). It does not compress.
/// Frames larger than 16 MiB, and messages, fail the test.
///
/// **Waiting** is bounded by [`patience`](Self::patience).
///
/// **Cancel safety.** What was read stays here, and what was not written leaves with the next call; a frame is taken by the
/// call itself. Handshakes that are dropped end their stream.
///
/// # Panics
/// All futures, if the script does not come true. In a task of its own, that is heard by whoever awaits the task.
pub struct Peer<S = MemoryStream> {
    stream: S,
    role: Role,
    request: Option<Request>,
    input: BytesMut,
    output: BytesMut,
    /// A message whose last frame has not come.
    partial: Option<(OpCode, BytesMut)>,
    answers_pings: bool,
    patience: Duration,
    log: VecDeque<String>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Peer<S> {
    /// A server that accepts the next request.
    #[track_caller]
    pub fn accept(stream: S) -> impl Future<Output = Self> {
        let place = Location::caller();
        async move {
            let refused =
                |error: Error| -> ! { panic!("{place}: the peer expected a client's request: {error}") };
            let incoming = Incoming::read(stream, OPTIONS).await.unwrap_or_else(|error| refused(error));
            let request = incoming.request().clone();
            let socket = incoming.accept(Accept::new()).await.unwrap_or_else(|error| refused(error));
            let (stream, connection) = socket.into_parts();
            let mut peer = Self::new(stream, Role::Server);
            peer.request = Some(request);
            peer.input.extend_from_slice(connection.unparsed());
            peer
        }
    }

    /// A client that asks for this URI.
    #[track_caller]
    pub fn connect(stream: S, uri: &str) -> impl Future<Output = Self> {
        let place = Location::caller();
        let uri = uri.parse().unwrap_or_else(|error| panic!("{place}: {uri}: {error}"));
        let request = ClientRequest::from_uri(&uri);
        async move {
            let socket = connect_over(stream, &request, OPTIONS).await;
            let socket = socket.unwrap_or_else(|error| {
                panic!("{place}: the peer expected its request to be accepted: {error}")
            });
            let (stream, connection) = socket.into_parts();
            let mut peer = Self::new(stream, Role::Client);
            peer.input.extend_from_slice(connection.unparsed());
            peer
        }
    }
}

impl<S> Peer<S> {
    /// A peer whose handshake is done, or is part of the script: [`read_head`](Self::read_head),
    /// [`send_bytes`](Self::send_bytes).
    #[must_use]
    pub fn new(stream: S, role: Role) -> Self {
        Self {
            stream,
            role,
            request: None,
            input: BytesMut::new(),
            output: BytesMut::new(),
            partial: None,
            answers_pings: true,
            patience: Duration::from_secs(60),
            log: VecDeque::new(),
        }
    }

    /// Leaves pings to the script.
    #[must_use]
    pub const fn leave_pings(mut self) -> Self {
        self.answers_pings = false;
        self
    }

    /// How long it waits for what it expects, and for what it sends to be taken. Default: 60 s.
    #[must_use]
    pub const fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// The request that was accepted.
    #[must_use]
    pub const fn request(&self) -> Option<&Request> {
        self.request.as_ref()
    }

    /// The stream, say for its [`wire`](MemoryStream::wire).
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Sends a message, a [`Frame`], or a [`RawFrame`] that may break any rule.
    #[track_caller]
    pub fn send(&mut self, frame: impl Into<RawFrame>) -> impl Future<Output = ()> {
        let frame = frame.into();
        self.note(format_args!("it sent {}", Bits(&frame.to_bytes(Role::Server))));
        self.output.extend_from_slice(&frame.to_bytes(self.role));
        let place = Location::caller();
        async move { self.flush(place).await }
    }

    /// Sends any bytes.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) -> impl Future<Output = ()> {
        self.note(format_args!("it sent the bytes {}", Bits(bytes)));
        self.output.extend_from_slice(bytes);
        let place = Location::caller();
        async move { self.flush(place).await }
    }

    /// Sends a Close with a code.
    #[track_caller]
    pub fn close(&mut self, code: CloseCode) -> impl Future<Output = ()> {
        self.send(CloseFrame::from(code))
    }

    /// Ends what it sends, by a shutdown of the stream.
    #[track_caller]
    pub fn finish(&mut self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            self.flush(place).await;
            let ended = timeout(self.patience, self.stream.shutdown()).await;
            if !matches!(ended, Ok(Ok(()))) {
                self.fail(place, "its shutdown to work", &format!("{ended:?}"));
            }
        }
    }

    /// The next message, put together if it comes in fragments, is this one.
    #[track_caller]
    pub fn expect(&mut self, message: impl Into<Message>) -> impl Future<Output = ()> {
        let (message, place) = (message.into(), Location::caller());
        async move {
            let pings = matches!(message, Message::Ping(_));
            match self.message(pings).await {
                Came::Message(came) if came == message => {}
                came => self.fail(place, &text_of(&message), &came.to_string()),
            }
        }
    }

    /// The next frame is this one, bit by bit.
    #[track_caller]
    pub fn expect_frame(&mut self, frame: Frame) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            let pings = frame.opcode == OpCode::Ping;
            match self.frame(pings).await {
                Came::Frame(came) if came == frame => {}
                came => self.fail(place, &text_of_frame(&frame), &came.to_string()),
            }
        }
    }

    /// The next message is a Close with this code; 1005 for one without.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            match self.message(false).await {
                Came::Message(Message::Close(body)) if code_of(body.as_ref()) == code => {}
                came => self.fail(place, &format!("Close {code}"), &came.to_string()),
            }
        }
    }

    /// The next message, whichever it is.
    #[track_caller]
    pub fn recv(&mut self) -> impl Future<Output = Message> {
        let place = Location::caller();
        async move {
            match self.message(false).await {
                Came::Message(message) => message,
                came => self.fail(place, "a message", &came.to_string()),
            }
        }
    }

    /// The stream ends, without another frame, and without an error.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            match self.message(false).await {
                Came::End => {}
                came => self.fail(place, "the end", &came.to_string()),
            }
        }
    }

    /// The stream breaks, without another frame.
    #[track_caller]
    pub fn expect_reset(&mut self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            match self.message(false).await {
                Came::Broken(_) => {}
                came => self.fail(place, "an error of the stream", &came.to_string()),
            }
        }
    }

    /// Nothing comes for that long.
    #[track_caller]
    pub fn expect_silence(&mut self, time: Duration) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            let came = timeout(time, async {
                loop {
                    match self.message(false).await {
                        // It has more patience here.
                        Came::Nothing(_) => {}
                        came => return came,
                    }
                }
            });
            if let Ok(came) = came.await {
                self.fail(place, &format!("nothing for {time:?}"), &came.to_string());
            }
        }
    }

    /// The head of a request or an answer, up to the empty line, of at most 64 KiB.
    #[track_caller]
    pub fn read_head(&mut self) -> impl Future<Output = String> {
        let place = Location::caller();
        async move {
            loop {
                let end = self.input.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD);
                if let Some(end) = end {
                    let head = self.input.split_to(end + END_OF_HEAD.len());
                    self.note(format_args!("a head of {} bytes came", head.len()));
                    return String::from_utf8_lossy(&head).into_owned();
                }
                let came = match self.more().await {
                    Ok(()) if self.input.len() <= MOST_HEAD => continue,
                    Ok(()) => String::from("more than 64 KiB without an empty line"),
                    Err(came) => came.to_string(),
                };
                self.fail(place, "a head", &came);
            }
        }
    }

    /// The next message; pings among them only if asked for.
    async fn message(&mut self, pings: bool) -> Came {
        loop {
            let frame = match self.frame(pings).await {
                Came::Frame(frame) => frame,
                other => return other,
            };
            if frame.rsv1 {
                return Came::Frame(frame);
            }
            let (opcode, payload) = match (frame.opcode, self.partial.take()) {
                (OpCode::Close, _) => {
                    return decode_close(&frame.payload)
                        .map_or_else(Came::Wrong, |body| Came::Message(Message::Close(body)));
                }
                (OpCode::Ping, partial) => {
                    self.partial = partial;
                    return Came::Message(Message::Ping(frame.payload));
                }
                (OpCode::Pong, partial) => {
                    self.partial = partial;
                    return Came::Message(Message::Pong(frame.payload));
                }
                (OpCode::Continuation, Some((opcode, mut payload))) => {
                    payload.put(frame.payload);
                    (opcode, payload)
                }
                (OpCode::Continuation, None) | (OpCode::Text | OpCode::Binary, Some(_)) => {
                    return Came::Frame(frame);
                }
                (opcode, None) => (opcode, BytesMut::from(frame.payload)),
            };
            if payload.len() > MOST_PAYLOAD {
                return Came::Wrong(ProtocolError::MessageTooBig { max: MOST_PAYLOAD });
            }
            if !frame.fin {
                self.partial = Some((opcode, payload));
                continue;
            }
            let payload = payload.freeze();
            if opcode == OpCode::Binary {
                return Came::Message(Message::Binary(payload));
            }
            return Utf8Bytes::try_from(payload)
                .map_or(Came::NotUtf8, |text| Came::Message(Message::Text(text)));
        }
    }

    /// The next frame; pings that are not asked for are answered.
    async fn frame(&mut self, pings: bool) -> Came {
        loop {
            let frame = match Header::decode(&self.input, self.role.peer()) {
                Err(error) => return Came::Wrong(error),
                Ok(Some((header, _))) if header.len > MOST_PAYLOAD as u64 => {
                    return Came::Wrong(ProtocolError::FrameTooBig { max: MOST_PAYLOAD });
                }
                Ok(Some((header, length))) if self.input.len() - length >= header.len as usize => {
                    self.take(&header, length)
                }
                Ok(_) => match self.more().await {
                    Ok(()) => continue,
                    Err(came) => return came,
                },
            };
            self.note(format_args!("{} came", text_of_frame(&frame)));
            if frame.opcode != OpCode::Ping || pings || !self.answers_pings {
                return Came::Frame(frame);
            }
            let pong = RawFrame::from(Frame::pong(frame.payload));
            self.output.extend_from_slice(&pong.to_bytes(self.role));
        }
    }

    /// Takes a frame that is there, header and payload.
    fn take(&mut self, header: &Header, length: usize) -> Frame {
        self.input.advance(length);
        let mut payload = self.input.split_to(header.len as usize);
        if let Some(key) = header.key {
            mask::apply(&mut payload, key, 0);
        }
        Frame { fin: header.fin, rsv1: header.rsv1, opcode: header.opcode, payload: payload.freeze() }
    }

    /// Reads more, after what is left to write.
    async fn more(&mut self) -> Result<(), Came> {
        let (stream, input, output) = (&mut self.stream, &mut self.input, &mut self.output);
        let read = async {
            // Who takes nothing any more may still be read from.
            if !output.is_empty() && stream.write_all_buf(output).await.is_ok() {
                let _ = stream.flush().await;
            }
            input.reserve(READ);
            stream.read_buf(input).await
        };
        match timeout(self.patience, read).await {
            Ok(Ok(0)) => Err(Came::End),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Came::Broken(error)),
            Err(_) => Err(Came::Nothing(self.patience)),
        }
    }

    async fn flush(&mut self, place: &'static Location<'static>) {
        let (stream, output) = (&mut self.stream, &mut self.output);
        let written = timeout(self.patience, async {
            stream.write_all_buf(output).await?;
            stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(place, "what it sends to be taken", &error.to_string()),
            Err(_) => {
                let refused = format!("{} bytes were not, within {:?}", self.output.len(), self.patience);
                self.fail(place, "what it sends to be taken", &refused);
            }
        }
    }

    /// Fails the test.
    fn fail(&self, place: &Location<'_>, expected: &str, came: &str) -> ! {
        let mut before = String::new();
        for entry in &self.log {
            let _ = write!(before, "\n  {entry}");
        }
        if before.is_empty() {
            before.push_str("\n  nothing");
        }
        panic!("{place}: the peer expected {expected}; what came: {came}\nbefore that:{before}");
    }

    fn note(&mut self, entry: fmt::Arguments<'_>) {
        if self.log.len() == MOST_ENTRIES {
            self.log.pop_front();
        }
        self.log.push_back(entry.to_string());
    }
}

impl<S> fmt::Debug for Peer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("role", &self.role).field("log", &self.log).finish_non_exhaustive()
    }
}

/// The defaults, the deadline of the handshake among them.
const OPTIONS: Options = Options::new();

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const MOST_HEAD: usize = 64 << 10;
const MOST_PAYLOAD: usize = 16 << 20;
const READ: usize = 4 << 10;

/// How much of the past a failure tells.
const MOST_ENTRIES: usize = 20;
