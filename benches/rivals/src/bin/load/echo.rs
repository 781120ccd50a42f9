//! Bursts over all connections, as fast as the server answers, and the server's time for each message.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use taut_rivals::process::{Process, Times};

use crate::burst::Burst;
use crate::options::Options;
use crate::socket::{PATIENCE, open};

pub(crate) fn run(options: &Options) -> Result<String, String> {
    let burst = Burst::new(options.kind, options.size, options.depth, options.raw);
    let streams = open(options.address, options.connections)?;
    let mut load = Load::new(options, burst, streams)?;
    match options.messages {
        Some(messages) => load.count(messages),
        None => load.measure(options),
    }
}

struct Load {
    burst: Burst,
    connections: Vec<Connection>,
    epoll: std::os::fd::OwnedFd,
    buffer: Vec<u8>,
    /// Bytes of answers, over all connections.
    got: u64,
    /// How many bursts may still begin.
    left: u64,
}

struct Connection {
    stream: TcpStream,
    /// How much of the burst was sent, and of its answers was got.
    sent: usize,
    got: usize,
    /// Whether answers are compared, or only counted.
    verify: bool,
}

/// What has happened up to some moment.
struct Moment {
    when: Instant,
    server: Option<Times>,
    load: Times,
    got: u64,
}

impl Load {
    fn new(options: &Options, burst: Burst, streams: Vec<TcpStream>) -> Result<Self, String> {
        let failed = |error: Errno| format!("no epoll: {error}");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        let mut connections = Vec::with_capacity(streams.len());
        for (index, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
            let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(index as u64), interest).map_err(failed)?;
            connections.push(Connection { stream, sent: 0, got: 0, verify: options.verify || index == 0 });
        }
        Ok(Self { burst, connections, epoll, buffer: vec![0; READ], got: 0, left: u64::MAX })
    }

    /// So many messages, and nothing else: for tools that count what the server does.
    fn count(&mut self, messages: u64) -> Result<String, String> {
        let depth = self.burst.answers.len() / self.burst.answer;
        let bursts =
            messages.div_ceil((depth * self.connections.len()) as u64) * self.connections.len() as u64;
        self.left = bursts;
        self.begin()?;
        while self.got < bursts * self.burst.answers.len() as u64 {
            self.turn()?;
        }
        Ok(format!(r#"{{"messages": {}}}"#, self.got / self.burst.answer as u64))
    }

    fn measure(&mut self, options: &Options) -> Result<String, String> {
        self.begin()?;
        self.run_for(options.warm_up)?;
        let before = self.now(options.process)?;
        self.run_for(options.seconds)?;
        let after = self.now(options.process)?;
        Ok(self.report(&before, &after))
    }

    fn begin(&mut self) -> Result<(), String> {
        for index in 0..self.connections.len() {
            self.next_burst(index)?;
        }
        Ok(())
    }

    fn run_for(&mut self, duration: Duration) -> Result<(), String> {
        let begin = Instant::now();
        while begin.elapsed() < duration {
            self.turn()?;
        }
        Ok(())
    }

    /// Waits for something to happen, and answers to all of it.
    fn turn(&mut self) -> Result<(), String> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience)) {
            Ok(0) => return Err(format!("nothing comes any more after {} messages", self.messages())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("no epoll: {error}")),
        }
        for event in &events {
            let index = event.data.u64() as usize;
            let flags = event.flags;
            let connection = &self.connections[index];
            if connection.sent < self.burst.frames.len() && connection.sent > 0 {
                self.send(index)?;
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.receive(index)?;
            }
        }
        Ok(())
    }

    fn next_burst(&mut self, index: usize) -> Result<(), String> {
        let connection = &mut self.connections[index];
        (connection.sent, connection.got) = (0, 0);
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        self.send(index)
    }

    fn send(&mut self, index: usize) -> Result<(), String> {
        let connection = &mut self.connections[index];
        while connection.sent < self.burst.frames.len() {
            let rest = &self.burst.frames[connection.sent..];
            match send(&connection.stream, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => connection.sent += sent,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(format!("the server takes no more: {error}")),
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<(), String> {
        loop {
            let connection = &mut self.connections[index];
            // Linux drops what is not to be compared without a copy (tcp(7)).
            let flags = if connection.verify { RecvFlags::empty() } else { RecvFlags::TRUNC };
            let got = match recv(&connection.stream, &mut self.buffer[..], flags) {
                Ok((_, 0)) => return Err("the server ends a connection".into()),
                Ok((_, got)) => got,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(format!("the server ends a connection: {error}")),
            };
            let answers = self.burst.answers.get(connection.got..connection.got + got);
            let answers = answers.ok_or("the server sends more than it got")?;
            if connection.verify && self.buffer[..got] != *answers {
                return Err(format!("message {} comes back changed", self.messages()));
            }
            connection.got += got;
            self.got += got as u64;
            if connection.got == self.burst.answers.len() {
                // It owes nothing: what comes next will be told.
                return self.next_burst(index);
            }
            if got < self.buffer.len() {
                return Ok(());
            }
        }
    }

    fn messages(&self) -> u64 {
        self.got / self.burst.answer as u64
    }

    fn now(&self, server: Option<Process>) -> Result<Moment, String> {
        let load = Process::new(std::process::id().cast_signed());
        Ok(Moment {
            server: server.map(|server| server.times()).transpose()?,
            load: load.times()?,
            when: Instant::now(),
            got: self.got,
        })
    }

    fn report(&self, before: &Moment, after: &Moment) -> String {
        let seconds = (after.when - before.when).as_secs_f64();
        let messages = (after.got - before.got) as f64 / self.burst.answer as f64;
        let busy = |before: &Times, after: &Times| (after.total - before.total).as_secs_f64() / seconds;
        let mut report = format!(
            r#"{{"seconds": {seconds:.6}, "messages": {messages:.1}, "load_busy": {:.3}"#,
            busy(&before.load, &after.load)
        );
        if let (Some(before), Some(after)) = (&before.server, &after.server) {
            let (user, system) = (
                after.user_share.user - before.user_share.user,
                after.user_share.system - before.user_share.system,
            );
            report += &format!(
                r#", "cpu_nanoseconds": {}, "server_busy": {:.3}, "user_share": {:.3}"#,
                (after.total - before.total).as_nanos(),
                busy(before, after),
                user as f64 / (user + system).max(1) as f64,
            );
        }
        report + "}"
    }
}

/// How much one call reads, or drops.
const READ: usize = 512 << 10;
/// How many events one call tells of.
const EVENTS: usize = 1024;
