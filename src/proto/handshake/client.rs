//! The client's side of the opening handshake (RFC 6455 §4.1).

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use bytes::{Buf, BytesMut};

use super::super::agreement::Agreement;
#[cfg(feature = "deflate")]
use super::super::agreement::Deflate;
use super::super::config::{Config, HandshakeLimits, Role};
use super::super::connection::Connection;
use super::super::mask::MaskSource;
use super::super::output::Output;
use super::body::{BodyReader, Progress};
#[cfg(feature = "deflate")]
use super::deflate;
use super::error::{BuildError, HandshakeError};
use super::extensions::Extension;
use super::fields::{Fields, Response, is_token};
use super::head::{FieldLines, Scanner, at_most_one, check_connection, only, with_room};
use super::key::{accept_key, key_text};
use super::uri::{WebSocketUri, checked_resource, split_authority};

/// What a client asks for. Methods that take text from the caller check it at once, so that a
/// [`ClientHandshake`] cannot fail for it.
#[derive(Clone)]
pub struct ClientRequest {
    host: Box<str>,
    resource: Box<str>,
    subprotocols: Vec<Box<str>>,
    #[cfg(feature = "deflate")]
    deflate: Vec<Deflate>,
    lines: FieldLines,
}

impl ClientRequest {
    /// Asks `host` (a name or address, with the port if it is not the default one) for `resource` (path and
    /// query, or nothing for `/`).
    ///
    /// # Errors
    /// [`BuildError::Host`] and [`BuildError::Resource`].
    pub fn new(host: &str, resource: &str) -> Result<Self, BuildError> {
        split_authority(host).map_err(BuildError::Host)?;
        let resource = checked_resource(resource).map_err(BuildError::Resource)?;
        Ok(Self::from_valid(host, &resource))
    }

    /// Asks for what the URI names.
    #[must_use]
    pub fn from_uri(uri: &WebSocketUri) -> Self {
        Self::from_valid(&uri.authority(), uri.resource())
    }

    /// Offers a subprotocol, after those offered before: the server should choose an early one.
    ///
    /// # Errors
    /// [`BuildError::Subprotocol`] and [`BuildError::RepeatedSubprotocol`].
    pub fn subprotocol(mut self, name: &str) -> Result<Self, BuildError> {
        // RFC 6455 §4.1: "The elements that comprise this value MUST be non-empty strings with characters in
        // the range U+0021 to U+007E not including separator characters [...] and MUST all be unique strings."
        if !is_token(name.as_bytes()) {
            return Err(BuildError::Subprotocol(name.into()));
        }
        if self.subprotocols.iter().any(|offered| **offered == *name) {
            return Err(BuildError::RepeatedSubprotocol(name.into()));
        }
        self.subprotocols.push(name.into());
        Ok(self)
    }

