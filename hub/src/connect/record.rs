//! Messages and their times in a file, as lines of JSON; and from it.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, LineWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use taut::proto::Message;

use super::form::{base64, from_base64};

/// A line: a message, as text or in base64.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Seconds since the first connection opened.
    pub(super) offset: f64,
    pub(super) direction: Way,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Which way it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Way {
    Sent,
    Received,
}

/// Writes such a file.
#[derive(Debug)]
pub(super) struct Record {
    file: LineWriter<File>,
    start: Option<Instant>,
}

impl Record {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: LineWriter::new(File::create(path)?), start: None })
    }

    /// Writes a text or binary message, which was sent or received at this moment.
    pub(super) fn write(&mut self, direction: Way, message: &Message) -> io::Result<()> {
        let (text, base64) = match message {
            Message::Text(text) => (Some(text.as_str().to_owned()), None),
            Message::Binary(bytes) => (None, Some(base64(bytes))),
            _ => return Ok(()),
        };
        let offset = self.start.map_or(Duration::ZERO, |start| start.elapsed()).as_secs_f64();
        let entry = Entry { offset, direction, text, base64 };
        writeln!(self.file, "{}", serde_json::to_string(&entry)?)
    }

    /// Offsets count from the first call.
    pub(super) fn start(&mut self) {
        self.start.get_or_insert_with(Instant::now);
    }
}

impl Entry {
    pub(super) fn read(line: &str) -> Result<Self, String> {
        let entry: Self = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if entry.offset.is_nan() || entry.offset < 0.0 {
            Err("its offset is below 0".to_owned())
        } else {
            Ok(entry)
        }
    }

    pub(super) fn into_message(self) -> Result<Message, String> {
        match (self.text, self.base64) {
            (Some(text), None) => Ok(Message::Text(text.into())),
            (None, Some(text)) => match from_base64(&text) {
                Some(bytes) => Ok(Message::Binary(bytes.into())),
                None => Err("its \"base64\" is none".to_owned()),
            },
            _ => Err("it has either \"text\" or \"base64\"".to_owned()),
        }
    }
}
