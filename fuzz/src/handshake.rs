//! What `client_handshake` and `server_handshake` share: settings, and how a handshake is fed.

use std::fmt;

use arbitrary::{Arbitrary, Unstructured};
use bytes::BytesMut;
use taut::proto::HandshakeLimits;
use taut::proto::handshake::HandshakeError;

use crate::allocations;
use crate::format::index;
use crate::script::{Script, Wire};

/// What comes to a handshake, and within which limits.
#[derive(Clone, PartialEq, Eq)]
pub struct Input {
    /// See [`HandshakeLimits::max_head`].
    pub max_head: usize,
    /// See [`HandshakeLimits::max_fields`].
    pub max_fields: usize,
    /// See [`HandshakeLimits::max_body`].
    pub max_body: usize,
    /// Whether the bytes are read into the room that is offered, instead of copied.
    pub reads: bool,
    /// Whether the transport ends behind the bytes.
    pub ends: bool,
    /// What the application asks for or decides.
    pub choice: u8,
    /// The same of permessage-deflate, see [`wish`](crate::extensions::wish).
    pub wish: u8,
    /// What comes.
    pub script: Script,
}

impl Input {
    /// An input without narrow limits.
    #[must_use]
    pub fn new(script: Script) -> Self {
        let (max_head, max_fields, max_body) = (HEADS[0], FIELDS[0], BODIES[0]);
        Self { max_head, max_fields, max_body, reads: false, ends: true, choice: 0, wish: 0, script }
    }

    /// The bytes that mean this input. The limits must come from the tables.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![
            index(&HEADS, self.max_head) | index(&FIELDS, self.max_fields) << 4,
            index(&BODIES, self.max_body) | u8::from(self.reads) << 4 | u8::from(!self.ends) << 5,
            self.choice,
            self.wish,
        ];
        self.script.encode(&mut out);
        out
    }

    /// The limits for the engine.
    #[must_use]
    pub const fn limits(&self) -> HandshakeLimits {
        HandshakeLimits::new().max_head(self.max_head).max_fields(self.max_fields).max_body(self.max_body)
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let [head, body, choice, wish]: [u8; 4] = bytes.arbitrary()?;
        Ok(Self {
            max_head: HEADS[usize::from(head & 15)],
            max_fields: FIELDS[usize::from(head >> 4)],
            max_body: BODIES[usize::from(body & 15)],
            reads: body & 16 != 0,
            ends: body & 32 == 0,
            choice,
            wish,
            script: Script::arbitrary(bytes)?,
        })
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("max_head", &self.max_head)
            .field("max_fields", &self.max_fields)
            .field("max_body", &self.max_body)
            .field("reads", &self.reads)
            .field("ends", &self.ends)
            .field("choice", &self.choice)
            .field("wish", &self.wish)
            .field("script", &self.script)
            .finish()
    }
}

/// A handshake of either side, as far as it is fed.
pub(crate) trait Handshake {
    /// What comes out of it if all is well.
    type Output: fmt::Debug;

    fn input(&mut self) -> &mut BytesMut;
    fn feed(&mut self, data: &[u8]);
    fn input_eof(&mut self);
    fn poll(&mut self) -> Result<Option<Self::Output>, HandshakeError>;
}

/// How a handshake ended.
pub(crate) struct Run<T> {
    /// What came of it; nothing if bytes are missing.
    pub(crate) result: Result<Option<T>, HandshakeError>,
    /// How many bytes had come by then.
    pub(crate) fed: usize,
}

/// Where the heads end of which bytes are made, as the twin finds it.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// Behind each whole head.
    pub(crate) ends: Vec<usize>,
    /// Whether another one begins behind the last of these.
    pub(crate) goes_on: bool,
}

