//! The command line.

use std::net::SocketAddrV4;
use std::time::Duration;

use taut_rivals::number;
use taut_rivals::process::Process;

use crate::burst::Kind;
use crate::rooms::Words;

pub(crate) struct Options {
    pub(crate) work: Work,
    pub(crate) address: SocketAddrV4,
    pub(crate) process: Option<Process>,
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) stalled: usize,
    pub(crate) depth: usize,
    pub(crate) kind: Kind,
    pub(crate) seconds: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) messages: Option<u64>,
    pub(crate) verify: bool,
    pub(crate) raw: bool,
    pub(crate) whole: bool,
    pub(crate) words: Option<Words>,
    pub(crate) tokens: Option<String>,
    pub(crate) rates: Vec<f64>,
}

#[derive(Clone, Copy)]
pub(crate) enum Work {
    Echo,
    Verify,
    Handshakes,
    Idle,
    Broadcast,
    Rooms,
}

impl Options {
    pub(crate) fn from_arguments() -> Result<Self, String> {
        let mut arguments = std::env::args().skip(1);
        let work = match arguments.next().as_deref() {
            Some("echo") => Work::Echo,
            Some("verify") => Work::Verify,
            Some("handshakes") => Work::Handshakes,
            Some("idle") => Work::Idle,
            Some("broadcast") => Work::Broadcast,
            Some("rooms") => Work::Rooms,
            other => return Err(format!("what to do? {}", other.unwrap_or_default())),
        };
        let mut address = None;
        let mut options = Self {
            work,
            address: SocketAddrV4::new([127, 0, 0, 1].into(), 0),
            process: None,
            size: 20,
            connections: 1,
            stalled: 0,
            depth: 1,
            kind: Kind::Binary,
            seconds: Duration::from_millis(500),
            warm_up: Duration::from_millis(200),
            messages: None,
            verify: false,
            raw: false,
            whole: false,
            words: None,
            tokens: None,
            rates: vec![2.0],
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--address" => address = Some(value()?),
                "--pid" => options.process = Some(Process::new(number(&value()?)?)),
                "--size" => options.size = number(&value()?)?,
                "--connections" => options.connections = number(&value()?)?,
                "--stalled" => options.stalled = number(&value()?)?,
                "--depth" => options.depth = number(&value()?)?,
                "--kind" => options.kind = value()?.parse()?,
                "--seconds" => options.seconds = Duration::from_secs_f64(number(&value()?)?),
                "--warm-up" => options.warm_up = Duration::from_secs_f64(number(&value()?)?),
                "--messages" => options.messages = Some(number(&value()?)?),
                "--verify" => options.verify = true,
                "--raw" => options.raw = true,
                "--whole" => options.whole = true,
                "--protocol" => options.words = Some(value()?.parse()?),
                "--tokens" => options.tokens = Some(value()?),
                "--rates" => options.rates = value()?.split(',').map(number).collect::<Result<_, _>>()?,
                _ => return Err(format!("unknown option {argument}")),
            }
        }
        let address = address.ok_or("--address is missing")?;
        options.address = address.parse().map_err(|_| format!("{address:?} is not like 127.0.0.1:9001"))?;
        if options.connections == 0 || options.depth == 0 {
            return Err("there must be a connection and a message".into());
        }
        Ok(options)
    }
}
