//! What two ends agree on (RFC 7692 §5, §7.1), through the handshakes. The tables of all offers and answers are in
//! `src/proto/handshake/deflate.rs`.

use taut::proto::handshake::{Accept, ClientRequest, HandshakeError};
use taut::proto::{Config, Connection, Deflate, ProtocolError, Role};

use crate::ends::{agreed, compressed, eager, noise, on_wire, sending};
use crate::examples::{ONE_BLOCK, SHARED};
use crate::heads::{Head, connect_as, head_of, serve};
use crate::oracle::Oracle;
use crate::support::{KEY, Outcome, Take, replay};
use crate::wire::{TEXT, binary, text, written};
use crate::{BOTH, CLIENT, Row, SERVER};

const FIELD: &str = "Sec-WebSocket-Extensions";

/// The answer of a server that agrees to at most this, and its end of the connection.
#[track_caller]
fn answer_of(offered: &str, most: Deflate) -> (Option<String>, Connection) {
    let pending = serve(Head::request().and(FIELD, offered).bytes()).unwrap();
    let mut connection = pending.accept(Accept::new().deflate(most), eager()).unwrap();
    let (head, rest) = Head::parse(&written(&mut connection));
    assert_eq!(rest, b"");
    (head.get(FIELD).map(Into::into), connection)
}

/// What a client that offers these makes of an answer.
fn client_of(offers: &[Deflate], answer: Option<&str>) -> Result<Connection, HandshakeError> {
    let mut request = ClientRequest::new("server.example.com", "/chat").unwrap();
    for &offer in offers {
        request = request.deflate(offer);
    }
    let mut head = Head::answer();
    if let Some(answer) = answer {
        head = head.and(FIELD, answer);
    }
    connect_as(&request, &head.bytes(), false).map(|established| established.into_connection(eager(), || KEY))
}

fn element(parameters: &str) -> String {
    format!("permessage-deflate{parameters}")
}

/// The window with which this connection compresses, and whether it takes over: by what is on the wire, not by
/// what it says.
#[track_caller]
fn assert_sends(connection: &mut Connection, takeover: bool, window_bits: u8) {
    let said = connection.agreement().deflate().unwrap();
    assert_eq!(sending(connection.role(), takeover, window_bits), only(said, connection.role()));
    let mut oracle = Oracle::new(window_bits, takeover);
    let noise = noise(1 << window_bits, 3);
    // A repetition just within the window, and one beyond it.
    for gap in [(1 << window_bits) - 300, 1 << window_bits] {
        let message = [&noise[..40], &vec![7; gap - 40], &noise[..40]].concat();
        for _ in 0..2 {
            connection.send_binary(&message).unwrap();
            let messages = on_wire(connection);
            assert!(messages[0].compressed);
            assert!(oracle.message(&messages[0].payload()).unwrap() == message, "{window_bits} bits");
        }
    }
    let lengths = [0, 1].map(|_| {
        connection.send_binary(&noise[..100]).unwrap();
        let message = on_wire(connection).remove(0);
        if message.compressed {
            assert!(oracle.message(&message.payload()).unwrap() == noise[..100]);
        }
        message.payload().len()
    });
    assert_eq!(lengths[1] < 50, takeover, "{lengths:?}");
}

/// The parameters with the default in the other direction.
fn only(deflate: Deflate, role: Role) -> Deflate {
    let all = [true, false].into_iter().flat_map(|takeover| (8..=15).map(move |bits| (takeover, bits)));
    let mut found = all.filter(|&(takeover, bits)| match role {
        Role::Server => deflate == deflate.server_no_context_takeover(!takeover).server_max_window_bits(bits),
        Role::Client => deflate == deflate.client_no_context_takeover(!takeover).client_max_window_bits(bits),
    });
    let (takeover, bits) = found.next().unwrap();
    assert_eq!(found.next(), None);
    sending(role, takeover, bits)
}

/// Whether the connection takes compressed messages, and whether they may refer to those before.
#[track_caller]
fn assert_receives(connection: &mut Connection, takeover: Option<bool>) {
    let peer = connection.role().peer();
    let input = [ONE_BLOCK, SHARED].map(|payload| compressed(peer, TEXT, payload)).concat();
    let outcome = replay(connection, &input, &[], Take::Owned);
    let (messages, error) = match takeover {
        Some(true) => (vec![text("Hello"), text("Hello")], None),
        Some(false) => (vec![text("Hello")], Some(ProtocolError::Deflate)),
        None => (vec![], Some(ProtocolError::ReservedBit(1))),
    };
    assert_eq!(outcome, Outcome { messages, error });
}

