//! What is said over a connection once it is open: messages that a peer sends back as they came, and how many
//! bytes each of them may take.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use taut::proto::{CloseCode, Kind, Message, Prepared};
use taut::tokio::{Options, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::parameters::End;

/// One conversation with a peer. The messages wait for each other, so that the bytes of each can be counted.
pub(crate) struct Exchange {
    pub(crate) socket: WebSocket<Counted>,
    /// How we compress, if we do.
    pub(crate) ours: Option<End>,
    /// How the peer compresses.
    pub(crate) others: Option<End>,
    pub(crate) close_timeout: Duration,
}

impl Exchange {
    /// Says everything in [`ITEMS`], up to those that are `large` if they are wanted, and closes.
    pub(crate) async fn run(mut self, large: bool) -> Result<(), String> {
        let mut pings = 0;
        for (number, item) in ITEMS.iter().enumerate().filter(|(_, item)| large || !item.large) {
            let before = self.counts();
            self = self.say(item).await?;
            pings += usize::from(number % 3 == 2) * 2;
            let after = self.counts();
            for (way, bytes, end) in [
                ("to the peer", after.0 - before.0, self.ours),
                ("from the peer", after.1 - before.1, self.others),
            ] {
                judge(&item.message, item.effect, bytes, end)
                    .map_err(|problem| format!("message {number}, {way}: {problem}"))?;
            }
        }
        self.socket.send("report").await.map_err(|error| error.to_string())?;
        let report = self.receive(&mut 0).await?;
        if report != Message::text(format!("pongs {pings}")) {
            return Err(format!("after {pings} pings the peer says {report:?}"));
        }
        let closed = self.socket.close(CloseCode::NORMAL, "").await;
        closed.map(drop).map_err(|error| format!("the end was not clean: {error}"))
    }

    /// Sends a message, and takes it back.
    async fn say(mut self, item: &Item) -> Result<Self, String> {
        let mut pongs = 0;
        let sent = match (&item.message, item.style) {
            (Message::Text(text), Style::Copied) => self.socket.feed_text(text),
            (Message::Binary(bytes), Style::Copied) => self.socket.feed_binary(bytes),
            (Message::Text(text), Style::Prepared) => self.socket.feed_prepared(&Prepared::text(&**text)),
            (Message::Binary(bytes), Style::Prepared) => self.socket.feed_prepared(&Prepared::binary(bytes)),
            (Message::Text(text), Style::Pieces) => {
                pongs = PIECES - 1;
                self = self.feed_pieces(Kind::Text, text.as_bytes());
                Ok(())
            }
            (Message::Binary(bytes), Style::Pieces) => {
                pongs = PIECES - 1;
                self = self.feed_pieces(Kind::Binary, bytes);
                Ok(())
            }
            (message, _) => self.socket.feed(message.clone()),
        };
        sent.map_err(|error| error.to_string())?;
        self.socket.flush().await.map_err(|error| error.to_string())?;
        let echo = self.receive(&mut pongs).await?;
        if echo != item.message {
            return Err(format!("{} came back as {}", outline(&item.message), outline(&echo)));
        }
        if pongs > 0 {
            return Err(format!("{pongs} pongs are missing"));
        }
        Ok(self)
    }

    /// Queues the message in pieces, cut anywhere, with a ping between every two.
    pub(crate) fn feed_pieces(self, kind: Kind, payload: &[u8]) -> Self {
        let (stream, mut connection) = self.socket.into_parts();
        for piece in 0..PIECES {
            let [from, to] = [piece, piece + 1].map(|end| end * payload.len() / PIECES);
            let last = piece + 1 == PIECES;
            connection.send_fragment(kind, &payload[from..to], last).expect("the queue is empty");
            if !last {
                connection.ping(PING).expect("the queue is not full");
            }
        }
        Self {
            socket: WebSocket::new(stream, connection, &Options::new().close_timeout(self.close_timeout)),
            ..self
        }
    }

    /// The next data message, which has to come; counts the pongs before it.
    pub(crate) async fn receive(&mut self, pongs: &mut usize) -> Result<Message, String> {
        let message = self.next(pongs).await?;
        message.ok_or_else(|| format!("instead of a message there came {:?}", self.socket.close_status()))
    }

    /// The next data message, or `None` at a clean end; counts the pongs before it.
    pub(crate) async fn next(&mut self, pongs: &mut usize) -> Result<Option<Message>, String> {
        loop {
            match self.socket.recv().await {
                Ok(Some(message)) if message.is_data() => return Ok(Some(message)),
                Ok(Some(Message::Pong(payload))) if payload == PING && *pongs > 0 => *pongs -= 1,
                Ok(Some(Message::Ping(_) | Message::Close(_))) => {}
                Ok(None) => return Ok(None),
                Ok(other) => return Err(format!("instead of a message there came {other:?}")),
                Err(error) => return Err(format!("instead of a message: {error}")),
            }
        }
    }

    /// The bytes written and read so far.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.socket.with_stream(|stream| (stream.written, stream.read))
    }
}

