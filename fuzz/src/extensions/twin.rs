//! The twin of the negotiation: a lexer, lists of lists, and the sentences of RFC 7692 §7.1 one by one.

use taut::proto::handshake::Extension;
use taut::proto::{Deflate, Role};

use crate::http::is_token;

/// An extension: its name, and its parameters with their values.
pub type Element = (String, Vec<(String, Option<String>)>);

/// Reads the values of all fields of a head as one list (RFC 6455 §9.1). `None` if they are outside the grammar.
#[must_use]
pub fn read(values: &[&[u8]]) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for value in values {
        elements.extend(read_list(value)?);
    }
    (values.is_empty() || !elements.is_empty()).then_some(elements)
}

/// The elements of one value, of which there may be none.
#[must_use]
pub fn read_list(value: &[u8]) -> Option<Vec<Element>> {
    let lexemes = lexemes(value)?;
    let elements =
        lexemes.split(|lexeme| *lexeme == Lexeme::Mark(b',')).filter(|element| !element.is_empty());
    elements.map(read_element).collect()
}

fn read_element(element: &[Lexeme]) -> Option<Element> {
    let mut parts = element.split(|lexeme| *lexeme == Lexeme::Mark(b';'));
    let Some([Lexeme::Token(name)]) = parts.next() else { return None };
    let parameter = |part: &[Lexeme]| match part {
        [Lexeme::Token(name)] => Some((name.clone(), None)),
        [Lexeme::Token(name), Lexeme::Mark(b'='), Lexeme::Token(value) | Lexeme::Quoted(value)] => {
            Some((name.clone(), Some(value.clone())))
        }
        _ => None,
    };
    Some((name.clone(), parts.map(parameter).collect::<Option<_>>()?))
}

/// The elements that the engine read, in the twin's terms.
#[must_use]
pub fn of(extensions: &[Extension<'_>]) -> Vec<Element> {
    let parameter = |(name, value): (&str, Option<&str>)| (name.to_owned(), value.map(str::to_owned));
    extensions
        .iter()
        .map(|element| (element.name().to_owned(), element.parameters().map(parameter).collect()))
        .collect()
}

/// What an end says of itself and of the other in one element of permessage-deflate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `server_no_context_takeover`.
    pub server_resets: bool,
    /// `client_no_context_takeover`.
    pub client_resets: bool,
    /// `server_max_window_bits`.
    pub server_bits: Option<u8>,
    /// `client_max_window_bits`, and its value.
    pub client_bits: Option<Option<u8>>,
}

impl Said {
    /// `None` if a parameter is unknown, comes twice, or has a value that it cannot have (RFC 7692 §7.1).
    #[must_use]
    pub fn by(element: &Element) -> Option<Self> {
        let (name, parameters) = element;
        let names: Vec<&str> = parameters.iter().map(|parameter| &*parameter.0).collect();
        let twice = (1..names.len()).any(|at| names[..at].contains(&names[at]));
        if name != NAME || twice || !names.iter().all(|name| PARAMETERS.contains(name)) {
            return None;
        }
        let find =
            |name| parameters.iter().find(|parameter| parameter.0 == name).map(|parameter| &parameter.1);
        let flag = |name| match find(name) {
            None => Some(false),
            Some(None) => Some(true),
            Some(Some(_)) => None,
        };
        let bits = |value: &str| (8..=15).find(|bits| bits.to_string() == value);
        Some(Self {
            server_resets: flag(PARAMETERS[0])?,
            client_resets: flag(PARAMETERS[1])?,
            server_bits: match find(PARAMETERS[2]) {
                None => None,
                Some(value) => Some(bits(value.as_deref()?)?),
            },
            client_bits: match find(PARAMETERS[3]) {
                None => None,
                Some(None) => Some(None),
                Some(Some(value)) => Some(Some(bits(value)?)),
            },
        })
    }
}