pub(crate) const S5: &[Row] = &[
    Row {
        id: 1,
        section: "5.1",
        who: CLIENT,
        requirement: "a client may offer several configurations, \"in order of preference\"; a server takes the first \
            that it can honour",
        check: |_| {
            let mut request = ClientRequest::new("server.example.com", "/chat").unwrap();
            assert_eq!(head_of(&request).get(FIELD), None, "nothing is offered unasked");
            let offers = [
                Deflate::new().server_max_window_bits(8),
                Deflate::new().server_no_context_takeover(true),
                Deflate::new(),
            ];
            for offer in offers {
                request = request.deflate(offer);
            }
            assert_eq!(request.deflate_offers(), offers);
            let head = head_of(&request);
            assert_eq!(
                head.list(FIELD),
                [
                    "permessage-deflate; server_max_window_bits=8; client_max_window_bits",
                    "permessage-deflate; server_no_context_takeover; client_max_window_bits",
                    "permessage-deflate; client_max_window_bits",
                ]
            );
            let (answer, server) = answer_of(head.get(FIELD).unwrap(), Deflate::new());
            assert_eq!(answer.as_deref(), Some("permessage-deflate; server_no_context_takeover"));
            let client = client_of(&offers, answer.as_deref()).unwrap();
            assert_eq!(client.agreement(), server.agreement());
            assert_eq!(client.agreement().deflate(), Some(offers[1]));
        },
    },
    Row {
        id: 2,
        section: "5.1",
        who: SERVER,
        requirement: "a server answers one of the offers, with parameters that fit, or none; and only if it wants to",
        check: |_| {
            for (offered, answer) in [
                ("permessage-deflate", Some("permessage-deflate")),
                ("permessage-deflate, permessage-deflate", Some("permessage-deflate")),
                ("foo; bar, permessage-deflate; client_max_window_bits", Some("permessage-deflate")),
                ("permessage-deflate; foo, permessage-deflate", Some("permessage-deflate")),
                ("permessage-deflate; foo", None),
                ("foo, bar", None),
            ] {
                let (answered, mut connection) = answer_of(offered, Deflate::new());
                assert_eq!(answered.as_deref(), answer, "{offered}");
                assert_eq!(connection.agreement().deflate(), answer.map(|_| Deflate::new()));
                assert_receives(&mut connection, answer.map(|_| true));
            }
            let pending = serve(Head::request().and(FIELD, "permessage-deflate").bytes()).unwrap();
            let mut connection = pending.accept(Accept::new(), Config::new()).unwrap();
            assert_eq!(Head::parse(&written(&mut connection)).0.get(FIELD), None);
            assert_receives(&mut connection, None);
            // In two fields, of which the first is all invalid.
            let head = Head::request().and(FIELD, "permessage-deflate; foo").and(FIELD, "permessage-deflate");
            let accept = Accept::new().deflate(Deflate::no_context_takeover());
            let connection = serve(head.bytes()).unwrap().accept(accept, Config::new()).unwrap();
            assert_eq!(connection.agreement().deflate(), Some(Deflate::no_context_takeover()));
        },
    },
    Row {
        id: 3,
        section: "5.1",
        who: CLIENT,
        requirement: "a client fails on an answer that does not fit what it offered",
        check: |_| {
            use HandshakeError::{DeflateAnswer, ExtensionNotOffered};
            let smaller = Deflate::new().server_max_window_bits(10);
            for (offers, answer, error) in [
                (&[][..], "permessage-deflate", ExtensionNotOffered),
                (&[Deflate::new()], "foo", ExtensionNotOffered),
                (&[Deflate::new()], "permessage-deflate; foo", DeflateAnswer),
                (&[Deflate::new()], "permessage-deflate, permessage-deflate", DeflateAnswer),
                (&[Deflate::no_context_takeover()], "permessage-deflate", DeflateAnswer),
                (&[smaller], "permessage-deflate", DeflateAnswer),
                (&[smaller], "permessage-deflate; server_max_window_bits=11", DeflateAnswer),
            ] {
                assert_eq!(client_of(offers, Some(answer)).unwrap_err(), error, "{answer}");
            }
            let mut connection = client_of(&[Deflate::new()], None).unwrap();
            assert_eq!(connection.agreement().deflate(), None);
            assert_receives(&mut connection, None);
        },
    },
    Row {
        id: 5,
        section: "5.1",
        who: BOTH,
        requirement: "no other extension that uses RSV1 is agreed on beside it",
        check: |role| {
            if role == Role::Server {
                let offered = "x-webkit-deflate-frame, permessage-deflate, permessage-bzip2, deflate-frame";
                let (answer, _) = answer_of(offered, Deflate::new());
                assert_eq!(answer.as_deref(), Some("permessage-deflate"));
            } else {
                for answer in
                    ["x-webkit-deflate-frame, permessage-deflate", "permessage-deflate, permessage-bzip2"]
                {
                    let error = client_of(&[Deflate::new()], Some(answer)).unwrap_err();
                    assert_eq!(error, HandshakeError::ExtensionNotOffered);
                }
            }
        },
    },
];

