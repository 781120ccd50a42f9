//! Each library, given the same pieces of the same bytes.

use std::cell::RefCell;
use std::io::{Error as IoError, ErrorKind, Read, Write};
use std::rc::Rc;

use bytes::BytesMut;
use sockudo_ws::Error as SockudoError;
use sockudo_ws::protocol::{Message as SockudoMessage, Protocol, Role as SockudoRole};
use taut::proto::{CloseCode, CloseFrame, Connection, Delivery, Message, Role, Utf8Bytes};
use tungstenite::error::ProtocolError as TungsteniteProtocol;
use tungstenite::protocol::{Role as TungsteniteRole, WebSocketConfig};
use tungstenite::{Error as TungsteniteError, Message as TungsteniteMessage, WebSocket};

use super::{Fault, Outcome, Rival};
use crate::format::KEYS;
use crate::input::{Feed, Settings, Take};
use crate::script::Wire;

/// What taut makes of it, driven as the settings say.
pub(super) fn taut(settings: &Settings, wire: &Wire) -> Outcome {
    let config = settings.config(Delivery::Whole);
    let mut connection = match settings.role {
        Role::Server => Connection::server(config),
        Role::Client => Connection::client(config, || KEYS[1]),
    };
    let mut outcome = Outcome::default();
    for piece in pieces(wire) {
        if settings.feed == Feed::Lent {
            let mut input = connection.take_input();
            input.extend_from_slice(piece);
            connection.put_input(input);
        } else {
            connection.feed(piece);
        }
        loop {
            let event = match settings.take {
                Take::Owned => connection.next_event(),
                Take::Borrowed => {
                    connection.next_event_ref().map(|event| event.map(|event| event.to_event()))
                }
                Take::Halves => {
                    connection.halves().0.next_event_ref().map(|event| event.map(|event| event.to_event()))
                }
            };
            match event {
                Ok(Some(event)) => outcome.messages.push(event.into_message()),
                Ok(None) => break,
                Err(error) => {
                    outcome.fault = Some(error.into());
                    return outcome;
                }
            }
        }
    }
    outcome
}

/// What a rival makes of it.
pub(super) fn rival(rival: Rival, settings: &Settings, wire: &Wire) -> Outcome {
    match rival {
        Rival::Tungstenite => tungstenite(settings, wire),
        Rival::Sockudo => sockudo(settings, wire),
    }
}

