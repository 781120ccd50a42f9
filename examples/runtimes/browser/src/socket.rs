//! A client over the browser's own WebSocket, with taut's messages: the same program for a page and for a server.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use taut::proto::{CloseCode, CloseFrame, Message};

use crate::executor;
use crate::memory::taken;

#[link(wasm_import_module = "browser")]
unsafe extern "C" {
    safe fn socket_open(socket: u32, url: *const u8, length: usize);
    safe fn socket_send(socket: u32, opcode: u8, data: *const u8, length: usize);
    safe fn socket_queued(socket: u32) -> usize;
    safe fn socket_close(socket: u32, code: u16, reason: *const u8, length: usize);
}

/// A connection. Dropped, it closes.
pub(crate) struct Socket(u32);

/// How a connection ended, as the browser tells it.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    /// 1005 if the server's Close had no code.
    pub(crate) code: u16,
    pub(crate) reason: String,
    /// Whether both ends sent a Close.
    pub(crate) clean: bool,
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Error {
    /// The connection failed, or was lost (1006). A browser does not tell why.
    Lost,
    /// It closes, or too much waits to be sent: here is the message.
    NotTaken(Message),
    /// Browsers let a page send text and bytes alone.
    Control,
    /// Browsers let a page close with 1000, or 3000 to 4999, and a reason of 123 bytes.
    Close,
    /// The page took too little of what came; the server was told.
    Full,
}

impl Socket {
    /// Connects. May be dropped at any time: the connection is closed then.
    pub(crate) async fn connect(url: &str) -> Result<Self, Error> {
        let number = SOCKETS.with_borrow_mut(|sockets| {
            let number = sockets.keys().next_back().map_or(0, |last| last + 1);
            sockets.insert(number, State::default());
            number
        });
        let socket = Self(number);
        socket_open(number, url.as_ptr(), url.len());
        poll_fn(|cx| {
            socket.with(|state| match (state.open, &state.end) {
                (_, Some(_)) => Poll::Ready(Err(Error::Lost)),
                (true, None) => Poll::Ready(Ok(())),
                (false, None) => state.wait(cx.waker()),
            })
        })
        .await?;
        Ok(socket)
    }

    /// The next message; `None` after the end of the connection. The server's Close is a message too, the last one. May be
    /// dropped at any time, and loses nothing.
    pub(crate) async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| {
            self.with(|state| {
                if let Some(message) = state.incoming.pop_front() {
                    state.waits -= length(&message);
                    return Poll::Ready(Ok(Some(message)));
                }
                if std::mem::take(&mut state.full) {
                    return Poll::Ready(Err(Error::Full));
                }
                match &state.end {
                    None => state.wait(cx.waker()),
                    Some(_) if state.told => Poll::Ready(Ok(None)),
                    Some(status) => {
                        state.told = true;
                        Poll::Ready(if status.clean {
                            Ok(Some(close_message(status)))
                        } else {
                            Err(Error::Lost)
                        })
                    }
                }
            })
        })
        .await
    }

    /// Hands a message to the browser, which sends it by itself.
    pub(crate) fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        let (opcode, bytes) = match &message {
            Message::Text(text) => (0x1, text.as_bytes()),
            Message::Binary(bytes) => (0x2, &bytes[..]),
            _ => return Err(Error::Control),
        };
        if self.with(|state| state.closes || state.end.is_some()) || socket_queued(self.0) > MOST {
            return Err(Error::NotTaken(message));
        }
        socket_send(self.0, opcode, bytes.as_ptr(), bytes.len());
        Ok(())
    }

    /// Runs the closing handshake to its end, and tells how the server closed. Data that still comes is dropped. May be
    /// dropped at any time: the browser goes on with it.
    pub(crate) async fn close(&mut self, code: CloseCode, reason: &str) -> Result<Closed, Error> {
        if !matches!(code.get(), 1000 | 3000..=4999) || CloseFrame::new(code, reason).is_err() {
            return Err(Error::Close);
        }
        if !self.with(|state| std::mem::replace(&mut state.closes, true)) {
            socket_close(self.0, code.get(), reason.as_ptr(), reason.len());
        }
        while self.recv().await?.is_some() {}
        self.with(|state| state.end.clone()).ok_or(Error::Lost)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        SOCKETS.with_borrow_mut(|sockets| work(sockets.entry(self.0).or_default()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(state) = SOCKETS.with_borrow_mut(|sockets| sockets.remove(&self.0))
            && !state.closes
            && state.end.is_none()
        {
            socket_close(self.0, CloseCode::NORMAL.get(), std::ptr::null(), 0);
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn socket_opened(socket: u32) {
    happened(socket, |state| state.open = true);
}

/// The message is in the buffer.
#[unsafe(no_mangle)]
extern "C" fn socket_message(socket: u32, opcode: u8) {
    let bytes = taken();
    happened(socket, |state| {
        // A browser cannot be told to read less: who lets more wait than this is cut off.
        if state.full || state.waits + bytes.len() > MOST {
            if !state.closes {
                let reason = "too much waits";
                socket_close(socket, 4008, reason.as_ptr(), reason.len());
            }
            (state.full, state.closes) = (true, true);
            return;
        }
        let message = match (opcode, String::from_utf8(bytes)) {
            (0x1, Ok(text)) => Message::text(text),
            (_, Ok(text)) => Message::binary(text),
            (_, Err(bytes)) => Message::binary(bytes.into_bytes()),
        };
        state.waits += length(&message);
        state.incoming.push_back(message);
    });
}

/// The reason is in the buffer.
#[unsafe(no_mangle)]
extern "C" fn socket_closed(socket: u32, code: u16, clean: bool) {
    let reason = String::from_utf8_lossy(&taken()).into_owned();
    happened(socket, |state| {
        state.end = Some(Closed { code, reason, clean });
    });
}

/// Notes what happened to a socket that is not dropped, and lets who waits for it go on.
fn happened(socket: u32, note: impl FnOnce(&mut State)) {
    SOCKETS.with_borrow_mut(|sockets| {
        if let Some(state) = sockets.get_mut(&socket) {
            note(state);
            state.waiting.take().into_iter().for_each(Waker::wake);
        }
    });
    executor::run();
}

#[derive(Default)]
struct State {
    open: bool,
    /// This end has begun to close.
    closes: bool,
    /// More came than may wait.
    full: bool,
    end: Option<Closed>,
    /// The end was given to who receives.
    told: bool,
    incoming: VecDeque<Message>,
    /// How many bytes are in it.
    waits: usize,
    waiting: Option<Waker>,
}

impl State {
    fn wait<T>(&mut self, waker: &Waker) -> Poll<T> {
        self.waiting = Some(waker.clone());
        Poll::Pending
    }
}

fn length(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        _ => 0,
    }
}

fn close_message(status: &Closed) -> Message {
    let frame = CloseCode::new(status.code).and_then(|code| CloseFrame::new(code, &*status.reason).ok());
    Message::Close(frame)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "the connection failed, or was lost (1006)",
            Self::NotTaken(_) => "the message was not taken: the connection closes, or too much waits",
            Self::Control => "a page sends text and bytes alone",
            Self::Close => "a page closes with 1000, or 3000 to 4999, and 123 bytes of reason at most",
            Self::Full => "more came than was received: the connection was closed",
        })
    }
}

/// How many bytes wait at most in each direction; the largest message, too.
const MOST: usize = 16 << 20;

thread_local! {
    static SOCKETS: RefCell<BTreeMap<u32, State>> = const { RefCell::new(BTreeMap::new()) };
}
