//! The negotiation of permessage-deflate (RFC 7692 §5, §7.1): pure functions over the elements of
//! Sec-WebSocket-Extensions. The handshakes of this crate call them by themselves; those done elsewhere can.
//!
//! ```
//! use taut::proto::handshake::{Extension, deflate};
//! use taut::proto::{Agreement, Deflate};
//!
//! let offers = Extension::parse([&b"permessage-deflate; client_max_window_bits"[..]])?;
//! let (agreed, answer) = deflate::accept(Deflate::no_context_takeover(), &offers).expect("a good offer");
//! assert_eq!(answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
//! let agreement = Agreement::new().with_deflate(agreed); // for `Connection::with_agreement`
//! # Ok::<(), taut::proto::handshake::HandshakeError>(())
//! ```

#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::String;

use super::super::agreement::{Deflate, Direction};
use super::super::config::Role;
use super::error::HandshakeError;
use super::extensions::Extension;

/// What a client writes to offer this. Several offers, in order of preference, are joined by commas.
#[must_use]
pub fn offer(wish: Deflate) -> String {
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
#[must_use]
pub fn accept(wish: Deflate, offers: &[Extension<'_>]) -> Option<(Deflate, String)> {
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
    // RFC 7692 §7.1.2.2: without the parameter in the offer, the answer "MUST NOT include" it; the client may
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
/// [`HandshakeError::DeflateAnswer`] if the answer fits no offer, [`HandshakeError::ExtensionNotOffered`] for
/// another extension, or without an offer: RFC 7692 §5.1 has the client fail the connection.
pub fn confirm(offers: &[Deflate], answer: &[Extension<'_>]) -> Result<Option<Deflate>, HandshakeError> {
    let mut agreed = None;
    for element in answer {
        if element.name() != NAME || offers.is_empty() {
            return Err(HandshakeError::ExtensionNotOffered);
        }
        let fits = Parameters::parse(element).and_then(|answered| {
            offers.iter().filter_map(|&offer| confirm_one(offer, &answered)).reduce(strictest)
        });
        // RFC 7692 §5: of several offers for one extension a server agrees to one.
        if fits.is_none() || agreed.is_some() {
            return Err(HandshakeError::DeflateAnswer);
        }
        agreed = fits;
    }
    Ok(agreed)
}

/// An answer does not say which offer it took, and the server may count on the hints in that one: of all that fit,
/// we keep to the strictest. What the server does itself stands in its answer.
fn strictest(one: Deflate, other: Deflate) -> Deflate {
    let (client, also) = (one.sent_by(Role::Client), other.sent_by(Role::Client));
    let takeover = client.takeover && also.takeover;
    let window_bits = client.window_bits.min(also.window_bits);
    from_directions(one.sent_by(Role::Server), Direction { takeover, window_bits })
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
        // RFC 7692 §7.1.2.2: the server "may either ignore this value or use" it: the smaller holds.
        Some(Some(bits)) => client.window_bits.min(bits),
        Some(None) => return None,
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// Takeover and window, of the server and of the client.
    fn of(server: (bool, u8), client: (bool, u8)) -> Deflate {
        let direction = |(takeover, window_bits)| Direction { takeover, window_bits };
        from_directions(direction(server), direction(client))
    }

    fn parse(value: &str) -> Vec<Extension<'_>> {
        let values = Some(value).filter(|value| !value.is_empty());
        Extension::parse(values.map(str::as_bytes)).unwrap_or_else(|error| panic!("{value:?}: {error}"))
    }

    /// The element with these parameters.
    fn element(parameters: &str) -> String {
        format!("permessage-deflate{parameters}")
    }

    fn wishes() -> impl Iterator<Item = Deflate> + Clone {
        let ends = (0..2 * 8).map(|number: u8| (number.is_multiple_of(2), 8 + number / 2));
        ends.clone().flat_map(move |server| ends.clone().map(move |client| of(server, client)))
    }

    const ALL: (bool, u8) = (true, 15);

    /// Parameters that neither an offer nor an answer may have (RFC 7692 §7.1).
    const INVALID: &[&str] = &[
        // Values that are none.
        "; server_max_window_bits",
        "; server_max_window_bits=0",
        "; server_max_window_bits=7",
        "; server_max_window_bits=16",
        "; server_max_window_bits=08",
        "; server_max_window_bits=015",
        "; server_max_window_bits=00000000010",
        "; server_max_window_bits=+9",
        "; server_max_window_bits=-9",
        "; server_max_window_bits=1",
        "; server_max_window_bits=9.0",
        "; server_max_window_bits=0x9",
        "; server_max_window_bits=9a",
        "; server_max_window_bits=nine",
        "; server_max_window_bits=100",
        "; server_max_window_bits=265",
        "; server_max_window_bits=4294967305",
        "; server_max_window_bits=18446744073709551625",
        "; server_max_window_bits=\"7\"",
        "; server_max_window_bits=\"\\016\"",
        "; client_max_window_bits=0",
        "; client_max_window_bits=7",
        "; client_max_window_bits=16",
        "; client_max_window_bits=08",
        "; client_max_window_bits=015",
        "; client_max_window_bits=+9",
        "; client_max_window_bits=-9",
        "; client_max_window_bits=true",
        "; client_max_window_bits=271",
        "; client_max_window_bits=\"16\"",
        // Values where none belongs.
        "; server_no_context_takeover=1",
        "; server_no_context_takeover=true",
        "; server_no_context_takeover=\"x\"",
        "; client_no_context_takeover=0",
        "; client_no_context_takeover=10",
        // Parameters that come twice, in the same words or not.
        "; server_no_context_takeover; server_no_context_takeover",
        "; client_no_context_takeover; server_no_context_takeover; client_no_context_takeover",
        "; server_max_window_bits=10; server_max_window_bits=10",
        "; server_max_window_bits=10; server_max_window_bits=11",
        "; client_max_window_bits=10; client_max_window_bits=10",
        "; client_max_window_bits; client_max_window_bits",
        "; client_max_window_bits; client_max_window_bits=10",
        "; client_max_window_bits=10; client_max_window_bits",
        // Parameters that are not defined.
        "; foo",
        "; foo=10",
        "; client_max_window_bits; foo",
        "; server_max_window_bits=10; mem_level=8",
        "; Server_No_Context_Takeover",
        "; server_no_context_takeover_",
        "; max_window_bits=10",
        "; constructor",
    ];

    #[test]
    fn s7_1_an_offer_says_what_the_client_wishes_and_no_more() {
        for (wish, parameters) in [
            (Deflate::new(), "; client_max_window_bits"),
            (
                Deflate::no_context_takeover(),
                "; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
            ),
            (of((false, 15), ALL), "; server_no_context_takeover; client_max_window_bits"),
            (of(ALL, (false, 15)), "; client_no_context_takeover; client_max_window_bits"),
            (of((true, 8), ALL), "; server_max_window_bits=8; client_max_window_bits"),
            (of((true, 14), ALL), "; server_max_window_bits=14; client_max_window_bits"),
            (of(ALL, (true, 14)), "; client_max_window_bits=14"),
            (of(ALL, (true, 9)), "; client_max_window_bits=9"),
            // Our own window is never one that zlib cannot have.
            (of(ALL, (true, 8)), "; client_max_window_bits=9"),
            (
                of((false, 10), (false, 11)),
                "; server_no_context_takeover; server_max_window_bits=10; client_no_context_takeover; \
                    client_max_window_bits=11",
            ),
        ] {
            assert_eq!(offer(wish), element(parameters), "{wish:?}");
        }
    }

    #[test]
    fn s7_1_a_server_accepts_what_it_can_honour() {
        let new = Deflate::new();
        for (wish, offered, parameters, agreed) in [
            // §7.1.3: no parameters, no answer to them.
            (new, "", "", (ALL, ALL)),
            // §7.1.1: what is offered is answered; the client's is a hint that is taken.
            (new, "; server_no_context_takeover", "; server_no_context_takeover", ((false, 15), ALL)),
            (new, "; client_no_context_takeover", "; client_no_context_takeover", (ALL, (false, 15))),
            (
                new,
                "; client_no_context_takeover; server_no_context_takeover",
                "; server_no_context_takeover; client_no_context_takeover",
                ((false, 15), (false, 15)),
            ),
            // §7.1.1: and may be answered without an offer.
            (of((false, 15), ALL), "", "; server_no_context_takeover", ((false, 15), ALL)),
            (of(ALL, (false, 15)), "", "; client_no_context_takeover", (ALL, (false, 15))),
            (
                of((false, 15), ALL),
                "; server_no_context_takeover",
                "; server_no_context_takeover",
                ((false, 15), ALL),
            ),
            // §7.1.2.1: the same value or a smaller one.
            (new, "; server_max_window_bits=15", "; server_max_window_bits=15", (ALL, ALL)),
            (new, "; server_max_window_bits=14", "; server_max_window_bits=14", ((true, 14), ALL)),
            (new, "; server_max_window_bits=9", "; server_max_window_bits=9", ((true, 9), ALL)),
            (new, "; server_max_window_bits=\"10\"", "; server_max_window_bits=10", ((true, 10), ALL)),
            (new, "; server_max_window_bits=\"1\\0\"", "; server_max_window_bits=10", ((true, 10), ALL)),
            (
                of((true, 10), ALL),
                "; server_max_window_bits=12",
                "; server_max_window_bits=10",
                ((true, 10), ALL),
            ),
            (
                of((true, 12), ALL),
                "; server_max_window_bits=10",
                "; server_max_window_bits=10",
                ((true, 10), ALL),
            ),
            // A window that a server wants smaller by itself is no client's business.
            (of((true, 10), ALL), "", "", ((true, 10), ALL)),
            (of((true, 8), ALL), "", "", ((true, 9), ALL)),
            (
                of((true, 8), ALL),
                "; server_max_window_bits=15",
                "; server_max_window_bits=9",
                ((true, 9), ALL),
            ),
            // §7.1.2.2: with a value or without.
            (new, "; client_max_window_bits", "", (ALL, ALL)),
            (new, "; client_max_window_bits=15", "", (ALL, ALL)),
            (new, "; client_max_window_bits=14", "; client_max_window_bits=14", (ALL, (true, 14))),
            (new, "; client_max_window_bits=8", "; client_max_window_bits=8", (ALL, (true, 8))),
            (new, "; client_max_window_bits=\"8\"", "; client_max_window_bits=8", (ALL, (true, 8))),
            (
                of(ALL, (true, 10)),
                "; client_max_window_bits",
                "; client_max_window_bits=10",
                (ALL, (true, 10)),
            ),
            (of(ALL, (true, 8)), "; client_max_window_bits", "; client_max_window_bits=8", (ALL, (true, 8))),
            (
                of(ALL, (true, 10)),
                "; client_max_window_bits=12",
                "; client_max_window_bits=10",
                (ALL, (true, 10)),
            ),
            (
                of(ALL, (true, 12)),
                "; client_max_window_bits=10",
                "; client_max_window_bits=10",
                (ALL, (true, 10)),
            ),
            // §7.1.2.2: "MUST NOT include" it where it was not offered, whatever the server wishes.
            (of(ALL, (true, 10)), "", "", (ALL, ALL)),
            (of(ALL, (true, 8)), "; server_max_window_bits=15", "; server_max_window_bits=15", (ALL, ALL)),
            // All four, in any order.
            (
                new,
                "; client_max_window_bits=11; server_max_window_bits=12; client_no_context_takeover; \
                    server_no_context_takeover",
                "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; \
                    client_max_window_bits=11",
                ((false, 12), (false, 11)),
            ),
        ] {
            let expected = Some((of(agreed.0, agreed.1), element(parameters)));
            assert_eq!(accept(wish, &parse(&element(offered))), expected, "{wish:?}, {offered:?}");
        }
    }

    #[test]
    fn s7_1_a_server_declines_what_is_invalid_or_cannot_be_honoured() {
        for &parameters in INVALID {
            for wish in [Deflate::new(), Deflate::no_context_takeover(), of((true, 9), (true, 8))] {
                let invalid = element(parameters);
                assert_eq!(accept(wish, &parse(&invalid)), None, "{parameters}");
                // §5.1: a fallback is looked at by itself, on either side.
                for offers in
                    [format!("{invalid}, permessage-deflate"), format!("x, permessage-deflate, {invalid}")]
                {
                    let expected = accept(wish, &parse("permessage-deflate"));
                    assert!(expected.is_some());
                    assert_eq!(accept(wish, &parse(&offers)), expected, "{offers}");
                }
            }
        }
        // No compressor of ours has so small a window.
        for wish in wishes() {
            assert_eq!(accept(wish, &parse(&element("; server_max_window_bits=8"))), None);
        }
        for other in [
            "x",
            "permessage-deflate-x",
            "Permessage-Deflate",
            "x-webkit-deflate-frame",
            "permessage-bzip2, a;b",
            "",
        ] {
            assert_eq!(accept(Deflate::new(), &parse(other)), None, "{other}");
        }
    }

    #[test]
    fn s5_1_of_several_offers_the_first_that_can_be_honoured_is_accepted() {
        for (offers, parameters, agreed) in [
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "", (ALL, ALL)),
            (
                "permessage-deflate; client_max_window_bits=10, permessage-deflate",
                "; client_max_window_bits=10",
                (ALL, (true, 10)),
            ),
            ("permessage-deflate, permessage-deflate; server_max_window_bits=10", "", (ALL, ALL)),
            (
                "a; b=c, permessage-deflate; foo, permessage-bzip2, \
                    permessage-deflate; server_no_context_takeover, permessage-deflate",
                "; server_no_context_takeover",
                ((false, 15), ALL),
            ),
        ] {
            let expected = Some((of(agreed.0, agreed.1), element(parameters)));
            assert_eq!(accept(Deflate::new(), &parse(offers)), expected, "{offers}");
        }
        let fields = ["permessage-deflate; foo", "x, permessage-deflate"].map(str::as_bytes);
        assert!(accept(Deflate::new(), &Extension::parse(fields).unwrap()).is_some());
    }

    #[test]
    fn s7_1_a_client_takes_an_answer_that_fits_its_offer() {
        let new = Deflate::new();
        for (offer, answered, agreed) in [
            (new, "", (ALL, ALL)),
            // §7.1.1: both of these also without an offer.
            (new, "; server_no_context_takeover", ((false, 15), ALL)),
            (new, "; client_no_context_takeover", (ALL, (false, 15))),
            (new, "; client_no_context_takeover; server_no_context_takeover", ((false, 15), (false, 15))),
            (of((false, 15), ALL), "; server_no_context_takeover", ((false, 15), ALL)),
            // §7.1.1.2: what a client said it would not do it does not, though the answer allows it.
            (of(ALL, (false, 15)), "", (ALL, (false, 15))),
            (of(ALL, (false, 15)), "; client_no_context_takeover", (ALL, (false, 15))),
            // §7.1.2.1: also without an offer, and 8 can be read.
            (new, "; server_max_window_bits=15", (ALL, ALL)),
            (new, "; server_max_window_bits=10", ((true, 10), ALL)),
            (new, "; server_max_window_bits=8", ((true, 8), ALL)),
            (new, "; server_max_window_bits=\"9\"", ((true, 9), ALL)),
            (of((true, 10), ALL), "; server_max_window_bits=10", ((true, 10), ALL)),
            (of((true, 10), ALL), "; server_max_window_bits=9", ((true, 9), ALL)),
            (of((true, 8), ALL), "; server_max_window_bits=8", ((true, 8), ALL)),
            // §7.1.2.2: a client always offers it.
            (new, "; client_max_window_bits=15", (ALL, ALL)),
            (new, "; client_max_window_bits=9", (ALL, (true, 9))),
            (new, "; client_max_window_bits=8", (ALL, (true, 8))),
            (new, "; client_max_window_bits=\"1\\1\"", (ALL, (true, 11))),
            (of(ALL, (true, 10)), "", (ALL, (true, 10))),
            (of(ALL, (true, 10)), "; client_max_window_bits=10", (ALL, (true, 10))),
            (of(ALL, (true, 10)), "; client_max_window_bits=8", (ALL, (true, 8))),
            (of(ALL, (true, 8)), "", (ALL, (true, 9))),
            (of(ALL, (true, 8)), "; client_max_window_bits=9", (ALL, (true, 9))),
            (
                of((false, 12), (true, 13)),
                "; client_max_window_bits=11; server_max_window_bits=10; client_no_context_takeover; \
                    server_no_context_takeover",
                ((false, 10), (false, 11)),
            ),
        ] {
            let expected = Ok(Some(of(agreed.0, agreed.1)));
            assert_eq!(confirm(&[offer], &parse(&element(answered))), expected, "{offer:?}, {answered:?}");
        }
        // Nothing chosen is nothing agreed on.
        assert_eq!(confirm(&[new], &[]), Ok(None));
        assert_eq!(confirm(&[], &[]), Ok(None));
    }

    #[test]
    fn s7_1_a_client_fails_on_an_answer_that_does_not_fit() {
        use HandshakeError::{DeflateAnswer, ExtensionNotOffered};

        let new = Deflate::new();
        for &parameters in INVALID {
            for offer in [new, Deflate::no_context_takeover(), of((true, 10), (true, 10))] {
                assert_eq!(
                    confirm(&[offer], &parse(&element(parameters))),
                    Err(DeflateAnswer),
                    "{parameters}"
                );
            }
        }
        for (offer, answered) in [
            // §7.1.2.2: without a value it says nothing that an answer could say.
            (new, "; client_max_window_bits"),
            // §7.1.1.1, §7.1.2.1: accepted by including it, with no larger value.
            (of((false, 15), ALL), ""),
            (of((false, 15), ALL), "; client_no_context_takeover"),
            (of((true, 10), ALL), ""),
            (of((true, 10), ALL), "; server_max_window_bits=11"),
            (of((true, 10), ALL), "; server_max_window_bits=15"),
            (of((true, 8), ALL), "; server_max_window_bits=9"),
        ] {
            let answer = element(answered);
            assert_eq!(confirm(&[offer], &parse(&answer)), Err(DeflateAnswer), "{offer:?}, {answered:?}");
        }
        // §5.1: two offers may be made, one is accepted.
        for (offers, answer, error) in [
            (&[new][..], "permessage-deflate, permessage-deflate", DeflateAnswer),
            (&[new, new], "permessage-deflate, permessage-deflate", DeflateAnswer),
            (&[new], "permessage-deflate, permessage-deflate; foo", DeflateAnswer),
            (&[new], "x", ExtensionNotOffered),
            (&[new], "permessage-deflate, x", ExtensionNotOffered),
            (&[new], "x, permessage-deflate", ExtensionNotOffered),
            (&[new], "Permessage-Deflate", ExtensionNotOffered),
            (&[new], "x-webkit-deflate-frame", ExtensionNotOffered),
            (&[], "permessage-deflate", ExtensionNotOffered),
            (&[], "permessage-deflate; foo", ExtensionNotOffered),
        ] {
            assert_eq!(confirm(offers, &parse(answer)), Err(error), "{offers:?}, {answer}");
        }
    }

    #[test]
    fn s5_1_an_answer_may_fit_any_of_several_offers() {
        let offers = [of((false, 10), (false, 15)), of((true, 12), ALL), Deflate::new()];
        for (answered, agreed) in [
            ("; server_no_context_takeover; server_max_window_bits=10", ((false, 10), (false, 15))),
            ("; server_no_context_takeover; server_max_window_bits=11", ((false, 11), ALL)),
            ("; server_max_window_bits=10", ((true, 10), ALL)),
            ("; server_max_window_bits=13", ((true, 13), ALL)),
            ("", (ALL, ALL)),
        ] {
            let expected = Ok(Some(of(agreed.0, agreed.1)));
            assert_eq!(confirm(&offers, &parse(&element(answered))), expected, "{answered}");
        }
        let answer = parse("permessage-deflate; server_max_window_bits=13");
        assert_eq!(confirm(&offers[..2], &answer), Err(HandshakeError::DeflateAnswer));
    }

    /// Each wish of a client against each of a server: neither may send what the other does not expect.
    #[test]
    fn s7_1_two_ends_of_ours_never_disagree() {
        for (wish, most) in wishes().flat_map(|wish| wishes().map(move |most| (wish, most))) {
            let offered = offer(wish);
            let Some((server, answer)) = accept(most, &parse(&offered)) else {
                assert_eq!(wish.sent_by(Role::Server).window_bits, 8, "{offered} is declined");
                continue;
            };
            let client = match confirm(&[wish], &parse(&answer)) {
                Ok(Some(client)) => client,
                other => panic!("{offered}, {answer}: {other:?}"),
            };
            for role in [Role::Server, Role::Client] {
                let (sender, receiver) = match role {
                    Role::Server => (server.sent_by(role), client.sent_by(role)),
                    Role::Client => (client.sent_by(role), server.sent_by(role)),
                };
                assert!(receiver.takeover || !sender.takeover, "{role:?}: {offered}, {answer}");
                assert!(sender.window_bits <= receiver.window_bits, "{role:?}: {offered}, {answer}");
                for limit in [wish.sent_by(role), most.sent_by(role)] {
                    assert!(limit.takeover || !sender.takeover, "{role:?}: {offered}, {answer}");
                    assert!(sender.window_bits <= limit.window_bits.max(9), "{role:?}: {offered}, {answer}");
                }
            }
        }
    }
}
