//! Whether a server echoes what it is sent, however it is cut: before anybody measures how fast.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::burst::{BINARY, CONTINUATION, FINAL, Kind, Random, TEXT, message, push_masked};
use crate::options::Options;
use crate::socket::open;

/// How messages are put on the wire.
#[derive(Clone, Copy, Debug)]
struct Way {
    size: usize,
    kind: Kind,
    /// How many messages are sent before an answer is read.
    depth: usize,
    fragments: usize,
    /// The length of a write.
    write: usize,
}

pub(crate) fn run(options: &Options) -> Result<String, String> {
    let mut messages = 0;
    for way in ways(options.whole) {
        let mut stream = open(options.address, 1)?.pop().ok_or("no connection")?;
        exchange(&mut stream, way, options.raw).map_err(|problem| format!("{way:?}: {problem}"))?;
        messages += way.depth;
    }
    Ok(format!(r#"{{"verified": {messages}}}"#))
}

fn ways(whole: bool) -> Vec<Way> {
    let mut ways = Vec::new();
    for kind in [Kind::Binary, Kind::Text, Kind::Mixed] {
        for size in SIZES {
            for depth in [1, 3, 64] {
                for fragments in [1, 2, 5] {
                    for write in [usize::MAX, 7, 1] {
                        let bytes = size * depth;
                        let long = bytes / write.min(bytes + 1) > MOST_WRITES || bytes > MOST_BYTES;
                        if !long && (!whole || fragments == 1) {
                            ways.push(Way { size, kind, depth, fragments, write });
                        }
                    }
                }
            }
        }
    }
    ways
}

fn exchange(stream: &mut TcpStream, way: Way, raw: bool) -> Result<(), String> {
    let mut random = Random::default();
    let messages: Vec<Vec<u8>> = (0..way.depth).map(|_| message(way.kind, way.size, &mut random)).collect();
    let mut frames = Vec::new();
    for message in &messages {
        let len = message.len().div_ceil(way.fragments).max(1);
        for index in 0..way.fragments {
            let part = &message[(index * len).min(message.len())..((index + 1) * len).min(message.len())];
            let opcode = if index == 0 { way.kind.opcode() } else { CONTINUATION };
            let last = if index + 1 == way.fragments { FINAL } else { 0 };
            push_masked(&mut frames, last | opcode, part, random.key());
        }
    }
    let mut writer = stream.try_clone().map_err(|error| error.to_string())?;
    thread::scope(|scope| {
        let writes = scope
            .spawn(|| frames.chunks(way.write.min(frames.len())).try_for_each(|part| writer.write_all(part)));
        let read = if raw { read_same(stream, &frames) } else { read_messages(stream, way.kind, &messages) };
        if read.is_err() {
            // The writer may wait for a server that has stopped reading.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let written = writes.join().map_err(|_| "the writer panicked")?;
        read.and(written.map_err(|error| format!("the server takes no more: {error}")))
    })
}

fn read_same(stream: &mut TcpStream, sent: &[u8]) -> Result<(), String> {
    let mut got = vec![0; sent.len()];
    stream.read_exact(&mut got).map_err(|error| format!("the server does not answer: {error}"))?;
    if got == sent { Ok(()) } else { Err("the bytes come back changed".into()) }
}

fn read_messages(stream: &mut TcpStream, kind: Kind, messages: &[Vec<u8>]) -> Result<(), String> {
    for (index, message) in messages.iter().enumerate() {
        let (opcode, payload) = read_message(stream)?;
        if opcode != kind.opcode() || payload != *message {
            return Err(format!("message {index} comes back changed"));
        }
    }
    Ok(())
}

/// A message in any number of frames.
fn read_message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>), String> {
    let (mut opcode, mut payload) = (None, Vec::new());
    loop {
        let [first, second] = read_bytes(stream)?;
        let len = match second {
            126 => u16::from_be_bytes(read_bytes(stream)?).into(),
            127 => u64::from_be_bytes(read_bytes(stream)?),
            len => len.into(),
        };
        match (first & !FINAL, opcode) {
            (TEXT | BINARY, None) => opcode = Some(first & !FINAL),
            (CONTINUATION, Some(_)) => {}
            _ => return Err(format!("the server sends a frame that begins with {first:#X}")),
        }
        let got = stream.take(len).read_to_end(&mut payload);
        if got.map_err(|error| format!("the server does not answer: {error}"))? as u64 != len {
            return Err("the server ends the connection".into());
        }
        if let (true, Some(opcode)) = (first & FINAL != 0, opcode) {
            return Ok((opcode, payload));
        }
    }
}

fn read_bytes<const LEN: usize>(stream: &mut TcpStream) -> Result<[u8; LEN], String> {
    let mut bytes = [0; LEN];
    stream.read_exact(&mut bytes).map_err(|error| format!("the server does not answer: {error}"))?;
    Ok(bytes)
}

const SIZES: [usize; 14] = [0, 1, 2, 3, 7, 16, 125, 126, 127, 1024, 16_384, 65_535, 65_536, 1 << 20];

/// A way that takes more writes, or more bytes, would take long and show nothing new.
const MOST_WRITES: usize = 10_000;
const MOST_BYTES: usize = 4 << 20;