/// Parameters that RFC 7692 does not allow: a few of each kind.
const INVALID: &[&str] = &[
    "; foo",
    "; server_no_context_takeover=1",
    "; client_no_context_takeover; client_no_context_takeover",
    "; server_max_window_bits",
    "; server_max_window_bits=7",
    "; server_max_window_bits=16",
    "; server_max_window_bits=09",
    "; server_max_window_bits=+9",
    "; server_max_window_bits=9; server_max_window_bits=9",
    "; client_max_window_bits=7",
    "; client_max_window_bits=016",
    "; client_max_window_bits=-9",
    "; client_max_window_bits=\"16\"",
];

pub(crate) const S7_1: &[Row] = &[
    Row {
        id: 10,
        section: "7.1",
        who: SERVER,
        requirement: "a server declines offers with parameters that are unknown, invalid or repeated, and goes on \
            without compression",
        check: |_| {
            for parameters in INVALID {
                let (answer, mut connection) = answer_of(&element(parameters), Deflate::new());
                assert_eq!(answer, None, "{parameters}");
                assert_receives(&mut connection, None);
            }
        },
    },
    Row {
        id: 11,
        section: "7.1",
        who: CLIENT,
        requirement: "a client fails on an answer with such parameters",
        check: |_| {
            for parameters in INVALID.iter().chain(&["; client_max_window_bits"]) {
                let error = client_of(&[Deflate::new()], Some(&element(parameters))).unwrap_err();
                assert_eq!(error, HandshakeError::DeflateAnswer, "{parameters}");
            }
        },
    },
    Row {
        id: 15,
        section: "7.1.2.1",
        who: BOTH,
        requirement: "windows are \"a decimal integer value without leading zeroes between 8 to 15, inclusive\"",
        check: |role| {
            for value in 0..=20 {
                for (zeros, quoted) in [("", false), ("", true), ("0", false)] {
                    let text = if quoted { format!("\"{zeros}{value}\"") } else { format!("{zeros}{value}") };
                    let fits = (8..=15).contains(&value) && zeros.is_empty();
                    if role == Role::Client {
                        for name in ["server_max_window_bits", "client_max_window_bits"] {
                            let answer = element(&format!("; {name}={text}"));
                            let result = client_of(&[Deflate::new()], Some(&answer));
                            assert_eq!(result.is_ok(), fits, "{answer}");
                        }
                    } else {
                        let offered = element(&format!("; client_max_window_bits={text}"));
                        assert_eq!(answer_of(&offered, Deflate::new()).0.is_some(), fits, "{offered}");
                        let offered = element(&format!("; server_max_window_bits={text}"));
                        let accepted = answer_of(&offered, Deflate::new()).0.is_some();
                        assert_eq!(accepted, fits && value != 8, "{offered}");
                    }
                }
            }
        },
    },
];

