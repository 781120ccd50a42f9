//! What is shown, and where: messages on the standard output, all else on the standard error; above the prompt both.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use taut::proto::Message;

use super::above::{Above, Printer};
use super::arguments::{Arguments, Form};
use super::filter::Filter;
use super::form::{Printed, base64, hex};
use super::tap::{Direction, Passed, name};
use crate::envelope::timestamp;
use crate::exit::{Exit, Failure};

/// Shows what happens.
pub(super) struct Output {
    filters: Vec<Filter>,
    form: Option<Form>,
    pretty: bool,
    timestamps: bool,
    verbose: bool,
    is_terminal: bool,
    is_colored: bool,
    frames: AtomicBool,
    above: Mutex<Option<Above>>,
}

impl Output {
    pub(super) fn new(arguments: &Arguments) -> Self {
        Self {
            filters: arguments.filters.clone(),
            form: arguments.binary,
            pretty: arguments.json,
            timestamps: arguments.timestamps,
            verbose: arguments.verbose,
            is_terminal: stdout().is_terminal(),
            // https://no-color.org: set, and not empty.
            is_colored: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            frames: AtomicBool::new(arguments.frames),
            above: Mutex::default(),
        }
    }

    /// From here on, all is shown above the prompt.
    pub(super) fn set_prompt(&self, printer: Printer) {
        *self.above() = Some(Above::start(printer));
    }

    /// Waits until there is room for more.
    pub(super) async fn room(&self) {
        let waiting = self.above().as_ref().map(Above::waiting);
        if let Some(waiting) = waiting {
            waiting.room().await;
        }
    }

    /// The prompt is over: waits until all is shown.
    pub(super) async fn end_prompt(&self) {
        let above = self.above().take();
        if let Some(above) = above {
            above.waiting().nothing().await;
        }
    }

    pub(super) const fn is_verbose(&self) -> bool {
        self.verbose
    }

    pub(super) fn show_frames(&self, on: bool) {
        self.frames.store(on, Ordering::Relaxed);
    }

    /// Shows a text or binary message; whether the filters let it through.
    pub(super) fn message(&self, message: &Message) -> Result<bool, Failure> {
        let text = match message {
            Message::Text(text) => text.as_str(),
            Message::Binary(bytes) if self.filters.is_empty() => return self.binary(bytes).map(|()| true),
            _ => return Ok(false),
        };
        let json = || serde_json::from_str::<Value>(text);
        if !self.filters.is_empty() {
            let shown = json().is_ok_and(|value| self.filters.iter().all(|filter| filter.matches(&value)));
            if !shown {
                return Ok(false);
            }
        }
        if self.form == Some(Form::Raw) {
            self.raw(text.as_bytes())?;
        } else if self.pretty && json().is_ok() {
            self.line(&indented(text))?;
        } else {
            self.line(text)?;
        }
        Ok(true)
    }

    fn binary(&self, bytes: &[u8]) -> Result<(), Failure> {
        match self.form {
            None | Some(Form::Hex) => self.line(&hex(bytes)),
            Some(Form::Base64) => self.line(&base64(bytes)),
            Some(Form::Raw) => self.raw(bytes),
        }
    }

    fn line(&self, text: &str) -> Result<(), Failure> {
        let when = if self.timestamps { timestamp() + " " } else { String::new() };
        let text = if self.is_terminal { Printed(text).to_string() } else { text.to_owned() };
        let mark = if self.is_colored { "\x1b[32m<\x1b[0m" } else { "<" };
        if self.above_prompt(&format!("{when}{mark} {text}")) {
            return Ok(());
        }
        self.raw(format!("{when}{text}\n").as_bytes())
    }

    #[expect(clippy::unused_self, reason = "what is written is a part of what it shows")]
    fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(|error| Failure::new(Exit::Failed, format!("the standard output: {error}")))
    }

    /// Tells the person something.
    pub(super) fn note(&self, text: &str) {
        let text = Printed(text).to_string();
        let above = if self.is_colored { &*format!("\x1b[2m{text}\x1b[0m") } else { &*text };
        if !self.above_prompt(above) {
            // There is nobody else to tell.
            let _ = writeln!(stderr(), "{text}");
        }
    }

    /// The same, for those who want to know more.
    pub(super) fn detail(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            self.note(&text());
        }
    }

    /// The same, for those who converse by a prompt as well.
    pub(super) fn remark(&self, text: impl FnOnce() -> String) {
        if self.verbose || self.above().is_some() {
            self.note(&text());
        }
    }

    /// Shows a frame, if frames are shown.
    pub(super) fn frame(&self, frame: &Passed) {
        if self.frames.load(Ordering::Relaxed) {
            self.note(&frame.to_string());
        }
    }

    /// Whether there is a prompt.
    fn above_prompt(&self, text: &str) -> bool {
        let above = self.above();
        if let Some(above) = &*above {
            above.show(format!("{text}\n"));
        }
        above.is_some()
    }

    fn above(&self) -> MutexGuard<'_, Option<Above>> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For tests.
    #[cfg(test)]
    pub(super) fn verbose() -> Self {
        Self {
            filters: Vec::new(),
            form: None,
            pretty: false,
            timestamps: false,
            verbose: true,
            is_terminal: false,
            is_colored: false,
            frames: AtomicBool::new(false),
            above: Mutex::default(),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        let arrow = if self.direction == Direction::Sent { ">>" } else { "<<" };
        let fin = if header.fin { " fin" } else { "" };
        let rsv1 = if header.rsv1 { " rsv1" } else { "" };
        let masked = if header.key.is_some() { " masked" } else { "" };
        let (name, len) = (name(header.opcode), header.len);
        write!(f, "{arrow} {name}{fin}{rsv1}{masked} {}+{len}", self.header_len)?;
        if self.start.is_empty() {
            return Ok(());
        }
        let rest = if (self.start.len() as u64) < len { "…" } else { "" };
        match str::from_utf8(&self.start) {
            Ok(text) if !header.rsv1 && !text.contains(char::is_control) => write!(f, " {text:?}{rest}"),
            _ => write!(f, " {}{rest}", hex(&self.start)),
        }
    }
}

/// JSON over several lines. Order, numbers and strings stay as they came, which reading and writing it would not keep.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(2 * json.len());
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if in_string {
            out.push(character);
            in_string = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                out.push(character);
                if let Some(end) = characters.next_if(|next| ['}', ']'].contains(next)) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_string = character == '"';
                out.push(character);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_over_several_lines_is_the_same() {
        let text = r#"{"b":[1.0,{ },[ ],"a,\"{:}\\"],"a":{"c":1e400}}"#;
        let expected = "{\n  \"b\": [\n    1.0,\n    {},\n    [],\n    \"a,\\\"{:}\\\\\"\n  ],\n  \"a\": {\n    \
                        \"c\": 1e400\n  }\n}";
        assert_eq!(indented(text), expected);
    }
}
