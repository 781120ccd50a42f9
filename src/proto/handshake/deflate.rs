//! The negotiation of permessage-deflate (RFC 7692 §5, §7.1): pure functions over the elements of
//! Sec-WebSocket-Extensions.

#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::String;

use super::super::agreement::{Deflate, Direction};
use super::super::config::Role;
use super::error::HandshakeError;
use super::extensions::Extension;

/// What a client writes to offer this.
pub(super) fn offer(wish: Deflate) -> String {
    let mut element = String::from(NAME);
    let (server, client) = (wish.sent_by(Role::Server), own(wish, Role::Client));
    if !server.takeover {
        element += "; server_no_context_takeover";
    }
    if server.window_bits < Deflate::MOST_BITS {
        element += &format!("; server_max_window_bits={}", server.window_bits);
    }
    // RFC 7692 §7.1.1.2: a hint that "even if the server doesn't include" it, "the client is not going to use
    // context takeover".
    if !client.takeover {
        element += "; client_no_context_takeover";
    }
    // RFC 7692 §7.1.2.2: "a client informs the peer server that it supports" the parameter; without a value it
    // says no more than that.
    element += "; client_max_window_bits";
    if client.window_bits < Deflate::MOST_BITS {
        element += &format!("={}", client.window_bits);
    }
    element
}

/// The first offer that a server with this wish can honour: what is agreed on, and what it answers. `None`
/// declines them all.
///
/// RFC 7692 §7.1: offers with a parameter that is unknown, repeated or invalid are declined, not failed.
pub(super) fn accept(wish: Deflate, offers: &[Extension<'_>]) -> Option<(Deflate, String)> {
    offers.iter().filter(|offer| offer.name() == NAME).find_map(|offer| accept_one(wish, offer))
}

fn accept_one(wish: Deflate, offer: &Extension<'_>) -> Option<(Deflate, String)> {
    let offered = Parameters::parse(offer)?;
    let (mut server, mut client) = (own(wish, Role::Server), wish.sent_by(Role::Client));
    let mut answer = String::from(NAME);
    // RFC 7692 §7.1.1.1: "A server accepts an extension negotiation offer that includes the
    // "server_no_context_takeover" extension parameter by including" it; or it may do so by itself.
    server.takeover &= !offered.server_no_context_takeover;
    if !server.takeover {
        answer += "; server_no_context_takeover";
    }
    client.takeover &= !offered.client_no_context_takeover;
    if !client.takeover {
        answer += "; client_no_context_takeover";
    }
    // RFC 7692 §7.1.2.1: accepted "with the same or smaller value as the offer".
    if let Some(bits) = offered.server_max_window_bits {
        // RFC 7692 §5: an offer that cannot be honoured is declined; zlib has no window of 8 bits.
        let bits = bits?.checked_sub(Deflate::LEAST_OWN_BITS)? + Deflate::LEAST_OWN_BITS;
        server.window_bits = server.window_bits.min(bits);
        answer += &format!("; server_max_window_bits={}", server.window_bits);
    }
    // RFC 7692 §7.1.2.2: without the parameter in the offer "the server MUST NOT include" it; the client may
    // use any window then.
    client.window_bits = match offered.client_max_window_bits {
        None => Deflate::MOST_BITS,
        Some(limit) => client.window_bits.min(limit.unwrap_or(Deflate::MOST_BITS)),
    };
    if client.window_bits < Deflate::MOST_BITS {
        answer += &format!("; client_max_window_bits={}", client.window_bits);
    }
    Some((from_directions(server, client), answer))
}

/// What a server's answer agrees to, of these offers. `Ok(None)` if it agrees to none.
///
/// # Errors
/// RFC 7692 §5.1, §7.1: an answer that does not fit an offer fails the connection.
pub(super) fn confirm(
    offers: &[Deflate],
    answer: &[Extension<'_>],
) -> Result<Option<Deflate>, HandshakeError> {
    let mut agreed = None;
    for element in answer {
        if element.name() != NAME || offers.is_empty() {
            return Err(HandshakeError::ExtensionNotOffered);
        }
        let fits = Parameters::parse(element)
            .and_then(|answered| offers.iter().find_map(|&offer| confirm_one(offer, &answered)));
        // RFC 7692 §5: of several offers for one extension a server agrees to one.
        if fits.is_none() || agreed.is_some() {
            return Err(HandshakeError::DeflateAnswer);
        }
        agreed = fits;
    }
    Ok(agreed)
}

fn confirm_one(offer: Deflate, answered: &Parameters) -> Option<Deflate> {
    let (mut server, mut client) = (offer.sent_by(Role::Server), own(offer, Role::Client));
    // RFC 7692 §7.1.1.1: what was offered has to be answered; what was not may be.
    if !server.takeover && !answered.server_no_context_takeover {
        return None;
    }
    server.takeover = !answered.server_no_context_takeover;
    // RFC 7692 §7.1.1.2: what the answer says "the client MUST" do, offered or not.
    client.takeover &= !answered.client_no_context_takeover;
    server.window_bits = match answered.server_max_window_bits {
        // RFC 7692 §7.1.2.1: in an answer it has a value, "the same or smaller".
        Some(Some(bits)) if bits <= server.window_bits => bits,
        None if server.window_bits == Deflate::MOST_BITS => Deflate::MOST_BITS,
        Some(_) | None => return None,
    };
    client.window_bits = match answered.client_max_window_bits {
        None => client.window_bits,
        Some(Some(bits)) if bits <= client.window_bits => bits,
        Some(_) => return None,
    };
    Some(from_directions(server, client))
}

/// The parameters of one element.
#[derive(Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    /// There, and with a value.
    server_max_window_bits: Option<Option<u8>>,
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None` for what RFC 7692 §7.1 declines: a parameter that is not defined, whose value is invalid, or that
    /// comes twice.
    fn parse(element: &Extension<'_>) -> Option<Self> {
        let mut parameters = Self::default();
        for (name, value) in element.parameters() {
            let repeated = match (name, value) {
                ("server_no_context_takeover", None) => {
                    core::mem::replace(&mut parameters.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    core::mem::replace(&mut parameters.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(value)) => {
                    parameters.server_max_window_bits.replace(Some(window_bits(value)?)).is_some()
                }
                ("client_max_window_bits", value) => {
                    let bits = match value {
                        Some(value) => Some(window_bits(value)?),
                        None => None,
                    };
                    parameters.client_max_window_bits.replace(bits).is_some()
                }
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(parameters)
    }
}

/// RFC 7692 §7.1.2.1: "a decimal integer value without leading zeroes between 8 to 15, inclusive".
fn window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// How we would compress ourselves.
fn own(wish: Deflate, role: Role) -> Direction {
    let direction = wish.sent_by(role);
    Direction { window_bits: direction.window_bits.max(Deflate::LEAST_OWN_BITS), ..direction }
}

fn from_directions(server: Direction, client: Direction) -> Deflate {
    Deflate::new()
        .server_no_context_takeover(!server.takeover)
        .server_max_window_bits(server.window_bits)
        .client_no_context_takeover(!client.takeover)
        .client_max_window_bits(client.window_bits)
}

/// The extension's token (RFC 7692 §7).
const NAME: &str = "permessage-deflate";