fn tungstenite(settings: &Settings, wire: &Wire) -> Outcome {
    let config = WebSocketConfig::default()
        .max_message_size(Some(settings.max_message))
        .max_frame_size(Some(settings.max_frame))
        .read_buffer_size(READ);
    let role = match settings.role {
        Role::Server => TungsteniteRole::Server,
        Role::Client => TungsteniteRole::Client,
    };
    let arrived = Rc::default();
    let mut socket = WebSocket::from_raw_socket(Transport(Rc::clone(&arrived)), role, Some(config));
    let mut outcome = Outcome::default();
    for piece in pieces(wire) {
        arrived.borrow_mut().extend_from_slice(piece);
        loop {
            match socket.read() {
                Ok(message) => outcome.messages.push(from_tungstenite(message)),
                Err(TungsteniteError::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                // What it says behind a Close, and nothing else.
                Err(TungsteniteError::ConnectionClosed) => return outcome,
                Err(error) => {
                    outcome.fault = Some(tungstenite_fault(&error));
                    return outcome;
                }
            }
        }
    }
    outcome
}

fn from_tungstenite(message: TungsteniteMessage) -> Message {
    match message {
        TungsteniteMessage::Text(text) => Message::text(text.as_str()),
        TungsteniteMessage::Binary(bytes) => Message::Binary(bytes),
        TungsteniteMessage::Ping(payload) => Message::Ping(payload),
        TungsteniteMessage::Pong(payload) => Message::Pong(payload),
        TungsteniteMessage::Close(None) => Message::Close(None),
        TungsteniteMessage::Close(Some(frame)) => close(frame.code.into(), frame.reason.as_str()),
        TungsteniteMessage::Frame(frame) => panic!("a frame is sent, not received: {frame:?}"),
    }
}

fn tungstenite_fault(error: &TungsteniteError) -> Fault {
    match error {
        TungsteniteError::Utf8(_) => Fault::Utf8,
        TungsteniteError::Capacity(_) => Fault::Size,
        TungsteniteError::Protocol(error) => match error {
            TungsteniteProtocol::NonZeroReservedBits => Fault::ReservedBit,
            TungsteniteProtocol::InvalidOpcode(_) => Fault::Opcode,
            TungsteniteProtocol::FragmentedControlFrame => Fault::FragmentedControl,
            TungsteniteProtocol::ControlFrameTooBig => Fault::LongControl,
            TungsteniteProtocol::UnexpectedContinueFrame | TungsteniteProtocol::ExpectedFragment(_) => {
                Fault::Order
            }
            TungsteniteProtocol::UnmaskedFrameFromClient | TungsteniteProtocol::MaskedFrameFromServer => {
                Fault::Mask
            }
            TungsteniteProtocol::InvalidCloseSequence => Fault::CloseBody,
            TungsteniteProtocol::ReceivedAfterClosing => Fault::BehindClose,
            error => panic!("tungstenite has another error: {error:?}"),
        },
        error => panic!("tungstenite has another error: {error:?}"),
    }
}

fn sockudo(settings: &Settings, wire: &Wire) -> Outcome {
    let role = match settings.role {
        Role::Server => SockudoRole::Server,
        Role::Client => SockudoRole::Client,
    };
    let mut protocol = Protocol::new(role, settings.max_frame, settings.max_message);
    let mut buffer = BytesMut::new();
    let mut messages = Vec::new();
    let mut outcome = Outcome::default();
    for piece in pieces(wire) {
        buffer.extend_from_slice(piece);
        let result = protocol.process_into(&mut buffer, &mut messages);
        outcome.messages.extend(messages.drain(..).map(from_sockudo));
        if let Err(error) = result {
            outcome.fault = Some(sockudo_fault(&error));
            break;
        }
    }
    outcome
}

fn from_sockudo(message: SockudoMessage) -> Message {
    match message {
        SockudoMessage::Text(bytes) => {
            Message::Text(Utf8Bytes::try_from(bytes).expect("text that is not UTF-8 is an error"))
        }
        SockudoMessage::Binary(bytes) => Message::Binary(bytes),
        SockudoMessage::Ping(payload) => Message::Ping(payload),
        SockudoMessage::Pong(payload) => Message::Pong(payload),
        SockudoMessage::Close(None) => Message::Close(None),
        SockudoMessage::Close(Some(frame)) => close(frame.code, &frame.reason),
    }
}

fn sockudo_fault(error: &SockudoError) -> Fault {
    match error {
        SockudoError::InvalidUtf8 => Fault::Utf8,
        SockudoError::FrameTooLarge | SockudoError::MessageTooLarge => Fault::Size,
        SockudoError::InvalidCloseCode(_) => Fault::CloseCode,
        SockudoError::InvalidFrame("invalid opcode") => Fault::Opcode,
        SockudoError::Protocol(text) => match *text {
            text if text.starts_with("RSV") => Fault::ReservedBit,
            "control frame must not be fragmented" => Fault::FragmentedControl,
            "control frame too large" => Fault::LongControl,
            "client frames must be masked" | "server frames must not be masked" => Fault::Mask,
            "payload length not minimal" | "payload length MSB must be 0" => Fault::Length,
            "expected continuation frame" | "unexpected continuation frame" => Fault::Order,
            "invalid close frame payload" => Fault::CloseBody,
            text => panic!("sockudo-ws has another error: {text}"),
        },
        error => panic!("sockudo-ws has another error: {error:?}"),
    }
}

/// A Close with a code that taut would take too.
fn close(code: u16, reason: &str) -> Message {
    let code = CloseCode::new(code).unwrap_or_else(|| panic!("{code} came through"));
    Message::Close(Some(CloseFrame::new(code, reason).expect("a control frame is short")))
}

fn pieces(wire: &Wire) -> impl Iterator<Item = &[u8]> {
    let ends = wire.cuts.iter().copied().chain([wire.bytes.len()]);
    ends.scan(0, |start, end| Some(&wire.bytes[std::mem::replace(start, end)..end]))
}

/// A transport that has what arrived, and takes everything.
struct Transport(Rc<RefCell<Vec<u8>>>);

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, IoError> {
        let mut arrived = self.0.borrow_mut();
        if arrived.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(arrived.len());
        buffer[..count].copy_from_slice(&arrived[..count]);
        arrived.drain(..count);
        Ok(count)
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, IoError> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// How much tungstenite reads at once: its own 128 KiB would have to be zeroed for each input.
const READ: usize = 4 << 10;