pub(crate) const S7_1_1: &[Row] = &[
    Row {
        id: 12,
        section: "7.1.1.1",
        who: SERVER,
        requirement: "an offer of server_no_context_takeover is accepted by its echo; the server begins each message \
            with an empty window then",
        check: |_| {
            let (answer, mut server) = answer_of(&element("; server_no_context_takeover"), Deflate::new());
            assert_eq!(answer, Some(element("; server_no_context_takeover")));
            assert_sends(&mut server, false, 15);
            assert_receives(&mut server, Some(true));
        },
    },
    Row {
        id: 12,
        section: "7.1.1.1",
        who: CLIENT,
        requirement: "a client that offered it holds the server to it",
        check: |_| {
            let offer = Deflate::new().server_no_context_takeover(true);
            let answer = element("; server_no_context_takeover");
            let mut client = client_of(&[offer], Some(&answer)).unwrap();
            assert_sends(&mut client, true, 15);
            assert_receives(&mut client, Some(false));
        },
    },
    Row {
        id: 13,
        section: "7.1.1.1",
        who: BOTH,
        requirement: "a server may answer server_no_context_takeover unasked, and a client takes it",
        check: |role| {
            let wish = Deflate::new().server_no_context_takeover(true);
            let (answer, mut server) = answer_of("permessage-deflate", wish);
            assert_eq!(answer, Some(element("; server_no_context_takeover")));
            if role == Role::Server {
                assert_sends(&mut server, false, 15);
            } else {
                let mut client = client_of(&[Deflate::new()], answer.as_deref()).unwrap();
                assert_sends(&mut client, true, 15);
                assert_receives(&mut client, Some(false));
            }
        },
    },
    Row {
        id: 14,
        section: "7.1.1.2",
        who: CLIENT,
        requirement: "client_no_context_takeover in an answer binds the client, whether it was offered or not",
        check: |_| {
            for offer in [Deflate::new(), Deflate::new().client_no_context_takeover(true)] {
                let answer = element("; client_no_context_takeover");
                let mut client = client_of(&[offer], Some(&answer)).unwrap();
                assert_sends(&mut client, false, 15);
                assert_receives(&mut client, Some(true));
            }
            // What it offered it does, whatever the answer.
            let offer = Deflate::new().client_no_context_takeover(true);
            let mut client = client_of(&[offer], Some("permessage-deflate")).unwrap();
            assert_sends(&mut client, false, 15);
        },
    },
    Row {
        id: 14,
        section: "7.1.1.2",
        who: SERVER,
        requirement: "a server that answers it expects it",
        check: |_| {
            for (offered, most) in [
                ("; client_no_context_takeover", Deflate::new()),
                ("", Deflate::new().client_no_context_takeover(true)),
            ] {
                let (answer, mut server) = answer_of(&element(offered), most);
                assert_eq!(answer, Some(element("; client_no_context_takeover")));
                assert_sends(&mut server, true, 15);
                assert_receives(&mut server, Some(false));
            }
        },
    },
];

