//! The oracle of `extensions`: Sec-WebSocket-Extensions is read by its grammar, errors are told at the first byte that
//! nothing could follow, and neither end agrees to more than it wants and the other offered.

pub mod twin;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Buf;
use taut::proto::handshake::{
    Accept, ClientHandshake, ClientRequest, Extension, HandshakeError, ServerHandshake, deflate,
};
use taut::proto::{Config, Deflate, Role};

use crate::http::{Head, accept};
use crate::script::{Piece, Script};
use twin::{Element, Said, Unfit};

/// What two ends want, and what one of them says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The most that the server agrees to.
    pub most: Deflate,
    /// What the client offers.
    pub offers: Vec<Deflate>,
    /// The values of the fields that come from the other end; a cut ends one and begins the next. A line is one of
    /// [`LINES`].
    pub script: Script,
}

impl Input {
    /// The bytes that mean this input.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![byte(self.most), self.offers.len() as u8];
        out.extend(self.offers.iter().copied().map(byte));
        self.script.encode(&mut out);
        out
    }

    /// The values of the fields.
    #[must_use]
    pub fn values(&self) -> Vec<Vec<u8>> {
        let wire = self.script.wire(MAX_VALUES, |number| LINES[usize::from(number) % LINES.len()].into());
        wire.pieces().take(MOST_FIELDS).map(<[u8]>::to_vec).collect()
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let [most, count]: [u8; 2] = bytes.arbitrary()?;
        let offers =
            (0..count & 3).map(|_| Ok(wish(bytes.arbitrary()?))).collect::<arbitrary::Result<_>>()?;
        Ok(Self { most: wish(most), offers, script: Script::arbitrary(bytes)? })
    }
}

/// The wish that a byte means: takeover and window of the server, then of the client.
#[must_use]
pub const fn wish(byte: u8) -> Deflate {
    Deflate::new()
        .server_no_context_takeover(byte & 8 != 0)
        .server_max_window_bits(15 - (byte & 7))
        .client_no_context_takeover(byte & 0x80 != 0)
        .client_max_window_bits(15 - (byte >> 4 & 7))
}

/// The byte that means this wish.
#[must_use]
pub fn byte(wish: Deflate) -> u8 {
    let half = |role| (15 - wish.window_bits(role)) | u8::from(!wish.takes_over(role)) << 3;
    half(Role::Server) | half(Role::Client) << 4
}

/// Reads the values, and negotiates.
///
/// # Panics
/// If the grammar is not kept, or the ends agree to what they must not.
pub fn check(input: &Input) {
    let values = input.values();
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    let found = Extension::parse(values.iter().copied());
    let expected = twin::read(&values);
    let elements = match (&found, expected) {
        (Ok(found), Some(elements)) => {
            assert_eq!(twin::of(found), elements);
            check_accept(input.most, found, &elements);
            check_confirm(&input.offers, found, &elements);
            Some(elements)
        }
        (Err(error), None) => {
            check_place(&values, error);
            None
        }
        (found, expected) => panic!("{found:?}, but the grammar has {expected:?}"),
    };
    // In a head, values have no spaces around them, and no control characters at all.
    if values.iter().all(|value| value.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control())) {
        check_server(input, &values, elements.as_deref());
        check_client(input, &values, elements.as_deref());
    }
    check_both(input);
}

/// The error is told where the grammar ends: something could follow what comes before, nothing the byte itself.
fn check_place(values: &[&[u8]], error: &HandshakeError) {
    let HandshakeError::Extensions { at } = *error else { panic!("{error:?}") };
    let Some(wrong) = values.iter().find(|value| twin::read_list(value).is_none()) else {
        assert_eq!(at, 0, "only empty elements");
        return;
    };
    assert!(can_go_on(&wrong[..at]), "at {at}, but it was wrong before");
    assert!(at == wrong.len() || !can_go_on(&wrong[..=at]), "at {at}, but something could follow");
}

fn can_go_on(start: &[u8]) -> bool {
    ["", "a", "\"", "a\""].iter().any(|end| twin::read_list(&[start, end.as_bytes()].concat()).is_some())
}

