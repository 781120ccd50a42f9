//! Many authenticated clients in one room, in which one of them speaks by a schedule: what it costs to let them in, what
//! each holds, and when the others hear it. A hub and Socket.IO get the same from it, each in its own words.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use taut_rivals::process::Process;

use crate::broadcast::{
    EVENTS, Intake, Moment, PING, PONG, READ, SETTLE, nanoseconds, no_epoll, rank, receive, send_all, sorted,
    wait,
};
use crate::burst::{FINAL, TEXT, push_masked};
use crate::options::Options;
use crate::socket::{ACCEPT, AT_A_TIME, PATIENCE, dial};

/// Connects all clients, one for each token, and speaks at each of the rates in turn.
pub(crate) fn run(options: &Options) -> Result<String, String> {
    let process = options.process.ok_or("--pid is missing")?;
    let words = options.words.ok_or("--protocol is missing")?;
    let file = options.tokens.as_deref().ok_or("--tokens is missing")?;
    let tokens = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let tokens: Vec<&str> = tokens.lines().take(options.connections).collect();
    if tokens.len() < options.connections || options.connections <= AT_A_TIME || options.size < NUMBER {
        return Err(format!(
            "a room needs more than {AT_A_TIME} connections with a token each, and {NUMBER} bytes for a number"
        ));
    }
    let mut room = Room::new(words, options.size)?;
    let (few, many) = tokens.split_at(AT_A_TIME);
    // The room may be announced to who opens it.
    room.enter(options, &few[..1])?;
    room.enter(options, &few[1..])?;
    sleep(SETTLE);
    let alone = process.resident()?;
    let before = Moment::at(process)?;
    for tokens in many.chunks(AT_A_TIME) {
        room.enter(options, tokens)?;
    }
    let entered = Moment::at(process)?.since(&before, many.len());
    sleep(SETTLE);
    let each = |resident: u64| (resident as f64 - alone as f64) / many.len() as f64;
    let idle = each(process.resident()?);
    room.speak(process, WARM_UP_RATE, options.warm_up)?;
    let mut spoken = Vec::new();
    for rate in &options.rates {
        spoken.push(room.speak(process, *rate, options.seconds)?);
    }
    sleep(SETTLE);
    let used = each(process.resident()?);
    Ok(format!(
        r#"{{"entered": {{{entered}}}, "idle_bytes": {idle:.0}, "used_bytes": {used:.0}, "spoken": [{}]}}"#,
        spoken.join(", ")
    ))
}

/// How a server is spoken to.
#[derive(Clone, Copy)]
pub(crate) enum Words {
    /// The envelopes of a hub.
    Hub,
    /// Version 5 of Socket.IO's protocol, in version 4 of Engine.IO's.
    SocketIo,
}

impl std::str::FromStr for Words {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "hub" => Ok(Self::Hub),
            "socket.io" => Ok(Self::SocketIo),
            _ => Err(format!("unknown protocol {name}")),
        }
    }
}

