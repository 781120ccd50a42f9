//! Two engines on a network that fails, in virtual time: what a seed does it does again, and thousands take seconds.
//!
//! `simulator SEEDS`; prints what they did, or the first seed that went wrong.
//!
//! The network delays, cuts, stalls and resets as TCP does under a bad path; the engines shake hands, exchange messages of
//! all sizes, and close. Whatever happens, what came is what was sent, in order, from the first on; without a reset and
//! within the deadlines it is all of it, and both ends close cleanly; and every run comes to its end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::error::Error;
use std::mem;

use bytes::{Buf, Bytes};
use taut::proto::handshake::{Accept, ClientHandshake, ClientRequest, ServerHandshake};
use taut::proto::{CloseCode, Config, Connection, Kind, Message, Role};

fn main() -> Result<(), Box<dyn Error>> {
    let seeds = std::env::args().nth(1).ok_or("usage: simulator SEEDS")?;
    let seeds: u64 = seeds.parse().map_err(|_| format!("{seeds} is no number of seeds"))?;
    let mut all = Outcome::default();
    for seed in 0..seeds {
        let outcome = Simulation::new(seed).run().map_err(|error| format!("seed {seed}: {error}"))?;
        all.add(&outcome);
    }
    println!("{seeds} seeds, {} s of virtual time, {} events", all.time / 1_000_000, all.events);
    println!("{} messages of {} bytes came, in {} pieces", all.messages, all.bytes, all.pieces);
    println!("{} closed cleanly, {} were reset, {} took too long", all.clean, all.resets, all.late);
    println!("digest {:016x}", all.digest);
    Ok(())
}

/// What runs did.
#[derive(Default)]
struct Outcome {
    /// In microseconds, as all time here.
    time: u64,
    events: u64,
    messages: u64,
    bytes: u64,
    pieces: u64,
    clean: u64,
    resets: u64,
    late: u64,
    /// Of all that came, and when: the same for the same seeds.
    digest: u64,
}

struct Simulation {
    random: Random,
    now: u64,
    /// What will happen, by time and then in the order in which it was planned.
    plan: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    planned: u64,
    /// Whether the network stops at times.
    stalls: bool,
    /// The client, and the server.
    ends: [End; 2],
    /// From the client, and from the server.
    links: [Link; 2],
    outcome: Outcome,
}

enum Happening {
    /// Bytes, or the end of the stream, come from that end.
    Arrives(usize, Option<Bytes>),
    /// The application of that end has something to say.
    Speaks(usize),
    /// The time of that end to shake hands, or to close, is over.
    Late(usize, Deadline),
    Reset,
}

/// What has to be done in time.
enum Deadline {
    Handshake,
    Close,
}

struct End {
    phase: Phase,
    /// How many messages it will still send.
    left: u32,
    sent: Vec<Message>,
    came: Vec<Message>,
    closing: bool,
    over: bool,
}

enum Phase {
    Client(Box<ClientHandshake>),
    Server(Box<ServerHandshake>),
    Open(Box<Connection>),
}

