//! One connection says something, and all hear it: when each of them does, what that costs the server, and what
//! others that do not read change about it.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use taut_rivals::process::{Process, Times};

use crate::burst::{BINARY, FINAL, Kind, Random, message, push_masked};
use crate::options::Options;
use crate::socket::{AT_A_TIME, PATIENCE, open, open_small};

/// `--messages` broadcasts in bursts of `--depth`, each awaited by all that read before the next is sent. The first
/// connection sends, and hears itself.
pub(crate) fn run(options: &Options) -> Result<String, String> {
    let process = options.process.ok_or("--pid is missing")?;
    if options.connections < AT_A_TIME || options.size < NUMBER {
        return Err(format!(
            "a broadcast needs {AT_A_TIME} connections and {NUMBER} bytes, for a number in each message"
        ));
    }
    let mut load = Load::new()?;
    // They come first: whoever goes over connections in their order meets them before all others.
    let mut stalled = Stalled::open(options)?;
    load.add(open(options.address, AT_A_TIME)?)?;
    if options.stalled > 0 {
        load.broadcast(Kind::Binary, LARGE, LARGE_MESSAGES, 1)?;
        load.broadcast(Kind::Binary, options.size, SMALL_MESSAGES, 1)?;
    }
    sleep(SETTLE);
    let alone = process.resident()?;
    load.add(open(options.address, options.connections - AT_A_TIME)?)?;
    sleep(SETTLE);
    let idle = process.resident()?;
    load.broadcast(options.kind, options.size, WARM_UP, options.depth)?;
    let before = Moment::at(process)?;
    let heard = load.broadcast(options.kind, options.size, options.messages.unwrap_or(20), options.depth)?;
    let after = Moment::at(process)?;
    sleep(SETTLE);
    let used = process.resident()?;
    load.expect_silence()?;
    let lost = stalled.lost(load.sent)?;
    let more = (options.connections - AT_A_TIME).max(1) as f64;
    let each = |resident: u64| (resident as f64 - alone as f64) / more;
    Ok(format!(
        r#"{{{}, {}, "stalled": {}, "lost_least": {}, "lost_most": {}, "idle_bytes": {:.0}, "used_bytes": {:.0}}}"#,
        heard.report(),
        after.since(&before, heard.deliveries.len()),
        options.stalled,
        lost.iter().min().unwrap_or(&0),
        lost.iter().max().unwrap_or(&0),
        each(idle),
        each(used),
    ))
}

struct Load {
    connections: Vec<Connection>,
    epoll: OwnedFd,
    buffer: Vec<u8>,
    random: Random,
    /// Broadcasts so far, which is the number in the next one.
    sent: u64,
}

struct Connection {
    stream: TcpStream,
    intake: Intake,
    /// The number of the broadcast that it is to hear next.
    next: u64,
}

/// When broadcasts were heard.
#[derive(Default)]
struct Heard {
    /// Nanoseconds from sending to each delivery.
    deliveries: Vec<u64>,
    /// The same, of each broadcast the first, the one in the middle, and the last.
    first: Vec<u64>,
    middle: Vec<u64>,
    last: Vec<u64>,
}