/// Feeds a handshake until it has a result, or nothing more comes.
///
/// The bytes of a head are hidden once they were looked at, until the last of them comes: a reader that looks twice
/// sees something else. So the work is linear.
pub(crate) fn drive<H: Handshake>(
    handshake: &mut H,
    input: &Input,
    wire: &Wire,
    heads: &Heads,
) -> Run<H::Output> {
    let before = allocations::held();
    let mut fed = 0;
    let mut result = handshake.poll();
    for piece in wire.pieces() {
        let mut rest = piece;
        while !rest.is_empty() && matches!(result, Ok(None)) {
            let room = if input.reads { room(handshake.input()) } else { usize::MAX };
            assert!(room > 0, "a read without room would look like the end");
            let (now, later) = rest.split_at(rest.len().min(room));
            if heads.ends.iter().any(|&end| fed < end && end <= fed + now.len()) {
                let hidden = handshake.input();
                let start = fed - hidden.len();
                hidden.copy_from_slice(&wire.bytes[start..fed]);
            }
            match input.reads {
                true => handshake.input().extend_from_slice(now),
                false => handshake.feed(now),
            }
            fed += now.len();
            rest = later;
            result = handshake.poll();
            if matches!(result, Ok(None)) {
                let held = allocations::held() - before;
                let most = most_held(input, now.len(), fed);
                assert!(held <= most, "{held} bytes are held of {fed}, {most} may be");
                if heads.goes_on || heads.ends.iter().any(|&end| fed < end) {
                    assert!(handshake.input().len() <= input.max_head, "no more of a head than may be");
                    handshake.input().fill(0);
                } else {
                    assert!(handshake.input().len() < MOST_OF_BODY, "what came of a body is taken");
                }
            }
        }
    }
    if matches!(result, Ok(None)) && input.ends {
        handshake.input_eof();
        result = handshake.poll();
        assert!(!matches!(result, Ok(None)), "nothing more comes");
    }
    check_finality(handshake, &result);
    Run { result, fed }
}

/// A result is the last one: later polls drop what comes.
fn check_finality<H: Handshake>(handshake: &mut H, result: &Result<Option<H::Output>, HandshakeError>) {
    let again = match result {
        Ok(None) => return,
        Ok(Some(_)) | Err(HandshakeError::Refused(_)) => HandshakeError::Finished,
        Err(error) => error.clone(),
    };
    for _ in 0..2 {
        handshake.feed(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(handshake.poll().expect_err("the handshake is over"), again);
        assert!(handshake.input().is_empty(), "what comes too late is dropped");
    }
}

fn room(input: &BytesMut) -> usize {
    input.capacity() - input.len()
}

/// The most bytes of memory that a handshake may hold of so many, the last of which came in one piece.
fn most_held(input: &Input, piece: usize, fed: usize) -> isize {
    // Each buffer doubles; beside the text of a field stand the places of its name and its value.
    let most = 16 * input.max_head.min(fed) + 2 * input.max_body.min(fed) + 2 * piece + 4 * ROOM;
    isize::try_from(most).unwrap_or(isize::MAX)
}

/// Cuts in several ways, and compares what `run` makes of them: it must be the same, as early as bytes allow.
pub(crate) fn compare<T: fmt::Debug + PartialEq>(
    wire: &Wire,
    run: impl Fn(&Wire) -> (T, usize),
) -> (T, usize) {
    let (slow, at) = run(&wire.in_bytes());
    for wire in [wire.uncut(), wire.clone()] {
        let (result, fed) = run(&wire);
        assert_eq!(result, slow, "the same however it is cut");
        let ends = wire.cuts.iter().copied().chain([0, wire.bytes.len()]);
        let end = ends.filter(|&end| end >= at).min().unwrap_or(at);
        assert!((at..=end).contains(&fed), "known at {fed} instead of {at}");
    }
    (slow, at)
}

/// As much as a first read gets.
const ROOM: usize = 4096;

/// A line before a chunk is read anew with each piece; it is no longer than this.
const MOST_OF_BODY: usize = 256;

/// The longest input, longer than the longest head by default.
pub(crate) const MAX_WIRE: usize = 17 << 10;

/// The longest heads. The first of each table is the default.
pub const HEADS: [usize; 16] =
    [16 << 10, 0, 1, 2, 17, 60, 100, 129, 150, 200, 250, 300, 500, 1000, 4096, usize::MAX];

/// The most fields.
pub const FIELDS: [usize; 16] = [100, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 50, 99, usize::MAX];

/// The longest bodies.
pub const BODIES: [usize; 16] =
    [1 << 20, 0, 1, 2, 3, 5, 10, 16, 60, 100, 255, 256, 257, 1000, 4096, usize::MAX];
