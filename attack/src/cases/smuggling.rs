//! Requests that two readers could read in two ways.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::attack::Attack;
use crate::case::Script::{Refused, Run};
use crate::case::{Case, Judged, Miss, answered, refused};
use crate::peer::{Answer, Seen};
use crate::request::Request;
use crate::wire::{Frame, TEXT, text};

const S6_3: &str = "RFC 9112 §6.3";
const LENGTH: &str = "If a valid Content-Length header field is present without Transfer-Encoding, its decimal value \
     defines the expected message body length in octets.";
const S5_1: &str = "RFC 9112 §5.1";
const S5_2: &str = "RFC 9112 §5.2";
const FOLD: &str = "A server that receives an obs-fold in a request message […] MUST either reject the message […] or \
     replace each received obs-fold with one or more SP octets";
const S2_2: &str = "RFC 9112 §2.2";
const S3_2: &str = "RFC 9112 §3.2";
const HOST: &str = "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks \
     a Host header field and to any request message that contains more than one Host header field line";
const NUL: &str = "a recipient of CR, LF, or NUL within a field value MUST either reject the message or replace each of \
     those characters with SP";

pub(crate) const CASES: &[Case] = &[
    Case::must(
        "content_length_body_is_no_frame",
        S6_3,
        LENGTH,
        "a request with a body, which is a frame: it must not be read as one",
        Run(|attack| {
            Box::pin(body(attack, |request, body| {
                request.add("Content-Length", body.len().to_string()).behind(body)
            }))
        }),
    ),
    Case::must(
        "transfer_encoding_body_is_no_frame",
        S6_3,
        "the message body length is determined by reading and decoding the chunked data",
        "a request with Transfer-Encoding: chunked and a frame in the place of chunks",
        Run(|attack| {
            Box::pin(body(attack, |request, body| request.add("Transfer-Encoding", "chunked").behind(body)))
        }),
    ),
    Case::must(
        "content_length_and_transfer_encoding",
        S6_3,
        "Such a message might indicate an attempt to perform request smuggling […] and ought to be handled as an error.",
        "a request with both, and a frame behind it: it must not be read as one",
        Run(|attack| {
            Box::pin(body(attack, |request, body| {
                request.add("Content-Length", "4").add("Transfer-Encoding", "chunked").behind(body)
            }))
        }),
    ),
    Case::must(
        "transfer_encoding_in_disguise",
        S6_3,
        "the message body length cannot be determined reliably; the server MUST respond with the 400 (Bad Request) status \
         code",
        "Transfer-Encoding: xchunked and a frame behind it: it must not be read as one",
        Run(|attack| {
            Box::pin(body(attack, |request, body| request.add("Transfer-Encoding", "xchunked").behind(body)))
        }),
    ),
    Case::must(
        "content_length_twice",
        S6_3,
        "the message framing is invalid and the recipient MUST treat it as an unrecoverable error",
        "two Content-Lengths that differ, 0 and 7",
        Refused(|request| request.add("Content-Length", "0").add("Content-Length", "7").behind("smuggle")),
    ),
    Case::must(
        "content_length_is_no_number",
        S6_3,
        "the message framing is invalid and the recipient MUST treat it as an unrecoverable error",
        "Content-Length: +0x0",
        Refused(|request| request.add("Content-Length", "+0x0")),
    ),
    Case::must(
        "space_before_colon",
        S5_1,
        "A server MUST reject […] any received request message that contains whitespace between a header field name and \
         colon.",
        "a field with a space before its colon",
        Refused(|request| request.line("X-Space : a")),
    ),
    Case::must(
        "field_without_colon",
        "RFC 9112 §5",
        "field-line = field-name \":\" OWS field-value OWS",
        "a line among the fields that is none",
        Refused(|request| request.line("this is no field")),
    ),
    Case::must(
        "field_without_name",
        "RFC 9110 §5.1",
        "field-name = token",
        "a field whose name is empty",
        Refused(|request| request.line(": nameless")),
    ),
    Case::must(
        "field_name_is_no_token",
        "RFC 9110 §5.1",
        "field-name = token",
        "a field whose name has a bracket in it",
        Refused(|request| request.line("X[0]: a")),
    ),
    Case::must(
        "fold_hides_no_field",
        S5_2,
        FOLD,
        "the version only in the second line of a folded field, where it is no field",
        Refused(|request| {
            request.without("Sec-WebSocket-Version").line("X-Fold: a\r\n Sec-WebSocket-Version: 13")
        }),
    ),
    Case::must(
        "space_before_the_first_field",
        S2_2,
        "A recipient that receives whitespace between the start-line and the first header field MUST either reject the \
         message as invalid or consume each whitespace-preceded line without further processing of it",
        "the version only in a line that begins with a space, before all fields",
        Refused(|request| request.without("Sec-WebSocket-Version").first(" Sec-WebSocket-Version: 13")),
    ),
    Case::must(
        "bare_cr_ends_no_line",
        S2_2,
        "A recipient of such a bare CR MUST consider that element to be invalid or replace each bare CR with SP before \
         processing the element",
        "the version only behind a CR without LF, where it is no field",
        Refused(|request| {
            request.without("Sec-WebSocket-Version").line("X-Bare: a\rSec-WebSocket-Version: 13")
        }),
    ),
    Case::must(
        "nul_in_a_value",
        "RFC 9110 §5.5",
        NUL,
        "Upgrade: web, NUL, socket, which is not websocket whatever becomes of the NUL",
        Refused(|request| request.set("Upgrade", b"web\0socket")),
    ),
    Case::must(
        "nul_in_a_name",
        "RFC 9110 §5.1",
        "field-name = token",
        "a field whose name has a NUL in it",
        Refused(|request| request.line(b"X\0Y: a")),
    ),
    Case::hardening(
        "bare_lf_hides_no_field",
        S2_2,
        "a recipient MAY recognize a single LF as a line terminator",
        "the version only behind an LF without CR: a proxy may see one field there, and the server two",
        Refused(|request| {
            request.without("Sec-WebSocket-Version").line("X-Bare: a\nSec-WebSocket-Version: 13")
        }),
    ),
    Case::must(
        "lf_lines_hang_nobody",
        S2_2,
        "a recipient MAY recognize a single LF as a line terminator",
        "a request whose lines end with LF only: it may succeed or fail, but hold up nobody else",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.ask(&attack.request().line_end("\n")).await?;
                peer.patience(Duration::from_secs(1));
                match peer.answer().await {
                    // A head that only has LF has no end for those who want CRLF.
                    Answer::Silence => Ok("waits for CRLF".to_owned()),
                    Answer::End(ending) => Ok(ending.to_string()),
                    Answer::Response(response) => Ok(format!("status {}", response.status)),
                }
            })
        }),
    ),
    Case::must(
        "host_missing",
        S3_2,
        HOST,
        "a request without Host",
        Refused(|request| request.without("Host")),
    ),
    Case::must(
        "host_twice",
        S3_2,
        HOST,
        "a request with two Hosts",
        Refused(|request| request.add("Host", "elsewhere.example")),
    ),
    Case::must(
        "absolute_target_connects_nowhere",
        "GHSA-c4j6-fc7j-m34r",
        "an upgrade request is proxied nowhere",
        "the target http://127.0.0.1:PORT/, where the attacker listens: nobody comes",
        Run(|attack| Box::pin(elsewhere(attack))),
    ),
    Case::hardening(
        "refused_connection_is_closed",
        "smuggling through upgrades",
        "behind a refused upgrade nothing is read: a proxy may take the connection for a tunnel",
        "a request with version 777 and a second, right one behind it in the same write: the second is not answered",
        Run(|attack| Box::pin(pipelined(attack))),
    ),
    Case::hardening(
        "frames_behind_the_head",
        "RFC 6455 §4.1",
        "the client MUST wait for a response from the server before sending any further data",
        "a frame in the same write as the request: it is refused, or answered, but not lost",
        Run(|attack| {
            Box::pin(async move {
                let mut peer = attack.ask(&attack.request().behind(text("early").bytes())).await?;
                match peer.answer().await {
                    Answer::Response(response) if response.status == 101 => {
                        peer.expect(TEXT, b"early").await.map(|_| "accepted, and echoed".to_owned())
                    }
                    Answer::Response(response) => Ok(format!("status {}", response.status)),
                    Answer::End(ending) => Ok(ending.to_string()),
                    Answer::Silence => Err(Miss::failed("no answer")),
                }
            })
        }),
    ),
];