impl Words {
    const fn resource(self) -> &'static str {
        match self {
            Self::Hub => "/ws",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// How the server's next words begin, and what is said to them, until the client is in the room.
    const fn entrance(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Hub => &[
                (r#"{"message_type":"system_message""#, r#"{"id":"j","message_type":"join","room":"r"}"#),
                (r#"{"id":"j","message_type":"join""#, ""),
            ],
            Self::SocketIo => &[("0{", "40"), ("40{", r#"420["join","r"]"#), ("430[", "")],
        }
    }

    fn say(self, number: u64, data: &str) -> String {
        match self {
            Self::Hub => format!(r#"{{"id":"{number}","message_type":"text","data":"{data}","room":"r"}}"#),
            Self::SocketIo => format!(r#"42{number}["say",{{"id":"{number}","data":"{data}","room":"r"}}]"#),
        }
    }

    fn is_ack(self, text: &[u8]) -> bool {
        match self {
            Self::Hub => contains(text, br#""message_type":"ack""#),
            Self::SocketIo => text.starts_with(b"43"),
        }
    }

    /// Who comes is announced in a room that is small enough.
    fn expect_announcement(self, text: &[u8]) -> Result<(), String> {
        let is_one = matches!(self, Self::Hub) && text.starts_with(br#"{"message_type":"user_joined""#);
        if is_one { Ok(()) } else { Err(format!("nobody asked for {}", shown(text))) }
    }

    /// What a ping, which is a message here, is answered with.
    fn pong(self, text: &[u8]) -> Option<&'static [u8]> {
        (matches!(self, Self::SocketIo) && text == b"2").then_some(b"3")
    }
}

struct Room {
    words: Words,
    size: usize,
    /// The first one speaks.
    clients: Vec<Client>,
    epoll: std::os::fd::OwnedFd,
    buffer: Vec<u8>,
    /// Messages so far, which is the number in the next one.
    sent: u64,
    acknowledged: u64,
}

struct Client {
    stream: TcpStream,
    intake: Intake,
    /// The number of the message that it is to hear next.
    next: u64,
}

/// A message that was due at that moment.
struct Said {
    due: Instant,
    data: String,
    /// What the first who heard it got; the others must get the same bytes.
    heard: Vec<u8>,
}

impl Room {
    fn new(words: Words, size: usize) -> Result<Self, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(no_epoll)?;
        let (clients, buffer) = (Vec::new(), vec![0; READ]);
        Ok(Self { words, size, clients, epoll, buffer, sent: 0, acknowledged: 0 })
    }

    /// Lets in a client for each token, all of them together.
    fn enter(&mut self, options: &Options, tokens: &[&str]) -> Result<(), String> {
        let mut coming = Vec::new();
        for token in tokens {
            let index = self.clients.len() + coming.len();
            let stream = dial(options.address, index, |_| Ok(()));
            let mut stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Authorization: Bearer {token}\r\n\r\n",
                self.words.resource(),
                options.address,
            );
            let sent = stream.write_all(request.as_bytes());
            sent.map_err(|error| format!("the handshake cannot be sent: {error}"))?;
            coming.push(Arriving { stream, bytes: Vec::new() });
        }
        for client in &mut coming {
            client.shake_hands()?;
        }
        for (expected, answer) in self.words.entrance() {
            for client in &mut coming {
                client.expect(expected, self.words)?;
                if !answer.is_empty() {
                    send_text(&client.stream, answer.as_bytes())?;
                }
            }
        }
        for Arriving { stream, bytes } in coming {
            let mut intake = Intake::default();
            intake.take(&bytes, |_, payload| self.words.expect_announcement(payload))?;
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
            let index = epoll::EventData::new_u64(self.clients.len() as u64);
            epoll::add(&self.epoll, &stream, index, epoll::EventFlags::IN).map_err(no_epoll)?;
            self.clients.push(Client { stream, intake, next: self.sent });
        }
        Ok(())
    }

    /// Speaks by a schedule that waits for nobody, until all have heard everything. Latency counts from the moment at
    /// which a message was due.
    fn speak(&mut self, process: Process, rate: f64, time: Duration) -> Result<String, String> {
        let messages = (rate * time.as_secs_f64()).round().max(1.0) as usize;
        let first = self.sent;
        let receivers = self.clients.len() - 1;
        let mut delays = Vec::with_capacity(messages * receivers);
        let (mut said, mut late): (Vec<Said>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let before = Moment::at(process)?;
        let begin = Instant::now();
        let limit = begin + time + PATIENCE;
        let mut left = messages * receivers;
        while left > 0 || self.acknowledged < self.sent {
            let now = Instant::now();
            let due = begin + Duration::from_secs_f64(said.len() as f64 / rate);
            if said.len() < messages && due <= now {
                said.push(self.say(due)?);
                late.push(nanoseconds(now - due));
                continue;
            }
            if now > limit {
                return Err(format!("{left} deliveries are missing {PATIENCE:?} after the end"));
            }
            let patience = if said.len() < messages { due - now } else { SETTLE };
            for index in wait(&self.epoll, EVENTS_OF_A_TURN, patience)? {
                let heard = self.hear(index, first, &mut said, &mut delays)?;
                bytes += heard.1;
                left -= heard.0;
            }
        }
        let cost = Moment::at(process)?.since(&before, delays.len());
        delays.sort_unstable();
        Ok(format!(
            r#"{{"rate": {rate}, "messages": {messages}, "deliveries": {}, "median": {}, "p99": {}, "last": {}, "late": {}, "bytes": {:.1}, {cost}}}"#,
            delays.len(),
            rank(&delays, 0.5),
            rank(&delays, 0.99),
            rank(&delays, 1.0),
            rank(&sorted(&late), 0.99),
            bytes as f64 / delays.len() as f64,
        ))
    }

    fn say(&mut self, due: Instant) -> Result<Said, String> {
        let number = self.sent;
        let data = format!("{number:0NUMBER$}{}", "-".repeat(self.size - NUMBER));
        send_text(&self.clients[0].stream, self.words.say(number, &data).as_bytes())?;
        self.sent += 1;
        Ok(Said { due, data, heard: Vec::new() })
    }

    /// What there is for this client: how many deliveries, of how many bytes.
    fn hear(
        &mut self,
        index: usize,
        first: u64,
        said: &mut [Said],
        delays: &mut Vec<u64>,
    ) -> Result<(usize, usize), String> {
        let Self { words, clients, buffer, acknowledged, .. } = self;
        let Client { stream, intake, next } = &mut clients[index];
        let Some(got) = receive(stream, buffer)? else { return Ok((0, 0)) };
        let now = Instant::now();
        let (mut deliveries, mut bytes) = (0, 0);
        let mut pongs = Vec::new();
        intake.take(&buffer[..got], |head, payload| {
            if head == FINAL | PING {
                push_masked(&mut pongs, FINAL | PONG, payload, KEY);
                return Ok(());
            }
            if head != FINAL | TEXT {
                return Err(format!("the server sends a frame that begins with {head:#x}"));
            }
            if let Some(pong) = words.pong(payload) {
                push_masked(&mut pongs, FINAL | TEXT, pong, KEY);
                return Ok(());
            }
            // Who speaks hears itself, and is told that it was heard.
            if index == 0 {
                *acknowledged += u64::from(words.is_ack(payload));
                return Ok(());
            }
            let awaited = next.checked_sub(first).and_then(|at| said.get_mut(at as usize));
            let awaited = awaited.ok_or_else(|| format!("nobody said {}", shown(payload)))?;
            if awaited.heard.is_empty() && contains(payload, awaited.data.as_bytes()) {
                awaited.heard = payload.to_vec();
            }
            if awaited.heard != payload {
                return Err(format!("not what is to be heard next: {}", shown(payload)));
            }
            *next += 1;
            delays.push(nanoseconds(now.saturating_duration_since(awaited.due)));
            deliveries += 1;
            bytes += payload.len();
            Ok(())
        })?;
        if !pongs.is_empty() {
            send_all(stream, &pongs)?;
        }
        Ok((deliveries, bytes))
    }
}

/// A client that is not in the room yet; it waits for each answer.
struct Arriving {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Arriving {
    fn shake_hands(&mut self) -> Result<(), String> {
        let end = loop {
            if let Some(at) = self.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            self.read()?;
        };
        let rest = self.bytes.split_off(end);
        let head = std::mem::replace(&mut self.bytes, rest);
        let head = String::from_utf8_lossy(&head);
        let is_accepted = head.starts_with("HTTP/1.1 101") && head.contains(ACCEPT);
        let is_plain = !head.to_ascii_lowercase().contains("sec-websocket-extensions");
        if is_accepted && is_plain { Ok(()) } else { Err(format!("the server refuses: {head}")) }
    }

    fn expect(&mut self, beginning: &str, words: Words) -> Result<(), String> {
        loop {
            let (head, len) = match self.bytes[..] {
                [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
                [_, len @ 0..=125, ..] => (2, usize::from(len)),
                [_, _, ..] => return Err("the server says more than is needed to enter".into()),
                _ => (2, 0),
            };
            if let Some(payload) = self.bytes.get(head..head + len).filter(|_| self.bytes.len() >= 2) {
                let is_right = self.bytes[0] == FINAL | TEXT && payload.starts_with(beginning.as_bytes());
                if !is_right {
                    words.expect_announcement(payload)?;
                }
                self.bytes.drain(..head + len);
                if is_right {
                    return Ok(());
                }
                continue;
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<(), String> {
        let mut room = [0; 4096];
        match self.stream.read(&mut room) {
            Ok(0) => Err("the server ends a connection that enters".into()),
            Ok(got) => {
                self.bytes.extend(&room[..got]);
                Ok(())
            }
            Err(error) => Err(format!("the server does not answer who enters: {error}")),
        }
    }
}

fn send_text(stream: &TcpStream, text: &[u8]) -> Result<(), String> {
    let mut frame = Vec::new();
    push_masked(&mut frame, FINAL | TEXT, text, KEY);
    send_all(stream, &frame)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn shown(payload: &[u8]) -> String {
    String::from_utf8_lossy(&payload[..payload.len().min(200)]).into_owned()
}

/// Digits of its number at the beginning of each message.
const NUMBER: usize = 16;

/// Any will do between the two of us.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const WARM_UP_RATE: f64 = 2.0;

/// Few, so that what is due waits for few of them.
const EVENTS_OF_A_TURN: usize = EVENTS / 16;