pub(crate) const S7_1_2: &[Row] = &[
    Row {
        id: 16,
        section: "7.1.2.1",
        who: SERVER,
        requirement: "server_max_window_bits is accepted \"with the same or smaller value\", and no larger window is used",
        check: |_| {
            for offered in 9..=15 {
                for most in 9..=15 {
                    let wish = Deflate::new().server_max_window_bits(most);
                    let (answer, mut server) =
                        answer_of(&element(&format!("; server_max_window_bits={offered}")), wish);
                    let bits = offered.min(most);
                    assert_eq!(answer, Some(element(&format!("; server_max_window_bits={bits}"))));
                    if most == 15 || offered == 15 {
                        assert_sends(&mut server, true, bits);
                    }
                }
            }
        },
    },
    Row {
        id: 17,
        section: "7.1.2.1",
        who: BOTH,
        requirement: "a server may use a smaller window unasked, and say so; a client takes that",
        check: |role| {
            if role == Role::Server {
                let wish = Deflate::new().server_max_window_bits(10);
                let (answer, mut server) = answer_of("permessage-deflate", wish);
                assert_eq!(answer.as_deref(), Some("permessage-deflate"));
                assert_sends(&mut server, true, 10);
            } else {
                for bits in 8..=15 {
                    let answer = element(&format!("; server_max_window_bits={bits}"));
                    let mut client = client_of(&[Deflate::new()], Some(&answer)).unwrap();
                    let agreed = Deflate::new().server_max_window_bits(bits);
                    assert_eq!(client.agreement().deflate(), Some(agreed));
                    assert_receives(&mut client, Some(true));
                }
            }
        },
    },
    Row {
        id: 18,
        section: "7.1.2.2",
        who: CLIENT,
        requirement: "client_max_window_bits is offered without a value, or with one",
        check: |_| {
            for bits in 8..=15 {
                let offer = Deflate::new().client_max_window_bits(bits);
                let request = ClientRequest::new("server.example.com", "/chat").unwrap().deflate(offer);
                let parameters = match bits {
                    15 => "; client_max_window_bits".into(),
                    bits => format!("; client_max_window_bits={}", bits.max(9)),
                };
                assert_eq!(head_of(&request).get(FIELD), Some(&*element(&parameters)));
            }
        },
    },
    Row {
        id: 19,
        section: "7.1.2.2",
        who: SERVER,
        requirement: "without client_max_window_bits in the offer \"the server MUST NOT include\" it in the answer",
        check: |_| {
            for bits in 8..=15 {
                let wish = Deflate::new().client_max_window_bits(bits);
                for offered in ["", "; server_no_context_takeover", "; server_max_window_bits=15"] {
                    let (answer, server) = answer_of(&element(offered), wish);
                    assert_eq!(answer, Some(element(offered)));
                    let agreed = server.agreement().deflate().unwrap();
                    assert_eq!(agreed, agreed.client_max_window_bits(15), "the client may use any window");
                }
                let (answer, _) = answer_of(&element("; client_max_window_bits"), wish);
                let parameters =
                    if bits == 15 { String::new() } else { format!("; client_max_window_bits={bits}") };
                assert_eq!(answer, Some(element(&parameters)));
            }
        },
    },
    Row {
        id: 20,
        section: "7.1.2.2",
        who: CLIENT,
        requirement: "a client's window is no larger than the answer says; if it says nothing, than the client offered",
        check: |_| {
            for bits in 9..=15 {
                let answer = element(&format!("; client_max_window_bits={bits}"));
                let mut client = client_of(&[Deflate::new()], Some(&answer)).unwrap();
                assert_sends(&mut client, true, bits);
                let offer = Deflate::new().client_max_window_bits(bits);
                let mut client = client_of(&[offer], Some("permessage-deflate")).unwrap();
                assert_sends(&mut client, true, bits);
            }
        },
    },
    Row {
        id: 28,
        section: "7.1.2",
        who: BOTH,
        requirement: "a window of 8 bits, which zlib has not, is declined for what we compress, or leaves all plain; \
            such messages can be read",
        check: |role| {
            let mut connection = match role {
                Role::Server => {
                    let (answer, _) = answer_of(&element("; server_max_window_bits=8"), Deflate::new());
                    assert_eq!(answer, None);
                    let (answer, server) = answer_of(&element("; client_max_window_bits=8"), Deflate::new());
                    assert_eq!(answer, Some(element("; client_max_window_bits=8")));
                    server
                }
                Role::Client => {
                    let answer = element("; client_max_window_bits=8; server_max_window_bits=8");
                    let mut client = client_of(&[Deflate::new()], Some(&answer)).unwrap();
                    client.send_binary(&[0; 5000]).unwrap();
                    client.send_fragment(taut::proto::Kind::Binary, &[0; 5000], true).unwrap();
                    client.send_prepared(&taut::proto::Prepared::binary([0; 5000])).unwrap();
                    let messages = on_wire(&mut client);
                    assert_eq!(messages.len(), 3);
                    assert!(messages.iter().all(|message| !message.compressed));
                    let offer = Deflate::new().server_max_window_bits(8);
                    client_of(&[offer], Some(&element("; server_max_window_bits=8"))).unwrap()
                }
            };
            assert_receives(&mut connection, Some(true));
            // No window that was agreed on elsewhere is exceeded either.
            let mut connection = agreed(role, eager(), sending(role, true, 8));
            connection.send_binary(&[0; 5000]).unwrap();
            assert!(!on_wire(&mut connection)[0].compressed);
            connection = agreed(role, eager(), sending(role.peer(), true, 8));
            let noise = noise(200, 6);
            let payload = crate::bits::Bits::default().stored(false, &noise).fixed(false, &noise).message();
            let input = compressed(role.peer(), crate::wire::BINARY, &payload);
            let outcome = replay(&mut connection, &input, &[], Take::Owned);
            assert_eq!(outcome.messages, [binary([&noise[..], &noise].concat())]);
        },
    },
];