/// Judges that a frame in the place of a body is not answered as a frame.
async fn body(attack: Attack, with: fn(Request, &[u8]) -> Request) -> Judged {
    let smuggled = text("smuggled").bytes();
    let mut peer = attack.ask(&with(attack.request(), &smuggled)).await?;
    peer.patience(Duration::from_secs(1));
    match peer.answer().await {
        Answer::Response(response) if response.status == 101 => loop {
            match peer.next().await {
                Seen::Frame(Frame { payload, .. }) if payload == b"smuggled" => {
                    return Err(Miss::failed("accepted, and the body is answered as a frame"));
                }
                Seen::Frame(_) => {}
                Seen::End(ending) => return Ok(format!("accepted, then {ending}")),
                Seen::Silence => return Ok("accepted, and the body is no frame".to_owned()),
            }
        },
        Answer::Response(response) => Ok(format!("status {}", response.status)),
        Answer::End(ending) => Ok(ending.to_string()),
        Answer::Silence => Ok("waits for the body".to_owned()),
    }
}

async fn elsewhere(attack: Attack) -> Judged {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let host = listener.local_addr()?.to_string();
    let request = attack.request().path(&format!("http://{host}/")).set("Host", &host);
    let detail = answered(&mut attack.ask(&request).await?).await?;
    match timeout(Duration::from_millis(300), listener.accept()).await {
        Ok(_) => Err(Miss::failed("the server connects to the target")),
        Err(_) => Ok(detail),
    }
}

async fn pipelined(attack: Attack) -> Judged {
    let second = attack.request().bytes();
    let first = attack.request().set("Sec-WebSocket-Version", "777").behind(second);
    let mut peer = attack.ask(&first).await?;
    let detail = refused(&mut peer).await?;
    peer.patience(Duration::from_secs(1));
    match peer.answer().await {
        Answer::Response(response) => {
            Err(Miss::Failed(format!("{detail}, and then status {}", response.status)))
        }
        Answer::End(_) | Answer::Silence => Ok(detail),
    }
}
