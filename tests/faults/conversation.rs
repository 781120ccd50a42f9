//! What a peer says, in the forms that there are.

use std::fmt;

use bytes::Buf;
use taut::proto::frame::OpCode;
use taut::proto::{Agreement, CloseCode, Config, Connection, Deflate, Role};

use crate::support::{connection, frame};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// All that one peer says.
pub(crate) struct Case {
    name: &'static str,
    /// Of the socket.
    pub(crate) role: Role,
    pub(crate) wire: Vec<u8>,
    /// Where frames end.
    pub(crate) borders: Vec<usize>,
    pub(crate) frames: usize,
    agreement: Agreement,
}

impl Case {
    fn new(name: &'static str, role: Role, frames: &[Vec<u8>]) -> Self {
        let mut wire = Vec::new();
        let borders = frames.iter().map(|frame| {
            wire.extend_from_slice(frame);
            wire.len()
        });
        let borders = borders.collect();
        Self { name, role, wire, borders, frames: frames.len(), agreement: Agreement::new() }
    }

    /// What the peer's engine writes for these messages and a Close, compressed.
    fn deflated(name: &'static str, role: Role, messages: &[Vec<u8>]) -> Self {
        let agreement = Agreement::new().with_deflate(Deflate::new());
        let config = Config::new().deflate_above(0).max_queued(usize::MAX);
        let mut peer = connection(role.peer(), config).with_agreement(agreement.clone());
        let mut frames = Vec::new();
        let mut take = |peer: &mut Connection| {
            let count = peer.output().remaining();
            frames.push(peer.output().copy_to_bytes(count).to_vec());
        };
        for message in messages {
            peer.send_binary(message).unwrap();
            take(&mut peer);
        }
        peer.close(Some(CloseCode::AWAY.into()));
        take(&mut peer);
        Self { agreement, ..Self::new(name, role, &frames) }
    }

    /// A connection for the socket.
    pub(crate) fn connection(&self) -> Connection {
        connection(self.role, config()).with_agreement(self.agreement.clone())
    }

    /// One for its peer.
    pub(crate) fn peer(&self) -> Connection {
        connection(self.role.peer(), config()).with_agreement(self.agreement.clone())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to a {:?}", self.name, self.role)
    }
}

fn config() -> Config {
    Config::new().deflate_above(0)
}

/// Short, so that each is cut everywhere.
pub(crate) fn cases() -> Vec<Case> {
    let all = ROLES.map(|role| {
        let from = role.peer();
        let close = frame(from, true, OpCode::Close, b"\x03\xe9away");
        let frames = [
            frame(from, true, OpCode::Text, b"hello"),
            frame(from, true, OpCode::Ping, b"?"),
            frame(from, false, OpCode::Text, "a\u{20ac}".as_bytes()),
            frame(from, true, OpCode::Pong, b""),
            frame(from, false, OpCode::Continuation, b""),
            frame(from, true, OpCode::Continuation, b"end"),
            frame(from, true, OpCode::Binary, b""),
            frame(from, true, OpCode::Binary, &[7; 126]),
        ];
        let wrong = [
            frame(from, true, OpCode::Text, b"one"),
            frame(from, true, OpCode::Text, b"\xff"),
            frame(from, true, OpCode::Text, b"never seen"),
        ];
        let texts =
            [b"again and again and again".to_vec(), b"again and again and again".to_vec(), vec![0; 300]];
        [
            Case::new("a talk", role, &[&frames[..], &[close]].concat()),
            Case::new("a violation", role, &wrong),
            Case::deflated("a compressed talk", role, &texts),
        ]
    });
    all.into_iter().flatten().collect()
}

/// Messages of more than 64 KiB and more than 256 KiB: whole, in fragments with a ping between, compressed.
pub(crate) fn large() -> Vec<Case> {
    let all = ROLES.map(|role| {
        let from = role.peer();
        let some: Vec<u8> =
            (0..300_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
        let (half, rest) = some.split_at(80_000);
        let close = frame(from, true, OpCode::Close, b"\x03\xe9");
        let frames = [
            frame(from, true, OpCode::Binary, half),
            frame(from, true, OpCode::Text, b"little"),
            frame(from, false, OpCode::Binary, half),
            frame(from, true, OpCode::Ping, b"?"),
            frame(from, true, OpCode::Continuation, rest),
            frame(from, true, OpCode::Binary, &some),
            close,
        ];
        [
            Case::new("large messages", role, &frames),
            Case::deflated(
                "large compressed messages",
                role,
                &[half.to_vec(), some.clone(), vec![1; 300_000]],
            ),
        ]
    });
    all.into_iter().flatten().collect()
}