    /// Offers permessage-deflate, after what was offered before: a server agrees to the first offer that it can
    /// honour (RFC 7692 §5).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, offer: Deflate) -> Self {
        self.deflate.push(offer);
        self
    }

    /// The offers of permessage-deflate so far.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate_offers(&self) -> &[Deflate] {
        &self.deflate
    }

    /// Adds a header field, such as Origin, Cookie or Authorization.
    ///
    /// # Errors
    /// [`BuildError::FieldName`], [`BuildError::FieldValue`], and [`BuildError::OwnedField`] for fields that
    /// the handshake sets by itself.
    pub fn field(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        self.lines.push(name, value)?;
        Ok(self)
    }

    /// The host, with the port if it is not the default one: in HTTP/2, `:authority`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Path and query: in HTTP/2, `:path`.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The header fields of an extended CONNECT (RFC 8441 §5), for an implementation of HTTP/2.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        fields.push("Sec-WebSocket-Version", b"13");
        if !self.subprotocols.is_empty() {
            fields.push("Sec-WebSocket-Protocol", self.subprotocols.join(", ").as_bytes());
        }
        #[cfg(feature = "deflate")]
        if !self.deflate.is_empty() {
            let offers: Vec<_> = self.deflate.iter().map(|&wish| deflate::offer(wish)).collect();
            fields.push("Sec-WebSocket-Extensions", offers.join(", ").as_bytes());
        }
        self.lines.iter().for_each(|(name, value)| fields.push(name, value.as_bytes()));
        fields
    }

    /// What the fields of the 2xx that answers an extended CONNECT agree to.
    ///
    /// # Errors
    /// A [`HandshakeError`] if that is not what this request offers.
    pub fn confirm(&self, fields: &Fields) -> Result<Agreement, HandshakeError> {
        #[cfg(feature = "deflate")]
        let offers = &self.deflate[..];
        #[cfg(not(feature = "deflate"))]
        let offers = &[];
        confirm(fields, &self.subprotocols, offers)
    }

    fn from_valid(host: &str, resource: &str) -> Self {
        Self {
            host: host.into(),
            resource: resource.into(),
            subprotocols: Vec::new(),
            #[cfg(feature = "deflate")]
            deflate: Vec::new(),
            lines: FieldLines::default(),
        }
    }

    fn head(&self, key: &[u8; 24]) -> Vec<u8> {
        let mut head = Vec::new();
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
        put(&[b"GET ", self.resource.as_bytes(), b" HTTP/1.1\r\nHost: ", self.host.as_bytes()]);
        put(&[b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ", key]);
        put(&[b"\r\nSec-WebSocket-Version: 13\r\n"]);
        if !self.subprotocols.is_empty() {
            put(&[b"Sec-WebSocket-Protocol: ", self.subprotocols.join(", ").as_bytes(), b"\r\n"]);
        }
        #[cfg(feature = "deflate")]
        if !self.deflate.is_empty() {
            let offers: Vec<_> = self.deflate.iter().map(|&wish| deflate::offer(wish)).collect();
            put(&[b"Sec-WebSocket-Extensions: ", offers.join(", ").as_bytes(), b"\r\n"]);
        }
        put(&[self.lines.as_bytes(), b"\r\n"]);
        head
    }
}

impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials, in fields or in the query, stay out of logs.
        f.debug_struct("ClientRequest")
            .field("host", &self.host)
            .field("subprotocols", &self.subprotocols)
            .finish_non_exhaustive()
    }
}

/// An opening handshake under way, on the client's side.
///
/// Write what [`output`](Self::output) holds; then read into [`input`](Self::input) and
/// [`poll`](Self::poll), until that gives a connection or an error.
pub struct ClientHandshake {
    input: BytesMut,
    eof: bool,
    output: Output,
    scanner: Scanner,
    max_body: usize,
    /// What Sec-WebSocket-Accept has to be.
    accept: [u8; 28],
    subprotocols: Vec<Box<str>>,
    #[cfg(feature = "deflate")]
    deflate: Vec<Deflate>,
    /// The server refuses; why comes in its body.
    refusal: Option<(Box<Response>, BodyReader)>,
    /// The handshake is over; what later polls give.
    over: Option<HandshakeError>,
}

impl ClientHandshake {
    /// Starts a handshake within the default limits. The nonce is 16 bytes that nobody can predict,
    /// new for each connection (RFC 6455 §4.1).
    #[must_use]
    pub fn new(request: &ClientRequest, nonce: [u8; 16]) -> Self {
        Self::with_limits(request, nonce, HandshakeLimits::new())
    }

    /// Starts a handshake within these limits on what the server may send before the connection is open.
    #[must_use]
    pub fn with_limits(request: &ClientRequest, nonce: [u8; 16], limits: HandshakeLimits) -> Self {
        let key = key_text(nonce);
        Self {
            input: BytesMut::new(),
            eof: false,
            output: Output::from_head(Role::Client, request.head(&key)),
            scanner: Scanner::new(limits),
            max_body: limits.max_body,
            accept: accept_key(&key),
            subprotocols: request.subprotocols.clone(),
            #[cfg(feature = "deflate")]
            deflate: request.deflate.clone(),
            refusal: None,
            over: None,
        }
    }

    /// Where the next read goes: it has room. Append only, and [`poll`](Self::poll) after each read: that
    /// keeps the buffer below [`HandshakeLimits::max_head`] and one read.
    pub fn input(&mut self) -> &mut BytesMut {
        with_room(&mut self.input)
    }

    /// Appends bytes that came to [`input`](Self::input), in memory of their size.
    pub fn feed(&mut self, data: &[u8]) {
        self.input.extend_from_slice(data);
    }

