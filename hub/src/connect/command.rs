//! What a line of the prompt asks for.

#![forbid(unsafe_code)]

use std::fs::{metadata, read};

use serde_json::Value;
use taut::proto::{CloseCode, CloseFrame, Message};

use super::form::{from_base64, from_hex};
use crate::envelope::{Envelope, is_room, is_user, new_id};

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Send(Message),
    /// The content of the file, once it is its turn.
    SendFile(String),
    /// Measures the time there and back; without a payload by one of its own.
    Ping(Vec<u8>),
    Close(CloseFrame),
    ShowFrames(bool),
    ShowStats,
    /// The input is wrong, or cannot be read.
    Fail(crate::exit::Failure),
}

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Action(Action),
    Help,
    Nothing,
}

/// A command: its name, what follows it, what it does.
pub(super) struct Command {
    pub(super) name: &'static str,
    arguments: &'static str,
    does: &'static str,
}

/// All commands.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("/bin", "HEX or base64:…", "sends bytes"),
    Command::new("/close", "[CODE [REASON]]", "closes the connection, with 1000 by itself"),
    Command::new("/file", "PATH", "sends the content of a file, at most 16 MiB, as bytes"),
    Command::new("/frames", "on|off", "shows each frame"),
    Command::new("/help", "", "shows this"),
    Command::new("/history", "ROOM [NUMBER]", "hub: the last messages of a room"),
    Command::new("/json", "JSON", "sends it; an envelope of the hub gets an id, if it has none"),
    Command::new("/notification", "[#ROOM|@USER] TEXT", "hub: a notification, as /text"),
    Command::new("/ping", "[TEXT]", "measures the time there and back"),
    Command::new("/quit", "", "as /close"),
    Command::new("/stats", "", "what was sent and received"),
    Command::new("/sub", "ROOM", "hub: joins a room"),
    Command::new("/text", "[#ROOM|@USER] TEXT", "hub: says something in a room, to a user, or to all"),
    Command::new("/unsub", "ROOM", "hub: leaves a room"),
    Command::new("/who", "ROOM", "hub: who is in a room"),
];

impl Command {
    const fn new(name: &'static str, arguments: &'static str, does: &'static str) -> Self {
        Self { name, arguments, does }
    }
}

/// What `/help` shows.
pub(super) fn help() -> String {
    let mut help =
        String::from("A line is sent as text; one that is to begin with a slash begins with two.\n");
    for Command { name, arguments, does } in COMMANDS {
        let usage = format!("{name} {arguments}");
        help += &format!("  {usage:34} {does}\n");
    }
    help
}

impl Line {
    /// Understands a line.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        if let Some(text) = line.strip_prefix("//") {
            return Ok(Self::send(Message::text(format!("/{text}"))));
        }
        if !line.starts_with('/') {
            return Ok(if line.is_empty() { Self::Nothing } else { Self::send(Message::text(line)) });
        }
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        Ok(match name {
            "/bin" => {
                let bytes = match rest.strip_prefix("base64:") {
                    Some(text) => from_base64(text),
                    None => from_hex(rest),
                };
                Self::send(Message::binary(
                    bytes.ok_or("/bin wants pairs of hexadecimal digits, or base64:…")?,
                ))
            }
            "/close" | "/quit" => Self::Action(Action::Close(close_frame(rest)?)),
            "/file" if rest.is_empty() => return Err("it is /file PATH".to_owned()),
            "/file" => Self::Action(Action::SendFile(rest.to_owned())),
            "/frames" => match rest {
                "on" | "off" => Self::Action(Action::ShowFrames(rest == "on")),
                _ => return Err("it is /frames on, or /frames off".to_owned()),
            },
            "/help" => Self::Help,
            "/history" => {
                let (room, number) = rest.split_once(' ').unwrap_or((rest, "20"));
                let number: u32 = number.trim().parse().map_err(|_| "it is /history ROOM NUMBER")?;
                let wanted = serde_json::json!({ "last": number });
                Self::envelope(about(room, "history")?.data(&wanted))
            }
            "/json" => Self::send(Message::text(json(rest)?)),
            "/notification" => Self::envelope(said(rest, "notification")?),
            "/ping" if rest.len() <= LONGEST_PING => Self::Action(Action::Ping(rest.into())),
            "/ping" => return Err(format!("a ping has at most {LONGEST_PING} bytes")),
            "/stats" => Self::Action(Action::ShowStats),
            "/sub" => Self::envelope(about(rest, "join")?),
            "/text" => Self::envelope(said(rest, "text")?),
            "/unsub" => Self::envelope(about(rest, "leave")?),
            "/who" => Self::envelope(about(rest, "presence")?),
            _ => return Err(format!("there is no {name}: /help shows what there is")),
        })
    }

    const fn send(message: Message) -> Self {
        Self::Action(Action::Send(message))
    }

    fn envelope(envelope: Envelope) -> Self {
        Self::send(Message::text(envelope.answering(Some(&new_id())).to_json()))
    }
}