/// One direction of the network.
#[derive(Default)]
struct Link {
    /// How many bytes may be under way.
    window: usize,
    under_way: usize,
    latest: u64,
    ended: bool,
    gone: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let nonce: [u8; 16] = std::array::from_fn(|_| random.next() as u8);
        let request = ClientRequest::new("simulator", "/").expect("host and resource can stand in a request");
        let handshakes = [
            Phase::Client(Box::new(ClientHandshake::new(&request, nonce))),
            Phase::Server(Box::new(ServerHandshake::new())),
        ];
        let ends = handshakes.map(|phase| {
            let left = random.below(20) as u32;
            End { phase, left, sent: Vec::new(), came: Vec::new(), closing: false, over: false }
        });
        let links = [(); 2].map(|()| Link { window: 1 + random.size(64 << 10), ..Link::default() });
        let stalls = random.below(5) == 0;
        let (plan, happenings) = (BinaryHeap::new(), BTreeMap::new());
        Self {
            random,
            now: 0,
            plan,
            happenings,
            planned: 0,
            stalls,
            ends,
            links,
            outcome: Outcome::default(),
        }
    }

    fn run(mut self) -> Result<Outcome, String> {
        if self.random.below(4) == 0 {
            let time = self.random.below(3_000_000);
            self.plan(time, Happening::Reset);
        }
        for end in 0..2 {
            self.plan(HANDSHAKE_TIME, Happening::Late(end, Deadline::Handshake));
            self.plan(0, Happening::Speaks(end));
            self.turn(end)?;
        }
        while let Some(Reverse((time, number))) = self.plan.pop() {
            self.now = time;
            let happening = self.happenings.remove(&number).expect("what was planned has not happened");
            self.outcome.events += 1;
            if self.outcome.events > MOST_EVENTS {
                return Err("it goes on for ever".into());
            }
            self.happen(happening)?;
            if self.ends.iter().all(|end| end.over) {
                break;
            }
        }
        self.judge()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Arrives(from, bytes) => {
                let link = &mut self.links[from];
                let count = bytes.as_ref().map_or(0, Bytes::len);
                link.under_way -= count;
                if link.gone {
                    return Ok(());
                }
                self.outcome.pieces += 1;
                self.outcome.mix(self.now ^ count as u64);
                self.ends[1 - from].feed(bytes.as_deref().unwrap_or_default());
                self.turn(1 - from)?;
                // There is room again.
                self.turn(from)
            }
            Happening::Speaks(end) => {
                self.speak(end);
                self.turn(end)
            }
            Happening::Late(end, deadline) => {
                let undone = matches!(deadline, Deadline::Close) || !self.ends[end].is_open();
                if undone && !self.ends[end].over {
                    self.outcome.late = 1;
                    self.leave(end);
                }
                Ok(())
            }
            Happening::Reset => {
                self.outcome.resets = 1;
                for end in 0..2 {
                    self.links[end].gone = true;
                    self.ends[end].lose();
                    self.turn(end)?;
                }
                Ok(())
            }
        }
    }

    /// The application says something, plans to say more, or closes.
    fn speak(&mut self, number: usize) {
        let Self { random, ends, links, .. } = self;
        let end = &mut ends[number];
        if end.closing || end.over {
            return;
        }
        if let Phase::Open(connection) = &mut end.phase {
            if end.left == 0 {
                connection.close(Some(CloseCode::NORMAL.into()));
            } else if connection.refusal().is_none() {
                end.left -= 1;
                if random.below(5) == 0 {
                    // Refused if much waits, which does not matter here.
                    let _ = connection.ping(b"?");
                }
                // As much as the network carries in good time.
                let message = random.message((links[number].window * 8).min(128 << 10));
                let taken = match (&message, random.below(3)) {
                    // In two pieces.
                    (Message::Binary(bytes), 0) => {
                        let (first, last) = bytes.split_at(bytes.len() / 2);
                        connection.send_fragment(Kind::Binary, first, false).is_ok()
                            && connection.send_fragment(Kind::Binary, last, true).is_ok()
                    }
                    _ => connection.send(message.clone()).is_ok(),
                };
                if taken {
                    end.sent.push(message);
                }
            }
        }
        let time = random.below(200_000);
        self.plan(time, Happening::Speaks(number));
    }

    /// An end does what it can: takes events, and writes.
    fn turn(&mut self, number: usize) -> Result<(), String> {
        let end = &mut self.ends[number];
        if end.over {
            return Ok(());
        }
        let before = end.came.len();
        end.take(&mut self.random)?;
        for message in &end.came[before..] {
            self.outcome.mix(self.now ^ self.outcome.messages ^ length(message) as u64);
            self.outcome.messages += 1;
            self.outcome.bytes += length(message) as u64;
        }
        if end.closes() && !mem::replace(&mut end.closing, true) {
            self.plan(CLOSE_TIME, Happening::Late(number, Deadline::Close));
        }
        loop {
            let Self { random, ends, links, .. } = self;
            let (end, link) = (&mut ends[number], &mut links[number]);
            let room = link.window - link.under_way;
            let output = match &mut end.phase {
                Phase::Client(handshake) => handshake.output(),
                Phase::Server(handshake) => handshake.output(),
                Phase::Open(connection) => connection.output(),
            };
            if !output.has_remaining() || room == 0 || link.ended || link.gone {
                break;
            }
            // A part of what is there, as a socket takes it.
            let most = output.chunk().len().min(room);
            let count = 1 + random.below(most as u64) as usize;
            let bytes = output.copy_to_bytes(count);
            link.under_way += count;
            self.send(number, Some(bytes));
        }
        if self.ends[number].is_done() {
            self.leave(number);
        }
        Ok(())
    }

    /// Puts bytes, or the end, on their way; behind what is under way already.
    fn send(&mut self, from: usize, bytes: Option<Bytes>) {
        // A stall goes beyond the deadlines now and then.
        let stalls = self.stalls && self.random.below(100) == 0;
        let delay = self.random.below(if stalls { 8_000_000 } else { 40_000 });
        let link = &mut self.links[from];
        link.latest = link.latest.max(self.now + delay);
        let time = link.latest - self.now;
        self.plan(time, Happening::Arrives(from, bytes));
    }

    /// An end is done with its stream.
    fn leave(&mut self, number: usize) {
        self.ends[number].over = true;
        if !mem::replace(&mut self.links[number].ended, true) {
            self.send(number, None);
        }
    }

    fn plan(&mut self, time: u64, happening: Happening) {
        self.planned += 1;
        self.plan.push(Reverse((self.now + time, self.planned)));
        self.happenings.insert(self.planned, happening);
    }

    /// What has to be so at the end.
    fn judge(mut self) -> Result<Outcome, String> {
        self.outcome.time = self.now;
        let failed = self.outcome.resets + self.outcome.late > 0;
        let mut clean = true;
        for number in 0..2 {
            let (sender, receiver) = (&self.ends[number], &self.ends[1 - number]);
            if !sender.over {
                return Err(format!("nothing more happens, and end {number} is not over"));
            }
            let wrong = sender.sent.iter().zip(&receiver.came).position(|(sent, came)| sent != came);
            if let Some(index) = wrong {
                return Err(format!("end {number} sent another message {index} than came"));
            }
            let (sent, came) = (sender.sent.len(), receiver.came.len());
            if came > sent || (came < sent && !failed) {
                return Err(format!("end {number} sent {sent} messages, and {came} came"));
            }
            clean &= sender.is_clean();
            if let Phase::Open(connection) = &mut self.ends[number].phase {
                connection.release();
                // A pong may have come behind the Close.
                if clean && connection.memory() > connection.unparsed().len() {
                    return Err(format!("end {number} holds memory after its end"));
                }
            }
        }
        if !clean && !failed {
            return Err("it is not closed cleanly".into());
        }
        self.outcome.clean = clean.into();
        Ok(self.outcome)
    }
}