    /// Tells that the transport has no more bytes for us.
    pub const fn input_eof(&mut self) {
        self.eof = true;
    }

    /// The bytes to write: the request.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Looks at what has come. `Ok(None)`: read more. A result is final: later calls give the same error, or
    /// [`HandshakeError::Finished`] where the result was handed over (the connection, or the refusal).
    ///
    /// # Errors
    /// [`HandshakeError::Refused`] with the server's answer if that is not 101; another [`HandshakeError`]
    /// if the answer breaks a rule, or ended early.
    pub fn poll(&mut self) -> Result<Option<Established>, HandshakeError> {
        if let Some(error) = &self.over {
            self.input.clear();
            return Err(error.clone());
        }
        let result = self.advance();
        self.over = match &result {
            Ok(None) => None,
            Ok(Some(_)) | Err(HandshakeError::Refused(_)) => Some(HandshakeError::Finished),
            Err(error) => Some(error.clone()),
        };
        if result.is_err() {
            self.input = BytesMut::new();
        }
        result
    }

    /// Gives up waiting for the rest of an answer that refuses: takes it with as much of its body as has
    /// come. `None` if no such answer is under way. For callers whose deadline passes.
    pub fn take_refusal(&mut self) -> Option<Box<Response>> {
        let (response, _) = self.refusal.take()?;
        self.over = Some(HandshakeError::Finished);
        Some(response)
    }

    fn advance(&mut self) -> Result<Option<Established>, HandshakeError> {
        while self.refusal.is_none() {
            let Some(length) = self.scanner.scan(&self.input)? else {
                return self.scanner.wait(&self.input, self.eof).map(|()| None);
            };
            let (mut response, current) = self.scanner.parse_response(&self.input[..length])?;
            self.input.advance(length);
            match response.status {
                101 => return self.establish(response, current).map(Some),
                // RFC 9110 §15.2: "A client MUST be able to parse one or more 1xx responses received prior to a
                // final response". All of them together stay within the limit for one head.
                100..=199 => self.scanner.restart(length),
                _ => {
                    response.body_is_whole = false;
                    let reader = BodyReader::new(&response, self.max_body);
                    self.refusal = Some((Box::new(response), reader));
                }
            }
        }
        self.read_refusal().map(|()| None)
    }

    fn read_refusal(&mut self) -> Result<(), HandshakeError> {
        let Some((mut response, mut reader)) = self.refusal.take() else { return Ok(()) };
        match reader.read(&mut self.input, &mut response.body, self.eof) {
            Progress::More if !self.eof => {
                self.refusal = Some((response, reader));
                Ok(())
            }
            progress => {
                response.body_is_whole = progress == Progress::Whole;
                Err(HandshakeError::Refused(response))
            }
        }
    }

    /// Checks the 101 (RFC 6455 §4.1, the list at its end).
    fn establish(&mut self, response: Response, current: bool) -> Result<Established, HandshakeError> {
        if !current {
            return Err(HandshakeError::HttpVersion);
        }
        let fields = response.fields();
        // RFC 6455 §4.1: the client fails if Upgrade "contains a value that is not an ASCII case-insensitive
        // match for the value "websocket"": one that names more protocols is not it.
        if !only(fields, "Upgrade").is_ok_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
            return Err(HandshakeError::Upgrade);
        }
        check_connection(fields)?;
        if only(fields, "Sec-WebSocket-Accept")? != self.accept {
            return Err(HandshakeError::Accept);
        }
        #[cfg(feature = "deflate")]
        let offers = &self.deflate[..];
        #[cfg(not(feature = "deflate"))]
        let offers = &[];
        let agreement = confirm(fields, &self.subprotocols, offers)?;
        Ok(Established {
            response,
            agreement,
            input: mem::take(&mut self.input),
            eof: self.eof,
            output: mem::replace(&mut self.output, Output::new(Role::Client)),
        })
    }
}

impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The request in the output may hold credentials.
        f.debug_struct("ClientHandshake")
            .field("refusal", &self.refusal)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

