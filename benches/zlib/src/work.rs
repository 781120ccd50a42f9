//! A process that measures the implementations of its build, as it is told line by line.

use std::error::Error;
use std::io::{BufRead, Write};
use std::str::FromStr;
use std::time::Instant;

use crate::allocations;
use crate::backends::{Backend, Compress, Inflate, backends, direct};
use crate::corpus::{Kind, messages};

/// What makes a process of this program do this.
pub(crate) const ARGUMENT: &str = "--work";

/// What is measured: a line of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) inflate: bool,
    pub(crate) takeover: bool,
    pub(crate) kind: Kind,
    pub(crate) length: usize,
    pub(crate) level: u8,
}

impl Cell {
    /// How many messages there are: different ones, so that the window does not flatter.
    pub(crate) const fn messages(&self) -> usize {
        256
    }

    /// How many of them one round takes.
    pub(crate) const fn round(&self) -> usize {
        if self.length > 16 << 10 { 16 } else { 256 }
    }

    /// Over how many of them the ratio is taken.
    const fn for_ratio(&self) -> usize {
        if self.length > 16 << 10 { 64 } else { 256 }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { inflate, takeover, kind, length, level } = *self;
        write!(f, "{inflate} {takeover} {} {length} {level}", kind == Kind::Json)
    }
}

impl FromStr for Cell {
    type Err = Box<dyn Error>;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut words = line.split(' ').map(|word| word.trim());
        let mut next = || words.next().ok_or("a word is missing");
        Ok(Self {
            inflate: next()?.parse()?,
            takeover: next()?.parse()?,
            kind: if next()?.parse()? { Kind::Json } else { Kind::Text },
            length: next()?.parse()?,
            level: next()?.parse()?,
        })
    }
}

/// Answers each line with one:
///
/// - `names`: the implementations, with commas between them;
/// - `heap NUMBER LEVEL BITS`: how many bytes a compressor holds, and an inflater; -1 without one;
/// - `begin NUMBER CELL`: makes what follows that implementation, and that cell: gives the bytes that all messages
///   become, and how many they were;
/// - `round`: the nanoseconds that a message took, on average over the next ones.
pub(crate) fn serve(lines: impl BufRead, mut answers: impl Write) -> Result<(), Box<dyn Error>> {
    let backends = backends();
    let mut bench = None;
    for line in lines.lines() {
        let line = line?;
        let (what, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match what {
            "names" => backends.iter().map(|backend| backend.name).collect::<Vec<_>>().join(";"),
            "heap" => {
                let words: Vec<u8> = rest.split(' ').map(str::parse).collect::<Result<_, _>>()?;
                let backend = &backends[usize::from(words[0])];
                format!(
                    "{} {}",
                    heap_of_compressor(backend, words[1], words[2]),
                    heap_of_inflater(backend, words[2])
                )
            }
            "begin" => {
                let (number, cell) = rest.split_once(' ').ok_or("begin NUMBER CELL")?;
                let begun = Bench::new(&backends[number.parse::<usize>()?], cell.parse()?);
                let answer = begun.as_ref().map_or_else(|| "none".to_owned(), Bench::ratio);
                bench = begun;
                answer
            }
            _ => bench.as_mut().map_or(-1.0, Bench::round).to_string(),
        };
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}

/// An implementation at work on a cell.
struct Bench {
    cell: Cell,
    worker: Worker,
    /// What it works on.
    inputs: Vec<Vec<u8>>,
    out: Vec<u8>,
    /// The one that is next.
    next: usize,
    bytes: (usize, usize),
}

enum Worker {
    Compress(Box<dyn Compress>),
    Inflate(Box<dyn Inflate>),
}

impl Bench {
    fn new(backend: &Backend, cell: Cell) -> Option<Self> {
        let plain = messages(cell.kind, cell.length, cell.messages());
        let room = cell.length * 2 + 1024;
        let mut bytes = (0, 0);
        let mut bench = if cell.inflate {
            // All inflate the same: what one compressor made.
            let mut compressor = direct::zlib_rs(cell.level, 15, 8);
            let compressed = plain.iter().map(|message| {
                let mut out = vec![0; room];
                let length = compressor.message(message, &mut out);
                if !cell.takeover {
                    compressor.reset();
                }
                out.truncate(length);
                out
            });
            let inputs = compressed.collect();
            let worker = Worker::Inflate((backend.inflate)(15)?);
            Self { cell, worker, inputs, out: vec![0; room], next: 0, bytes }
        } else {
            let mut compressor = (backend.compress)(cell.level, 15)?;
            let mut out = vec![0; room];
            for message in &plain[..cell.for_ratio()] {
                bytes.0 += compressor.message(message, &mut out) - 4;
                bytes.1 += message.len();
                if !cell.takeover {
                    compressor.reset();
                }
            }
            compressor.reset();
            Self { cell, worker: Worker::Compress(compressor), inputs: plain, out, next: 0, bytes }
        };
        // The first round fills caches and windows.
        bench.round();
        Some(bench)
    }

    fn ratio(&self) -> String {
        format!("{} {}", self.bytes.0, self.bytes.1)
    }

    fn round(&mut self) -> f64 {
        let count = self.cell.round();
        let start = Instant::now();
        for _ in 0..count {
            let input = &self.inputs[self.next];
            self.next = (self.next + 1) % self.inputs.len();
            let takeover = self.cell.takeover;
            match &mut self.worker {
                Worker::Compress(compressor) => {
                    compressor.message(input, &mut self.out);
                    if !takeover {
                        compressor.reset();
                    }
                }
                Worker::Inflate(inflater) => {
                    let length = inflater.message(input, &mut self.out);
                    assert_eq!(length, self.cell.length, "what was compressed is inflated");
                    if !takeover {
                        inflater.reset();
                    }
                }
            }
        }
        start.elapsed().as_nanos() as f64 / count as f64
    }
}

/// What a compressor holds after a message of 64 KiB.
fn heap_of_compressor(backend: &Backend, level: u8, bits: u8) -> isize {
    let message = messages(Kind::Json, 64 << 10, 1).remove(0);
    let mut out = vec![0; 2 * message.len()];
    let before = allocations::held();
    let Some(mut compressor) = (backend.compress)(level, bits) else { return -1 };
    compressor.message(&message, &mut out);
    allocations::held() - before
}

/// What an inflater holds after such a message.
fn heap_of_inflater(backend: &Backend, bits: u8) -> isize {
    let message = messages(Kind::Json, 64 << 10, 1).remove(0);
    let mut out = vec![0; 2 * message.len()];
    let length = direct::zlib_rs(6, bits, 8).message(&message, &mut out);
    let compressed = out[..length].to_vec();
    let before = allocations::held();
    let Some(mut inflater) = (backend.inflate)(bits) else { return -1 };
    assert_eq!(inflater.message(&compressed, &mut out), message.len());
    allocations::held() - before
}
