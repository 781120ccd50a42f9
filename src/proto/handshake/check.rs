//! Whether a request asks for a WebSocket by the rules of RFC 6455 §4.2.1, and of RFC 8441 §5.

#![forbid(unsafe_code)]

use alloc::collections::BTreeSet;

use super::error::HandshakeError;
use super::extensions::Extension;
use super::fields::{Fields, Request, is, is_token, lists};
use super::head::Only;
use super::key::is_key;
use super::uri::split_authority;

/// What the fields of a request say that the rules are about, found in one pass over them.
#[derive(Default)]
pub(super) struct Asked<'a> {
    host: Only<'a>,
    pub(super) upgrade: Listed,
    pub(super) connection: Listed,
    version: Only<'a>,
    key: Only<'a>,
    origin: Only<'a>,
    /// There is a Content-Length.
    pub(super) length: bool,
    /// There is a body.
    body: bool,
    subprotocols: bool,
    extensions: bool,
}

/// A field that holds a list.
#[derive(Clone, Copy, Default)]
pub(super) struct Listed {
    /// It is there.
    pub(super) there: bool,
    /// It names what is asked for.
    pub(super) named: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn by(fields: &'a Fields) -> Self {
        let mut asked = Self::default();
        for (name, value) in fields.pairs() {
            let is = |known: &str| is(name, known);
            // Few names are as long as one of these, so that hardly any is compared in vain.
            match name.len() {
                4 if is("Host") => asked.host.note(value),
                6 if is("Origin") => asked.origin.note(value),
                7 if is("Upgrade") => asked.upgrade.note(value, "websocket"),
                10 if is("Connection") => asked.connection.note(value, "Upgrade"),
                14 if is("Content-Length") => {
                    asked.length = true;
                    asked.body |= value != b"0";
                }
                17 if is("Sec-WebSocket-Key") => asked.key.note(value),
                17 if is("Transfer-Encoding") => asked.body = true,
                21 if is("Sec-WebSocket-Version") => asked.version.note(value),
                22 if is("Sec-WebSocket-Protocol") => asked.subprotocols = true,
                24 if is("Sec-WebSocket-Extensions") => asked.extensions = true,
                _ => {}
            }
        }
        asked
    }

    /// Checks a request of HTTP/1.1; gives its key.
    pub(super) fn check_upgrade(&self, request: &Request) -> Result<[u8; 24], HandshakeError> {
        // A body would be read as frames here, and by a proxy perhaps as the next request.
        if self.body {
            return Err(HandshakeError::Body);
        }
        self.check_host(request)?;
        // RFC 6455 §4.2.1: an Upgrade field "containing the value "websocket"", perhaps among others.
        if !self.upgrade.named {
            return Err(HandshakeError::Upgrade);
        }
        if !self.connection.named {
            return Err(HandshakeError::Connection);
        }
        self.check_version()?;
        let key = self.key.only("Sec-WebSocket-Key")?;
        let key = key.try_into().ok().filter(is_key).ok_or(HandshakeError::Key)?;
        self.check_offers(request.fields())?;
        Ok(key)
    }

    /// The host, and a target on it.
    pub(super) fn check_host(&self, request: &Request) -> Result<(), HandshakeError> {
        let host = core::str::from_utf8(self.host.only("Host")?).map_err(|_| HandshakeError::Host)?;
        split_authority(host).map_err(|_| HandshakeError::Host)?;
        check_target(request, host)
    }

    pub(super) fn check_version(&self) -> Result<(), HandshakeError> {
        match self.version.only("Sec-WebSocket-Version") {
            Ok(b"13") => Ok(()),
            // RFC 6455 §4.2.2: another version gets "an appropriate HTTP error code (such as 426 Upgrade Required)".
            Ok(_) | Err(_) => Err(HandshakeError::Version),
        }
    }

    /// The origin, and what the client offers.
    pub(super) fn check_offers(&self, fields: &Fields) -> Result<(), HandshakeError> {
        // An origin that the application could not read must not look like none.
        let origin = self.origin.at_most_one("Origin")?;
        if !origin.unwrap_or_default().iter().all(u8::is_ascii_graphic) {
            return Err(HandshakeError::Origin);
        }
        if self.subprotocols {
            let mut offered = BTreeSet::new();
            let mut names = fields.list("Sec-WebSocket-Protocol");
            // RFC 6455 §4.3: "1#token", so that a field that offers nothing is outside the grammar.
            if !names.all(|name| is_token(name) && offered.insert(name)) || offered.is_empty() {
                return Err(HandshakeError::Subprotocols);
            }
        }
        if self.extensions {
            // RFC 6455 §9.1: a field outside the grammar fails the handshake, whether or not we want an extension.
            Extension::parse(fields.all("Sec-WebSocket-Extensions"))?;
        }
        Ok(())
    }
}

impl Listed {
    fn note(&mut self, value: &[u8], element: &str) {
        self.there = true;
        self.named |= lists(value, element);
    }
}

/// RFC 6455 §4.2.1: the target is a "/resource name/" or "an absolute HTTP/HTTPS URI containing" it.
fn check_target(request: &Request, host: &str) -> Result<(), HandshakeError> {
    // RFC 9112 §3.2: a target holds no fragment, and no white space.
    if !request.target().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(HandshakeError::Target);
    }
    match request.split_target() {
        Some((None, _)) => Ok(()),
        // RFC 9112 §3.2: Host has to be "identical to that authority component"; a request that names two
        // hosts means a different one to us than to a proxy.
        Some((Some(authority), _)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(HandshakeError::Target),
    }
}
