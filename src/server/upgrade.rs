//! A request that waits for its answer: what it shows of who sends it, and the answers.

#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use crate::proto::handshake::{Reject, Request};

/// A request to open a connection. Cheap to clone.
#[derive(Clone)]
pub struct Upgrade(Arc<Parts>);

struct Parts {
    request: Request,
    address: SocketAddr,
}

impl Upgrade {
    pub(super) fn new(request: Request, address: SocketAddr) -> Self {
        Self(Arc::new(Parts { request, address }))
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// Where it comes from: the peer's address, or the client's, as a trusted proxy tells it; the port is 0 if none is told.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The token of `Authorization: Bearer` (RFC 6750 §2.1).
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.0.request.fields().text("Authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// The cookie of that name (RFC 6265 §4.2), as it came.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let values = self.0.request.fields().all("Cookie");
        let texts = values.filter_map(|value| core::str::from_utf8(value).ok());
        let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(found, _)| *found == name).map(|(_, value)| value.trim_matches('"')).next()
    }

    /// The value of that name in the query, decoded; `None` if it is not UTF-8 either. Servers and proxies log what is in
    /// a query: let a token there be one that is used once.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.0.request.resource().split_once('?')?;
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(found, _)| decode(found).as_deref() == Some(name)).find_map(|(_, value)| decode(value))
    }

    /// What follows the prefix in an offered subprotocol: a way for browsers, which let a page set no header field, to
    /// send a token, as `new WebSocket(url, ["chat", "token.…"])`.
    #[must_use]
    pub fn offered(&self, prefix: &str) -> Option<&str> {
        self.0.request.subprotocols().find_map(|name| name.strip_prefix(prefix))
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may hold a token.
        f.debug_struct("Upgrade").field("address", &self.0.address).finish_non_exhaustive()
    }
}

/// The answer to who did not say who they are: 401, with the challenge (RFC 9110 §11.6.1), such as `Bearer`. A
/// challenge that cannot stand in a field is `Bearer`.
#[must_use]
pub fn unauthorized(challenge: &str) -> Reject {
    let reject = reject(401, "say who you are\n");
    let challenged = reject.clone().field("WWW-Authenticate", challenge);
    challenged.or_else(|_| reject.clone().field("WWW-Authenticate", "Bearer")).unwrap_or(reject)
}

/// The answer to who may not: 403.
#[must_use]
pub fn forbidden() -> Reject {
    reject(403, "not allowed\n")
}

/// An answer with a text for people.
pub(super) fn reject(status: u16, text: &str) -> Reject {
    let reject = Reject::new(status).expect("a status that refuses").body(text);
    reject.clone().field("Content-Type", "text/plain; charset=utf-8").unwrap_or(reject)
}

/// RFC 3986 §2.1, and `+` for a space, as forms have it.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                let digit = |at: usize| char::from(digits[at]).to_digit(16);
                u8::try_from(digit(0)? * 16 + digit(1)?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::handshake::ServerHandshake;

    fn upgrade(target: &str, fields: &str) -> Upgrade {
        let mut handshake = ServerHandshake::new();
        let head = alloc::format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\n{fields}Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        handshake.feed(head.as_bytes());
        let request = handshake.poll().unwrap().unwrap().request().clone();
        Upgrade::new(request, ([127, 0, 0, 1], 1).into())
    }

    #[test]
    fn credentials_are_found_where_clients_put_them() {
        let shown = upgrade(
            "/chat?room=a%20b+c&token=x%3D&bad=%zz",
            "Authorization: bEARER  t0ken\r\nCookie: a=1; session=\"abc\"; b\r\nSec-WebSocket-Protocol: chat, token.s3cret\r\n",
        );
        assert_eq!(shown.bearer(), Some("t0ken"));
        assert_eq!(
            (shown.cookie("session"), shown.cookie("b"), shown.cookie("sess")),
            (Some("abc"), None, None)
        );
        assert_eq!(shown.query("room").as_deref(), Some("a b c"));
        assert_eq!(shown.query("token").as_deref(), Some("x="));
        assert_eq!((shown.query("bad"), shown.query("none")), (None, None));
        assert_eq!((shown.offered("token."), shown.offered("none.")), (Some("s3cret"), None));
        let bare = upgrade("/", "Authorization: Basic dTpw\r\n");
        assert_eq!(
            (bare.bearer(), bare.cookie("a"), bare.query("a"), bare.offered("a")),
            (None, None, None, None)
        );
    }
}