/// A message, how we send it, and what compression makes of it.
pub(crate) struct Item {
    pub(crate) message: Message,
    style: Style,
    effect: Effect,
    large: bool,
}

#[derive(Clone, Copy)]
enum Style {
    Owned,
    Copied,
    Pieces,
    Prepared,
}

#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// Too small to say.
    Unknown,
    /// Like prose.
    Half,
    /// Random bytes.
    None,
    /// Random bytes again: they nearly vanish, but only from an end with takeover and a window that still holds
    /// them.
    Again,
}

/// Whether a message may have taken this many bytes, from an end that compresses so.
pub(crate) fn judge(message: &Message, effect: Effect, bytes: usize, end: Option<End>) -> Result<(), String> {
    let len = payload(message).len();
    let reaches = |end: End| end.takeover && (1usize << end.bits).saturating_sub(LOOKAHEAD) >= len;
    let (least, most) = match (effect, end) {
        (Effect::Unknown, _) => (0, usize::MAX),
        (Effect::Half, Some(_)) => (0, len / 2),
        (Effect::Again, Some(end)) if reaches(end) => (0, len / 10),
        _ => (len, usize::MAX),
    };
    if (least..=most).contains(&bytes) {
        return Ok(());
    }
    Err(format!("{len} bytes took {bytes}, and not {least} to {most}, on a wire with {end:?}"))
}

/// All that is said. The peer sends numbers 1, 4, … back in three fragments, and 2, 5, … with pings between them.
pub(crate) static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(|| {
    let item = |message, style, effect| Item { message, style, effect, large: false };
    let large = |message, style, effect| Item { message, style, effect, large: true };
    let letter = Message::text(prose(4 << 10));
    let random = Message::binary(random(1, 5000));
    // Only a window of 15 bits holds them.
    let far = Message::binary(self::random(2, 20_000));
    vec![
        item("".into(), Style::Owned, Effect::Unknown),
        item("Hello".into(), Style::Copied, Effect::Unknown),
        item("¿qué tal? 😀 ".repeat(8).into(), Style::Pieces, Effect::Unknown),
        item(letter.clone(), Style::Owned, Effect::Half),
        item(letter.clone(), Style::Prepared, Effect::Half),
        item(letter, Style::Pieces, Effect::Half),
        item(random.clone(), Style::Owned, Effect::None),
        item(random.clone(), Style::Copied, Effect::Again),
        item(random, Style::Pieces, Effect::Again),
        item(Vec::new().into(), Style::Pieces, Effect::Unknown),
        item(prose(70_000).into(), Style::Copied, Effect::Half),
        item(vec![0; 100_000].into(), Style::Prepared, Effect::Half),
        item(far.clone(), Style::Pieces, Effect::None),
        item(far, Style::Copied, Effect::Again),
        item("Hello".into(), Style::Prepared, Effect::Unknown),
        item("".into(), Style::Pieces, Effect::Unknown),
        large(prose(1 << 20).into(), Style::Pieces, Effect::Half),
        large(self::random(3, 1 << 20).into(), Style::Owned, Effect::None),
        large(prose(1 << 20).into(), Style::Owned, Effect::Half),
    ]
});

/// So many bytes, or a few more, of a text in several scripts.
fn prose(len: usize) -> String {
    const WORDS: [&str; 8] =
        ["frame ", "Öffnung ", "мост ", "窓 ", "😀 ", "extension ", "naïve\n", "{\"key\": 1} "];
    let mut text = String::with_capacity(len + 16);
    for byte in random(len as u32, len) {
        text.push_str(WORDS[usize::from(byte % 8)]);
        if text.len() >= len {
            break;
        }
    }
    text
}

/// Bytes that cannot be compressed, the same in every run (xorshift32).
fn random(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed | 1 << 31;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 12) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn payload(message: &Message) -> &[u8] {
    match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => &[],
    }
}

fn outline(message: &Message) -> String {
    let kind = if message.as_text().is_some() { "text" } else { "binary" };
    format!("{kind} of {} bytes", payload(message).len())
}

/// A connection that counts its bytes.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: TcpStream,
    pub(crate) read: usize,
    pub(crate) written: usize,
}

impl Counted {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket takes its options");
        Self { stream, read: 0, written: 0 }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.read += buffer.filled().len() - before;
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, data);
        self.count(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Counted {
    fn count(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &polled {
            self.written += count;
        }
        polled
    }
}

/// Fails instead of waiting for ever.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> Result<T, String> {
    let timed = tokio::time::timeout(PATIENCE, future).await;
    timed.map_err(|_| format!("{what} took longer than {} s", PATIENCE.as_secs()))
}

/// How long anything may take, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const PIECES: usize = 3;
const PING: &[u8] = b"between the pieces";
/// zlib refers to nothing that lies this near to the far end of its window.
const LOOKAHEAD: usize = 262;
