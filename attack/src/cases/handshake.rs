//! The fields of the opening handshake, each missing, doubled or wrong; and what has to be accepted.

use crate::attack::Attack;
use crate::case::Script::{Accepted, Answered, Refused, Run};
use crate::case::{Case, Judged, Miss};
use crate::peer::Answer;
use crate::request::{KEY, Request};

const S4_2_1: &str = "RFC 6455 §4.2.1";
const STOP: &str = "the server MUST stop processing the client's handshake and return an HTTP response with an \
     appropriate error code";
const S4_2_2: &str = "RFC 6455 §4.2.2";
const VERSION: &str = "If this version does not match a version understood by the server, the server MUST abort the \
     WebSocket handshake";
const S9_1: &str = "RFC 6455 §9.1";
const REQUESTED: &str = "containing one or more extensions that were requested by the client";

macro_rules! refused {
    ($($name:literal: $source:expr, $words:expr, $does:literal, $wrong:expr;)*) => {&[$(
        Case::must($name, $source, $words, $does, Refused($wrong)),
    )*]};
}

pub(crate) const REFUSED: &[Case] = refused! {
    "method_post": S4_2_1, STOP, "POST", |request| request.method("POST");
    "method_head": S4_2_1, STOP, "HEAD", |request| request.method("HEAD");
    "method_options": S4_2_1, STOP, "OPTIONS", |request| request.method("OPTIONS");
    "method_lower_case": S4_2_1, STOP, "get, since methods know upper and lower case", |request| request.method("get");
    "http_1_0": S4_2_1, STOP, "HTTP/1.0", |request| request.version("HTTP/1.0");
    "http_version_9_9": S4_2_1, STOP, "HTTP/9.9", |request| request.version("HTTP/9.9");
    "http_2_preface": S4_2_1, STOP, "the preface of HTTP/2", |request| {
        request.method("PRI").path("*").version("HTTP/2.0").behind("SM\r\n\r\n")
    };
    "upgrade_missing": S4_2_1, STOP, "no Upgrade", |request| request.without("Upgrade");
    "upgrade_h2c": S4_2_1, STOP, "Upgrade: h2c", |request| request.set("Upgrade", "h2c");
    "upgrade_longer_word": S4_2_1, STOP, "Upgrade: websocketx", |request| request.set("Upgrade", "websocketx");
    "connection_missing": S4_2_1, STOP, "no Connection", |request| request.without("Connection");
    "connection_keep_alive": S4_2_1, STOP, "Connection: keep-alive", |request| {
        request.set("Connection", "keep-alive")
    };
    "connection_longer_word": S4_2_1, STOP, "Connection: upgraded", |request| {
        request.set("Connection", "upgraded")
    };
    "key_missing": S4_2_1, STOP, "no Sec-WebSocket-Key", |request| request.without("Sec-WebSocket-Key");
    "key_empty": S4_2_1, STOP, "an empty Sec-WebSocket-Key", |request| request.set("Sec-WebSocket-Key", "");
    "key_twice": "RFC 6455 §11.3.1",
        "The |Sec-WebSocket-Key| header field MUST NOT appear more than once in an HTTP request.",
        "two Sec-WebSocket-Keys", |request| request.add("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEA==");
    "version_missing": S4_2_1, STOP, "no Sec-WebSocket-Version", |request| {
        request.without("Sec-WebSocket-Version")
    };
    "version_777": S4_2_2, VERSION, "version 777, on which proxies are known to open tunnels", |request| {
        request.set("Sec-WebSocket-Version", "777")
    };
    "version_12": S4_2_2, VERSION, "version 12", |request| request.set("Sec-WebSocket-Version", "12");
    "version_013": S4_2_1, STOP, "version 013, which is none by the grammar of §4.3", |request| request.set("Sec-WebSocket-Version", "013");
    "version_list": S4_2_2, VERSION, "versions 777, 13 in one field", |request| {
        request.set("Sec-WebSocket-Version", "777, 13")
    };
    "version_twice": "RFC 6455 §11.3.5",
        "the |Sec-WebSocket-Version| header field MUST NOT appear more than once in an HTTP request",
        "Sec-WebSocket-Version: 13 twice", |request| request.add("Sec-WebSocket-Version", "13");
};

