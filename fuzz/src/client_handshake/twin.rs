//! The twin of the client's handshake: reads an answer with all bytes before it (RFC 6455 §4.1, RFC 9112 §6).

use taut::proto::Deflate;
use taut::proto::handshake::HandshakeError;

use crate::extensions::twin as extensions;
use crate::handshake::{Heads, Input};
use crate::http::{Extent, Head, accept, base64, extent};

/// What an answer is.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is cut short.
    Further,
    /// It is none, for this reason if that is clear.
    Fails(Option<HandshakeError>),
    /// It refuses.
    Refuses(Head, Body),
    /// It opens the connection: where its head ends, and what was agreed on.
    Opens(Head, usize, (Option<String>, Option<Deflate>)),
}

/// The body of an answer that refuses.
#[derive(Debug)]
pub(super) enum Body {
    Whole(Vec<u8>),
    /// It goes on, but not further than this.
    Cut(Vec<u8>),
    /// More may come.
    Further(Vec<u8>),
    /// It has a coding with extensions that the twin does not read.
    Unclear,
}

/// Reads all that came to a client that made these offers.
pub(super) fn read(
    bytes: &[u8],
    input: &Input,
    subprotocols: &[&str],
    offers: &[Deflate],
) -> (Verdict, Heads) {
    let mut heads = Heads { ends: Vec::new(), goes_on: true };
    loop {
        let start = heads.ends.last().copied().unwrap_or(0);
        let rest = &bytes[start..];
        let end = match extent(rest, input.max_head - start, input.max_head, input.max_fields) {
            Extent::Further => return (Verdict::Further, heads),
            Extent::Nowhere(_, error) => return (Verdict::Fails(Some(error)), heads),
            Extent::Ends(end) => end,
        };
        heads.ends.push(start + end);
        let head = Head::read(&rest[..end]);
        let line = head.as_ref().and_then(Head::status_line);
        let (Some(head), Some((version @ ("HTTP/1.0" | "HTTP/1.1"), status))) = (head.as_ref(), line) else {
            heads.goes_on = false;
            return (Verdict::Fails(None), heads);
        };
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        heads.goes_on = false;
        if status != 101 {
            let body = body(head, status, &rest[end..], input);
            return (Verdict::Refuses(head.clone(), body), heads);
        }
        let agreed =
            Some(head).filter(|_| version == "HTTP/1.1").and_then(|head| opens(head, subprotocols, offers));
        let verdict = match agreed {
            Some(agreed) => Verdict::Opens(head.clone(), start + end, agreed),
            None => Verdict::Fails(None),
        };
        return (verdict, heads);
    }
}

/// RFC 6455 §4.1, the list at its end.
fn opens(
    head: &Head,
    subprotocols: &[&str],
    offers: &[Deflate],
) -> Option<(Option<String>, Option<Deflate>)> {
    let upgrade = head.only("upgrade")?.eq_ignore_ascii_case(b"websocket");
    let accepted = head.only("sec-websocket-accept")? == accept(base64(&super::NONCE).as_bytes()).as_bytes();
    if !upgrade || !accepted || !head.names("connection", "upgrade") {
        return None;
    }
    let subprotocol = match head.all("sec-websocket-protocol")[..] {
        [] => None,
        [chosen] => Some((*subprotocols.iter().find(|offered| offered.as_bytes() == chosen)?).to_owned()),
        _ => return None,
    };
    let values = head.all("sec-websocket-extensions");
    if values.len() > 1 {
        return None;
    }
    let deflate = extensions::confirm(offers, &extensions::read(&values)?).ok()?;
    Some((subprotocol, deflate))
}

fn body(head: &Head, status: u16, rest: &[u8], input: &Input) -> Body {
    if matches!(status, 204 | 304) {
        return Body::Whole(Vec::new());
    }
    let codings = head.list("transfer-encoding");
    if let [coding] = codings[..]
        && coding.eq_ignore_ascii_case(b"chunked")
    {
        return chunks(rest, input.max_body);
    }
    let number = |text: &&[u8]| {
        let digits = text.iter().all(u8::is_ascii_digit).then(|| String::from_utf8_lossy(text))?;
        digits.parse::<u64>().ok()
    };
    let lengths: Vec<_> = head.list("content-length").iter().map(number).collect();
    if let [Some(length), others @ ..] = &lengths[..]
        && codings.is_empty()
        && others.iter().all(|other| *other == Some(*length))
    {
        let mut body = Vec::new();
        return match add(&mut body, rest, *length, input.max_body) {
            Added::All => Body::Whole(body),
            Added::Missing => Body::Further(body),
            Added::Full => Body::Cut(body),
        };
    }
    let (body, more) = rest.split_at(rest.len().min(input.max_body));
    match body.to_vec() {
        body if !more.is_empty() => Body::Cut(body),
        body if input.ends => Body::Whole(body),
        body => Body::Further(body),
    }
}

/// RFC 9112 §7.1.
fn chunks(mut rest: &[u8], max: usize) -> Body {
    let mut body = Vec::new();
    loop {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if rest.is_empty() {
            return Body::Further(body);
        }
        if digits == 0 {
            return Body::Cut(body);
        }
        if digits > 16 || !rest[digits..].starts_with(b"\r\n") {
            let is_cut = digits <= 16 && b"\r\n".starts_with(&rest[digits..]);
            return if is_cut { Body::Further(body) } else { Body::Unclear };
        }
        let size = u64::from_str_radix(&String::from_utf8_lossy(&rest[..digits]), 16).expect("16 digits");
        rest = &rest[digits + 2..];
        if size == 0 {
            return Body::Whole(body);
        }
        match add(&mut body, rest, size, max) {
            Added::All => rest = &rest[size as usize..],
            Added::Missing => return Body::Further(body),
            Added::Full => return Body::Cut(body),
        }
        match rest {
            [b'\r', b'\n', more @ ..] => rest = more,
            [] | [b'\r'] => return Body::Further(body),
            _ => return Body::Cut(body),
        }
    }
}

enum Added {
    All,
    Missing,
    Full,
}

/// Appends `length` bytes, as long as they are there and the body is not over its limit.
fn add(body: &mut Vec<u8>, rest: &[u8], length: u64, max: usize) -> Added {
    let mut left = length;
    let mut bytes = rest.iter();
    while left > 0 {
        if body.len() == max {
            return Added::Full;
        }
        let Some(&byte) = bytes.next() else { return Added::Missing };
        body.push(byte);
        left -= 1;
    }
    Added::All
}
