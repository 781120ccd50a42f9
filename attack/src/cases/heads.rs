//! The head of a request: too large, too many fields, byte by byte, and values that are costly to read.

use crate::attack::Attack;
use crate::case::Script::{Accepted, Answered, Run};
use crate::case::{Case, Judged, Miss, answered};
use crate::peer::{Answer, Sent};
use crate::request::{Request, Response};

const COUNT: &str = "a request with more fields than the limit is refused, and ends nothing else";
const SPLIT: &str = "RFC 9112 §2.2";
const PARSE: &str = "A recipient MUST parse an HTTP message as a sequence of octets";
const LINEAR: &str = "a value is read in time linear in its length";
const S5_4: &str = "RFC 9110 §5.4";
const TOO_LARGE: &str = "A server that receives a request header field line, field value, or set of fields larger than it \
     wishes to process MUST respond with an appropriate 4xx (Client Error) status code.";

macro_rules! linear {
    ($($name:literal: $source:literal, $does:literal, $field:literal, $value:expr;)*) => {&[$(
        Case::hardening($name, $source, LINEAR, $does, Run(|attack| Box::pin(value(attack, $field, $value))))
            .needs_process(),
    )*]};
}

/// Values of so many bytes that naive readers read again and again.
pub(crate) const LINEAR_CASES: &[Case] = linear! {
    "protocols_of_commas_are_linear": "CVE-2021-32640",
        "requests with subprotocols of commas and spaces", "Sec-WebSocket-Protocol", |size| ", ".repeat(size / 2);
    "protocols_of_spaces_are_linear": "CVE-2021-32640",
        "requests with one subprotocol amid spaces", "Sec-WebSocket-Protocol", |size| {
            format!("a{}b", " ".repeat(size))
        };
    "extensions_of_commas_are_linear": "CVE-2020-7662, CVE-2020-7663",
        "requests with extensions of commas", "Sec-WebSocket-Extensions", |size| ",".repeat(size);
    "extensions_of_parameters_are_linear": "CVE-2020-7662, CVE-2020-7663",
        "requests with an extension of many parameters", "Sec-WebSocket-Extensions", |size| {
            format!("permessage-deflate{}", ";a".repeat(size / 2))
        };
    "extensions_of_backslashes_are_linear": "CVE-2020-7662, CVE-2020-7663",
        "requests with a quoted value of backslashes that never ends", "Sec-WebSocket-Extensions", |size| {
            format!("a; b=\"{}", "\\".repeat(size))
        };
    "extensions_of_quotes_are_linear": "CVE-2020-7662, CVE-2020-7663",
        "requests with quotes behind quotes", "Sec-WebSocket-Extensions", |size| {
            format!("a; b={}", "\"".repeat(size))
        };
    "connection_of_tokens_is_linear": "CVE-2021-32640",
        "requests with a Connection of many tokens", "Connection", |size| {
            format!("{}Upgrade", "a,".repeat(size / 2))
        };
};