pub(crate) const CASES: &[Case] = &[
    // RFC 6455 §4.2.2: "It is not necessary for the server to base64-decode the |Sec-WebSocket-Key| value."
    Case::hardening(
        "key_of_15_bytes",
        S4_2_1,
        "A |Sec-WebSocket-Key| header field with a base64-encoded value that, when decoded, is 16 bytes in length.",
        "a key of 15 bytes",
        Refused(|request| request.set("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4P")),
    ),
    Case::hardening(
        "key_is_not_base64",
        S4_2_1,
        "A |Sec-WebSocket-Key| header field with a base64-encoded value that, when decoded, is 16 bytes in length.",
        "a key of 24 characters that are not base64",
        Refused(|request| request.set("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")),
    ),
    Case::must(
        "refused_version_tells_versions",
        "RFC 6455 §4.4",
        "it MUST respond with a |Sec-WebSocket-Version| header field (or multiple |Sec-WebSocket-Version| header fields) \
         containing all versions it is willing to use",
        "version 777: the error tells 13",
        Run(|attack| {
            Box::pin(async move {
                let request = attack.request().set("Sec-WebSocket-Version", "777");
                match attack.ask(&request).await?.answer().await {
                    Answer::Response(response) if response.status == 101 => {
                        Err(Miss::failed("it is accepted"))
                    }
                    Answer::Response(response) => {
                        let tells = response
                            .values("sec-websocket-version")
                            .any(|value| value.split(',').any(|version| version.trim() == "13"));
                        let status = format!("status {}", response.status);
                        if tells {
                            Ok(status)
                        } else {
                            Err(Miss::Failed(format!("{status} does not tell 13")))
                        }
                    }
                    Answer::End(ending) => Err(Miss::Failed(format!("no error, but {ending}"))),
                    Answer::Silence => Err(Miss::failed("no answer")),
                }
            })
        }),
    ),
    Case::must(
        "connection_list",
        "RFC 6455 §4.2.1",
        "A |Connection| header field that includes the token \"Upgrade\", treated as an ASCII case-insensitive value.",
        "Connection: keep-alive, Upgrade, as Firefox sends it: it has to be accepted",
        Accepted(|request| request.set("Connection", "keep-alive, Upgrade")),
    ),
    Case::must(
        "names_in_any_case",
        "RFC 9110 §5.1",
        "Field names are case-insensitive",
        "names and tokens in upper and lower case: they have to be accepted",
        Accepted(|request| {
            let fields = ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
            let request = fields.iter().fold(request, |request, name| request.without(name));
            let request = request.add("UPGRADE", "WebSocket").add("connection", "uPGRADE");
            request.add("sec-websocket-key", KEY).add("SEC-WEBSOCKET-VERSION", "13")
        }),
    ),
    Case::must(
        "space_around_values",
        "RFC 9112 §5",
        "field-line = field-name \":\" OWS field-value OWS",
        "spaces and tabs around values, and none: they have to be accepted",
        Accepted(|request| {
            let request = request.without("Upgrade").without("Sec-WebSocket-Version");
            request.line("Upgrade:websocket").line("Sec-WebSocket-Version: \t 13 \t ")
        }),
    ),
    Case::must(
        "absolute_target",
        "RFC 6455 §4.1",
        "an absolute http/https URI that, when parsed, has a /resource name/, /host/, and /port/ that match the \
         corresponding ws/wss URI",
        "the target as an absolute URI: accepted or refused, but answered",
        Run(|attack| {
            Box::pin(async move {
                let path = format!("http://{}{}", attack.target.host, attack.target.path);
                crate::case::answered(&mut attack.ask(&attack.request().path(&path)).await?).await
            })
        }),
    ),
    Case::must(
        "subprotocol_not_offered",
        S4_2_2,
        "The value chosen MUST be derived from the client's handshake",
        "no subprotocol is offered: none may be in the answer, nor an extension",
        Run(|attack| Box::pin(selects(attack, |request| request, &[]))),
    ),
    Case::must(
        "subprotocol_is_one_of_the_offered",
        S4_2_2,
        "The value chosen MUST be derived from the client's handshake",
        "subprotocols in two fields: at most one of them is in the answer",
        Run(|attack| {
            Box::pin(selects(
                attack,
                |request| {
                    request
                        .add("Sec-WebSocket-Protocol", "chat, superchat")
                        .add("Sec-WebSocket-Protocol", "v2.chat")
                },
                &["chat", "superchat", "v2.chat"],
            ))
        }),
    ),
    Case::must(
        "subprotocol_splits_no_response",
        "CVE-2026-1527 and its kind: response splitting",
        "what a request says stands in no field of the answer but its own",
        "a subprotocol with an LF, another with encoded ones: no field of the attacker's is in the answer",
        Run(|attack| {
            Box::pin(selects(
                attack,
                |request| {
                    let request = request.add("Sec-WebSocket-Protocol", "chat\nX-Injected: 1");
                    request.add("Sec-WebSocket-Protocol", "a%0d%0aX-Injected:%201, b\u{e560a}c")
                },
                &["chat"],
            ))
        }),
    ),
    Case::must(
        "subprotocol_of_nonsense",
        "RFC 6455 §4.1",
        "characters in the range U+0021 to U+007E not including separator characters as defined in [RFC2616] and MUST all \
         be unique strings",
        "quotes, spaces, doubled and empty names: no such name is in the answer",
        Run(|attack| {
            Box::pin(selects(
                attack,
                |request| request.add("Sec-WebSocket-Protocol", ",, \"a b\" ,c d,,x,x, (y), \u{e4}"),
                &["x"],
            ))
        }),
    ),
    Case::must(
        "extension_names_of_objects",
        "NSP-550",
        "no name of an extension means anything but that extension",
        "extensions __proto__, constructor, toString, hasOwnProperty: none is agreed on",
        Run(|attack| {
            Box::pin(selects(
                attack,
                |request| {
                    let request =
                        request.add("Sec-WebSocket-Extensions", "__proto__, constructor; constructor=1");
                    request.add("Sec-WebSocket-Extensions", "toString; __proto__, hasOwnProperty")
                },
                &[],
            ))
        }),
    ),
    Case::must(
        "extension_unknown",
        S9_1,
        REQUESTED,
        "an extension that nobody knows: it is not agreed on",
        Run(|attack| {
            Box::pin(selects(
                attack,
                |request| request.add("Sec-WebSocket-Extensions", "x-unknown; a=1; b"),
                &[],
            ))
        }),
    ),
    // A server without extensions need not look.
    Case::hardening(
        "extension_malformed",
        S9_1,
        "If a value is received […] that does not conform to the ABNF below, the recipient of such malformed data MUST \
         immediately _Fail the WebSocket Connection_.",
        "extensions that are no grammar at all",
        Refused(|request| request.add("Sec-WebSocket-Extensions", ";;=,\"\\,; permessage-deflate=;=")),
    ),
    Case::must(
        "extension_of_8_bit_bytes",
        "NSP-550",
        "no name of an extension means anything but that extension",
        "bytes above 0x7f and of broken UTF-8 in extensions and subprotocols: refused, or not agreed on",
        Answered(|request| {
            let request = request.add("Sec-WebSocket-Extensions", b"\xff\xfe\x80; \xc3");
            request.add("Sec-WebSocket-Protocol", b"\xed\xa0\x80")
        }),
    ),
];

/// Judges that the answer, if it accepts, selects nothing but one of these subprotocols, no extension, and has no
/// field of the attacker's.
async fn selects(attack: Attack, with: fn(Request) -> Request, offered: &[&str]) -> Judged {
    let mut peer = attack.ask(&with(attack.request())).await?;
    let response = match peer.answer().await {
        Answer::Response(response) => response,
        Answer::End(ending) => return Ok(ending.to_string()),
        Answer::Silence => return Err(Miss::failed("no answer")),
    };
    if response.values("x-injected").next().is_some() {
        return Err(Miss::failed("a field of the attacker's is in the answer"));
    }
    if response.status != 101 {
        return Ok(format!("status {}", response.status));
    }
    let selected: Vec<_> = response.values("sec-websocket-protocol").collect();
    let extensions: Vec<_> = response.values("sec-websocket-extensions").collect();
    let right = match &*selected {
        [] => true,
        [one] => offered.contains(one),
        _ => false,
    };
    if !right || !extensions.is_empty() {
        return Err(Miss::Failed(format!("it selects {selected:?} and agrees to {extensions:?}")));
    }
    peer.goes_on().await.map(|_| format!("accepted, with {selected:?}"))
}
