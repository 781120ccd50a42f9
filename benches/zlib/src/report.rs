//! Drives the measuring processes, and writes what they found as tables.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::backends::{OURS, OURS_WITH_8, THROUGH_FLATE2};
use crate::corpus::Kind;
use crate::work::{ARGUMENT, Cell};

/// How long to measure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For `results.md`.
    Full,
    /// To see that it works; writes no file.
    Quick,
}

/// Measures all, prints the report, and writes it to `results.md`.
pub(crate) fn write(effort: Effort) -> Result<(), Box<dyn Error>> {
    let (mut workers, missing) = start()?;
    let mut results = Results::default();
    let rounds = if effort == Effort::Full { 15 } else { 1 };
    let cells = cells();
    for (number, cell) in cells.iter().enumerate() {
        eprint!("\r{} of {} ", number + 1, cells.len());
        results.measure(*cell, &mut workers, rounds)?;
    }
    eprintln!();
    let report = results.report(&mut workers, &missing, rounds)?;
    print!("{report}");
    if effort == Effort::Full {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("results.md"), report)?;
    }
    Ok(())
}

/// The level of taut.
const LEVEL: u8 = 3;
const LEVELS: [u8; 6] = [1, 2, 3, 4, 6, 9];
const LENGTHS: [usize; 3] = [64, 1 << 10, 64 << 10];
/// Lengths around the one from which on taut compresses.
const SHORT: [usize; 5] = [64, 128, 256, 512, 1 << 10];
const KINDS: [Kind; 2] = [Kind::Json, Kind::Text];
const WAYS: [(bool, &str); 2] = [(true, "takeover"), (false, "reset")];
const WINDOWS: [u8; 3] = [9, 12, 15];

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for length in [64, 128, 256, 512, 1 << 10, 64 << 10] {
        for kind in KINDS {
            for (takeover, _) in WAYS {
                let cell = Cell { inflate: false, takeover, kind, length, level: LEVEL };
                let levels = if LENGTHS.contains(&length) { &LEVELS[..] } else { &[LEVEL] };
                cells.extend(levels.iter().map(|&level| Cell { level, ..cell }));
                cells.push(Cell { inflate: true, ..cell });
            }
        }
    }
    cells
}

/// A process that measures one implementation.
struct Worker {
    _process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Its place among those of its build.
    number: usize,
    name: String,
}

/// The processes, and the names of those implementations that do not build here.
type Started = (Vec<Worker>, Vec<&'static str>);

/// Ends with its value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Worker {
    /// One for each implementation of a build.
    fn all(program: &Path) -> Result<Vec<Self>, Box<dyn Error>> {
        let names = Self::new(program, 0)?.ask("names")?;
        let workers = names.split(';').enumerate().map(|(number, name)| {
            let worker = Self::new(program, number)?;
            Ok(Self { name: name.to_owned(), ..worker })
        });
        workers.collect()
    }

    fn new(program: &Path, number: usize) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(program);
        let mut child = command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self { _process: Process(child), input, output, number, name: String::new() })
    }

    fn ask(&mut self, line: &str) -> Result<String, Box<dyn Error>> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        if answer.is_empty() {
            return Err(format!("a process ended when asked: {line}").into());
        }
        Ok(answer.trim_end().to_owned())
    }
}

/// Builds the back ends of flate2, and starts the processes.
fn start() -> Result<Started, Box<dyn Error>> {
    let this = env::current_exe()?;
    let target = this.ancestors().nth(2).ok_or("the program lies outside of a target directory")?;
    let mut workers = Worker::all(&this)?;
    let mut missing = Vec::new();
    for (name, feature) in THROUGH_FLATE2 {
        eprintln!("building {name}");
        let target: PathBuf = target.join(feature);
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--quiet", "--features", feature, "--manifest-path"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .status()?;
        if status.success() {
            let name = this.file_name().ok_or("the program has no name")?;
            workers.extend(Worker::all(&target.join("release").join(name))?);
        } else {
            missing.push(name);
        }
    }
    Ok((workers, missing))
}

/// What was measured, of each implementation in the order of the processes.
#[derive(Default)]
struct Results {
    names: Vec<String>,
    cells: Vec<(Cell, Vec<Option<Figure>>)>,
}

#[derive(Clone, Copy)]
struct Figure {
    /// Nanoseconds for a message.
    time: f64,
    /// What is sent, as a part of what it was; of inflaters nothing.
    ratio: f64,
}

