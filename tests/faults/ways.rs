//! The ways to use a socket.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use taut::Error;
use taut::proto::{CloseCode, EventRef, Message};
use taut::tokio::WebSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::stream::Stream;

/// What the application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It receives.
    Recv,
    /// It receives, and sends each message back.
    Echo,
    /// The same, with a socket that holds nothing back.
    Local,
    /// The same, with borrowed events.
    Each,
    /// It feeds the answers, and flushes in the end.
    Feed,
    /// It reads the `Stream`, and answers by the `Sink`.
    Stream,
    /// The halves of that are polled by one task …
    Joined,
    /// … and by two.
    Split,
    /// Halves of the library's, and two tasks.
    Halves,
    /// It closes.
    Close,
}

pub(crate) const WAYS: [Way; 10] = [
    Way::Recv,
    Way::Echo,
    Way::Local,
    Way::Each,
    Way::Feed,
    Way::Stream,
    Way::Joined,
    Way::Split,
    Way::Halves,
    Way::Close,
];

/// What the application saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) messages: Vec<Message>,
    /// How it ended.
    pub(crate) error: Option<Error>,
    /// Nothing came for an hour, and the application closed.
    pub(crate) idle: bool,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}, idle: {}", lengths(&self.messages), self.error, self.idle)
    }
}

/// The messages in short.
pub(crate) fn lengths(messages: &[Message]) -> String {
    let lengths: Vec<String> =
        messages.iter().map(|message| format!("{message:.12?}").chars().take(40).collect()).collect();
    lengths.join("; ")
}

type Socket = WebSocket<Stream>;
type Next = Option<Result<Option<Message>, Error>>;

impl Way {
    /// Until the end.
    pub(crate) async fn talk(self, socket: Socket, seen: &mut Seen) -> Socket {
        let mut socket = match self {
            Self::Joined | Self::Split => self.halves(socket, seen).await,
            Self::Halves => own_halves(socket, seen).await,
            _ => self.whole(socket, seen).await,
        };
        if seen.idle {
            let closed = soon(socket.close(CloseCode::NORMAL, "")).await.expect("closing ends");
            seen.error = closed.err();
        }
        socket
    }

    async fn whole(self, mut socket: Socket, seen: &mut Seen) -> Socket {
        loop {
            let next: Next = match self {
                Self::Close => {
                    let closed = soon(socket.close(CloseCode::NORMAL, "bye")).await;
                    Some(closed.expect("closing ends").map(|_| None))
                }
                Self::Each => {
                    let each = socket.recv_each(|event, sender| {
                        let EventRef::Message(message) = event else { panic!("{event:?}") };
                        seen.messages.push(message.to_message());
                        if message.is_data() {
                            // How it ended is told in the end.
                            let _ = sender.send_ref(message);
                        }
                        Ok(())
                    });
                    soon(each).await.map(|ended| ended.map(|()| None))
                }
                Self::Stream => soon(socket.next()).await.map(Option::transpose),
                _ => soon(socket.recv()).await,
            };
            let Some(message) = seen.note(next) else { break };
            if message.is_data() {
                let _ = match self {
                    Self::Echo | Self::Local => bounded(socket.send(message)).await,
                    Self::Stream => bounded(SinkExt::send(&mut socket, message)).await,
                    Self::Feed => socket.feed(message),
                    _ => Ok(()),
                };
            }
        }
        if self == Self::Feed {
            let _ = bounded(socket.flush()).await;
        }
        socket
    }

    async fn halves(self, socket: Socket, seen: &mut Seen) -> Socket {
        let (mut sink, mut stream) = socket.split();
        let (answers, mut asked) = mpsc::unbounded_channel::<Message>();
        let mut noted = Seen::default();
        let reading = async move {
            while let Some(message) = noted.note(soon(stream.next()).await.map(Option::transpose)) {
                if message.is_data() {
                    let _ = answers.send(message);
                }
            }
            (stream, noted)
        };
        let writing = async move {
            while let Some(message) = asked.recv().await {
                let _ = bounded(SinkExt::send(&mut sink, message)).await;
            }
            sink
        };
        let ((stream, noted), sink) = if self == Self::Split {
            let reading = tokio::spawn(reading);
            let sink = tokio::spawn(writing).await.unwrap();
            (reading.await.unwrap(), sink)
        } else {
            tokio::join!(reading, writing)
        };
        *seen = noted;
        stream.reunite(sink).unwrap()
    }
}

async fn own_halves(socket: Socket, seen: &mut Seen) -> Socket {
    let (mut receive, mut send) = socket.into_split();
    let (answers, mut asked) = mpsc::unbounded_channel::<Message>();
    let mut noted = Seen::default();
    let reading = tokio::spawn(async move {
        while let Some(message) = noted.note(soon(receive.recv()).await) {
            if message.is_data() {
                let _ = answers.send(message);
            }
        }
        (receive, noted)
    });
    let writing = tokio::spawn(async move {
        while let Some(message) = asked.recv().await {
            let _ = bounded(send.send(message)).await;
        }
        send
    });
    let send = writing.await.unwrap();
    let (receive, noted) = reading.await.unwrap();
    *seen = noted;
    receive.reunite(send).unwrap()
}

impl Seen {
    /// Notes what came, and gives the message to answer.
    fn note(&mut self, next: Next) -> Option<Message> {
        match next {
            Some(Ok(Some(message))) => {
                self.messages.push(message.clone());
                return Some(message);
            }
            Some(Ok(None)) => {}
            Some(Err(error)) => self.error = Some(error),
            None => self.idle = true,
        }
        None
    }
}

/// `None` if that takes an hour.
async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::from_secs(3600), future).await.ok()
}

/// What ends by a deadline of the socket's at the latest.
async fn bounded<T>(future: impl Future<Output = T>) -> T {
    soon(future).await.expect("a deadline")
}