impl Load {
    fn new() -> Result<Self, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(no_epoll)?;
        let (connections, random) = (Vec::new(), Random::default());
        Ok(Self { connections, epoll, buffer: vec![0; READ], random, sent: 0 })
    }

    fn add(&mut self, streams: Vec<TcpStream>) -> Result<(), String> {
        for stream in streams {
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
            let index = epoll::EventData::new_u64(self.connections.len() as u64);
            epoll::add(&self.epoll, &stream, index, epoll::EventFlags::IN).map_err(no_epoll)?;
            self.connections.push(Connection { stream, intake: Intake::default(), next: self.sent });
        }
        Ok(())
    }

    /// Bursts of broadcasts, each of which all connections hear, every message once and in order.
    fn broadcast(&mut self, kind: Kind, size: usize, messages: u64, depth: usize) -> Result<Heard, String> {
        let mut heard = Heard::default();
        for _ in 0..messages.div_ceil(depth as u64) {
            let mut frames = Vec::new();
            let mut burst = Vec::with_capacity(depth);
            let first = self.sent;
            for _ in 0..depth {
                let mut payload = message(kind, size, &mut self.random);
                payload[..NUMBER].copy_from_slice(format!("{:016x}", self.sent).as_bytes());
                push_masked(&mut frames, FINAL | kind.opcode(), &payload, self.random.key());
                burst.push(Awaited { payload, delays: Vec::with_capacity(self.connections.len()) });
                self.sent += 1;
            }
            let begin = Instant::now();
            send_all(&self.connections[0].stream, &frames)?;
            let mut left = depth * self.connections.len();
            while left > 0 {
                left -= self.turn(begin, FINAL | kind.opcode(), first, &mut burst)?;
            }
            burst.into_iter().for_each(|awaited| heard.note(awaited.delays));
        }
        Ok(heard)
    }

    /// Waits for something to come, and tells how many deliveries that were.
    fn turn(
        &mut self,
        begin: Instant,
        opening: u8,
        first: u64,
        burst: &mut [Awaited],
    ) -> Result<usize, String> {
        let events = wait(&self.epoll, EVENTS, PATIENCE)?;
        if events.is_empty() {
            let deaf = self.connections.iter().filter(|one| one.next < self.sent).count();
            return Err(format!("{deaf} of {} connections do not hear a message", self.connections.len()));
        }
        let mut deliveries = 0;
        for index in events {
            let Connection { stream, intake, next } = &mut self.connections[index];
            let Some(got) = receive(stream, &mut self.buffer)? else { continue };
            let delay = nanoseconds(begin.elapsed());
            let mut pongs = Vec::new();
            intake.take(&self.buffer[..got], |head, payload| {
                if head == FINAL | PING {
                    push_masked(&mut pongs, FINAL | PONG, payload, [0; 4]);
                    return Ok(());
                }
                let awaited = next.checked_sub(first).and_then(|at| burst.get_mut(at as usize));
                let awaited = awaited.ok_or("a connection hears a message twice")?;
                if head != opening || payload != awaited.payload {
                    return Err("a connection hears another message than the one whose turn it is".into());
                }
                awaited.delays.push(delay);
                *next += 1;
                deliveries += 1;
                Ok(())
            })?;
            if !pongs.is_empty() {
                send_all(stream, &pongs)?;
            }
        }
        Ok(deliveries)
    }

    /// Nothing may come that nobody sent.
    fn expect_silence(&mut self) -> Result<(), String> {
        while let [index, ..] = wait(&self.epoll, EVENTS, SETTLE)?[..] {
            let Connection { stream, intake, .. } = &mut self.connections[index];
            let Some(got) = receive(stream, &mut self.buffer)? else { continue };
            intake.take(&self.buffer[..got], |head, _| {
                if head == FINAL | PING { Ok(()) } else { Err("a connection hears a message twice".into()) }
            })?;
        }
        Ok(())
    }
}

/// A message that is on its way, and how long it took to those who have it.
struct Awaited {
    payload: Vec<u8>,
    delays: Vec<u64>,
}

impl Heard {
    fn note(&mut self, mut delays: Vec<u64>) {
        delays.sort_unstable();
        self.first.extend(delays.first());
        self.middle.push(rank(&delays, 0.5));
        self.last.extend(delays.last());
        self.deliveries.append(&mut delays);
    }

    fn report(&self) -> String {
        let median = |values: &[u64]| rank(&sorted(values), 0.5);
        format!(
            r#""messages": {}, "deliveries": {}, "first": {}, "median": {}, "last": {}, "p99": {}"#,
            self.first.len(),
            self.deliveries.len(),
            median(&self.first),
            median(&self.middle),
            median(&self.last),
            rank(&sorted(&self.deliveries), 0.99),
        )
    }
}

/// Connections that nobody reads until the end.
struct Stalled {
    connections: Vec<(TcpStream, Intake)>,
    /// Messages that came, of each.
    got: Vec<u64>,
}

impl Stalled {
    fn open(options: &Options) -> Result<Self, String> {
        let streams = open_small(options.address, options.stalled)?;
        for stream in &streams {
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        }
        let got = vec![0; streams.len()];
        Ok(Self { connections: streams.into_iter().map(|stream| (stream, Intake::default())).collect(), got })
    }

    /// Reads all that still comes, and tells how many of the broadcasts each did not get.
    fn lost(&mut self, sent: u64) -> Result<Vec<u64>, String> {
        let mut buffer = vec![0; READ];
        let mut quiet = Instant::now();
        // A quiet while may be one in which the server tends to others.
        while !self.connections.is_empty() && quiet.elapsed() < DRAINED {
            for ((stream, intake), got) in self.connections.iter_mut().zip(&mut self.got) {
                while let Some(bytes) = receive(stream, &mut buffer)? {
                    quiet = Instant::now();
                    intake.take(&buffer[..bytes], |head, _| {
                        *got += u64::from(head == FINAL | BINARY);
                        Ok(())
                    })?;
                }
            }
            sleep(Duration::from_millis(1));
        }
        let lost: Vec<u64> = self.got.iter().map(|got| sent.saturating_sub(*got)).collect();
        if lost.contains(&0) {
            return Err("a stalled connection got everything: it was not stalled".into());
        }
        Ok(lost)
    }
}

