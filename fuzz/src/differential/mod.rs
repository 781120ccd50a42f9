//! The oracle of `differential`: taut and other libraries make the same of the same bytes, and wherever they do not,
//! a rule says why.

mod contestants;
pub mod rules;
pub mod seeds;

use taut::proto::{Message, ProtocolError};

use crate::input::{Input, Settings};
use crate::model::{self, Limits, Size};
use rules::Rule;

/// A library that taut is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// tungstenite, through its `WebSocket`.
    Tungstenite,
    /// sockudo-ws, through its `Protocol`.
    Sockudo,
}

/// What is wrong with a frame, in words that all libraries have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A reserved bit.
    ReservedBit,
    /// A reserved opcode.
    Opcode,
    /// A control frame in fragments.
    FragmentedControl,
    /// A control frame with more than 125 bytes.
    LongControl,
    /// A continuation where none may be, or none where one must be.
    Order,
    /// A mask that is missing, or should be.
    Mask,
    /// A length that is not in its shortest form, or has its top bit set.
    Length,
    /// A frame or a message over a limit.
    Size,
    /// More frames than a limit.
    Count,
    /// Text that is not UTF-8.
    Utf8,
    /// A Close of one byte.
    CloseBody,
    /// A Close with a code that may not be on the wire.
    CloseCode,
    /// A frame behind a Close.
    BehindClose,
}

/// What a library makes of some bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The messages, in their order.
    pub messages: Vec<Message>,
    /// What ends them.
    pub fault: Option<Fault>,
}

/// Two outcomes of the same bytes, and what may explain that they differ.
pub(crate) struct Case<'a> {
    pub(crate) rival: Rival,
    pub(crate) settings: &'a Settings,
    pub(crate) ours: &'a Outcome,
    pub(crate) theirs: &'a Outcome,
    /// How many messages are the same, from the first on.
    pub(crate) common: usize,
    /// What is wrong with the frame behind those that are understood, and how much of it came.
    pub(crate) faults: Vec<Fault>,
    pub(crate) rest: &'a [u8],
    /// Every rule that this frame breaks.
    pub(crate) broken: &'a [ProtocolError],
}

/// Compares taut with its rivals.
///
/// # Panics
/// If they differ and no rule says why.
pub fn check(input: &Input) {
    drop(explain(input));
}

/// The rules that explain where taut and its rivals differ.
///
/// # Panics
/// If they differ and no rule says why.
#[must_use]
pub fn explain(input: &Input) -> Vec<(Rival, Rule)> {
    let settings = &Settings {
        max_message: input.settings.max_message.min(MOST),
        max_frame: input.settings.max_frame.min(MOST),
        ..input.settings.clone()
    };
    let wire = input.wire();
    let Wrong { broken, at } = wrong(settings, &wire.bytes);
    let ours = contestants::taut(settings, &wire);
    let mut rules = Vec::new();
    for rival in Rival::ALL {
        let theirs = contestants::rival(rival, settings, &wire);
        if theirs == ours {
            continue;
        }
        let pairs = ours.messages.iter().zip(&theirs.messages);
        let case = Case {
            rival,
            settings,
            ours: &ours,
            theirs: &theirs,
            common: pairs.take_while(|(ours, theirs)| ours == theirs).count(),
            faults: broken.iter().copied().map(Fault::from).collect(),
            rest: &wire.bytes[at..],
            broken: &broken,
        };
        match Rule::ALL.into_iter().find(|rule| rule.explains(&case)) {
            Some(rule) => rules.push((rival, rule)),
            None => panic!("no rule explains how {rival:?} differs:\n{theirs:?}\ninstead of\n{ours:?}"),
        }
    }
    rules
}

impl Rival {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tungstenite, Self::Sockudo];
}

impl From<ProtocolError> for Fault {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::ReservedBit(_) => Self::ReservedBit,
            ProtocolError::ReservedOpcode(_) => Self::Opcode,
            ProtocolError::FragmentedControl => Self::FragmentedControl,
            ProtocolError::ControlTooLong => Self::LongControl,
            ProtocolError::UnexpectedContinuation | ProtocolError::ExpectedContinuation => Self::Order,
            ProtocolError::MaskedFromServer | ProtocolError::UnmaskedFromClient => Self::Mask,
            ProtocolError::LengthNotMinimal | ProtocolError::LengthTopBit => Self::Length,
            ProtocolError::FrameTooBig { .. } | ProtocolError::MessageTooBig { .. } => Self::Size,
            ProtocolError::TooManyFragments { .. } | ProtocolError::TooManyEmptyFragments { .. } => {
                Self::Count
            }
            ProtocolError::InvalidUtf8 { .. } => Self::Utf8,
            ProtocolError::ClosePayload => Self::CloseBody,
            ProtocolError::CloseCode(_) => Self::CloseCode,
            error => panic!("{error:?} needs chunks, or compression"),
        }
    }
}

/// What is wrong with some bytes.
struct Wrong {
    /// Every rule that the first wrong frame breaks.
    broken: Vec<ProtocolError>,
    /// Where that frame begins, or else the one that is not complete.
    at: usize,
}

/// Asks the model. What a payload breaks it tells only of frames whose header is under the limits, so that it is asked
/// again without limits.
fn wrong(settings: &Settings, wire: &[u8]) -> Wrong {
    let limits = Limits {
        max_message: Size::Whole(settings.max_message),
        max_frame: settings.max_frame,
        max_fragments: settings.max_fragments,
        max_empty_fragments: settings.max_empty_fragments,
    };
    let from = settings.role.peer();
    let mut expected = model::receive(wire, from, &limits);
    let unlimited = model::receive(wire, from, &Limits::NONE);
    if unlimited.understood == expected.understood {
        expected.broken.extend(unlimited.broken);
    }
    Wrong { broken: expected.broken, at: expected.understood }
}

/// No limit is above this, since tungstenite reserves what a header announces.
const MOST: usize = 1 << 20;