/// A server agrees to the first offer that it can honour, and to no more than that.
fn check_accept(most: Deflate, found: &[Extension<'_>], elements: &[Element]) {
    let Some((agreed, answer)) = deflate::accept(most, found) else {
        assert_eq!(twin::accept(most, elements), None, "an offer was good");
        return;
    };
    let (expected, offer) = twin::accept(most, elements).expect("no offer was good");
    assert_eq!(agreed, expected);
    check_answer(agreed, &answer, &offer);
}

/// What a server answers says all that was agreed on, and nothing that the offer does not allow.
fn check_answer(agreed: Deflate, answer: &str, offer: &Said) {
    let elements = twin::read(&[answer.as_bytes()]).expect("an answer within the grammar");
    let [element] = &elements[..] else { panic!("{answer} is not one element") };
    let said = Said::by(element).expect("good parameters");
    assert_eq!(said.server_resets, !agreed.takes_over(Role::Server));
    assert_eq!(said.client_resets, !agreed.takes_over(Role::Client));
    assert!(said.server_resets || !offer.server_resets, "the client wants no takeover");
    // RFC 7692 §7.1.2.1: a limit that was offered is answered, "with the same or smaller value".
    if let Some(limit) = offer.server_bits {
        assert!(said.server_bits.expect("an answer to the limit") <= limit);
    }
    assert!(agreed.window_bits(Role::Server) <= said.server_bits.unwrap_or(15));
    // RFC 7692 §7.1.2.2: only to a client that offered it, and then with a value.
    if let Some(bits) = said.client_bits {
        assert!(bits.expect("a value") <= offer.client_bits.expect("an offer").unwrap_or(15));
    }
    // What the client may do is what we expect of it.
    assert_eq!(agreed.window_bits(Role::Client), said.client_bits.flatten().unwrap_or(15));
}

/// A client takes what fits an offer of its own, and keeps to all that do.
fn check_confirm(offers: &[Deflate], found: &[Extension<'_>], elements: &[Element]) {
    let agreed = deflate::confirm(offers, found);
    assert_eq!(agreed.clone().map_err(|_| Unfit), twin::confirm(offers, elements), "{agreed:?}");
    if let Ok(Some(agreed)) = agreed {
        let said = Said::by(&elements[0]).expect("good parameters");
        assert!(agreed.window_bits(Role::Client) <= said.client_bits.flatten().unwrap_or(15));
        assert!(!agreed.takes_over(Role::Client) || !said.client_resets);
        let within = |offer: &Deflate| {
            agreed.window_bits(Role::Server) <= offer.window_bits(Role::Server)
                && agreed.window_bits(Role::Client) <= offer.window_bits(Role::Client).max(9)
                && (!agreed.takes_over(Role::Server) || offer.takes_over(Role::Server))
                && (!agreed.takes_over(Role::Client) || offer.takes_over(Role::Client))
        };
        assert!(offers.iter().any(within), "{agreed:?} is within no offer");
    }
}

/// The values in a request: a server fails those outside the grammar, and answers the others.
fn check_server(input: &Input, values: &[&[u8]], elements: Option<&[Element]>) {
    let mut server = ServerHandshake::new();
    server.feed(REQUEST);
    server.feed(&fields(values));
    let result = server.poll();
    let Some(elements) = elements else {
        assert!(matches!(result, Err(HandshakeError::Extensions { .. })), "{result:?}");
        return;
    };
    let pending = result.expect("a good request").expect("a whole request");
    let accepted = pending.accept(Accept::new().deflate(input.most), Config::new());
    let mut connection = accepted.expect("no subprotocol");
    let head = Head::read(connection.output().chunk()).expect("a head");
    match twin::accept(input.most, elements) {
        None => assert!(head.all("sec-websocket-extensions").is_empty(), "no offer was good"),
        Some((agreed, offer)) => {
            let answer = head.only("sec-websocket-extensions").expect("an answer");
            check_answer(agreed, std::str::from_utf8(answer).expect("text"), &offer);
        }
    }
}

/// The values in an answer: a client that gets several fields, or what it did not offer, fails.
fn check_client(input: &Input, values: &[&[u8]], elements: Option<&[Element]>) {
    let mut client = ClientHandshake::new(&request(&input.offers), NONCE);
    client.feed(ANSWER);
    client.feed(format!("Sec-WebSocket-Accept: {}\r\n", accept(KEY)).as_bytes());
    client.feed(&fields(values));
    let agreed = match client.poll() {
        Ok(established) => Ok(established.expect("a whole answer").agreement().deflate()),
        Err(_) => Err(Unfit),
    };
    let expected = match (values, elements) {
        ([_], Some(elements)) => twin::confirm(&input.offers, elements),
        _ => Err(Unfit),
    };
    assert_eq!(agreed, expected);
}

/// A client of ours and a server of ours: neither may send what the other does not expect.
fn check_both(input: &Input) {
    let mut client = ClientHandshake::new(&request(&input.offers), NONCE);
    let mut server = ServerHandshake::new();
    server.feed(client.output().chunk());
    let pending = server.poll().expect("a good request").expect("a whole request");
    let offers =
        Extension::parse(pending.request().fields().all("Sec-WebSocket-Extensions")).expect("our grammar");
    assert_eq!(offers.len(), input.offers.len());
    let server_agreed = deflate::accept(input.most, &offers).map(|(agreed, _)| agreed);
    let accepted = pending.accept(Accept::new().deflate(input.most), Config::new());
    client.feed(accepted.expect("no subprotocol").output().chunk());
    let established = client.poll().expect("a good answer").expect("a whole answer");
    let client_agreed = established.agreement().deflate();
    let (Some(server), Some(client)) = (server_agreed, client_agreed) else {
        assert_eq!(server_agreed, client_agreed, "both or none");
        return;
    };
    for role in [Role::Server, Role::Client] {
        let (sender, receiver) = if role == Role::Server { (server, client) } else { (client, server) };
        assert!(receiver.takes_over(role) || !sender.takes_over(role), "{role:?} takes over");
        assert!(sender.window_bits(role) <= receiver.window_bits(role), "{role:?} has too large a window");
    }
}

fn request(offers: &[Deflate]) -> ClientRequest {
    let request = ClientRequest::new("a", "/").expect("a host");
    offers.iter().fold(request, |request, &offer| request.deflate(offer))
}

/// The field lines with these values, and the empty line.
fn fields(values: &[&[u8]]) -> Vec<u8> {
    let mut lines = Vec::new();
    for value in values {
        lines.extend_from_slice(b"Sec-WebSocket-Extensions: ");
        lines.extend_from_slice(value);
        lines.extend_from_slice(b"\r\n");
    }
    lines.extend_from_slice(b"\r\n");
    lines
}

const NONCE: [u8; 16] = *b"the sample nonce";
const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";

/// The longest values, together.
const MAX_VALUES: usize = 8 << 10;

/// How many fields a request has, fewer than the limit.
const MOST_FIELDS: usize = 50;

/// Parts of values.
pub const LINES: [&str; 32] = [
    "permessage-deflate",
    "; ",
    ", ",
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
    "=",
    "8",
    "9",
    "10",
    "15",
    "16",
    "7",
    "0",
    "015",
    "+9",
    "\"",
    "\"10\"",
    "\"1\\0\"",
    "\"\"",
    "\\",
    " \t",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_max_window_bits=10",
    "; server_no_context_takeover; client_no_context_takeover",
    "; client_max_window_bits=9",
    "; server_max_window_bits=8",
    "x-webkit-deflate-frame",
    "constructor; __proto__=toString",
    "Permessage-Deflate",
    "99999999999999999999",
];

/// Every seed, with the name of its file.
#[must_use]
pub fn seeds() -> Vec<(String, Input)> {
    let mut seeds = Vec::new();
    let mut add = |name: &str, most: u8, offers: &[u8], values: &[&str]| {
        let mut pieces = Vec::new();
        for (number, value) in values.iter().enumerate() {
            pieces.extend((number > 0).then_some(Piece::Cut));
            pieces.push(Piece::Raw(value.as_bytes().to_vec()));
        }
        let offers = offers.iter().copied().map(wish).collect();
        seeds.push((name.to_owned(), Input { most: wish(most), offers, script: Script::new(pieces) }));
    };
    add("plain", 0, &[0], &["permessage-deflate"]);
    add("chrome", 0, &[0], &["permessage-deflate; client_max_window_bits"]);
    add("none-offered", 0, &[], &["permessage-deflate"]);
    add("unknown", 0, &[0], &["x-webkit-deflate-frame, permessage-deflate; x=1"]);
    add(
        "all-parameters",
        0x88,
        &[0x11],
        &[
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=11",
        ],
    );
    add("fields-two", 0, &[0], &["permessage-deflate; x", "permessage-deflate"]);
    add("fields-empty", 0, &[0], &["", " ,, "]);
    add(
        "offers-three",
        0x21,
        &[0x8A, 0x03, 0x00],
        &["permessage-deflate; server_no_context_takeover; server_max_window_bits=10"],
    );
    add(
        "windows-of-8",
        0x77,
        &[0x77],
        &["permessage-deflate; server_max_window_bits=8, permessage-deflate; client_max_window_bits=8"],
    );
    add(
        "repeated-parameter",
        0,
        &[0],
        &["permessage-deflate; client_max_window_bits; client_max_window_bits=10"],
    );
    for bits in
        ["", "0", "7", "8", "9", "15", "16", "015", "+9", "\"9\"", "\"1\\5\"", "99999999999999999999", "\"\""]
    {
        for end in ["server", "client"] {
            let value = format!("permessage-deflate; {end}_max_window_bits={bits}");
            let shown = bits.replace('"', "quote").replace('\\', "escape").replace('+', "plus");
            add(&format!("window-{end}-{shown}"), 0, &[0], &[&value]);
        }
    }
    for (name, value) in [
        ("quote-open", "a;b=\"c"),
        ("quote-escaped", "a;b=\"\\c\\\\\""),
        ("quote-with-comma", "a;b=\"c,d\""),
        ("quoted-name", "\"a\""),
        ("spaces", " \t a \t;\tb = c , d "),
        ("separators", "a;;b"),
        ("eight-bits", "a\u{fc}"),
        ("control", "a\0"),
    ] {
        add(&format!("grammar-{name}"), 0, &[0], &[value]);
    }
    let pieces = vec![Piece::Line(0), Piece::Raw(b";a=\"\\".to_vec()), Piece::Repeat(255)];
    seeds.push(("long".into(), Input { most: wish(0), offers: vec![], script: Script::new(pieces) }));
    seeds
}