pub(crate) const CASES: &[Case] = &[
    Case::must(
        "head_in_two_pieces",
        SPLIT,
        PARSE,
        "a request that is cut inside the CRLF CRLF at its end",
        Run(|attack| {
            Box::pin(async move {
                let head = attack.request().bytes();
                let (most, last) = head.split_at(head.len() - 2);
                let mut peer = attack.connect().await?;
                peer.send(most).await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                peer.send(last).await;
                peer.accepted().await?;
                peer.goes_on().await
            })
        }),
    ),
    Case::must(
        "handshake_byte_by_byte",
        SPLIT,
        PARSE,
        "a request in as many writes as it has bytes",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.connect().await?;
                byte_by_byte(&mut peer, &attack.request().bytes()).await;
                peer.accepted().await?;
                peer.goes_on().await
            })
        }),
    ),
    Case::hardening(
        "handshake_byte_by_byte_is_linear",
        "CVE-2023-43669, RUSTSEC-2023-0065",
        "a head is not parsed anew with each byte",
        "20 requests of 1 KiB byte by byte, and then of 4 KiB: at most 8 times the time",
        Run(|attack| {
            Box::pin(async move {
                attack
                    .linear(1 << 10, |attack, size| async move {
                        for _ in 0..20 {
                            let request = attack.request().add("X-Long", vec![b'a'; size]);
                            let mut peer = attack.connect().await?;
                            byte_by_byte(&mut peer, &request.bytes()).await;
                            peer.answer().await;
                        }
                        Ok(())
                    })
                    .await
            })
        }),
    )
    .needs_process(),
    Case::must(
        "empty_line_before_the_request",
        SPLIT,
        "a server that is expecting to receive and parse a request-line SHOULD ignore at least one empty line (CRLF) \
         received prior to the request-line",
        "an empty line before the request: accepted or refused, but answered",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.connect().await?;
                peer.send(&[b"\r\n", &*attack.request().bytes()].concat()).await;
                answered(&mut peer).await
            })
        }),
    ),
    Case::hardening(
        "empty_lines_without_end",
        "RFC 9112 §2.2",
        "SHOULD ignore at least one empty line (CRLF) received prior to the request-line",
        "64 MiB of empty lines: memory stays where it is",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.connect().await?;
                endless(&mut peer, &b"\r\n".repeat(32 << 10), 1024).await
            })
        }),
    )
    .memory(16)
    .needs_process(),
    Case::must(
        "fields_20",
        S5_4,
        "HTTP does not place a predefined limit on the length of each field line, field value, or on the length of a \
         header or trailer section as a whole",
        "a request with 20 fields more, fewer than a browser behind proxies may send: it has to be accepted",
        Accepted(|request| fields(request, 20)),
    ),
    Case::must(
        "fields_100",
        "CVE-2024-37890",
        COUNT,
        "100 fields in all",
        Answered(|request| fields(request, 95)),
    ),
    Case::must(
        "fields_101",
        "CVE-2024-37890",
        COUNT,
        "101 fields in all",
        Answered(|request| fields(request, 96)),
    ),
    Case::must(
        "fields_2000_hide_upgrade",
        "CVE-2024-37890",
        COUNT,
        "2000 fields, and those of the upgrade behind them",
        Answered(|request| {
            let request = request.without("Upgrade").without("Connection");
            fields(request, 2000).add("Upgrade", "websocket").add("Connection", "Upgrade")
        }),
    ),
    Case::must(
        "head_of_8_kib",
        S5_4,
        TOO_LARGE,
        "a head of 8 KiB",
        Answered(|request| long(request, 8 << 10)),
    ),
    Case::must(
        "head_of_16_kib",
        S5_4,
        TOO_LARGE,
        "a head of 16 KiB",
        Answered(|request| long(request, 16 << 10)),
    ),
    Case::must(
        "head_of_64_kib",
        S5_4,
        TOO_LARGE,
        "a head of 64 KiB",
        Answered(|request| long(request, 64 << 10)),
    ),
    Case::must(
        "target_of_64_kib",
        "RFC 9112 §3",
        "A server that receives a request-target longer than any URI it wishes to parse MUST respond with a 414 (URI Too \
         Long) status code",
        "a target of 64 KiB: refused, dropped, or accepted",
        Run(|attack| {
            Box::pin(async move {
                let request = attack.request().path(&format!("/{}", "a".repeat(64 << 10)));
                answered(&mut attack.ask(&request).await?).await
            })
        }),
    ),
    Case::hardening(
        "head_without_end",
        "CVE-2026-47073 and its kind",
        "a head has a limit",
        "a field of 64 MiB that never ends: the server ends it",
        Run(|attack| {
            Box::pin(async move {
                let mut head = attack.request().line("X-Endless: a").bytes();
                head.truncate(head.len() - "\r\n\r\n".len());
                let mut peer = attack.connect().await?;
                peer.send(&head).await;
                ended(endless(&mut peer, &[b'a'; 64 << 10], 1024).await?)
            })
        }),
    )
    .memory(16),
    Case::hardening(
        "fields_without_end",
        "CVE-2026-33871 and its kind",
        "counts have limits beside sizes",
        "64 MiB of short fields that never end: the server ends them",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.connect().await?;
                peer.send(format!("GET {} HTTP/1.1\r\n", attack.target.path).as_bytes()).await;
                ended(endless(&mut peer, &b"a:b\r\n".repeat(13 << 10), 1024).await?)
            })
        }),
    )
    .memory(16),
    Case::must(
        "request_of_http_0_9",
        "RFC 6455 §4.2.1",
        "the server MUST stop processing the client's handshake",
        "GET / without a version",
        Run(|attack| Box::pin(nonsense(attack, b"GET /\r\n\r\n"))),
    ),
    Case::must(
        "request_of_tls",
        "RFC 6455 §10.7",
        "Incoming data MUST always be validated by both clients and servers.",
        "the first bytes of TLS",
        Run(|attack| Box::pin(nonsense(attack, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"))),
    ),
    Case::must(
        "request_of_zeros",
        "RFC 6455 §10.7",
        "Incoming data MUST always be validated by both clients and servers.",
        "64 KiB of zeros",
        Run(|attack| Box::pin(nonsense(attack, &[0; 64 << 10]))),
    ),
    Case::must(
        "request_of_frames",
        "RFC 6455 §4.2.1",
        "the server MUST stop processing the client's handshake",
        "frames in the place of a request: they are not answered",
        Run(|attack| Box::pin(nonsense(attack, b"\x82\x80\0\0\0\0\x89\x80\0\0\0\0\r\n\r\n"))),
    ),
];

fn fields(request: Request, count: usize) -> Request {
    (0..count).fold(request, |request, at| request.add(&format!("X-Field-{at}"), "a"))
}

/// A head of this size, in one long field.
fn long(request: Request, size: usize) -> Request {
    let missing = size.saturating_sub(request.bytes().len() + "X-Long: \r\n".len());
    request.add("X-Long", vec![b'a'; missing])
}

/// Judges that values of 12 KiB take not much more than four times the time of those of 3 KiB, and that one of 64 KiB is
/// answered or dropped.
async fn value(attack: Attack, field: &'static str, make: fn(usize) -> String) -> Judged {
    if let Answer::Silence = attack.ask(&attack.request().set(field, make(64 << 10))).await?.answer().await {
        return Err(Miss::failed("64 KiB are not answered in time"));
    }
    let ask = |attack: Attack, size| async move {
        for _ in 0..REQUESTS {
            attack.ask(&attack.request().set(field, make(size))).await?.answer().await;
        }
        Ok(())
    };
    attack.linear(3 << 10, ask).await
}

async fn byte_by_byte(peer: &mut crate::peer::Peer, bytes: &[u8]) {
    for byte in bytes {
        peer.send(&[*byte]).await;
        // So that the server gets a chance to read it alone.
        tokio::task::yield_now().await;
    }
}

/// Sends this piece again and again, and tells where it ended, or that it did not.
async fn endless(peer: &mut crate::peer::Peer, piece: &[u8], times: usize) -> Judged {
    for at in 0..times {
        let sent = peer.send(piece).await;
        // Who answered may read on, to throw it away.
        if let Some((response, _)) = Response::parse(peer.rest()) {
            return Ok(format!("status {} after {at} pieces of {} KiB", response.status, piece.len() >> 10));
        }
        if sent != Sent::All {
            return Ok(format!("ended after {at} pieces of {} KiB", piece.len() >> 10));
        }
    }
    Ok(ALL_TAKEN.to_owned())
}

fn ended(detail: String) -> Judged {
    if detail == ALL_TAKEN { Err(Miss::Failed(detail)) } else { Ok(detail) }
}

/// Judges that what is no request does not succeed. A server may wait for more of it.
async fn nonsense(attack: Attack, bytes: &'static [u8]) -> Judged {
    let mut peer = attack.connect().await?;
    peer.send(bytes).await;
    peer.patience(std::time::Duration::from_secs(1));
    match peer.answer().await {
        Answer::Response(response) if response.status == 101 => Err(Miss::failed("it is accepted")),
        Answer::Response(response) => Ok(format!("status {}", response.status)),
        Answer::End(ending) => Ok(ending.to_string()),
        Answer::Silence if peer.rest().is_empty() => Ok("waits for more".to_owned()),
        Answer::Silence => Err(Miss::failed("it is answered with what is no response")),
    }
}

const ALL_TAKEN: &str = "all of it is taken";

const REQUESTS: usize = 100;