impl End {
    /// Takes bytes; none are the end of the stream.
    fn feed(&mut self, bytes: &[u8]) {
        match (&mut self.phase, bytes.is_empty()) {
            (Phase::Client(handshake), false) => handshake.feed(bytes),
            (Phase::Client(handshake), true) => handshake.input_eof(),
            (Phase::Server(handshake), false) => handshake.feed(bytes),
            (Phase::Server(handshake), true) => handshake.input_eof(),
            (Phase::Open(connection), false) => connection.feed(bytes),
            (Phase::Open(connection), true) => connection.input_eof(),
        }
    }

    /// The stream is gone.
    fn lose(&mut self) {
        self.feed(&[]);
        match &mut self.phase {
            Phase::Open(connection) => connection.output_lost(),
            Phase::Client(_) | Phase::Server(_) => self.over = true,
        }
    }

    /// Takes all that there is.
    fn take(&mut self, random: &mut Random) -> Result<(), String> {
        loop {
            match &mut self.phase {
                Phase::Client(handshake) => match handshake.poll() {
                    Ok(None) => return Ok(()),
                    Ok(Some(established)) => {
                        let mut keys = Random(random.next());
                        let masks = move || (keys.next() as u32).to_be_bytes();
                        let connection = established.into_connection(CONFIG, masks);
                        self.phase = Phase::Open(Box::new(connection));
                    }
                    // The other end left.
                    Err(_) => {
                        self.over = true;
                        return Ok(());
                    }
                },
                Phase::Server(handshake) => match handshake.poll() {
                    Ok(None) => return Ok(()),
                    Ok(Some(pending)) => {
                        let accepted = pending.accept(Accept::new(), CONFIG);
                        let connection = accepted.map_err(|error| error.reason().to_string())?;
                        self.phase = Phase::Open(Box::new(connection));
                    }
                    Err(_) => {
                        self.over = true;
                        return Ok(());
                    }
                },
                Phase::Open(connection) => match connection.next_event() {
                    Ok(Some(event)) => self.came.extend(Some(event.into_message()).filter(Message::is_data)),
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(format!("an engine finds the other wrong: {error}")),
                },
            }
        }
    }

    const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether it closes, or the other end does.
    fn closes(&self) -> bool {
        matches!(&self.phase, Phase::Open(connection) if connection.state() != taut::proto::State::Open)
    }

    /// Whether it is for this end to end the stream.
    fn is_done(&self) -> bool {
        match &self.phase {
            Phase::Open(connection) if connection.role() == Role::Server => connection.wants_shutdown(),
            Phase::Open(connection) => !connection.wants_input() && !connection.wants_output(),
            Phase::Client(_) | Phase::Server(_) => false,
        }
    }

    fn is_clean(&self) -> bool {
        let Phase::Open(connection) = &self.phase else { return false };
        connection.close_status().is_some_and(|status| status.clean)
    }
}

impl Outcome {
    fn mix(&mut self, value: u64) {
        self.digest = Random(self.digest.rotate_left(5) ^ value).next();
    }

    fn add(&mut self, other: &Self) {
        self.time += other.time;
        self.events += other.events;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.pieces += other.pieces;
        self.clean += other.clean;
        self.resets += other.resets;
        self.late += other.late;
        self.mix(other.digest);
    }
}

fn length(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        _ => 0,
    }
}

/// SplitMix64: the same everywhere, and for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Mostly small, at times large.
    fn size(&mut self, most: usize) -> usize {
        let bits = self.below(u64::from(most.ilog2()) + 1);
        self.below(1 << bits) as usize
    }

    fn message(&mut self, most: usize) -> Message {
        let size = self.size(most);
        let start = self.below(256);
        if self.below(2) == 0 {
            let text: String = (0..size / 2)
                .map(|at| if (at as u64 + start).is_multiple_of(7) { 'é' } else { 'x' })
                .collect();
            Message::text(text)
        } else {
            Message::binary((0..size).map(|at| (at as u64 + start) as u8).collect::<Vec<u8>>())
        }
    }
}

const CONFIG: Config = Config::new();
/// As adapters have it by default.
const HANDSHAKE_TIME: u64 = 10_000_000;
const CLOSE_TIME: u64 = 5_000_000;
/// Far more than any run needs.
const MOST_EVENTS: u64 = 1_000_000;
