//! Why taut and a rival may differ: one rule for each reason, and only as far as it reaches.

use taut::proto::{CloseFrame, Message, ProtocolError};

use super::{Case, Fault, Outcome, Rival};

/// A difference that is no defect of taut's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// See [`Rule::reason`].
    NamesAnotherFault,
    /// See [`Rule::reason`].
    WaitsForTheHeader,
    /// See [`Rule::reason`].
    WaitsForTheFrame,
    /// See [`Rule::reason`].
    TakesLongForms,
    /// See [`Rule::reason`].
    CountsNoFragments,
    /// See [`Rule::reason`].
    ReplacesCloseCodes,
    /// See [`Rule::reason`].
    LimitsControlFrames,
    /// See [`Rule::reason`].
    ReadsBehindTheClose,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NamesAnotherFault,
        Self::WaitsForTheHeader,
        Self::WaitsForTheFrame,
        Self::TakesLongForms,
        Self::CountsNoFragments,
        Self::ReplacesCloseCodes,
        Self::LimitsControlFrames,
        Self::ReadsBehindTheClose,
    ];

    /// Why they differ, and who is right.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NamesAnotherFault => {
                "A frame breaks several rules, and RFC 6455 does not say which of them is told."
            }
            Self::WaitsForTheHeader => {
                "The rival looks at a header once all of it came. RFC 6455 §7.1.7 sets no time for it."
            }
            Self::WaitsForTheFrame => {
                "The rival looks at some faults once the payload came. RFC 6455 §7.1.7 sets no time for it."
            }
            Self::TakesLongForms => {
                "RFC 6455 §5.2: \"the minimal number of bytes MUST be used to encode the length\"; unchecked."
            }
            Self::CountsNoFragments => {
                "RFC 6455 §10.4 leaves limits to implementations; the rival has none on numbers of frames."
            }
            Self::ReplacesCloseCodes => {
                "RFC 6455 §7.4.2: the rival hands out 1002 for a code it does not know, 1014 of IANA's included."
            }
            Self::LimitsControlFrames => {
                "The rival's limit on frames holds for control frames; taut's for data, since RFC 6455 §5.5 has one."
            }
            Self::ReadsBehindTheClose => {
                "RFC 6455 §1.4: \"the endpoint discards any further data received\"; the rival reads on."
            }
        }
    }

    /// Those that differ for this reason.
    #[must_use]
    pub const fn rivals(self) -> &'static [Rival] {
        match self {
            Self::TakesLongForms | Self::ReplacesCloseCodes => &[Rival::Tungstenite],
            _ => &Rival::ALL,
        }
    }

    /// Whether this is why the two differ.
    pub(super) fn explains(self, case: &Case<'_>) -> bool {
        let Case { ours, theirs, common, .. } = *case;
        if !self.rivals().contains(&case.rival) {
            return false;
        }
        let same_messages = ours.messages == theirs.messages;
        // Where taut stops, the rival goes on.
        let stopped = ours.fault.is_some() && common == ours.messages.len();
        match self {
            Self::NamesAnotherFault => {
                same_messages
                    && ours.fault.is_some()
                    && theirs.fault.is_some_and(|fault| case.faults.contains(&fault))
            }
            Self::WaitsForTheHeader => waits(ours, theirs) && header(case.rest).is_none(),
            Self::WaitsForTheFrame => {
                let late = ours.fault.is_some_and(|fault| case.rival.finds_late(fault));
                waits(ours, theirs) && late && is_cut_short(case.rest)
            }
            Self::TakesLongForms => stopped && case.broken.contains(&ProtocolError::LengthNotMinimal),
            Self::CountsNoFragments => stopped && ours.fault == Some(Fault::Count),
            Self::ReplacesCloseCodes => {
                let code = match ours.messages.get(common) {
                    Some(Message::Close(Some(frame))) => Some(frame.code().get()),
                    None => case.broken.iter().find_map(|error| match error {
                        ProtocolError::CloseCode(code) => Some(*code),
                        _ => None,
                    }),
                    Some(_) => None,
                };
                let replaced = matches!(
                    theirs.messages.get(common),
                    Some(Message::Close(Some(frame))) if is_replacement(frame)
                );
                replaced && code.is_some_and(|code| code == 1014 || ours.fault == Some(Fault::CloseCode))
            }
            Self::LimitsControlFrames => {
                // It came, or is the one that is wrong, or cut short.
                let length = match ours.messages.get(common) {
                    Some(message) => length_of_control(message),
                    None => length_of_first_control(case.rest),
                };
                common == theirs.messages.len()
                    && theirs.fault == Some(Fault::Size)
                    && length > case.settings.max_frame
            }
            Self::ReadsBehindTheClose => {
                common == ours.messages.len()
                    && ours.fault.is_none()
                    && matches!(ours.messages.last(), Some(Message::Close(_)))
            }
        }
    }
}

impl Rival {
    /// Whether it looks for this once a frame is complete.
    const fn finds_late(self, fault: Fault) -> bool {
        match self {
            // The opcode comes with the header; all else is checked where the frame is used.
            Self::Tungstenite => !matches!(fault, Fault::Opcode),
            Self::Sockudo => matches!(fault, Fault::Order | Fault::Size | Fault::Count),
        }
    }
}

/// Whether taut found a fault behind the same messages, and the rival nothing.
fn waits(ours: &Outcome, theirs: &Outcome) -> bool {
    ours.messages == theirs.messages && ours.fault.is_some() && theirs.fault.is_none()
}

/// Where the length of the first frame ends, and what it is, if all of it is there.
fn length(bytes: &[u8]) -> Option<(usize, u64)> {
    let second = *bytes.get(1)?;
    let (end, short) = match second & 0x7F {
        126 => (4, None),
        127 => (10, None),
        short => (2, Some(u64::from(short))),
    };
    let long = bytes.get(2..end)?.iter().fold(0, |length, &byte| length << 8 | u64::from(byte));
    Some((end, short.unwrap_or(long)))
}

/// The same for the header, which a masking key may end.
fn header(bytes: &[u8]) -> Option<(usize, u64)> {
    let (end, length) = length(bytes)?;
    let end = end + if bytes[1] & 0x80 == 0 { 0 } else { 4 };
    (bytes.len() >= end).then_some((end, length))
}

/// Whether the header of the first frame is there, and its payload is not.
fn is_cut_short(bytes: &[u8]) -> bool {
    header(bytes).is_some_and(|(end, length)| ((bytes.len() - end) as u64) < length)
}

/// What tungstenite makes of a Close whose code it does not know.
fn is_replacement(frame: &CloseFrame) -> bool {
    frame.code().get() == 1002 && frame.reason() == "Protocol violation"
}

/// What the first header announces, if it is that of a control frame.
fn length_of_first_control(bytes: &[u8]) -> usize {
    let (_, length) = length(bytes).filter(|_| bytes[0] & 0x08 != 0).unwrap_or_default();
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn length_of_control(message: &Message) -> usize {
    match message {
        Message::Ping(payload) | Message::Pong(payload) => payload.len(),
        Message::Close(Some(frame)) => 2 + frame.reason().len(),
        Message::Close(None) | Message::Text(_) | Message::Binary(_) => 0,
    }
}