/// What a server agrees to that wants no more than `most`.
#[must_use]
pub fn accept(most: Deflate, offers: &[Element]) -> Option<(Deflate, Said)> {
    // Our compressor has no window of 8 bits: such an offer cannot be honoured.
    let good = |offer: &Said| offer.server_bits != Some(8);
    let offer = offers.iter().filter_map(Said::by).find(good)?;
    let server_bits = offer.server_bits.unwrap_or(15).min(most.window_bits(Role::Server).max(9));
    // RFC 7692 §7.1.2.2: a client that does not offer it cannot be asked.
    let client_bits = match offer.client_bits {
        None => 15,
        Some(limit) => limit.unwrap_or(15).min(most.window_bits(Role::Client)),
    };
    let agreed = Deflate::new()
        .server_no_context_takeover(offer.server_resets || !most.takes_over(Role::Server))
        .client_no_context_takeover(offer.client_resets || !most.takes_over(Role::Client))
        .server_max_window_bits(server_bits)
        .client_max_window_bits(client_bits);
    Some((agreed, offer))
}

/// An answer that no offer fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

/// What a client has agreed to that made these offers; `Err` if it must fail the connection.
///
/// # Errors
/// [`Unfit`] if the answer fits no offer.
pub fn confirm(offers: &[Deflate], answer: &[Element]) -> Result<Option<Deflate>, Unfit> {
    let [element] = answer else {
        return if answer.is_empty() { Ok(None) } else { Err(Unfit) };
    };
    let answer = Said::by(element).filter(|answer| answer.client_bits != Some(None)).ok_or(Unfit)?;
    let fits = |offer: &&Deflate| {
        let limit = offer.window_bits(Role::Server);
        (offer.takes_over(Role::Server) || answer.server_resets)
            && (limit == 15 || answer.server_bits.is_some())
            && answer.server_bits.is_none_or(|bits| bits <= limit)
    };
    let fitting: Vec<&Deflate> = offers.iter().filter(fits).collect();
    // Any of these may be the one that the server took, so that the client keeps to all of them.
    let own = fitting.iter().map(|offer| offer.window_bits(Role::Client).max(9)).min().ok_or(Unfit)?;
    let resets = answer.client_resets || fitting.iter().any(|offer| !offer.takes_over(Role::Client));
    Ok(Some(
        Deflate::new()
            .server_no_context_takeover(answer.server_resets)
            .client_no_context_takeover(resets)
            .server_max_window_bits(answer.server_bits.unwrap_or(15))
            .client_max_window_bits(own.min(answer.client_bits.flatten().unwrap_or(15))),
    ))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Lexeme {
    Token(String),
    Quoted(String),
    Mark(u8),
}

/// The words, quoted words and marks of a value. `None` where there is none of these.
fn lexemes(value: &[u8]) -> Option<Vec<Lexeme>> {
    let mut lexemes = Vec::new();
    let mut rest = value.to_vec();
    rest.reverse();
    while let Some(byte) = rest.pop() {
        match byte {
            b' ' | b'\t' => {}
            b',' | b';' | b'=' => lexemes.push(Lexeme::Mark(byte)),
            b'"' => {
                let mut word = Vec::new();
                loop {
                    match rest.pop()? {
                        b'"' => break,
                        b'\\' => word.push(rest.pop()?),
                        byte => word.push(byte),
                    }
                }
                // RFC 6455 §9.1: also "after quoted-string unescaping" it has to be a token.
                lexemes.push(Lexeme::Quoted(token(word)?));
            }
            _ => {
                let mut word = vec![byte];
                while rest.last().is_some_and(|byte| !b" \t,;=\"".contains(byte)) {
                    word.extend(rest.pop());
                }
                lexemes.push(Lexeme::Token(token(word)?));
            }
        }
    }
    Some(lexemes)
}

fn token(word: Vec<u8>) -> Option<String> {
    Some(word).filter(|word| is_token(word)).and_then(|word| String::from_utf8(word).ok())
}

/// RFC 7692 §7.
const NAME: &str = "permessage-deflate";

/// RFC 7692 §7.1.
const PARAMETERS: [&str; 4] = [
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
];
