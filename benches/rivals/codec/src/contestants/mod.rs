//! What each library does with the same messages: one file a library.

mod bare;
mod fastwebsockets;
mod sockudo_ws;
mod soketto;
mod taut;
mod tokio_tungstenite;
mod tokio_websockets;
mod tungstenite;
mod web_socket;
mod wtx;
mod yawc;

use std::hint::black_box;

use crate::frames::Case;
use crate::stream::Memory;

/// Somebody who receives or sends messages.
pub struct Contestant {
    pub name: &'static str,
    pub receive: Option<Make<dyn Receive>>,
    pub send: Option<Make<dyn Send>>,
    /// Puts together messages that come in fragments.
    pub gathers: bool,
    /// A client masks in the caller's buffer, which is spent then.
    pub in_place: bool,
    /// Sends as a server too: what differs in a client's masks alone does not.
    pub serves: bool,
    /// Does this work at all.
    pub suits: fn(&Case) -> bool,
}

/// Makes a connection over a transport, for one case.
type Make<T> = fn(Case, Memory) -> Box<T>;

/// A connection that receives.
pub trait Receive {
    /// Receives so many messages, and shows each.
    fn receive(&mut self, count: usize, seen: &mut Seen<'_>);
}

/// A connection that sends.
pub trait Send {
    /// Sends so many messages; flushes after each [`BURST`], if it can wait so long, and in the end.
    fn send(&mut self, count: usize);
}

/// Looks at the messages that were received.
pub struct Seen<'a> {
    pub bytes: usize,
    /// What a payload should be, if that is to be checked.
    pub expected: Option<&'a [u8]>,
}

impl Contestant {
    /// Whether this is a library to compare with; the others are taut and the bounds.
    pub fn is_rival(&self) -> bool {
        !self.name.starts_with("taut") && !self.name.starts_with("bare") && !self.name.starts_with("memcpy")
    }

    const fn new(name: &'static str) -> Self {
        Self {
            name,
            receive: None,
            send: None,
            gathers: true,
            in_place: false,
            serves: true,
            suits: |_| true,
        }
    }
}

impl<'a> Seen<'a> {
    pub const fn new(expected: Option<&'a [u8]>) -> Self {
        Self { bytes: 0, expected }
    }

    #[inline(always)]
    pub fn note(&mut self, payload: &[u8]) {
        self.bytes += black_box(payload).len();
        if let Some(expected) = self.expected {
            assert!(payload == expected, "another payload came out than went in");
        }
    }
}

/// All of them, taut first and the bounds last.
pub fn all() -> Vec<Contestant> {
    let mut all = taut::contestants();
    all.push(tungstenite::contestant());
    all.push(tokio_tungstenite::contestant());
    all.push(tokio_websockets::contestant());
    all.push(fastwebsockets::contestant());
    all.push(soketto::contestant());
    all.push(wtx::contestant());
    all.push(yawc::contestant());
    all.push(web_socket::contestant());
    all.extend(sockudo_ws::contestants());
    all.extend(bare::contestants());
    all
}

/// Whether a burst ends with this message, the first of which is number one.
#[inline(always)]
const fn is_end(number: usize, count: usize) -> bool {
    number.is_multiple_of(BURST) || number == count
}

/// How many messages a program sends before it flushes.
pub const BURST: usize = 16;

/// No limit is in the way of the largest message here.
pub const MOST_MESSAGE: usize = 1 << 30;