impl Results {
    fn measure(&mut self, cell: Cell, workers: &mut [Worker], rounds: usize) -> Result<(), Box<dyn Error>> {
        self.names = workers.iter().map(|worker| worker.name.clone()).collect();
        let mut figures = Vec::new();
        for worker in workers.iter_mut() {
            let begun = worker.ask(&format!("begin {} {cell}", worker.number))?;
            figures.push(match begun.split_once(' ') {
                Some((sent, plain)) => {
                    Some(Figure { time: 0.0, ratio: sent.parse::<f64>()? / plain.parse::<f64>()? })
                }
                None => None,
            });
        }
        // In turn, so that whatever else the machine does falls on all alike.
        let mut times = vec![Vec::new(); workers.len()];
        for _ in 0..rounds {
            for (place, worker) in
                workers.iter_mut().enumerate().filter(|(place, _)| figures[*place].is_some())
            {
                times[place].push(worker.ask("round")?.parse()?);
            }
        }
        for (figure, times) in figures.iter_mut().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            if let Some(figure) = figure {
                figure.time = times[times.len() / 2];
            }
        }
        self.cells.push((cell, figures));
        Ok(())
    }

    fn get(&self, cell: Cell, place: usize) -> Option<Figure> {
        self.cells.iter().find(|(of, _)| *of == cell)?.1[place]
    }

    /// The place of an implementation.
    fn place(&self, name: &str) -> usize {
        self.names.iter().position(|of| of == name).unwrap_or(0)
    }

    fn report(
        &self,
        workers: &mut [Worker],
        missing: &[&str],
        rounds: usize,
    ) -> Result<String, Box<dyn Error>> {
        let mut out = String::new();
        writeln!(out, "# DEFLATE in Rust, as permessage-deflate uses it\n")?;
        writeln!(out, "Written by `cargo run --release`; see README.md for what is measured, and how.\n")?;
        writeln!(out, "- {}\n- {}\n- median of {rounds} rounds", processor(), compiler())?;
        if !missing.is_empty() {
            writeln!(out, "- does not build here: {}", missing.join(", "))?;
        }
        self.summary(&mut out)?;
        self.memory_levels(&mut out)?;
        self.levels(&mut out)?;
        self.threshold(&mut out)?;
        self.heap(&mut out, workers)?;
        self.all_compressors(&mut out)?;
        self.all_inflaters(&mut out)?;
        Ok(out)
    }

    /// Who is how fast, on average.
    fn summary(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## Which is fastest\n")?;
        writeln!(
            out,
            "Time of a message, relative to \"{OURS}\"; below 1 is faster. Geometric mean over JSON and \
            text, and over the levels.\n"
        )?;
        let mut columns = Vec::new();
        for inflate in [false, true] {
            for length in LENGTHS {
                columns.extend(WAYS.map(|(takeover, way)| (inflate, length, takeover, way)));
            }
        }
        let title = |&(inflate, length, _, way): &(bool, usize, bool, &str)| {
            format!("{} {}, {way}", if inflate { "inflate" } else { "compress" }, bytes(length))
        };
        header(out, "", columns.iter().map(title))?;
        let ours = self.place(OURS);
        let relative = |place: usize, &(inflate, length, takeover, _): &(bool, usize, bool, &str)| {
            self.mean(place, ours, |cell| {
                cell.inflate == inflate && cell.length == length && cell.takeover == takeover
            })
        };
        for (place, name) in self.names.iter().enumerate() {
            let cells =
                columns.iter().map(|column| optional(relative(place, column).map(|(time, _)| time), 2));
            row(out, name, cells)?;
        }
        writeln!(out)?;
        for column in &columns {
            let mut order: Vec<(f64, &str)> = self
                .names
                .iter()
                .enumerate()
                .filter_map(|(place, name)| Some((relative(place, column)?.0, name.as_str())))
                .collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            let [(first, name), (second, next), ..] = order[..] else { continue };
            let rust = order.iter().find(|(_, name)| !name.ends_with("(C)"));
            write!(out, "- {}: {name}; {next} takes {:.2} times as long", title(column), second / first)?;
            match rust {
                Some((time, rust)) if *rust != name => {
                    writeln!(out, ". In Rust: {rust}, {:.2} times as long.", time / first)?;
                }
                _ => writeln!(out, ".")?,
            }
        }
        Ok(())
    }

    fn memory_levels(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## Does memLevel 6 hold against 8?\n")?;
        writeln!(
            out,
            "zlib-rs with memLevel 6, relative to 8: time of a message, and bytes sent; below 1 is \
            better.\n"
        )?;
        let columns: Vec<(usize, bool, &str)> =
            LENGTHS.iter().flat_map(|&length| WAYS.map(|(takeover, way)| (length, takeover, way))).collect();
        header(out, "level", columns.iter().map(|(length, _, way)| format!("{}, {way}", bytes(*length))))?;
        let (ours, other) = (self.place(OURS), self.place(OURS_WITH_8));
        for level in LEVELS {
            let cells = columns.iter().map(|&(length, takeover, _)| {
                let mean = self.mean(ours, other, |cell| {
                    !cell.inflate && cell.level == level && cell.length == length && cell.takeover == takeover
                });
                mean.map_or_else(nothing, |(time, sent)| format!("{time:.2}, {sent:.3}"))
            });
            row(out, &level.to_string(), cells)?;
        }
        Ok(())
    }

    fn levels(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## Is level {LEVEL} a sensible default?\n")?;
        writeln!(
            out,
            "\"{OURS}\" at each level, relative to level {LEVEL}: time of a message, and bytes sent.\n"
        )?;
        let mut columns = Vec::new();
        for length in LENGTHS {
            for kind in KINDS {
                columns.extend(WAYS.map(|(takeover, way)| (length, kind, takeover, way)));
            }
        }
        let title = |(length, kind, _, way): &(usize, Kind, bool, &str)| {
            format!("{kind:?} {}, {way}", bytes(*length))
        };
        header(out, "level", columns.iter().map(title))?;
        let ours = self.place(OURS);
        for level in LEVELS {
            let cells = columns.iter().map(|&(length, kind, takeover, _)| {
                let cell = Cell { inflate: false, takeover, kind, length, level };
                let both = (self.get(cell, ours), self.get(Cell { level: LEVEL, ..cell }, ours));
                let (Some(now), Some(then)) = both else { return nothing() };
                format!("{:.2}, {:.3}", now.time / then.time, now.ratio / then.ratio)
            });
            row(out, &level.to_string(), cells)?;
        }
        Ok(())
    }

    fn threshold(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## From which length on?\n")?;
        writeln!(
            out,
            "\"{OURS}\" at level {LEVEL}: bytes sent as a part of the message, nanoseconds to compress \
            and to inflate it, and nanoseconds for each byte that is saved.\n"
        )?;
        let columns: Vec<(Kind, bool, &str)> =
            KINDS.iter().flat_map(|&kind| WAYS.map(|(takeover, way)| (kind, takeover, way))).collect();
        header(out, "length", columns.iter().map(|(kind, _, way)| format!("{kind:?}, {way}")))?;
        let ours = self.place(OURS);
        for length in SHORT {
            let cells = columns.iter().map(|&(kind, takeover, _)| {
                let cell = Cell { inflate: false, takeover, kind, length, level: LEVEL };
                let both = (self.get(cell, ours), self.get(Cell { inflate: true, ..cell }, ours));
                let (Some(Figure { time, ratio }), Some(inflated)) = both else { return nothing() };
                let saved = (1.0 - ratio) * length as f64;
                let cost = (time + inflated.time) / saved;
                let cost =
                    if saved < 1.0 { "saves nothing".to_owned() } else { format!("{cost:.0} ns/byte") };
                format!(
                    "{:.0} %, {} + {}, {cost}",
                    100.0 * ratio,
                    nanoseconds(time),
                    nanoseconds(inflated.time)
                )
            });
            row(out, &bytes(length), cells)?;
        }
        Ok(())
    }

    fn heap(&self, out: &mut String, workers: &mut [Worker]) -> Result<(), Box<dyn Error>> {
        writeln!(out, "\n## Heap\n")?;
        writeln!(
            out,
            "Bytes that a compressor of a level, and an inflater, holds after a message of 64 KiB; by the \
            bits of its window.\n"
        )?;
        let mut columns = Vec::new();
        for bits in WINDOWS {
            columns.extend([(Some(1), bits), (Some(LEVEL), bits), (Some(9), bits), (None, bits)]);
        }
        header(
            out,
            "",
            columns.iter().map(|(level, bits)| match level {
                Some(level) => format!("level {level}, {bits} bits"),
                None => format!("inflate, {bits} bits"),
            }),
        )?;
        for worker in workers {
            let mut cells = Vec::new();
            for &(level, bits) in &columns {
                let line = format!("heap {} {} {bits}", worker.number, level.unwrap_or(LEVEL));
                let answer = worker.ask(&line)?;
                let (compressor, inflater) = answer.split_once(' ').ok_or("two numbers")?;
                let held: i64 = if level.is_some() { compressor } else { inflater }.parse()?;
                cells.push(if held < 0 { nothing() } else { held.to_string() });
            }
            row(out, &worker.name, cells.into_iter())?;
        }
        Ok(())
    }

    fn all_compressors(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## Compressing\n\nNanoseconds for a message, and bytes sent as a part of it.")?;
        for length in LENGTHS {
            for kind in KINDS {
                for (takeover, way) in WAYS {
                    writeln!(out, "\n### {kind:?} of {}, {way}\n", bytes(length))?;
                    header(out, "", LEVELS.iter().map(|level| format!("level {level}")))?;
                    for (place, name) in self.names.iter().enumerate() {
                        let cells = LEVELS.iter().map(|&level| {
                            let cell = Cell { inflate: false, takeover, kind, length, level };
                            self.get(cell, place).map_or_else(nothing, |Figure { time, ratio }| {
                                format!("{}, {:.1} %", nanoseconds(time), 100.0 * ratio)
                            })
                        });
                        row(out, name, cells)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn all_inflaters(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n## Inflating\n\nNanoseconds for a message, which zlib-rs compressed at level {LEVEL}.\n"
        )?;
        let mut columns = Vec::new();
        for length in LENGTHS {
            for kind in KINDS {
                columns.extend(WAYS.map(|(takeover, way)| (length, kind, takeover, way)));
            }
        }
        header(
            out,
            "",
            columns.iter().map(|(length, kind, _, way)| format!("{kind:?} {}, {way}", bytes(*length))),
        )?;
        for (place, name) in self.names.iter().enumerate().filter(|(_, name)| *name != OURS_WITH_8) {
            let name = if name == OURS { "zlib-rs" } else { name };
            let cells = columns.iter().map(|&(length, kind, takeover, _)| {
                let cell = Cell { inflate: true, takeover, kind, length, level: LEVEL };
                self.get(cell, place).map_or_else(nothing, |figure| nanoseconds(figure.time))
            });
            row(out, name, cells)?;
        }
        Ok(())
    }

    /// Time and bytes of one implementation relative to another: geometric means over some cells.
    fn mean(&self, place: usize, than: usize, of: impl Fn(&Cell) -> bool) -> Option<(f64, f64)> {
        let (mut time, mut sent, mut count) = (0.0, 0.0, 0.0);
        for (cell, figures) in self.cells.iter().filter(|(cell, _)| of(cell)) {
            let (now, then) = (figures[place]?, figures[than]?);
            time += (now.time / then.time).ln();
            sent += if cell.inflate { 0.0 } else { (now.ratio / then.ratio).ln() };
            count += 1.0;
        }
        (count > 0.0).then(|| (f64::exp(time / count), f64::exp(sent / count)))
    }
}

fn header(out: &mut String, first: &str, columns: impl ExactSizeIterator<Item = String>) -> std::fmt::Result {
    let count = columns.len();
    row(out, first, columns)?;
    writeln!(out, "|---|{}", "--:|".repeat(count))
}

fn row(out: &mut String, first: &str, cells: impl Iterator<Item = String>) -> std::fmt::Result {
    write!(out, "| {first} |")?;
    for cell in cells {
        write!(out, " {cell} |")?;
    }
    writeln!(out)
}

fn nothing() -> String {
    "-".to_owned()
}

fn optional(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(nothing, |number| format!("{number:.digits$}"))
}

fn bytes(length: usize) -> String {
    if length < 1 << 10 { format!("{length} B") } else { format!("{} KiB", length >> 10) }
}

/// With spaces between thousands.
fn nanoseconds(time: f64) -> String {
    let digits = format!("{time:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn processor() -> String {
    let all = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = all.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {cores} cores, {} {}",
        name.map_or("unknown processor", |(_, name)| name),
        env::consts::OS,
        env::consts::ARCH
    )
}

fn compiler() -> String {
    let output =
        Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    output.map_or_else(
        |_| "rustc".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
