//! What is to be sent: lines of the standard input, or what was recorded.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};
use std::path::Path;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use taut::proto::Message;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use super::arguments::{Arguments, Form};
use super::command::Action;
use super::form::{from_base64, from_hex};
use super::record::{Entry, Way};
use crate::exit::{Exit, Failure};

/// What is to be done, in order; it comes from a thread, since the runtime would wait for a read to end.
#[derive(Debug)]
pub(super) struct Input {
    actions: Receiver<Action>,
    /// Of an input that never says anything, and never ends.
    _silent: Option<Sender<Action>>,
    /// One that was taken, and could not be done yet.
    kept: Option<Action>,
    is_over: bool,
    go: Option<oneshot::Sender<()>>,
}

impl Input {
    /// As the command line says, without a prompt.
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let (sender, mut input) = Self::by_hand(QUEUE);
        let form = arguments.binary;
        if let Some(path) = &arguments.replay {
            let file = File::open(path);
            let file = file.map_err(|error| Failure::new(Exit::Failed, said(path, &error)))?;
            let (path, speed) = (path.clone(), arguments.replay_speed);
            let (go, gone) = oneshot::channel();
            input.go = Some(go);
            spawn(move || {
                // Without a connection there is nothing to send.
                if gone.blocking_recv().is_ok() {
                    tell(&sender, replay(BufReader::new(file), speed, &sender), |text| said(&path, &text));
                }
            });
        } else if arguments.no_input {
            input._silent = Some(sender);
        } else {
            spawn(move || tell(&sender, read(stdin().lock(), form, &sender), |text| text));
        }
        Ok(input)
    }

    /// One that somebody else feeds, of whom so much may wait.
    pub(super) fn by_hand(actions: usize) -> (Sender<Action>, Self) {
        let (sender, actions) = channel(actions);
        (sender, Self { actions, _silent: None, kept: None, is_over: false, go: None })
    }

    /// The first connection is open: what was recorded begins.
    pub(super) fn go(&mut self) {
        if let Some(go) = self.go.take() {
            // A thread that is gone has told why.
            let _ = go.send(());
        }
    }

    /// The next; `None` at the end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Action> {
        if let Some(kept) = self.kept.take() {
            return Some(kept);
        }
        let next = self.actions.recv().await;
        self.is_over = next.is_none();
        next
    }

    /// Looks at the next without taking it; for ever pending at the end.
    pub(super) async fn peek(&mut self) -> &Action {
        if self.kept.is_none() && !self.is_over {
            self.kept = self.next().await;
        }
        match &self.kept {
            Some(action) => action,
            None => std::future::pending().await,
        }
    }

    /// Whether there is a message that was taken, and is not sent.
    pub(super) const fn is_kept(&self) -> bool {
        matches!(&self.kept, Some(Action::Send(_) | Action::SendFile(_)))
    }

    /// Puts one back.
    pub(super) fn keep(&mut self, action: Action) {
        self.kept = Some(action);
    }
}

/// Reads messages to the end.
fn read(mut input: impl BufRead, form: Option<Form>, actions: &Sender<Action>) -> Result<(), String> {
    for number in 1_u64.. {
        let message = if form == Some(Form::Raw) {
            let piece = input.fill_buf().map_err(|error| format!("the standard input: {error}"))?;
            let piece = piece[..piece.len().min(PIECE)].to_vec();
            input.consume(piece.len());
            if piece.is_empty() { None } else { Some(Message::binary(piece)) }
        } else {
            let line = line(&mut input).map_err(|error| format!("line {number} of the input: {error}"))?;
            let message = line.map(|line| message(line, form)).transpose();
            message.map_err(|problem| format!("line {number} of the input: {problem}"))?
        };
        let Some(message) = message else { break };
        if actions.blocking_send(Action::Send(message)).is_err() {
            break;
        }
    }
    Ok(())
}

fn message(line: Vec<u8>, form: Option<Form>) -> Result<Message, &'static str> {
    let not_text = "it is not UTF-8: send bytes by --binary";
    if form.is_none() {
        return Ok(Message::text(String::from_utf8(line).map_err(|_| not_text)?));
    }
    let text = str::from_utf8(&line).map_err(|_| not_text)?;
    let bytes = match form {
        Some(Form::Base64) => from_base64(text).ok_or("it is not base64")?,
        _ => from_hex(text).ok_or("it is not pairs of hexadecimal digits")?,
    };
    Ok(Message::binary(bytes))
}

/// Sends what such a file says was sent, each at its time.
fn replay(mut file: impl BufRead, speed: f64, actions: &Sender<Action>) -> Result<(), String> {
    let start = Instant::now();
    for number in 1_u64.. {
        let wrong = |problem: String| format!("line {number}: {problem}");
        let Some(line) = line(&mut file).map_err(|error| wrong(error.to_string()))? else { break };
        let line = String::from_utf8(line).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        let entry = Entry::read(&line).map_err(wrong)?;
        if entry.direction != Way::Sent {
            continue;
        }
        let offset = if speed > 0.0 { entry.offset / speed } else { 0.0 };
        let offset = Duration::try_from_secs_f64(offset).map_err(|error| wrong(error.to_string()))?;
        sleep(offset.saturating_sub(start.elapsed()));
        let message = entry.into_message().map_err(wrong)?;
        if actions.blocking_send(Action::Send(message)).is_err() {
            break;
        }
    }
    Ok(())
}

/// A line without its end; `None` at the end of the input.
fn line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = input.take(LONGEST_LINE + 1).read_until(b'\n', &mut line)?;
    if read as u64 > LONGEST_LINE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 64 MiB"));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok((read > 0).then_some(line))
}

/// Tells what went wrong, as a failure of this program.
fn tell(actions: &Sender<Action>, result: Result<(), String>, sentence: impl FnOnce(String) -> String) {
    if let Err(problem) = result {
        // If nobody listens, it ends anyway.
        let _ = actions.blocking_send(Action::Fail(Failure::new(Exit::Failed, sentence(problem))));
    }
}

fn said(path: &Path, problem: &dyn std::fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

/// How many messages are read ahead.
const QUEUE: usize = 16;

/// The longest line in bytes.
const LONGEST_LINE: u64 = 64 << 20;

/// The largest piece of raw input.
const PIECE: usize = 16 << 10;