/// Takes frames apart, wherever reads cut them.
#[derive(Default)]
pub(crate) struct Intake(VecDeque<u8>);

impl Intake {
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(u8, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.0.is_empty() {
            let used = frames(bytes, &mut each)?;
            self.0.extend(&bytes[used..]);
        } else {
            self.0.extend(bytes);
            let used = frames(self.0.make_contiguous(), &mut each)?;
            self.0.drain(..used);
        }
        if self.0.is_empty() {
            // Thousands of connections, each of which once had half of a frame.
            self.0 = VecDeque::new();
        }
        Ok(())
    }
}

/// Gives each whole frame of a server by its first byte and its payload; tells how many bytes they were.
fn frames(bytes: &[u8], each: &mut impl FnMut(u8, &[u8]) -> Result<(), String>) -> Result<usize, String> {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        let (head, len) = match rest {
            [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            [_, 127, long @ ..] if long.len() >= 8 => {
                (10, long[..8].iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
            }
            [_, len @ 0..=125, ..] => (2, usize::from(*len)),
            _ => return Ok(used),
        };
        let Some(payload) = rest.get(head..head + len) else { return Ok(used) };
        if rest[0] == FINAL | CLOSE {
            return Err("the server closes a connection".into());
        }
        each(rest[0], payload)?;
        used += head + len;
    }
}

/// Times of server and load.
pub(crate) struct Moment {
    when: Instant,
    server: Times,
    load: Times,
}

impl Moment {
    pub(crate) fn at(process: Process) -> Result<Self, String> {
        let load = Process::new(std::process::id().cast_signed()).times()?;
        Ok(Self { server: process.times()?, load, when: Instant::now() })
    }

    pub(crate) fn since(&self, before: &Self, deliveries: usize) -> String {
        let seconds = (self.when - before.when).as_secs_f64();
        let server = self.server.total - before.server.total;
        let user = (self.server.user_share.user - before.server.user_share.user) as f64;
        let system = (self.server.user_share.system - before.server.user_share.system) as f64;
        format!(
            r#""seconds": {seconds:.6}, "cpu_nanoseconds": {:.1}, "server_busy": {:.3}, "load_busy": {:.3}, "user_share": {:.3}"#,
            server.as_nanos() as f64 / deliveries as f64,
            server.as_secs_f64() / seconds,
            (self.load.total - before.load.total).as_secs_f64() / seconds,
            user / (user + system).max(1.0),
        )
    }
}

/// Whose turn it is, at most so many.
pub(crate) fn wait(epoll: &OwnedFd, most: usize, patience: Duration) -> Result<Vec<usize>, String> {
    let mut events: Vec<epoll::Event> = Vec::with_capacity(most);
    let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    epoll::wait(epoll, spare_capacity(&mut events), Some(&patience)).map_err(no_epoll)?;
    Ok(events.iter().map(|event| event.data.u64() as usize).collect())
}

/// What is there to be read, if something is.
pub(crate) fn receive(stream: &TcpStream, buffer: &mut [u8]) -> Result<Option<usize>, String> {
    match recv(stream, buffer, RecvFlags::empty()) {
        Ok((_, 0)) => Err("the server ends a connection".into()),
        Ok((_, got)) => Ok(Some(got)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(format!("the server ends a connection: {error}")),
    }
}

pub(crate) fn send_all(stream: &TcpStream, mut bytes: &[u8]) -> Result<(), String> {
    let limit = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        match send(stream, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::AGAIN) if Instant::now() < limit => sleep(Duration::from_micros(100)),
            Err(error) => return Err(format!("the server takes no more: {error}")),
        }
    }
    Ok(())
}

pub(crate) fn sorted(values: &[u64]) -> Vec<u64> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values
}

/// The value that this share of the others does not exceed.
pub(crate) fn rank(sorted: &[u64], share: f64) -> u64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(0)
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn no_epoll(error: Errno) -> String {
    format!("no epoll: {error}")
}

/// Digits of its number at the beginning of each message.
const NUMBER: usize = 16;

/// What fills the buffers of stalled connections: more than 1 MiB and more than 1,024 messages, on top of what the
/// kernel holds.
const LARGE: usize = 16 << 10;
const LARGE_MESSAGES: u64 = 128;
const SMALL_MESSAGES: u64 = 1280;

const WARM_UP: u64 = 5;
pub(crate) const SETTLE: Duration = Duration::from_millis(500);
const DRAINED: Duration = Duration::from_secs(1);
pub(crate) const READ: usize = 256 << 10;
pub(crate) const EVENTS: usize = 1024;

const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