/// What the server agreed to (RFC 6455 §4.1).
fn confirm(
    fields: &Fields,
    subprotocols: &[Box<str>],
    offers: &[Offer],
) -> Result<Agreement, HandshakeError> {
    let mut agreement = Agreement::new();
    if let Some(value) = at_most_one(fields, "Sec-WebSocket-Extensions")? {
        agree(&Extension::parse([value])?, offers, &mut agreement)?;
    }
    // RFC 6455 §4.2.2: a server that agrees to no subprotocol sends no such field; whether to go on
    // without is for the caller to say.
    if let Some(value) = at_most_one(fields, "Sec-WebSocket-Protocol")? {
        let chosen = subprotocols.iter().find(|offered| offered.as_bytes() == value);
        agreement = agreement.with_subprotocol(chosen.ok_or(HandshakeError::SubprotocolNotOffered)?);
    }
    Ok(agreement)
}

#[cfg(feature = "deflate")]
type Offer = Deflate;
#[cfg(not(feature = "deflate"))]
type Offer = ();

/// RFC 6455 §4.1: an extension "that was not present in the client's handshake" fails the connection.
#[cfg(feature = "deflate")]
fn agree(
    chosen: &[Extension<'_>],
    offers: &[Offer],
    agreement: &mut Agreement,
) -> Result<(), HandshakeError> {
    if let Some(agreed) = deflate::confirm(offers, chosen)? {
        *agreement = mem::take(agreement).with_deflate(agreed);
    }
    Ok(())
}

#[cfg(not(feature = "deflate"))]
const fn agree(_: &[Extension<'_>], _: &[Offer], _: &mut Agreement) -> Result<(), HandshakeError> {
    Err(HandshakeError::ExtensionNotOffered)
}

/// A handshake that the server agreed to. Frames that came with its answer wait inside.
pub struct Established {
    response: Response,
    agreement: Agreement,
    input: BytesMut,
    eof: bool,
    output: Output,
}

impl Established {
    /// The server's answer.
    #[must_use]
    pub const fn response(&self) -> &Response {
        &self.response
    }

    /// What was agreed on.
    #[must_use]
    pub const fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// The subprotocol that the server chose; it may choose none though some were offered.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.agreement.subprotocol()
    }

    /// The open connection. Take events before the first read: some may have come with the answer.
    #[must_use]
    pub fn into_connection(self, config: Config, masks: impl MaskSource + 'static) -> Connection {
        let Self { agreement, input, eof, output, .. } = self;
        let mut connection =
            Connection::from_handshake(config, Some(Box::new(masks)), agreement, input, output);
        if eof {
            connection.input_eof();
        }
        connection
    }

    /// The answer and the bytes that came behind it, for another engine. Only if all output is written.
    #[must_use]
    pub fn into_parts(self) -> (Response, BytesMut) {
        (self.response, self.input)
    }
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("response", &self.response)
            .field("agreement", &self.agreement)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    use super::*;
    use crate::proto::handshake::UriError;
    use crate::proto::handshake::reject::Reject;
    use crate::proto::handshake::server::{Accept, ServerHandshake};
    use crate::proto::message::{Event, Message};

    const NONCE: [u8; 16] = *b"the sample nonce";
    const START: &str = "HTTP/1.1 101 Switching Protocols\r\n";
    const FIELDS: [&str; 3] = [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    ];

    /// The valid answer with the fields in `changed` in place of those with the same name, or added.
    fn answer(changed: &[(&str, &[&str])]) -> String {
        let mut head = String::from(START);
        for line in FIELDS {
            if !changed.iter().any(|(name, _)| line.starts_with(&format!("{name}: "))) {
                head += line;
            }
        }
        for (name, values) in changed {
            for value in *values {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head + "\r\n"
    }

    fn request() -> ClientRequest {
        let request = ClientRequest::new("server.example.com", "/chat").unwrap();
        request.subprotocol("chat").unwrap().subprotocol("superchat").unwrap()
    }

    fn handshake(input: &[u8]) -> ClientHandshake {
        let mut handshake = ClientHandshake::new(&request(), NONCE);
        handshake.input().extend_from_slice(input);
        handshake
    }

    fn poll(input: &str) -> Result<Option<Established>, HandshakeError> {
        handshake(input.as_bytes()).poll()
    }

    fn text(output: &mut Output) -> String {
        let mut text = Vec::new();
        while let Some(piece) = output.pop() {
            text.extend_from_slice(&piece);
        }
        String::from_utf8(text).unwrap()
    }

    fn keys() -> impl MaskSource {
        || [1, 2, 3, 4]
    }

    #[test]
    fn s4_1_the_request() {
        let origin = request().field("Origin", "http://example.com").unwrap();
        assert_eq!(
            text(ClientHandshake::new(&origin, NONCE).output()),
            "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\r\n"
        );
        let uri = WebSocketUri::parse("wss://[::1]:9001?a=b").unwrap();
        assert_eq!(
            text(ClientHandshake::new(&ClientRequest::from_uri(&uri), NONCE).output()),
            "GET /?a=b HTTP/1.1\r\nHost: [::1]:9001\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
    }

    #[test]
    fn requests_of_callers_cannot_break_out() {
        let character = |at, found| UriError::Character { at, found };
        for (host, error) in [
            ("", UriError::Host),
            ("a b", character(1, ' ')),
            ("a\r\nX: y", character(1, '\r')),
            ("a/b", character(1, '/')),
            ("a:0", UriError::Port),
            ("a:80\r\n", UriError::Port),
            ("[::1]\r\n", UriError::Host),
            ("u@a", UriError::UserInfo),
            ("\u{fc}", character(0, '\u{fc}')),
        ] {
            assert_eq!(ClientRequest::new(host, "/").err(), Some(BuildError::Host(error)), "{host}");
        }
        for (resource, error) in [
            ("chat", character(0, 'c')),
            ("http://a/", character(0, 'h')),
            ("/ HTTP/1.1\r\n", character(1, ' ')),
            ("/\r\n", character(1, '\r')),
            ("/\0", character(1, '\0')),
            ("/#a", UriError::Fragment),
            ("/%", UriError::Percent { at: 1 }),
            ("/\u{fc}", character(1, '\u{fc}')),
        ] {
            assert_eq!(
                ClientRequest::new("a", resource).err(),
                Some(BuildError::Resource(error)),
                "{resource}"
            );
        }
        assert!(ClientRequest::new("a", "").unwrap().head(&[b'k'; 24]).starts_with(b"GET / HTTP/1.1\r\n"));
        assert!(
            ClientRequest::new("a", "?b").unwrap().head(&[b'k'; 24]).starts_with(b"GET /?b HTTP/1.1\r\n")
        );
        for name in ["", "a b", "a,b", "a\r\nb", "\u{fc}", "a/b"] {
            assert_eq!(request().subprotocol(name).err(), Some(BuildError::Subprotocol(name.into())));
        }
        assert_eq!(request().subprotocol("chat").err(), Some(BuildError::RepeatedSubprotocol("chat".into())));
        assert!(request().subprotocol("Chat").is_ok());
        let value = BuildError::FieldValue { name: "A".into(), at: 1 };
        assert_eq!(request().field("A", "b\r\nC: d").err(), Some(value));
        assert_eq!(request().field("host", "b").err(), Some(BuildError::OwnedField("host".into())));
    }

    #[test]
    fn s4_1_answers_that_are_fine() {
        for changed in [
            &[][..],
            &[("Upgrade", &["WebSocket"][..])],
            &[("Connection", &["keep-alive, Upgrade"])],
            &[("Connection", &["keep-alive", "UPGRADE"])],
            &[("Sec-WebSocket-Accept", &["  s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \t"])],
            &[("Content-Length", &["5"]), ("Server", &["x"])],
            &[("Sec-WebSocket-Version", &["13"])],
        ] {
            let established = poll(&answer(changed)).unwrap().unwrap();
            assert_eq!((established.response().status(), established.subprotocol()), (101, None));
        }
        for chosen in ["chat", "superchat"] {
            let established = poll(&answer(&[("Sec-WebSocket-Protocol", &[chosen])])).unwrap().unwrap();
            assert_eq!(established.subprotocol(), Some(chosen));
            assert_eq!(established.agreement(), &Agreement::new().with_subprotocol(chosen));
        }
    }

    #[test]
    fn s4_1_answers_that_break_a_rule() {
        use HandshakeError::{
            Accept, Connection, ExtensionNotOffered, Extensions, HttpVersion, MissingField, RepeatedField,
            SubprotocolNotOffered, Upgrade,
        };
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        for (name, values, error) in [
            ("Upgrade", &[][..], Upgrade),
            ("Upgrade", &["h2c"], Upgrade),
            ("Connection", &[], Connection),
            ("Connection", &["close"], Connection),
            ("Sec-WebSocket-Accept", &[], MissingField("Sec-WebSocket-Accept")),
            ("Sec-WebSocket-Accept", &[accept, accept], RepeatedField("Sec-WebSocket-Accept")),
            ("Sec-WebSocket-Accept", &[""], Accept),
            ("Sec-WebSocket-Accept", &["s3pPLMBiTxaQ9kYGzzhZRbK+xOo"], Accept),
            ("Sec-WebSocket-Accept", &["s3pPLMBiTxaQ9kYGzzhZRbK+xOo=="], Accept),
            ("Sec-WebSocket-Accept", &["S3pPLMBiTxaQ9kYGzzhZRbK+xOo="], Accept),
            ("Sec-WebSocket-Accept", &["dGhlIHNhbXBsZSBub25jZQ=="], Accept),
            ("Sec-WebSocket-Extensions", &["permessage-deflate"], ExtensionNotOffered),
            ("Sec-WebSocket-Extensions", &["a", "b"], RepeatedField("Sec-WebSocket-Extensions")),
            ("Sec-WebSocket-Extensions", &[""], Extensions { at: 0 }),
            ("Sec-WebSocket-Extensions", &["a;"], Extensions { at: 2 }),
            ("Sec-WebSocket-Protocol", &["other"], SubprotocolNotOffered),
            ("Sec-WebSocket-Protocol", &["Chat"], SubprotocolNotOffered),
            ("Sec-WebSocket-Protocol", &["chat, superchat"], SubprotocolNotOffered),
            ("Sec-WebSocket-Protocol", &[""], SubprotocolNotOffered),
            ("Sec-WebSocket-Protocol", &["chat", "chat"], RepeatedField("Sec-WebSocket-Protocol")),
        ] {
            let mut handshake = handshake(answer(&[(name, values)]).as_bytes());
            assert_eq!(handshake.poll().err(), Some(error.clone()), "{name}: {values:?}");
            handshake.input().extend_from_slice(answer(&[]).as_bytes());
            assert_eq!(handshake.poll().err(), Some(error));
            assert!(handshake.input.is_empty());
        }
        let old = answer(&[]).replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(poll(&old).err(), Some(HttpVersion));
        let mut plain = ClientHandshake::new(&ClientRequest::new("a", "/").unwrap(), NONCE);
        plain.input().extend_from_slice(answer(&[("Sec-WebSocket-Protocol", &["chat"])]).as_bytes());
        assert_eq!(plain.poll().err(), Some(SubprotocolNotOffered));
    }

    /// What comes of input in pieces, and of its end behind them.
    fn outcome(pieces: &[&[u8]]) -> Result<(Response, Vec<u8>), HandshakeError> {
        let mut handshake =
            ClientHandshake::with_limits(&request(), NONCE, HandshakeLimits::new().max_body(5));
        let mut pieces = pieces.iter();
        loop {
            match handshake.poll() {
                Ok(Some(established)) => {
                    let (response, rest) = established.into_parts();
                    let rest = rest.iter().copied().chain(pieces.flat_map(|piece| piece.iter().copied()));
                    return Ok((response, rest.collect()));
                }
                Ok(None) => match pieces.next() {
                    Some(piece) => handshake.input().extend_from_slice(piece),
                    None => handshake.input_eof(),
                },
                Err(error) => {
                    assert!(handshake.input.is_empty());
                    return Err(error);
                }
            }
        }
    }

    fn refusal(input: &str) -> Response {
        match outcome(&[input.as_bytes()]) {
            Err(HandshakeError::Refused(response)) => *response,
            other => panic!("{input:?}: {other:?}"),
        }
    }

    #[test]
    fn s4_1_other_statuses_hand_over_the_whole_answer() {
        for (input, status, body, whole) in [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno!", 404, "no", true),
            ("HTTP/1.1 200 OK\r\n\r\nabc", 200, "abc", true),
            ("HTTP/1.0 200 OK\r\n\r\nabc", 200, "abc", true),
            ("HTTP/1.1 401 \r\nContent-Length: 3\r\n\r\nno", 401, "no", false),
            ("HTTP/1.1 403 \r\nContent-Length: 6\r\n\r\nabcdef", 403, "abcde", false),
            ("HTTP/1.1 302 \r\nLocation: /a\r\nContent-Length: 0\r\n\r\n", 302, "", true),
            ("HTTP/1.1 204 \r\nContent-Length: 3\r\n\r\nabc", 204, "", true),
            ("HTTP/1.1 304 \r\n\r\nabc", 304, "", true),
            ("HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 500, "abc", true),
            ("HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 500, "abc", false),
            ("HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc!", 500, "abc", false),
            (
                "HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 404 \r\n\r\nno",
                404,
                "no",
                true,
            ),
        ] {
            let response = refusal(input);
            assert_eq!((response.status(), response.body()), (status, body.as_bytes()), "{input:?}");
            assert_eq!(response.body_is_whole(), whole, "{input:?}");
        }
        assert_eq!(
            refusal("HTTP/1.1 302 Found\r\nLocation: /a\r\n\r\n").fields().text("location"),
            Some("/a")
        );
    }

    #[test]
    fn a_body_that_fills_the_limit_is_not_waited_for() {
        let mut handshake = handshake(b"HTTP/1.1 400 \r\nContent-Length: 99999999\r\n\r\n");
        assert!(matches!(handshake.poll(), Ok(None)));
        for _ in 0..1 << 10 {
            handshake.input().extend_from_slice(&[b'a'; 1 << 10]);
            if let Err(error) = handshake.poll() {
                let HandshakeError::Refused(response) = error else { panic!("{error}") };
                assert_eq!((response.body().len(), response.body_is_whole()), (1 << 20, false));
                assert_eq!(handshake.poll().err(), Some(HandshakeError::Finished));
                return;
            }
            assert!(handshake.input.is_empty());
        }
        panic!("not cut");
    }

    #[test]
    fn a_refusal_can_be_taken_early() {
        let mut handshake = handshake(b"HTTP/1.1 400 ");
        assert!(matches!(handshake.poll(), Ok(None)));
        assert_eq!(handshake.take_refusal(), None);
        handshake.input().extend_from_slice(b"\r\n\r\nabc");
        assert!(matches!(handshake.poll(), Ok(None)));
        let response = handshake.take_refusal().expect("a refusal");
        assert_eq!((response.status(), response.body()), (400, &b"abc"[..]));
        assert!(!response.body_is_whole());
        assert_eq!(handshake.take_refusal(), None);
        assert_eq!(handshake.poll().err(), Some(HandshakeError::Finished));
    }

    #[test]
    fn interim_answers_are_skipped_within_the_limit() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        assert!(matches!(poll(&(interim.repeat(3) + &answer(&[]))), Ok(Some(_))));
        assert_eq!(poll(&interim.repeat(1000)).err(), Some(HandshakeError::HeadTooLong { max: 16 << 10 }));
        let mut handshake = handshake(interim.as_bytes());
        handshake.input_eof();
        let received = interim.len();
        assert_eq!(handshake.poll().err(), Some(HandshakeError::UnexpectedEof { received }));
    }

    #[test]
    fn the_end_of_the_transport_is_told_apart() {
        for (input, received) in [("", 0), (START, START.len())] {
            let mut handshake = handshake(input.as_bytes());
            assert!(matches!(handshake.poll(), Ok(None)));
            handshake.input_eof();
            assert_eq!(handshake.poll().err(), Some(HandshakeError::UnexpectedEof { received }));
        }
        let mut handshake = handshake(answer(&[]).as_bytes());
        handshake.input_eof();
        let connection = handshake.poll().unwrap().unwrap().into_connection(Config::new(), keys());
        assert!(!connection.wants_input());
    }

    #[test]
    fn byte_by_byte_equals_whole() {
        let mut corpus: Vec<Vec<u8>> = vec![answer(&[]).into_bytes()];
        corpus.push((answer(&[]) + "\u{1}\u{2}Hi").into_bytes());
        for input in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno!",
            "HTTP/1.1 200 OK\r\n\r\nabcdefgh",
            "HTTP/1.1 401 \r\nContent-Length: 3\r\n\r\nno",
            "HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;a=b\r\nd\r\n0\r\n\r\n",
            "HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc!",
            "HTTP/1.1 100 \r\n\r\nHTTP/1.1 404 \r\n\r\n",
            "HTTP/1.1 100 \r\n\r\n\u{1}",
            "HTTP/1.1 200 OK\n\n",
            "SSH-2.0-OpenSSH\r\n",
            "",
        ] {
            corpus.push(input.into());
        }
        for input in corpus {
            let whole = outcome(&[&input]);
            for cut in 0..=input.len() {
                assert_eq!(outcome(&[&input[..cut], &input[cut..]]), whole);
            }
            assert_eq!(outcome(&input.chunks(1).collect::<Vec<_>>()), whole);
        }
    }

    #[test]
    fn both_sides_agree() {
        let mut client = ClientHandshake::new(&request(), NONCE);
        let mut server = ServerHandshake::new();
        server.input().extend_from_slice(text(client.output()).as_bytes());
        let pending = server.poll().unwrap().unwrap();
        let mut server = pending.accept(Accept::new().subprotocol("superchat"), Config::new()).unwrap();
        // The first frame leaves in the same write as the 101.
        server.send_text("Hi").unwrap();
        while let Some(piece) = server.output().pop() {
            client.input().extend_from_slice(&piece);
        }
        let established = client.poll().unwrap().unwrap();
        assert_eq!(client.poll().err(), Some(HandshakeError::Finished));
        let mut client = established.into_connection(Config::new(), keys());
        assert_eq!((client.role(), client.agreement()), (Role::Client, server.agreement()));
        assert_eq!(client.next_event(), Ok(Some(Event::Message(Message::text("Hi")))));
        client.send_text("Ho").unwrap();
        while let Some(piece) = client.output().pop() {
            server.input().extend_from_slice(&piece);
        }
        assert_eq!(server.next_event(), Ok(Some(Event::Message(Message::text("Ho")))));

        let mut client = ClientHandshake::new(&request(), NONCE);
        let mut server = ServerHandshake::new();
        server.input().extend_from_slice(text(client.output()).as_bytes());
        let mut output = server.poll().unwrap().unwrap().reject(Reject::new(403).unwrap().body("no"));
        client.input().extend_from_slice(text(&mut output).as_bytes());
        let HandshakeError::Refused(response) = client.poll().expect_err("refused") else { panic!() };
        assert_eq!(
            (response.reason(), response.body(), response.body_is_whole()),
            ("Forbidden", &b"no"[..], true)
        );
    }

    #[test]
    fn a_request_that_is_not_yet_written_goes_on_in_the_connection() {
        let mut handshake = handshake(answer(&[]).as_bytes());
        handshake.output().advance(4);
        let mut connection = handshake.poll().unwrap().unwrap().into_connection(Config::new(), keys());
        assert!(text(connection.output()).starts_with("/chat HTTP/1.1\r\n"));
    }

    #[test]
    fn junk_never_panics() {
        let chunked = "HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let valid = answer(&[("Sec-WebSocket-Protocol", &["chat"])]);
        let mut seed = 1_u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize
        };
        for round in 0..20_000 {
            let mut input: Vec<u8> = if round % 2 == 0 { chunked.into() } else { valid.clone().into_bytes() };
            for _ in 0..=random() % 4 {
                let at = random() % input.len();
                match random() % 3 {
                    0 => input[at] = random() as u8,
                    1 => drop(input.remove(at)),
                    _ => input.insert(at, b"\r\n :,;=0fF"[random() % 10]),
                }
            }
            let cut = random() % input.len();
            assert_eq!(outcome(&[&input[..cut], &input[cut..]]), outcome(&[&input]));
        }
    }

    #[test]
    fn debug_keeps_secrets() {
        let request = ClientRequest::new("a", "/?secret").unwrap().field("Authorization", "secret").unwrap();
        let handshake = ClientHandshake::new(&request, NONCE);
        assert!(!format!("{request:?} {handshake:?}").contains("secret"));
    }
}
