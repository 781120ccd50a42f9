//! The parameters of permessage-deflate as the tests see them: in a header field, in a query, and by the rules of
//! RFC 7692 §7.1, written down a second time.

use taut::proto::{Deflate, Role};

/// What one element of Sec-WebSocket-Extensions says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) server_no_context_takeover: bool,
    pub(crate) client_no_context_takeover: bool,
    pub(crate) server_max_window_bits: Option<u8>,
    pub(crate) client_max_window_bits: ClientBits,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClientBits {
    #[default]
    Absent,
    /// Without a value, which only an offer may have.
    Any,
    Bits(u8),
}

/// How one end compresses what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) takeover: bool,
    pub(crate) bits: u8,
}

impl Parameters {
    /// Reads a header field; `None` if it is empty.
    pub(crate) fn parse(field: &str) -> Result<Option<Self>, String> {
        let words: Vec<&str> = field.split("; ").collect();
        let parameters = match &words[..] {
            [""] => return Ok(None),
            [NAME, parameters @ ..] => parameters,
            _ => return Err(format!("no {NAME}: {field:?}")),
        };
        Self::from_words(parameters).map(Some).ok_or_else(|| format!("not by RFC 7692 §7.1: {field:?}"))
    }

    /// The words that a header field or a query is made of.
    pub(crate) fn from_words(words: &[&str]) -> Option<Self> {
        let mut read = Self::default();
        for &word in words {
            match word.split_once('=') {
                None if word == SERVER_NO_TAKEOVER => read.server_no_context_takeover = true,
                None if word == CLIENT_NO_TAKEOVER => read.client_no_context_takeover = true,
                None if word == CLIENT_BITS => read.client_max_window_bits = ClientBits::Any,
                Some((SERVER_BITS, value)) => read.server_max_window_bits = Some(bits(value)?),
                Some((CLIENT_BITS, value)) => read.client_max_window_bits = ClientBits::Bits(bits(value)?),
                _ => return None,
            }
        }
        // RFC 7692 §7.1: no parameter comes twice.
        (read.words().len() == words.len()).then_some(read)
    }

    /// The words, in the order in which RFC 7692 §7.1 has them.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.server_no_context_takeover.then(|| SERVER_NO_TAKEOVER.into()));
        words.extend(self.client_no_context_takeover.then(|| CLIENT_NO_TAKEOVER.into()));
        words.extend(self.server_max_window_bits.map(|bits| format!("{SERVER_BITS}={bits}")));
        match self.client_max_window_bits {
            ClientBits::Absent => {}
            ClientBits::Any => words.push(CLIENT_BITS.into()),
            ClientBits::Bits(bits) => words.push(format!("{CLIENT_BITS}={bits}")),
        }
        words
    }

    pub(crate) fn deflate(&self) -> Deflate {
        from_ends(self.end(Role::Server), self.end(Role::Client))
    }

    /// How the end in this role compresses if this is the answer to the offer.
    pub(crate) fn end(&self, role: Role) -> End {
        match role {
            Role::Server => End {
                takeover: !self.server_no_context_takeover,
                bits: self.server_max_window_bits.unwrap_or(15),
            },
            Role::Client => {
                End { takeover: !self.client_no_context_takeover, bits: self.client_max_window_bits.or(15) }
            }
        }
    }

    /// What our client offers if this is its wish: zlib compresses in no window of 8 bits.
    pub(crate) fn offered(mut self) -> Self {
        self.client_max_window_bits = match self.client_max_window_bits {
            ClientBits::Absent => ClientBits::Any,
            ClientBits::Any => ClientBits::Any,
            ClientBits::Bits(bits) => ClientBits::Bits(bits.max(9)),
        };
        self
    }

    /// What our server answers to an offer if this is its wish; `None` if it declines.
    pub(crate) fn answer(&self, offer: &Self) -> Option<Self> {
        let least = |wish: Option<u8>, offer: u8| wish.unwrap_or(15).max(9).min(offer);
        if offer.server_max_window_bits == Some(8) {
            return None;
        }
        let asked = self.client_max_window_bits.or(15).min(offer.client_max_window_bits.or(15));
        Some(Self {
            server_no_context_takeover: self.server_no_context_takeover || offer.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover || offer.client_no_context_takeover,
            server_max_window_bits: offer
                .server_max_window_bits
                .map(|offer| least(self.server_max_window_bits, offer)),
            client_max_window_bits: match offer.client_max_window_bits {
                ClientBits::Any | ClientBits::Bits(_) if asked < 15 => ClientBits::Bits(asked),
                _ => ClientBits::Absent,
            },
        })
    }

    /// Whether a server may give this answer to an offer.
    pub(crate) fn fits(&self, offer: &Self) -> bool {
        // RFC 7692 §7.1.1.1, §7.1.2.1: what was offered has to be answered; what was not may be.
        let takeover = self.server_no_context_takeover || !offer.server_no_context_takeover;
        let server = match (offer.server_max_window_bits, self.server_max_window_bits) {
            (Some(offer), answer) => answer.is_some_and(|bits| bits <= offer),
            (None, _) => true,
        };
        // RFC 7692 §7.1.2.2: what was not offered must not be answered.
        let client = match (offer.client_max_window_bits, self.client_max_window_bits) {
            (_, ClientBits::Absent) => true,
            (ClientBits::Any, ClientBits::Bits(_)) => true,
            (ClientBits::Bits(offer), ClientBits::Bits(bits)) => bits <= offer,
            _ => false,
        };
        takeover && server && client
    }

    /// How we compress after this answer: an end may keep to less than it has to.
    pub(crate) fn own_end(&self, wish: &Self, ours: Role) -> End {
        let (answered, wish) = (self.end(ours), wish.end(ours));
        End { takeover: answered.takeover && wish.takeover, bits: answered.bits.min(wish.bits.max(9)) }
    }
}

impl ClientBits {
    fn or(self, default: u8) -> u8 {
        match self {
            Self::Bits(bits) => bits,
            Self::Absent | Self::Any => default,
        }
    }
}

pub(crate) fn from_ends(server: End, client: End) -> Deflate {
    Deflate::new()
        .server_no_context_takeover(!server.takeover)
        .server_max_window_bits(server.bits)
        .client_no_context_takeover(!client.takeover)
        .client_max_window_bits(client.bits)
}

/// RFC 7692 §7.1.2.1: "a decimal integer value without leading zeroes between 8 to 15, inclusive".
fn bits(value: &str) -> Option<u8> {
    (8..=15).find(|bits: &u8| bits.to_string() == value)
}

const NAME: &str = "permessage-deflate";
const SERVER_NO_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";