fn close_frame(rest: &str) -> Result<CloseFrame, String> {
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = if code.is_empty() { "1000" } else { code };
    let code = code.parse().ok().and_then(CloseCode::new);
    let code = code.ok_or("a code that may be sent is 1000 to 1003, 1007 to 1014, or 3000 to 4999")?;
    CloseFrame::new(code, reason.trim()).map_err(|error| error.to_string())
}

/// The content of a file, or what is wrong.
pub(super) fn file(path: &str) -> Result<Vec<u8>, String> {
    let wrong = |error| format!("{path}: {error}");
    if metadata(path).map_err(wrong)?.len() > LARGEST_FILE {
        return Err(format!("{path} has more than 16 MiB"));
    }
    read(path).map_err(wrong)
}

/// Any JSON as it is; an envelope with an id.
fn json(text: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
    if value.get("message_type").is_some() && value.get("id").is_none() {
        let mut envelope = Envelope::read(text).map_err(|malformed| malformed.sentence)?;
        envelope.id = Some(new_id());
        return Ok(envelope.to_json());
    }
    Ok(text.to_owned())
}

/// Of this type, about a room.
fn about(room: &str, message_type: &str) -> Result<Envelope, String> {
    let room = room.strip_prefix('#').unwrap_or(room);
    if !is_room(room) {
        return Err("name a room".to_owned());
    }
    Ok(Envelope { message_type: message_type.to_owned(), ..Envelope::default() }.room(room))
}

/// Of this type, with a text for a room, for a user, or for all.
fn said(rest: &str, message_type: &str) -> Result<Envelope, String> {
    let mut envelope = Envelope { message_type: message_type.to_owned(), ..Envelope::default() };
    let (target, mut text) = rest.split_once(' ').unwrap_or((rest, ""));
    match (target.strip_prefix('#'), target.strip_prefix('@')) {
        (Some(room), _) if is_room(room) => envelope = envelope.room(room),
        (_, Some(user)) if is_user(user) => envelope.to_user_id = Some(user.to_owned()),
        _ => text = rest,
    }
    let text = text.trim();
    if text.is_empty() { Err("say something".to_owned()) } else { Ok(envelope.data(text)) }
}

/// RFC 6455 §5.5.
const LONGEST_PING: usize = 125;

const LARGEST_FILE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(line: &str) -> Message {
        match Line::parse(line) {
            Ok(Line::Action(Action::Send(message))) => message,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn lines_and_bytes() {
        assert_eq!(sent("hello /you"), Message::text("hello /you"));
        assert_eq!(sent("//close"), Message::text("/close"));
        assert_eq!(sent("/bin 00 ff"), Message::binary(vec![0, 255]));
        assert_eq!(sent("/bin base64:AP8="), Message::binary(vec![0, 255]));
        assert_eq!(Line::parse(""), Ok(Line::Nothing));
        let close = CloseFrame::new(CloseCode::new(4000).unwrap(), "bye bye").unwrap();
        assert_eq!(Line::parse("/close 4000 bye bye"), Ok(Line::Action(Action::Close(close))));
        assert_eq!(Line::parse("/quit"), Ok(Line::Action(Action::Close(CloseCode::NORMAL.into()))));
        for wrong in [
            "/bin 0",
            "/close 1006",
            "/close x",
            "/frames",
            "/nothing",
            "/sub",
            "/text",
            "/text #r",
            "/json {",
        ] {
            assert!(Line::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn envelopes_of_the_hub() {
        for (line, kind, room, user, data) in [
            ("/text hello you", "text", None, None, Some("\"hello you\"")),
            ("/text #r hello", "text", Some("r"), None, Some("\"hello\"")),
            ("/notification @ana hello", "notification", None, Some("ana"), Some("\"hello\"")),
            ("/sub r", "join", Some("r"), None, None),
            ("/unsub #r", "leave", Some("r"), None, None),
            ("/who r", "presence", Some("r"), None, None),
            ("/history r 5", "history", Some("r"), None, Some("{\"last\":5}")),
            ("/json {\"message_type\":\"ping\"}", "ping", None, None, None),
        ] {
            let envelope = Envelope::read(sent(line).as_text().unwrap()).unwrap();
            assert_eq!(envelope.message_type, kind, "{line}");
            assert_eq!((envelope.room.as_deref(), envelope.to_user_id.as_deref()), (room, user), "{line}");
            assert_eq!(envelope.data.as_ref().map(|data| data.get()), data, "{line}");
            assert!(envelope.id.is_some(), "{line}");
        }
        assert_eq!(sent("/json [1.0]"), Message::text("[1.0]"));
    }

    #[test]
    fn every_command_is_understood() {
        let help = help();
        for Command { name, .. } in COMMANDS {
            let said = Line::parse(name).err().unwrap_or_default();
            assert!(!said.contains("there is no"), "{name}");
            assert!(help.contains(name));
        }
    }
}
