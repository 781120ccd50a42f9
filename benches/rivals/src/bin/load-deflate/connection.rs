//! One connection of the load: writes frames that were made before, and reads no more of the answers than it must.

use std::cell::Cell;
use std::rc::Rc;

use flate2::{Decompress, FlushDecompress};
use taut_rivals::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::add;
use super::data::Conversation;

/// What all connections together got.
#[derive(Default)]
pub(crate) struct Counts {
    messages: Cell<u64>,
    compressed: Cell<u64>,
    payload: Cell<u64>,
    verified: Cell<u64>,
}

#[derive(Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) messages: u64,
    pub(crate) compressed: u64,
    /// Bytes of payloads as they came.
    pub(crate) payload: u64,
    pub(crate) verified: u64,
}

pub(crate) struct Connection {
    stream: TcpStream,
    conversation: Rc<Conversation>,
    counts: Rc<Counts>,
    mode: Mode,
    /// The number of the next message, in the conversation without an end.
    next: usize,
    buffer: Vec<u8>,
    check: Option<Check>,
}

/// Inflates the first answers and compares them with what was sent.
struct Check {
    inflate: Decompress,
    left: usize,
}

impl Counts {
    pub(crate) fn get(&self) -> Counted {
        Counted {
            messages: self.messages.get(),
            compressed: self.compressed.get(),
            payload: self.payload.get(),
            verified: self.verified.get(),
        }
    }
}

impl Connection {
    /// Connects, and agrees on what the mode asks for and nothing else.
    pub(crate) async fn open(
        address: &str,
        mode: Mode,
        window_bits: u8,
        conversation: Rc<Conversation>,
        counts: Rc<Counts>,
    ) -> Result<Self, String> {
        let mut stream =
            TcpStream::connect(address).await.map_err(|error| format!("cannot connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut wanted = match mode {
            Mode::Plain => Vec::new(),
            Mode::NoTakeover => {
                vec![
                    "permessage-deflate".into(),
                    "server_no_context_takeover".into(),
                    "client_no_context_takeover".into(),
                ]
            }
            Mode::Takeover => vec!["permessage-deflate".to_owned()],
        };
        if window_bits != 15 {
            wanted.push(format!("server_max_window_bits={window_bits}"));
        }
        let offer = if mode == Mode::Plain {
            String::new()
        } else {
            format!("Sec-WebSocket-Extensions: {}\r\n", wanted.join("; "))
        };
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.map_err(|error| error.to_string())? == 0 {
                return Err("the server ends the connection in the handshake".into());
            }
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let agreed = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions:"));
        let mut agreed: Vec<String> =
            agreed.iter().flat_map(|value| value.split(';')).map(|part| part.trim().to_owned()).collect();
        // To name the default is no difference.
        agreed.retain(|part| !part.ends_with("_max_window_bits=15"));
        agreed.sort();
        wanted.sort();
        if !head.starts_with("http/1.1 101") || agreed != wanted {
            return Err(format!("the server agrees to {agreed:?} in the place of {wanted:?}"));
        }
        Ok(Self {
            stream,
            conversation,
            counts,
            mode,
            next: 0,
            buffer: Vec::with_capacity(READ),
            check: None,
        })
    }

    /// Verifies the answers to a whole round of messages, and some.
    pub(crate) fn verify(&mut self) {
        let left = self.conversation.frames.len() + 10;
        self.check = Some(Check { inflate: Decompress::new(false), left });
    }

    /// Sends that many messages, each once the one before was answered.
    pub(crate) async fn exchange(&mut self, messages: u64) -> Result<(), String> {
        let Self { stream, conversation, buffer, .. } = self;
        let conversation = conversation.clone();
        for _ in 0..messages {
            let index = self.next % conversation.frames.len();
            self.next += 1;
            stream.write_all(&conversation.frames[index]).await.map_err(|error| error.to_string())?;
            let (header, len) = loop {
                if let Some((header, len)) =
                    lengths(buffer).filter(|(header, len)| buffer.len() >= header + len)
                {
                    break (header, len);
                }
                buffer.reserve(READ);
                if stream.read_buf(buffer).await.map_err(|error| error.to_string())? == 0 {
                    return Err("the server ended the connection".into());
                }
            };
            let compressed = match (buffer[0], self.mode) {
                (0x81, _) => false,
                (0xC1, Mode::NoTakeover | Mode::Takeover) => true,
                (first, _) => return Err(format!("the server sent a frame that begins with {first:#X}")),
            };
            let payload = &buffer[header..header + len];
            if let Some(check) = &mut self.check {
                check.check(payload, compressed, self.mode, &conversation.messages[index])?;
                add(&self.counts.verified, 1);
                if check.left == 0 {
                    self.check = None;
                }
            }
            add(&self.counts.messages, 1);
            add(&self.counts.compressed, compressed.into());
            add(&self.counts.payload, len as u64);
            buffer.drain(..header + len);
        }
        Ok(())
    }
}

impl Check {
    fn check(&mut self, payload: &[u8], compressed: bool, mode: Mode, sent: &str) -> Result<(), String> {
        self.left -= 1;
        let text = if compressed {
            if mode == Mode::NoTakeover {
                self.inflate.reset(false);
            }
            let mut text = Vec::with_capacity(sent.len() + 64);
            let whole = [payload, &[0, 0, 0xFF, 0xFF]].concat();
            let inflated = self.inflate.decompress_vec(&whole, &mut text, FlushDecompress::Sync);
            inflated.map_err(|error| format!("an answer is not DEFLATE: {error}"))?;
            text
        } else {
            payload.to_vec()
        };
        if text == sent.as_bytes() { Ok(()) } else { Err("an answer is not what was sent".into()) }
    }
}

/// RFC 6455 §5.2: the lengths of the header and of the payload of a server's frame, if they are there.
fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [_, 126, a, b, ..] => Some((4, u16::from_be_bytes([a, b]).into())),
        [_, 127, ref rest @ ..] => Some((10, u64::from_be_bytes(rest.first_chunk().copied()?) as usize)),
        [_, 126, ..] => None,
        [_, len, ..] => Some((2, len.into())),
        _ => None,
    }
}

/// How much room a read gets.
const READ: usize = 32 << 10;
