//! The twin of the server's handshake: reads a request with all bytes before it (RFC 6455 §4.2.1).

use taut::proto::handshake::HandshakeError;

use crate::extensions::twin as extensions;
use crate::handshake::{Heads, Input};
use crate::http::{Extent, Head, extent, is_authority, is_token, nonce};

/// What a request is.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is cut short.
    Further,
    /// It is none, for this reason if that is clear.
    Fails(Option<HandshakeError>),
    /// It asks for a WebSocket; where its head ends.
    Opens(Head, usize),
}

/// Reads all that came to a server.
pub(super) fn read(bytes: &[u8], input: &Input) -> (Verdict, Heads) {
    match extent(bytes, input.max_head, input.max_head, input.max_fields) {
        Extent::Further => (Verdict::Further, Heads { ends: Vec::new(), goes_on: true }),
        Extent::Nowhere(_, error) => (Verdict::Fails(Some(error)), Heads { ends: Vec::new(), goes_on: true }),
        Extent::Ends(end) => {
            let verdict = match Head::read(&bytes[..end]).filter(is_good) {
                Some(head) => Verdict::Opens(head, end),
                None => Verdict::Fails(None),
            };
            (verdict, Heads { ends: vec![end], goes_on: false })
        }
    }
}

/// RFC 6455 §4.2.1, its list, and what keeps a second request from hiding in this one.
fn is_good(head: &Head) -> bool {
    let Some(("GET", target, "HTTP/1.1")) = head.request_line() else { return false };
    let (Some(host), Some(key)) = (head.only("host"), head.only("sec-websocket-key")) else { return false };
    let origins = head.all("origin");
    let subprotocols = head.list("sec-websocket-protocol");
    let distinct = (1..subprotocols.len()).all(|at| !subprotocols[..at].contains(&subprotocols[at]));
    let offers_none = head.all("sec-websocket-protocol").is_empty();
    let rules = [
        is_authority(host),
        is_target(target, host),
        head.names("upgrade", "websocket"),
        head.names("connection", "upgrade"),
        head.only("sec-websocket-version") == Some(b"13"),
        nonce(key).is_some(),
        head.all("content-length").iter().all(|length| *length == b"0"),
        head.all("transfer-encoding").is_empty(),
        origins.len() <= 1 && origins.iter().all(|origin| origin.iter().all(u8::is_ascii_graphic)),
        distinct
            && subprotocols.iter().all(|name| is_token(name))
            && (offers_none == subprotocols.is_empty()),
        extensions::read(&head.all("sec-websocket-extensions")).is_some(),
    ];
    rules.iter().all(|&kept| kept)
}

/// A path, or a URI on the host of the Host field.
fn is_target(target: &str, host: &[u8]) -> bool {
    let clean = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let lower = target.to_ascii_lowercase();
    let on_host = ["http://", "https://", "ws://", "wss://"].iter().any(|scheme| {
        let rest = lower.strip_prefix(scheme);
        rest.is_some_and(|rest| {
            rest.split('/').next() == Some(&*String::from_utf8_lossy(host).to_ascii_lowercase())
        })
    });
    clean && (target.starts_with('/') || on_host)
}
