//! A client for pipes: each line of stdin goes out as a text message, each text message comes out as a line.
//!
//! `line_client [--max-message BYTES] [--deflate] URL`
//!
//! With `--deflate` it offers compression. At the end of stdin it closes with 1000, prints what still comes, and waits for the end.
//!
//! | status | how it ended                                                       |
//! |--------|--------------------------------------------------------------------|
//! | 0      | both ends closed, with 1000                                        |
//! | 1      | stdin or stdout failed                                             |
//! | 2      | the command line is wrong                                          |
//! | 3      | the server refused, or could not be reached                        |
//! | 4      | the server broke the protocol                                      |
//! | 5      | the connection was lost                                            |
//! | 6      | a deadline passed                                                  |
//! | 7      | the server closed with another code than 1000                      |

use std::io::Write;

use taut::proto::{CloseCode, CloseFrame, CloseStatus, Config, Deflate, Message, SendErrorKind};
use taut::tokio::{Options, connect_with};
use taut::{Error, ErrorKind};
use tokio::io::{AsyncBufReadExt, BufReader};

/// How much of a refusal is shown, in bytes.
const MOST_SHOWN: usize = 1024;

const USAGE: &str = "usage: line_client [--max-message BYTES] [--deflate] URL";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let ended = match Settings::from_arguments(std::env::args().skip(1)) {
        Ok(settings) => talk(settings).await,
        Err(problem) => Err(Failure { sentence: format!("{problem}\n{USAGE}"), status: 2 }),
    };
    let status = match ended {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("line_client: {}", failure.sentence);
            failure.status
        }
    };
    // A read of stdin may still wait in a thread of the runtime, which would wait for it.
    std::process::exit(status);
}

struct Settings {
    url: String,
    options: Options,
}

impl Settings {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut url = None;
        let mut options = Options::new().deflate(None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--max-message" => {
                    let bytes = arguments.next().ok_or("--max-message needs a number of bytes")?;
                    let bytes = bytes.parse().map_err(|_| format!("{bytes:?} is not a number of bytes"))?;
                    options = options.config(Config::new().max_message(bytes).max_frame(bytes));
                }
                "--deflate" => options = options.deflate(Deflate::new()),
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ if url.is_some() => return Err(format!("one URL is enough: {argument}")),
                _ => url = Some(argument),
            }
        }
        Ok(Self { url: url.ok_or("no URL to connect to")?, options })
    }
}

/// How it ended, if not well.
struct Failure {
    sentence: String,
    status: i32,
}

impl Failure {
    /// What went wrong before the connection was open.
    fn before_open(error: Error) -> Self {
        let reached = !matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Lost);
        let failure = Self::from(error);
        if reached { failure } else { Self { status: 3, ..failure } }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Uri(_) | Error::Unsupported(_) => 2,
            Error::Refused(_) | Error::Connect(_) | Error::Tls(_) | Error::Proxy(_) => 3,
            Error::Protocol(_) | Error::Handshake(_) => 4,
            Error::Timeout(_) => 6,
            _ => 5,
        };
        let sentence = match &error {
            Error::Refused(answer) if !answer.body().is_empty() => {
                let body = &answer.body()[..answer.body().len().min(MOST_SHOWN)];
                let lines = String::from_utf8_lossy(body).trim_end().lines().map(shown).collect::<Vec<_>>();
                format!("{error}\n{}", lines.join("\n"))
            }
            error => error.to_string(),
        };
        Self { sentence, status }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { sentence: format!("stdin or stdout failed: {error}"), status: 1 }
    }
}

/// What a server wrote, without the characters that would move a terminal's cursor.
fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

async fn talk(settings: Settings) -> Result<(), Failure> {
    let mut socket = connect_with(&settings.url, settings.options, Ok).await.map_err(Failure::before_open)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut unread = true;
    let mut stdout = std::io::stdout().lock();
    loop {
        // Receiving also writes what was fed, so that neither direction waits for the other. A full queue
        // stops the reading of lines.
        let room = socket.with_connection(|connection| connection.refusal()) != Some(SendErrorKind::Full);
        tokio::select! {
            line = lines.next_line(), if unread && room => match line? {
                Some(line) if socket.with_connection(|connection| connection.refusal()).is_none() => socket.feed(line)?,
                Some(_) => unread = false,
                None => {
                    unread = false;
                    socket.start_close(CloseFrame::from(CloseCode::NORMAL));
                }
            },
            message = socket.recv() => match message? {
                Some(Message::Text(text)) => writeln!(stdout, "{text}")?,
                Some(Message::Binary(bytes)) => eprintln!("line_client: left out a binary message of {} bytes", bytes.len()),
                Some(_) => {}
                None => break,
            },
        }
    }
    match socket.close_status() {
        Some(CloseStatus { code: 1000, clean: true, .. }) => Ok(()),
        Some(CloseStatus { code, reason, .. }) => {
            Err(Failure { sentence: format!("the server closed with {code} {}", shown(&reason)), status: 7 })
        }
        None => Err(Error::Lost.into()),
    }
}
