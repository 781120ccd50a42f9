//! The examples, run as the programs they are: each does what its header says, and ends as it promises.
//!
//! `cargo test` builds them. Before `cargo test --test examples` they need `cargo build --examples`.

#![cfg(feature = "tokio")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use taut::blocking;
use taut::proto::handshake::{Accept, ClientRequest, accept_key};
use taut::proto::{CloseCode, CloseFrame, Message};
use taut::tokio::{Options, accept_with};

/// Every file in `examples/`; each has its tests below.
const EXAMPLES: &[&str] = &[
    "autobahn_client",
    "axum_echo",
    "broadcast_server",
    "chat",
    "data_push",
    "echo_client",
    "echo_server",
    "echo_server_blocking",
    "echo_server_mio",
    "first_message_auth",
    "from_axum",
    "from_fastwebsockets",
    "from_tokio_tungstenite",
    "h2_bridge",
    "json_chat",
    "line_client",
    "publish_subscribe",
    "queue_client",
    "queue_server",
    "reconnecting_client",
    "rooms",
    "self_signed_client",
    "self_signed_server",
    "simulator",
    "split_halves",
    "token_auth",
    "wss_client",
    "wss_echo_server",
];

/// Those that Cargo builds with a feature that is not compiled in are not there.
fn is_built(example: &&str) -> bool {
    match *example {
        "axum_echo" | "from_axum" => cfg!(feature = "axum"),
        "broadcast_server" | "data_push" | "first_message_auth" | "json_chat" | "publish_subscribe"
        | "queue_server" | "rooms" | "token_auth" => cfg!(feature = "server"),
        "queue_client" | "reconnecting_client" => cfg!(feature = "client"),
        "self_signed_client" => cfg!(all(feature = "client", feature = "rustls-ring")),
        "self_signed_server" => cfg!(all(feature = "server", feature = "rustls-ring")),
        _ => true,
    }
}

/// How long a program may take for what takes it no time, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(120);

mod every_example {
    use super::*;

    #[test]
    fn is_listed_here() {
        let files = fs::read_dir(source("")).unwrap().map(|entry| entry.unwrap().file_name());
        let files = files.map(|name| name.into_string().unwrap());
        // Those with dependencies of their own are packages, which `examples/runtimes/run` tests.
        let files: BTreeSet<String> = files.filter(|name| name != "runtimes").collect();
        assert_eq!(files, EXAMPLES.iter().map(|name| format!("{name}.rs")).collect());
    }

    #[test]
    fn prints_the_command_line_of_its_header_if_it_gets_none() {
        let mut wrong = Vec::new();
        for name in EXAMPLES.iter().copied().filter(is_built) {
            let text = fs::read_to_string(source(&format!("{name}.rs"))).unwrap();
            let start = format!("//! `{name} ");
            let line =
                text.lines().find(|line| line.starts_with(&start)).expect("a command line in the header");
            let command = line.split('`').nth(1).unwrap().replace('…', "...");
            let ending = Program::start(name, &[]).finish();
            assert_ne!(ending.status, 0, "{name} without arguments");
            let usage = format!("usage: {command}");
            if !ending.stderr.lines().any(|line| line.trim_end_matches('"').ends_with(&usage)) {
                wrong.push(format!("{name} printed {:?}, and not {usage:?}", ending.stderr));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

mod line_client_and_echo_server {
    use super::*;

    #[test]
    fn lines_come_back_as_they_went() {
        let (_server, url) = serve("echo_server", &[]);
        let long = "0123456789abcdef".repeat(1 << 16);
        let lines = ["", "hello", "¿qué tal? 😀", "", &long, "end"];
        lines_come_back(&[&url], &lines);
    }

    #[test]
    fn a_line_comes_back_before_the_next_goes() {
        let (_server, url) = serve("echo_server", &[]);
        let mut client = Program::start("line_client", &[&url]);
        for line in ["one", "two", "three"] {
            client.say(line);
            assert_eq!(client.line(), line);
        }
        client.end_input();
        assert_eq!(client.finish().status, 0);
    }

    #[test]
    fn a_hundred_thousand_lines_do_not_block_each_other() {
        let (_server, url) = serve("echo_server", &[]);
        let lines: Vec<String> = (0..100_000).map(|number| format!("line {number}")).collect();
        lines_come_back(&[&url], &lines);
    }

    #[test]
    fn the_server_keeps_its_limit() {
        keeps_its_limit("echo_server");
    }

    #[test]
    fn the_client_keeps_its_limit() {
        let (server, url) = peer(|stream| {
            let mut socket = blocking::accept(stream).unwrap();
            socket.send("0123456789").unwrap();
            socket.send("0123456789a").unwrap();
            let Ok(Some(Message::Close(Some(frame)))) = socket.recv() else { panic!("no Close with a code") };
            assert_eq!(frame.code(), CloseCode::TOO_BIG);
        });
        let mut client = Program::start("line_client", &["--max-message", "10", &url]);
        assert_eq!(client.line(), "0123456789");
        client.fails_with(4, "1009");
        server.join().unwrap();
    }

    #[test]
    fn wrong_command_lines_of_the_server_are_refused() {
        refuses_wrong_command_lines("echo_server");
        Program::start("echo_server", &["--subprotocol"]).fails_with(1, "usage: echo_server");
        Program::start("echo_server", &["nowhere"]).fails_with(1, "cannot listen");
    }

    #[test]
    fn the_server_selects_the_first_subprotocol_offered_that_it_knows() {
        let (_server, url) = serve("echo_server", &["--subprotocol", "b", "--subprotocol", "a"]);
        for (offered, selected) in
            [(Some("x, a, b"), Some("a")), (Some("b, a"), Some("b")), (Some("x, y"), None), (None, None)]
        {
            let mut stream = connect(&url);
            let offer =
                offered.map_or_else(String::new, |names| format!("Sec-WebSocket-Protocol: {names}\r\n"));
            // The key, and the answer to it, of RFC 6455 §1.3.
            let request = format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
            );
            stream.write_all(request.as_bytes()).unwrap();
            let answer = head(&mut stream);
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
            assert_eq!(field(&answer, "Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            assert_eq!(field(&answer, "Sec-WebSocket-Protocol"), selected, "of {offered:?}");
        }
    }
}

/// The table in the header of `line_client`.
mod line_client_ends_with {
    use super::*;

    #[test]
    fn status_0_if_the_server_closes_with_1000_first() {
        let (server, url) = peer(|stream| {
            let status = blocking::accept(stream).unwrap().close(CloseCode::NORMAL, "done").unwrap();
            assert_eq!(status.code, 1000);
        });
        // Its input stays open.
        let client = Program::start("line_client", &[&url]);
        let ending = client.finish();
        assert_eq!((ending.status, &*ending.stderr), (0, ""));
        server.join().unwrap();
    }

    #[test]
    fn status_1_if_stdin_is_not_text() {
        let (_server, url) = serve("echo_server", &[]);
        let mut client = Program::start("line_client", &[&url]);
        client.write_and_end(b"\xFF\n".to_vec());
        client.fails_with(1, "stdin or stdout failed");
    }

    #[test]
    fn status_1_if_nobody_reads_stdout() {
        let (_server, url) = serve("echo_server", &[]);
        let mut client = Program::start_unread(&[], "line_client", &[&url]);
        drop(client.child.stdout.take());
        client.say("hello");
        client.fails_with(1, "stdin or stdout failed");
    }

    #[test]
    fn status_2_if_the_command_line_is_wrong() {
        let mut wrong: Vec<&[&str]> = vec![
            &[],
            &["--unknown", "ws://127.0.0.1/"],
            &["ws://127.0.0.1/", "ws://127.0.0.1/"],
            &["--max-message"],
            &["--max-message", "many", "ws://127.0.0.1/"],
            &["http://127.0.0.1/"],
            &["ws://127.0.0.1:0/"],
        ];
        if cfg!(not(feature = "rustls")) {
            wrong.push(&["wss://127.0.0.1/"]);
        }
        for arguments in wrong {
            Program::start("line_client", arguments).fails_with(2, "line_client: ");
        }
    }

    #[test]
    fn status_3_and_the_answer_if_the_server_refuses() {
        let (server, url) = peer(|mut stream| {
            head(&mut stream);
            let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\nmembers only\n";
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let ending = Program::start("line_client", &[&url]).fails_with(3, "403");
        assert!(ending.stderr.contains("members only"), "{}", ending.stderr);
        server.join().unwrap();
    }

    #[test]
    fn status_3_if_nobody_listens() {
        // A port that is taken, so that nobody else can listen there meanwhile.
        let taken = tokio::net::TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("ws://{}", taken.local_addr().unwrap());
        Program::start("line_client", &[&url]).fails_with(3, "refused");
    }

    #[test]
    fn status_4_if_the_server_breaks_the_protocol() {
        let (server, url) = peer(|mut stream| {
            upgrade(&mut stream);
            // Opcode 3 has no meaning.
            stream.write_all(&[0x83, 0x00]).unwrap();
            let mut close = [0; 8];
            stream.read_exact(&mut close).unwrap();
            let [first, _, a, b, _, _, code @ ..] = close;
            assert_eq!(first, 0x88, "a Close");
            assert_eq!(u16::from_be_bytes([code[0] ^ a, code[1] ^ b]), 1002);
        });
        Program::start("line_client", &[&url]).fails_with(4, "broke the protocol");
        server.join().unwrap();
    }

    #[test]
    fn status_4_if_the_server_shakes_hands_wrongly() {
        let (server, url) = peer(|mut stream| {
            head(&mut stream);
            let wrong = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n";
            stream.write_all(format!("HTTP/1.1 101 Switching Protocols\r\n{wrong}").as_bytes()).unwrap();
        });
        Program::start("line_client", &[&url]).fails_with(4, "handshake");
        server.join().unwrap();
    }

    #[test]
    fn status_5_if_the_transport_ends() {
        let (server, url) = peer(|mut stream| upgrade(&mut stream));
        Program::start("line_client", &[&url]).fails_with(5, "lost");
        server.join().unwrap();
    }

    #[test]
    fn status_5_if_the_transport_is_reset() {
        let (server, url) = peer(|mut stream| {
            upgrade(&mut stream);
            // A socket that is dropped with unread bytes is reset.
            stream.peek(&mut [0]).unwrap();
        });
        let mut client = Program::start("line_client", &[&url]);
        client.say("unread");
        client.fails_with(5, "failed");
        server.join().unwrap();
    }

    #[test]
    fn status_6_if_the_server_is_silent_at_the_close() {
        let (server, url) = peer(|mut stream| {
            upgrade(&mut stream);
            // Until the client gives up.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let mut client = Program::start("line_client", &[&url]);
        client.end_input();
        client.fails_with(6, "closing handshake took too long");
        server.join().unwrap();
    }

    #[test]
    fn status_7_and_the_code_if_the_server_closes_with_another() {
        let (server, url) = peer(|stream| {
            blocking::accept(stream).unwrap().close(CloseCode::INTERNAL, "out of paper").unwrap();
        });
        let ending = Program::start("line_client", &[&url]).fails_with(7, "1011");
        assert!(ending.stderr.contains("out of paper"), "{}", ending.stderr);
        server.join().unwrap();
    }
}

mod echo_client {
    use super::*;

    #[test]
    fn is_content_with_every_echo_server() {
        for name in ["echo_server", "echo_server_blocking", "echo_server_mio"] {
            let (_server, url) = serve(name, &[]);
            let ending = Program::start("echo_client", &[&url]).finish();
            assert_eq!((ending.status, &*ending.stderr), (0, ""), "against {name}");
            assert_eq!(ending.stdout, ["hello", "¿qué tal?", "100000 bytes", "closed with 1000"]);
        }
    }

    #[test]
    fn notices_another_answer() {
        let (server, url) = peer(|stream| {
            let mut socket = blocking::accept(stream).unwrap();
            assert_eq!(socket.recv().unwrap(), Some(Message::text("hello")));
            socket.send("hullo").unwrap();
            // It does not close.
            while let Ok(Some(_)) = socket.recv() {}
        });
        Program::start("echo_client", &[&url]).fails_with(1, "hullo");
        server.join().unwrap();
    }
}

mod simulator {
    use super::*;

    #[test]
    fn a_thousand_seeds_end_as_they_should() {
        let ending = Program::start("simulator", &["1000"]).finish();
        assert_eq!((ending.status, &*ending.stderr), (0, ""));
        let numbers = |line: &str| -> Vec<u64> {
            line.split(|letter: char| !letter.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
        };
        let [clean, resets, late] = numbers(&ending.stdout[2])[..] else { panic!("{:?}", ending.stdout) };
        // The network is good enough to be used, and bad enough to matter.
        assert!(clean > 500 && resets > 50 && late > 10, "{:?}", ending.stdout);
    }

    #[test]
    fn a_seed_does_what_it_did() {
        let [one, other] = [1, 2].map(|_| Program::start("simulator", &["50"]).finish().stdout);
        assert_eq!(one, other);
        assert!(one[3].starts_with("digest "), "{one:?}");
    }
}

mod echo_server_mio {
    use super::*;

    /// A masked text message, its echo, and a Close with 1000 and its answer.
    const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    const ECHO: &[u8] = b"\x81\x05Hello";
    const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
    const CLOSED: &[u8] = b"\x88\x02\x03\xe8";

    #[test]
    fn lines_come_back_as_they_went() {
        let (_server, url) = serve("echo_server_mio", &[]);
        // Messages of a few bytes, of more than a read, and of several reads one after the other.
        let long = "0123456789abcdef".repeat(1 << 16);
        let mut lines = vec!["", "¿qué tal? 😀", &long, "", &long, &long[..700_000], &long, &long, "end"];
        lines.extend(vec!["short"; 50_000]);
        lines_come_back(&[&url], &lines);
    }

    #[test]
    fn each_of_many_pings_is_answered() {
        let (_server, url) = serve("echo_server_mio", &[]);
        let mut stream = connect(&url);
        let (mut pings, mut pongs) = (Vec::new(), Vec::new());
        for number in 0..100 {
            pings.extend([0x89, 0x81, 0, 0, 0, 0, number]);
            pongs.extend([0x8A, 0x01, number]);
        }
        stream.write_all(&[REQUEST, &pings, CLOSE].concat()).unwrap();
        assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
        assert_eq!(rest(stream), [&pongs, CLOSED].concat());
    }

    #[test]
    fn the_cuts_between_reads_do_not_matter() {
        let (_server, url) = serve("echo_server_mio", &[]);
        let bytes = [REQUEST, HELLO, HELLO, CLOSE].concat();
        for size in [1, 7, REQUEST.len() + 3, bytes.len()] {
            let mut stream = connect(&url);
            stream.set_nodelay(true).unwrap();
            for piece in bytes.chunks(size) {
                stream.write_all(piece).unwrap();
            }
            assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
            assert_eq!(rest(stream), [ECHO, ECHO, CLOSED].concat(), "in pieces of {size} bytes");
        }
    }

    #[test]
    fn who_breaks_a_rule_is_told_and_the_others_stay() {
        let (_server, url) = serve("echo_server_mio", &[]);
        let mut other = connect(&url);
        upgraded(&mut other);

        let mut stream = connect(&url);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert!(head(&mut stream).starts_with("HTTP/1.1 426 "));
        let mut stream = connect(&url);
        upgraded(&mut stream);
        // RFC 6455 §5.1: "a server MUST close a connection upon receiving a frame that is not masked".
        stream.write_all(ECHO).unwrap();
        let close = rest(stream);
        assert_eq!((close[0], &close[2..4]), (0x88, &b"\x03\xea"[..]));
        // It may leave without a word.
        let mut stream = connect(&url);
        upgraded(&mut stream);
        stream.write_all(&HELLO[..5]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(stream), b"");

        other.write_all(&[HELLO, CLOSE].concat()).unwrap();
        assert_eq!(rest(other), [ECHO, CLOSED].concat());
    }

    #[test]
    fn nothing_is_read_from_who_does_not_read() {
        const FRAMES: usize = 4096;
        let (_server, url) = serve("echo_server_mio", &[]);
        let mut stream = connect(&url);
        upgraded(&mut stream);
        // Frames of 65,535 bytes under a key of zeros.
        let frame = [&b"\x82\xfe\xff\xff\0\0\0\0"[..], &[7; 65_535]].concat();
        let mut writer = stream.try_clone().unwrap();
        let writing = thread::spawn(move || {
            let mut progress = 0;
            writer.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            while progress < FRAMES * frame.len() {
                match writer.write(&frame[progress % frame.len()..]) {
                    Ok(count) => progress += count,
                    Err(_) => break,
                }
            }
            (progress, frame, writer)
        });
        // It gets stuck, with less on its way than all of 256 MiB.
        let (progress, frame, mut writer) = writing.join().unwrap();
        assert!(progress < FRAMES * frame.len(), "all of it was read");
        let sending = thread::spawn(move || {
            writer.set_write_timeout(Some(PATIENCE)).unwrap();
            writer.write_all(&frame[progress % frame.len()..]).unwrap();
            writer.write_all(CLOSE).unwrap();
            progress / frame.len() + 1
        });
        let echoes = rest(stream);
        let count = sending.join().unwrap();
        assert_eq!(echoes.len(), count * (4 + 65_535) + CLOSED.len());
        assert!(echoes.ends_with(CLOSED));
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        Program::start("echo_server_mio", &["nowhere"]).fails_with(1, "nowhere is no address such as");
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        Program::start("echo_server_mio", &[&address]).fails_with(1, "cannot listen on 127.0.0.1:");
    }
}

mod chat {
    use super::*;

    #[test]
    fn what_one_says_the_others_hear() {
        let (_server, url) = serve("chat", &[]);
        let request = ClientRequest::from_uri(&url.parse().unwrap());
        let mut witness = blocking::connect_over(connect(&url), &request, taut::Options::new()).unwrap();
        // Who is answered is in the room.
        witness.send(Message::Ping("there?".into())).unwrap();
        assert_eq!(witness.recv().unwrap(), Some(Message::Pong("there?".into())));
        let mut hears = |text: &str| assert_eq!(witness.recv().unwrap(), Some(Message::text(text)));

        let mut ana = Program::start("line_client", &[&url]);
        hears("guest 1 came");
        let mut ben = Program::start("line_client", &[&url]);
        hears("guest 2 came");
        assert_eq!(ana.line(), "guest 2 came");
        ana.say("hello");
        hears("guest 1: hello");
        assert_eq!(ben.line(), "guest 1: hello");
        ben.say("¿qué tal?");
        hears("guest 2: ¿qué tal?");
        // Nobody hears what they said themselves.
        assert_eq!(ana.line(), "guest 2: ¿qué tal?");
        ben.end_input();
        let ending = ben.finish();
        assert_eq!((ending.status, &*ending.stderr), (0, ""));
        hears("guest 2 left");
        assert_eq!(ana.line(), "guest 2 left");
        ana.end_input();
        assert_eq!(ana.finish().status, 0);
        hears("guest 1 left");
    }
}

#[cfg(feature = "client")]
mod reconnecting_client {
    use super::*;

    #[test]
    fn comes_back_with_what_waited() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accept = |listener: &TcpListener| {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut socket = blocking::accept(stream).unwrap();
            assert_eq!(socket.recv().unwrap(), Some(Message::text("to all")));
            socket
        };
        let url = format!("ws://{address}");
        let arguments = ["--first-delay", "20", "--subscribe", "to all", &url];
        let mut client = Program::start("reconnecting_client", &arguments);
        let mut first = accept(&listener);
        client.say("one");
        assert_eq!(first.recv().unwrap(), Some(Message::text("one")));
        first.send("welcome").unwrap();
        assert_eq!(client.line(), "welcome");
        // The server is gone for a while.
        drop((first, listener));
        client.says("again in");
        client.say("two");
        let listener = TcpListener::bind(address).unwrap();
        let mut second = accept(&listener);
        assert_eq!(second.recv().unwrap(), Some(Message::text("two")));
        client.end_input();
        assert!(matches!(second.recv().unwrap(), Some(Message::Close(_))));
        assert_eq!(second.recv().unwrap(), None);
        drop(second);
        assert_eq!(client.finish().status, 0);
    }

    #[test]
    fn says_what_it_was_given_before_there_was_a_server() {
        // It takes a port, and listens later.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let url = format!("ws://{}", socket.local_addr().unwrap().as_socket().unwrap());
        let mut client = Program::start("reconnecting_client", &["--first-delay", "20", &url]);
        client.write_and_end("all there is\n");
        client.says("again in");
        socket.listen(1).unwrap();
        let mut socket = blocking::accept(TcpListener::from(socket).accept().unwrap().0).unwrap();
        assert_eq!(socket.recv().unwrap(), Some(Message::text("all there is")));
        assert!(matches!(socket.recv().unwrap(), Some(Message::Close(_))));
        assert_eq!(socket.recv().unwrap(), None);
        drop(socket);
        assert_eq!(client.finish().status, 0);
    }

    #[test]
    fn ends_where_nobody_wants_it() {
        let (server, url) = peer(|mut stream| {
            head(&mut stream);
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        Program::start("reconnecting_client", &[&url]).fails_with(1, "403");
        server.join().unwrap();
    }
}

#[cfg(feature = "client")]
mod queue_client {
    use super::*;

    /// The id of a line that was sent to be acknowledged.
    fn id(message: Option<Message>, line: &str) -> String {
        let message: serde_json::Value =
            serde_json::from_str(message.as_ref().and_then(Message::as_text).expect("a text")).unwrap();
        assert_eq!((&message["type"], &message["data"]), (&"line".into(), &line.into()));
        message["id"].as_str().expect("an id").into()
    }

    #[test]
    fn a_line_that_nobody_acknowledged_goes_again_under_its_id() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accept = || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            blocking::accept(stream).unwrap()
        };
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let mut client = Program::start("queue_client", &[&url]);
        client.say("one");
        let mut socket = accept();
        let first = id(socket.recv().unwrap(), "one");
        drop(socket);
        client.says("again in");
        client.say("two");
        let mut socket = accept();
        assert_eq!(id(socket.recv().unwrap(), "one"), first);
        let second = id(socket.recv().unwrap(), "two");
        let refusal = format!(r#"{{"type": "error", "id": "{second}", "error": "out of paper"}}"#);
        for answer in [format!(r#"{{"type": "ack", "id": "{first}"}}"#), refusal] {
            socket.send(answer).unwrap();
        }
        assert_eq!(client.line(), "done one");
        let lost = client.line();
        assert!(lost.starts_with("lost two: ") && lost.contains("out of paper"), "{lost}");
        client.end_input();
        assert!(matches!(socket.recv().unwrap(), Some(Message::Close(_))));
        assert_eq!(socket.recv().unwrap(), None);
        drop(socket);
        client.fails_with(1, "1 lines were lost");
    }

    #[test]
    fn a_batch_waits_until_it_is_full_and_the_outbox_holds_no_more() {
        let (go, goes) = channel::<()>();
        let (server, url) = peer(move |stream| {
            let mut socket = blocking::accept(stream).unwrap();
            goes.recv_timeout(PATIENCE).unwrap();
            // What was sent would have come before the answer.
            socket.send(Message::Ping("there?".into())).unwrap();
            assert_eq!(socket.recv().unwrap(), Some(Message::Pong("there?".into())));
        });
        let arguments = ["--outbox", "2", "--overflow", "drop-newest", "--batch", "3", "3600000", &url];
        let mut client = Program::start("queue_client", &arguments);
        client.says("connected");
        for line in ["one", "two", "three"] {
            client.say(line);
        }
        assert!(client.line().starts_with("lost three: "));
        go.send(()).unwrap();
        server.join().unwrap();
    }

    #[test]
    fn a_batch_leaves_with_its_last_message_or_when_it_is_old() {
        for (batch, lines) in [(["3", "3600000"], &["one", "two", "three"][..]), (["1000", "10"], &["one"])] {
            let (server, url) = peer(move |stream| {
                let mut socket = blocking::accept(stream).unwrap();
                for line in lines {
                    let id = id(socket.recv().unwrap(), line);
                    socket.send(format!(r#"{{"type": "ack", "id": "{id}"}}"#)).unwrap();
                }
                assert!(matches!(socket.recv().unwrap(), Some(Message::Close(_))));
                assert_eq!(socket.recv().unwrap(), None);
            });
            let mut client = Program::start("queue_client", &["--batch", batch[0], batch[1], &url]);
            client.write_and_end(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
            let ending = client.finish();
            assert_eq!((ending.status, ending.stdout.len()), (0, lines.len()), "{}", ending.stderr);
            server.join().unwrap();
        }
    }

    #[test]
    fn without_a_server_the_oldest_make_room_if_that_is_the_policy() {
        // Nobody listens, and nobody else can meanwhile.
        let taken = tokio::net::TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("ws://{}", taken.local_addr().unwrap());
        let mut client =
            Program::start("queue_client", &["--outbox", "2", "--overflow", "drop-oldest", &url]);
        for line in ["one", "two", "three"] {
            client.say(line);
        }
        assert!(client.line().starts_with("lost one: "));
    }

    #[test]
    fn ends_where_nobody_wants_it() {
        let (server, url) = peer(|mut stream| {
            head(&mut stream);
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        // Its input stays open.
        Program::start("queue_client", &[&url]).fails_with(1, "403");
        server.join().unwrap();
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        let wrong: [&[&str]; 5] = [
            &["--overflow", "wait a little", "ws://a"],
            &["--outbox", "many", "ws://a"],
            &["--batch", "3", "ws://a"],
            &["--unknown", "ws://a"],
            &["ws://a", "ws://a"],
        ];
        for arguments in wrong {
            Program::start("queue_client", arguments).fails_with(1, "usage: queue_client");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_server_that_is_killed_and_comes_back_gets_every_line_once() {
        let (mut server, url) = serve("queue_server", &[]);
        let mut client = Program::start("queue_client", &[&url]);
        client.say("one");
        assert_eq!((server.line(), client.line()), ("one".into(), "done one".into()));
        drop(server);
        client.says("again in");
        client.say("two");
        client.say("three");
        let address = url.trim_start_matches("ws://");
        let mut server = Program::start("queue_server", &[address]);
        assert_eq!(server.line(), address);
        client.end_input();
        let ending = client.finish();
        assert_eq!((ending.status, &ending.stdout[1..]), (0, &["done two".into(), "done three".into()][..]));
        // What comes again is known; then there is nothing else.
        let mut again = Program::start("line_client", &[&url]);
        for (id, line) in [("a", "four"), ("a", "four"), ("b", "five")] {
            again.say(&format!(r#"{{"type": "line", "id": "{id}", "data": "{line}"}}"#));
            assert_eq!(again.line(), format!(r#"{{"id":"{id}","type":"ack"}}"#));
        }
        for line in ["two", "three", "four", "five"] {
            assert_eq!(server.line(), line);
        }
    }
}

#[cfg(all(feature = "client", feature = "server", feature = "rustls-ring"))]
mod self_signed {
    use super::*;

    fn file(name: &str) -> String {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("self_signed");
        fs::create_dir_all(&folder).unwrap();
        folder.join(name).into_os_string().into_string().unwrap()
    }

    #[test]
    fn the_client_trusts_the_server_and_nobody_else() {
        let [ours, others] = ["ours.pem", "others.pem"].map(file);
        let (_server, url) = serve("self_signed_server", &[&ours]);
        let (_other, other) = serve("self_signed_server", &[&others]);
        let [url, other] = [url, other].map(|url| url.replacen("ws://", "wss://", 1));
        for url in [url.clone(), url.replacen("127.0.0.1", "localhost", 1)] {
            let mut client = Program::start("self_signed_client", &[&ours, &url]);
            client.write_and_end("hello\n¿qué tal?\n");
            let ending = client.finish();
            assert_eq!((ending.status, &*ending.stderr), (0, ""), "{url}");
            assert_eq!(ending.stdout, ["hello", "¿qué tal?"]);
        }
        Program::start("self_signed_client", &[&ours, &other]).fails_with(1, "certificate");
    }
}

mod wss_client {
    use super::*;

    #[test]
    fn says_a_line_and_prints_what_comes() {
        let (server, url) = peer(|stream| {
            let mut socket = blocking::accept(stream).unwrap();
            assert_eq!(socket.recv().unwrap(), Some(Message::text("hello")));
            socket.send("one").unwrap();
            socket.send("two").unwrap();
            socket.close(CloseCode::NORMAL, "").unwrap();
        });
        let ending = Program::start("wss_client", &[&url, "hello"]).finish();
        assert_eq!((ending.status, &*ending.stderr), (0, ""));
        assert_eq!(ending.stdout, ["one", "two"]);
        server.join().unwrap();
    }

    /// With the feature, tests/network/run has its tests.
    #[cfg(not(feature = "rustls"))]
    #[test]
    fn names_the_feature_that_is_missing() {
        for arguments in [&["wss://127.0.0.1:1/"][..], &["--roots", "file", "wss://127.0.0.1:1/"]] {
            Program::start("wss_client", arguments).fails_with(1, "the feature rustls-ring");
        }
    }
}

#[cfg(feature = "axum")]
mod axum_echo {
    use super::*;

    #[test]
    fn lines_come_back_over_http1_and_http2() {
        let (_server, url) = serve("axum_echo", &["--max-message", "1000000", "--deflate"]);
        let target = url.trim_start_matches("ws://");
        let (_bridge, bridged) = serve("h2_bridge", &["to-h2", target]);
        let long = "0123456789abcdef".repeat(1 << 15);
        let lines = ["", "hello", "¿qué tal? 😀", &long, "end"];
        for url in [url, bridged] {
            lines_come_back(&[&url], &lines);
        }
    }

    #[test]
    fn the_server_keeps_its_limit() {
        keeps_its_limit("axum_echo");
    }

    #[test]
    fn health_checks_are_answered() {
        let (_server, url) = serve("axum_echo", &[]);
        let mut stream = connect(&url);
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nwell\n"), "{answer}");
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        refuses_wrong_command_lines("axum_echo");
    }
}

mod split_halves {
    use super::*;

    #[test]
    fn lines_come_back_as_they_went() {
        let (_server, url) = serve("echo_server", &[]);
        let mut client = Program::start("split_halves", &[&url]);
        client.say("hello");
        assert_eq!(client.line(), "hello");
        client.say("¿qué tal?");
        assert_eq!(client.line(), "¿qué tal?");
        client.end_input();
        assert_eq!(client.line(), "closed with 1000");
        let ending = client.finish();
        assert_eq!((ending.status, &*ending.stderr), (0, ""));
    }
}

mod h2_bridge {
    use super::*;

    /// From HTTP/1.1 to HTTP/2, and back.
    #[test]
    fn two_bridges_make_one_way() {
        let (_server, url) = serve("echo_server", &["--subprotocol", "chat"]);
        let (_back, url) = serve("h2_bridge", &["from-h2", url.trim_start_matches("ws://")]);
        let (_forth, url) = serve("h2_bridge", &["to-h2", url.trim_start_matches("ws://")]);
        let request = ClientRequest::new("a", "/").unwrap().subprotocol("chat").unwrap();
        let mut socket = blocking::connect_over(connect(&url), &request, Options::new()).unwrap();
        assert_eq!(socket.connection().agreement().subprotocol(), Some("chat"));
        for message in [Message::text("Hello"), Message::binary(vec![7; 300_000])] {
            socket.send(message.clone()).unwrap();
            assert_eq!(socket.recv().unwrap(), Some(message));
        }
        assert!(socket.close(CloseCode::NORMAL, "").unwrap().clean);
    }

    #[test]
    fn a_target_without_http2_is_told() {
        let (_server, url) = serve("echo_server", &[]);
        let mut bridge =
            Program::start("h2_bridge", &["to-h2", url.trim_start_matches("ws://"), "127.0.0.1:0"]);
        bridge.end_input();
        let ending = bridge.finish();
        assert_eq!(ending.status, 1);
        assert!(ending.stderr.starts_with("h2_bridge: "), "{}", ending.stderr);
    }
}

mod from_elsewhere {
    use super::*;

    #[cfg(feature = "axum")]
    #[test]
    fn axum_counts_what_is_said() {
        let (_server, url) = serve("from_axum", &[]);
        let resource = format!("{url}/chat");
        for (text, answer) in [("hello", "1: hello"), ("¿qué tal?", "2: ¿qué tal?")] {
            let request = ClientRequest::from_uri(&resource.parse().unwrap()).subprotocol("chat").unwrap();
            let mut client = blocking::connect_over(connect(&url), &request, taut::Options::new()).unwrap();
            assert_eq!(client.connection().agreement().subprotocol(), Some("chat"));
            client.send(text).unwrap();
            assert_eq!(client.recv().unwrap(), Some(Message::text(answer)));
            client.send("bye").unwrap();
            let see_you = CloseFrame::new(CloseCode::NORMAL, "see you").unwrap();
            assert_eq!(client.recv().unwrap(), Some(Message::Close(Some(see_you))));
            assert_eq!(client.recv().unwrap(), None);
        }
    }

    #[test]
    fn tokio_tungstenite_echoes_until_bye() {
        let (mut server, url) = serve("from_tokio_tungstenite", &[]);
        let request = ClientRequest::from_uri(&url.parse().unwrap()).subprotocol("echo").unwrap();
        let mut client = blocking::connect_over(connect(&url), &request, taut::Options::new()).unwrap();
        assert_eq!(client.connection().agreement().subprotocol(), Some("echo"));
        for message in [Message::text("héllo"), Message::binary(vec![7; 100_000])] {
            client.send(message.clone()).unwrap();
            assert!(client.recv().unwrap() == Some(message));
        }
        client.send("bye").unwrap();
        let see_you = CloseFrame::new(CloseCode::NORMAL, "see you").unwrap();
        assert_eq!(client.recv().unwrap(), Some(Message::Close(Some(see_you))));
        assert_eq!(client.recv().unwrap(), None);
        assert_eq!(server.line(), "closed: true");
    }

    #[test]
    fn fastwebsockets_keeps_fragments_as_they_came() {
        let (_server, url) = serve("from_fastwebsockets", &[]);
        let mut stream = connect(&url);
        upgraded(&mut stream);
        // Masked by zeros, as the payload stays legible.
        let sent = [
            &b"\x01\x83\0\0\0\0h\xc3\xa9"[..],
            b"\x89\x84\0\0\0\0amid",
            b"\x80\x83\0\0\0\0llo",
            b"\x82\x81\0\0\0\0\xff",
            b"\x88\x85\0\0\0\0\x03\xe8bye",
        ];
        stream.write_all(&sent.concat()).unwrap();
        let expected = [
            &b"\x01\x03h\xc3\xa9"[..],
            b"\x8a\x04amid",
            b"\x80\x03llo",
            b"\x82\x01\xff",
            b"\x88\x05\x03\xe8bye",
        ];
        assert_eq!(rest(stream), expected.concat());
    }

    #[test]
    fn fastwebsockets_tells_who_breaks_a_rule() {
        let (_server, url) = serve("from_fastwebsockets", &[]);
        let wrong: [(&[u8], CloseCode); 4] = [
            (b"\x80\x80\0\0\0\0", CloseCode::PROTOCOL),
            (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", CloseCode::PROTOCOL),
            (b"\x88\x81\0\0\0\0\x03", CloseCode::PROTOCOL),
            (b"\x82\xff\0\0\0\0\0\x10\0\x01\0\0\0\0", CloseCode::TOO_BIG),
        ];
        for (bytes, code) in wrong {
            let mut stream = connect(&url);
            upgraded(&mut stream);
            stream.write_all(bytes).unwrap();
            let came = rest(stream);
            let close = came.iter().position(|byte| *byte == 0x88).expect("a Close");
            assert_eq!(came[close + 2..close + 4], code.get().to_be_bytes(), "{bytes:x?}");
        }
    }
}

#[cfg(feature = "server")]
mod servers {
    use std::collections::HashMap;

    use super::*;

    /// As `serve`, with an argument behind the address.
    fn serve_and(name: &'static str, argument: &str) -> (Program, String) {
        let mut server = Program::start(name, &["127.0.0.1:0", argument]);
        let url = format!("ws://{}", server.line());
        (server, url)
    }

    /// A client that is there: it was answered.
    fn client(url: &str, say: &str, answer: &str) -> Program {
        let mut client = Program::start("line_client", &[url]);
        client.say(say);
        assert_eq!(client.line(), answer);
        client
    }

    #[test]
    fn a_broadcast_reaches_all_and_a_signal_ends_the_server() {
        let (mut server, url) = serve("broadcast_server", &[]);
        let mut ana = Program::start("line_client", &[&url]);
        let mut ben = Program::start("line_client", &[&url]);
        // Once both are there.
        loop {
            server.say("from the server");
            if server.line().starts_with("2 hear it") {
                break;
            }
        }
        ana.say("from ana");
        while ben.line() != "from ana" {}
        #[cfg(unix)]
        {
            server.signal("-TERM");
            let ending = server.finish();
            assert_eq!((ending.status, &*ending.stderr), (0, ""));
            assert_eq!(ending.stdout.last().map(String::as_str), Some("2 were open, 0 cut off"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_second_signal_cuts_off_who_lingers() {
        let (mut server, url) = serve("broadcast_server", &[]);
        // It will not answer the Close.
        let mut stream = connect(&url);
        upgraded(&mut stream);
        loop {
            server.say("are you there?");
            if server.line().starts_with("1 hear it") {
                break;
            }
        }
        server.catches(15);
        server.signal("-TERM");
        server.signal("-INT");
        let ending = server.finish();
        let last = ending.stdout.last().unwrap();
        assert!(last.starts_with("1 were open, ") && !last.ends_with(" 0 cut off"), "{last}");
        assert_eq!((ending.status, &*ending.stderr), (0, ""));
    }

    #[test]
    fn settings_come_from_a_file_then_from_the_environment_then_from_the_program() {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("settings");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("server.toml");
        fs::write(&file, "max_message = 5\nmessage_rate = \"1/1\"\npath = \"/chat\"\n").unwrap();
        let mut variables = [
            ("TAUT_SERVER_FILE", file.to_str().unwrap()),
            ("TAUT_SERVER_MAX_MESSAGE", "10"),
            ("TAUT_SERVER_MESSAGE_RATE", "none"),
            ("TAUT_SERVER_ADDRESS", "192.0.2.1:1"),
        ];
        let mut server = Program::start_in(&variables, "rooms", &["127.0.0.1:0"]);
        let url = format!("ws://{}", server.line());
        Program::start("line_client", &[&url]).fails_with(3, "404");
        let mut client = Program::start("line_client", &[&format!("{url}/chat")]);
        for _ in 0..3 {
            client.say("0123456789");
            assert!(client.line().starts_with("ERROR "));
        }
        client.say("0123456789a");
        client.fails_with(7, "1009");

        variables[1].1 = "many";
        let wrong = Program::start_in(&variables, "rooms", &["127.0.0.1:0"]);
        let ending = wrong.fails_with(1, "TAUT_SERVER_MAX_MESSAGE");
        assert!(ending.stderr.contains("many"), "{}", ending.stderr);
    }

    #[test]
    fn rooms_obey_their_commands() {
        let (_server, url) = serve("rooms", &[]);
        let mut ana = client(&url, "JOIN red", "guest 1 joined red");
        let mut ben = client(&url, "JOIN red", "guest 2 joined red");
        assert_eq!(ana.line(), "guest 2 joined red");
        let mut cy = client(&url, "SEND red hello", "ERROR you are not in this room");
        ana.say("SEND red hello");
        assert_eq!(ben.line(), "red guest 1: hello");
        cy.say("BROADCAST to all");
        assert_eq!((ana.line(), ben.line()), ("guest 3: to all".into(), "guest 3: to all".into()));
        ben.say("LEAVE red");
        assert_eq!(ana.line(), "guest 2 left red");
        ben.say("LEAVE red");
        assert_eq!(ben.line(), "ERROR you are not in this room");
        cy.say("what");
        assert!(cy.line().starts_with("ERROR JOIN room"));
    }

    #[test]
    fn who_subscribed_hears_what_is_published() {
        let (_server, url) = serve("publish_subscribe", &[]);
        let mut ana = client(&url, "SUB news/+/tennis", "OK news/+/tennis");
        let mut ben = client(&url, "PUB news/sport/tennis 6:4", "OK 1");
        assert_eq!(ana.line(), "news/sport/tennis 6:4");
        ben.say("PUB news/sport/golf 72");
        assert_eq!(ben.line(), "OK 0");
        ana.say("UNSUB news/+/tennis");
        assert_eq!(ana.line(), "OK news/+/tennis");
        ben.say("PUB news/sport/tennis 6:5");
        assert_eq!(ben.line(), "OK 0");
        ben.say("SUB news/#/x");
        assert!(ben.line().starts_with("ERROR"));
    }

    #[test]
    fn values_go_to_who_wants_them_and_the_latest_to_who_comes_late() {
        let (mut server, url) = serve("data_push", &[]);
        let subscribed = r#"{"id":1,"type":"ack"}"#;
        let mut ana = client(&url, r#"{"type":"subscribe","data":"cpu","id":1}"#, subscribed);
        server.say("disk 80");
        server.say("cpu 7");
        server.say("nothing");
        let seven = r#"{"data":{"topic":"cpu","value":"7"},"type":"value"}"#;
        assert_eq!(ana.line(), seven);
        server.says("is not TOPIC VALUE");
        let mut ben = client(&url, r#"{"type":"subscribe","data":"cpu","id":1}"#, seven);
        assert_eq!(ben.line(), subscribed);
        ana.say(r#"{"type":"unsubscribe","data":"cpu","id":2}"#);
        assert_eq!(ana.line(), r#"{"id":2,"type":"ack"}"#);
        server.say("cpu 8");
        assert_eq!(ben.line(), seven.replace('7', "8"));
        ana.say(r#"{"type":"subscribe","data":"disk","id":3}"#);
        assert_eq!(ana.line(), r#"{"data":{"topic":"disk","value":"80"},"type":"value"}"#);
        ben.say(r##"{"type":"subscribe","data":"a#","id":4}"##);
        assert!(ben.line().contains("in what is subscribed to only"));
    }

    /// Of what is sent while it does not read, a client gets less than all, and the latest of each topic.
    #[test]
    fn who_does_not_read_misses_old_values_and_no_new_one() {
        const LINES: usize = 1_500;
        let (mut server, url) = serve("data_push", &[]);
        let address: SocketAddr = url.trim_start_matches("ws://").parse().unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(1 << 16).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = ClientRequest::from_uri(&url.parse().unwrap());
        let mut slow = blocking::connect_over(stream, &request, Options::new()).unwrap();
        for topic in ["busy", "quiet", "end"] {
            slow.send(format!(r#"{{"type": "subscribe", "data": "{topic}", "id": 1}}"#)).unwrap();
            assert_eq!(slow.recv().unwrap(), Some(Message::text(r#"{"id":1,"type":"ack"}"#)));
        }
        let end = r#"{"type":"subscribe","data":"end","id":1}"#;
        let mut ana = client(&url, end, r#"{"id":1,"type":"ack"}"#);

        let padding = ".".repeat(10_000);
        let busy = |from: usize| (from..from + LINES).map(|number| format!("busy {number}{padding}\n"));
        let lines = busy(0).chain(["quiet once\n".into()]).chain(busy(LINES)).chain(["end now\n".into()]);
        server.write_and_end(lines.collect::<String>());
        assert!(ana.line().contains("now"));
        let (mut count, mut latest) = (0, HashMap::new());
        while !latest.contains_key("end") {
            let message = slow.recv().unwrap().expect("it is not sent away");
            let Some(text) = message.as_text() else { continue };
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let [topic, value] =
                ["topic", "value"].map(|name| value["data"][name].as_str().unwrap().to_owned());
            latest.insert(topic, value.trim_end_matches('.').to_owned());
            count += 1;
        }
        let newest = (2 * LINES - 1).to_string();
        let expected = [("busy", &*newest), ("quiet", "once"), ("end", "now")];
        assert_eq!(latest, expected.map(|(topic, value)| (topic.into(), value.into())).into());
        assert!(count < 2 * LINES, "all {count} values came: it was not slow");
    }

    #[test]
    fn json_finds_its_way() {
        let (_server, url) = serve("json_chat", &[]);
        let ack = r#"{"id":1,"type":"ack"}"#;
        let mut ana = client(&url, r#"{"type":"name","data":"Ana","id":1}"#, ack);
        let mut ben = client(&url, r#"{"type":"name","data":"Ben","id":1}"#, ack);
        ana.say(r#"{"type":"say","data":"hello"}"#);
        assert_eq!(ben.line(), r#"{"data":{"from":"Ana","text":"hello"},"type":"said"}"#);
        ben.say(r#"{"type":"who","id":2}"#);
        assert_eq!(ben.line(), r#"{"data":["Ana","Ben"],"id":2,"type":"reply"}"#);
        let unnamed = r#"{"error":"say your name first","type":"error"}"#;
        client(&url, r#"{"type":"say","data":"hello"}"#, unnamed);
    }

    #[test]
    fn a_token_lets_in_and_nothing_else_does() {
        let (_server, url) = serve_and("token_auth", "s3cret");
        let mut ana = Program::start("line_client", &[&format!("{url}/?token=s3cret")]);
        assert_eq!(ana.line(), "hello, the one with the token");
        ana.say("echo");
        assert_eq!(ana.line(), "echo");
        for (shown, status) in [
            ("Authorization: Bearer s3cret", "101"),
            ("Cookie: a=b; token=s3cret", "101"),
            ("Sec-WebSocket-Protocol: echo, token.s3cret", "101"),
            ("Authorization: Bearer s3cre", "403"),
            ("Sec-WebSocket-Protocol: echo, s3cret", "401"),
        ] {
            let mut stream = connect(&url);
            let request = std::str::from_utf8(REQUEST).unwrap().trim_end();
            stream.write_all(format!("{request}\r\n{shown}\r\n\r\n").as_bytes()).unwrap();
            let answer = head(&mut stream);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}: {answer}");
            let subprotocol = (status == "101" && shown.contains("echo")).then_some("echo");
            assert_eq!(field(&answer, "Sec-WebSocket-Protocol"), subprotocol, "{shown}");
        }
        for (target, status) in [("/?token=guess", "403"), ("/", "401")] {
            let client = Program::start("line_client", &[&format!("{url}{target}")]);
            let ending = client.finish();
            assert!(ending.status != 0 && ending.stderr.contains(status), "{ending:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn each_ends_in_order_at_a_signal() {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("signal.pem");
        let all = [
            ("broadcast_server", &["127.0.0.1:0"][..]),
            ("data_push", &["127.0.0.1:0"]),
            ("first_message_auth", &["127.0.0.1:0", "s3cret"]),
            ("json_chat", &["127.0.0.1:0"]),
            ("publish_subscribe", &["127.0.0.1:0"]),
            ("queue_server", &["127.0.0.1:0"]),
            ("rooms", &["127.0.0.1:0"]),
            ("self_signed_server", &[file.to_str().unwrap(), "127.0.0.1:0"]),
            ("token_auth", &["127.0.0.1:0", "s3cret"]),
        ];
        for (name, arguments) in all.into_iter().filter(|(name, _)| is_built(name)) {
            for (signal, number) in [("-INT", 2), ("-TERM", 15)] {
                let mut server = Program::start(name, arguments);
                server.line();
                server.catches(number);
                server.signal(signal);
                let ending = server.finish();
                assert_eq!((ending.status, &*ending.stderr), (0, ""), "{name} {signal}");
            }
        }
    }

    #[test]
    fn the_first_message_lets_in_and_nothing_else_does() {
        let (_server, url) = serve_and("first_message_auth", "s3cret");
        let mut ana = client(&url, "s3cret", "welcome");
        let mut eve = Program::start("line_client", &[&url]);
        eve.say("guess");
        let ending = eve.finish();
        assert!(ending.status != 0 && ending.stderr.contains("4401"), "{ending:?}");
        ana.say("to all");
        assert_eq!(ana.line(), "to all");
    }
}

mod autobahn_client {
    use super::*;

    /// A suite of this many cases, as the real one answers; tells the resources that were asked for.
    ///
    /// Case 1 sends messages and wants them back, case 2 drops the connection, others close at once.
    async fn suite(listener: tokio::net::TcpListener, cases: &'static str, asked: Sender<String>) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut resource = String::new();
            let accepted = accept_with(stream, Options::new(), |request| {
                resource = request.target().into();
                Ok(Accept::new())
            });
            let mut socket = accepted.await.unwrap();
            match resource.as_str() {
                "/getCaseCount" => socket.send(cases).await.unwrap(),
                "/runCase?case=1&agent=taut" => {
                    for message in [Message::text("¿qué tal?"), Message::binary(vec![7; 70_000])] {
                        socket.send(message.clone()).await.unwrap();
                        assert_eq!(socket.recv().await.unwrap(), Some(message));
                    }
                }
                "/runCase?case=2&agent=taut" => {
                    asked.send(resource).unwrap();
                    continue;
                }
                _ => {}
            }
            let closed = socket.close(CloseCode::NORMAL, "").await;
            // A client that does not understand the answer may give up at once.
            if resource != "/getCaseCount" {
                closed.unwrap();
            }
            asked.send(resource).unwrap();
        }
    }

    fn run(cases: &'static str) -> (Ending, Vec<String>) {
        let (asked, resources) = channel();
        let (address, bound) = channel();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let suite = runtime.spawn(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            address.send(listener.local_addr().unwrap()).unwrap();
            suite(listener, cases, asked).await;
        });
        let url = format!("ws://{}", bound.recv_timeout(PATIENCE).unwrap());
        let ending = Program::start("autobahn_client", &[&url]).finish();
        if suite.is_finished() {
            runtime.block_on(suite).unwrap();
        }
        drop(runtime);
        (ending, resources.iter().collect())
    }

    #[test]
    fn runs_every_case_and_has_the_report_written() {
        let (ending, resources) = run("3");
        assert_eq!((ending.status, &*ending.stderr), (0, ""));
        let expected = [
            "/getCaseCount",
            "/runCase?case=1&agent=taut",
            "/runCase?case=2&agent=taut",
            "/runCase?case=3&agent=taut",
            "/updateReports?agent=taut",
        ];
        assert_eq!(resources, expected);
        let [first, second, how_it_ended, third] = &ending.stdout[..] else { panic!("{:?}", ending.stdout) };
        assert_eq!([first, second, third], ["case 1 of 3", "case 2 of 3", "case 3 of 3"]);
        assert!(how_it_ended.starts_with("case 2: "), "{how_it_ended}");
    }

    #[test]
    fn fails_if_the_suite_makes_no_sense() {
        let (ending, resources) = run("many");
        assert_eq!(ending.status, 1);
        assert!(ending.stderr.contains("the number of cases is \"many\""), "{}", ending.stderr);
        assert_eq!(resources, ["/getCaseCount"]);
    }
}

mod wss_echo_server {
    use super::*;

    #[cfg(not(feature = "rustls-ring"))]
    #[test]
    fn names_the_feature_that_it_wants() {
        Program::start("wss_echo_server", &["127.0.0.1:0"]).fails_with(1, "rustls-ring");
    }

    #[test]
    fn wants_one_identity_and_an_address() {
        for (arguments, sentence) in [
            (&["--pem", "a", "b", "--self-signed", "c", "127.0.0.1:0"][..], "exclude each other"),
            (&["--pem", "a"], "needs a file"),
            (&["localhost"], "not an address"),
        ] {
            Program::start("wss_echo_server", arguments).fails_with(1, sentence);
        }
    }

    #[cfg(feature = "rustls-ring")]
    mod over_tls {
        use taut::tokio::rustls::pki_types::CertificateDer;
        use taut::tokio::rustls::pki_types::pem::PemObject;
        use taut::tokio::{Client, Tls};

        use super::*;

        fn file(name: &str) -> String {
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wss_echo_server");
            fs::create_dir_all(&folder).unwrap();
            folder.join(name).into_os_string().into_string().unwrap()
        }

        /// Says something by a client that trusts this certificate only; whether it came back.
        fn echoes(url: &str, certificate: &CertificateDer<'static>) -> Result<(), taut::Error> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::new().tls(Tls::new().roots([certificate.clone()]))?;
                let mut socket = client.connect(&url.replacen("ws://", "wss://", 1)).await?;
                for message in [Message::text("¿qué tal?"), Message::binary(vec![7; 300_000])] {
                    socket.send(message.clone()).await?;
                    assert_eq!(socket.recv().await?, Some(message));
                }
                socket.close(CloseCode::NORMAL, "").await.map(drop)
            })
        }

        #[test]
        fn signs_its_certificate_itself() {
            for more in [&[][..], &["--deflate"]] {
                let path = file(&format!("own-{}.pem", more.len()));
                let (mut server, url) =
                    serve("wss_echo_server", &[&["--self-signed", &*path], more].concat());
                // One that goes away without a word is not worth one.
                drop(connect(&url));
                echoes(&url, &CertificateDer::from_pem_file(&path).unwrap()).unwrap();
                let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
                assert!(matches!(echoes(&url, other.cert.der()), Err(taut::Error::Tls(_))));
                server.says("does not accept the certificate");
                let told = server.stderr.lock().unwrap().clone();
                assert_eq!(told.lines().count(), 1, "{told}");
            }
        }

        #[cfg(unix)]
        #[test]
        fn reads_its_files_again_at_sighup() {
            let (chain, key) = (file("chain.pem"), file("key.pem"));
            let made = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
            let write = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
                fs::write(&chain, made.cert.pem()).unwrap();
                fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            };
            let (first, second) = (made(), made());
            write(&first);
            let (mut server, url) = serve("wss_echo_server", &["--pem", &chain, &key]);
            echoes(&url, first.cert.der()).unwrap();
            write(&second);
            server.signal("-HUP");
            assert_eq!(server.line(), "reloaded");
            echoes(&url, second.cert.der()).unwrap();
            assert!(matches!(echoes(&url, first.cert.der()), Err(taut::Error::Tls(_))));
            fs::write(&key, "no key").unwrap();
            server.signal("-HUP");
            server.says("stay as they were");
            echoes(&url, second.cert.der()).unwrap();
        }
    }
}

#[cfg(feature = "deflate")]
mod deflate {
    use super::*;

    #[test]
    fn the_server_agrees_only_if_it_was_told_to() {
        for (arguments, expected) in [(&[][..], None), (&["--deflate"], Some("permessage-deflate"))] {
            let (_server, url) = serve("echo_server", arguments);
            let mut stream = connect(&url);
            stream
                .write_all(
                    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
                )
                .unwrap();
            assert_eq!(field(&head(&mut stream), "Sec-WebSocket-Extensions"), expected);
        }
    }

    #[test]
    fn the_clients_offer_only_if_they_were_told_to() {
        for name in ["line_client", "autobahn_client"] {
            for (arguments, offers) in [(vec![], false), (vec!["--deflate"], true)] {
                let (server, url) = peer(move |mut stream| {
                    let offer = field(&head(&mut stream), "Sec-WebSocket-Extensions").map(String::from);
                    let expected = offers.then_some("permessage-deflate; client_max_window_bits");
                    assert_eq!(offer.as_deref(), expected, "{name}");
                });
                let arguments = [&arguments[..], &[&*url]].concat();
                assert_ne!(Program::start(name, &arguments).finish().status, 0);
                server.join().unwrap();
            }
        }
    }

    #[test]
    fn lines_come_back_as_they_went() {
        let (_server, url) = serve("echo_server", &["--deflate"]);
        let lines: Vec<String> = (0..1000).map(|number| "the same again, ".repeat(number % 50)).collect();
        lines_come_back(&["--deflate", &url], &lines);
    }
}

/// A running example. It is killed when it is dropped.
struct Program {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    /// What it printed, line by line.
    lines: Receiver<String>,
    stdout: Vec<String>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// How a program ended, and all that it printed.
#[derive(Debug)]
struct Ending {
    status: i32,
    stdout: Vec<String>,
    stderr: String,
}

impl Program {
    fn start(name: &'static str, arguments: &[&str]) -> Self {
        Self::start_in(&[], name, arguments)
    }

    /// Starts it in an environment with these variables.
    fn start_in(variables: &[(&str, &str)], name: &'static str, arguments: &[&str]) -> Self {
        let mut program = Self::start_unread(variables, name, arguments);
        let (sender, lines) = channel();
        let stdout = program.child.stdout.take().unwrap();
        program.readers.push(thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                // Nobody waits for it any more, if this fails.
                let _ = sender.send(line.expect("text on stdout"));
            }
        }));
        program.lines = lines;
        program
    }

    /// Starts it with a stdout that nobody reads yet.
    fn start_unread(variables: &[(&str, &str)], name: &'static str, arguments: &[&str]) -> Self {
        // Cargo puts tests into `deps`, and examples beside it.
        let test = std::env::current_exe().unwrap();
        let directory = test.parent().and_then(|deps| deps.parent()).expect("a directory of the profile");
        let path = directory.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
        let mut command = Command::new(&path);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Whatever proxies this machine has.
        command.env("no_proxy", "*").envs(variables.iter().copied());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}: build it with `cargo build --examples`", path.display());
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let (pipe, text) = (child.stderr.take().unwrap(), stderr.clone());
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let line = line.expect("text on stderr");
                text.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let (stdin, lines) = (child.stdin.take(), channel().1);
        Self { name, child, stdin, lines, stdout: Vec::new(), stderr, readers: vec![reader] }
    }

    /// Writes a line to its stdin.
    fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Writes all this to its stdin and closes it, while the test goes on.
    fn write_and_end(&mut self, input: impl Into<Vec<u8>>) {
        let (mut stdin, input) = (self.stdin.take().expect("its stdin is open"), input.into());
        // A program that ends early does not take all of it, which its own ending tells.
        thread::spawn(move || stdin.write_all(&input));
    }

    /// Waits until it says this on stderr.
    #[cfg(any(feature = "client", feature = "rustls-ring", feature = "server"))]
    fn says(&mut self, sentence: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.stderr.lock().unwrap().contains(sentence) {
            assert!(Instant::now() < deadline, "it does not say {sentence:?}: {}", self.report());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it handles the signal with this number by itself, which ends it else.
    #[cfg(all(target_os = "linux", feature = "server"))]
    fn catches(&mut self, signal: u32) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            if u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal - 1)) != 0 {
                return;
            }
            assert!(Instant::now() < deadline, "it does not handle signal {signal}: {}", self.report());
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[cfg(all(unix, any(feature = "server", feature = "rustls-ring")))]
    fn signal(&self, signal: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    fn end_input(&mut self) {
        self.stdin = None;
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.stdout.push(line.clone());
                line
            }
            Err(RecvTimeoutError::Timeout) => panic!("no further line came: {}", self.report()),
            Err(RecvTimeoutError::Disconnected) => panic!("it ended too early: {}", self.report()),
        }
    }

    /// Waits for its end.
    fn finish(mut self) -> Ending {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("it does not end: {}", self.report()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.stdout.extend(self.lines.try_iter());
        let status = status.code().unwrap_or_else(|| panic!("{status}: {}", self.report()));
        let (stdout, stderr) = (std::mem::take(&mut self.stdout), self.stderr.lock().unwrap().clone());
        Ending { status, stdout, stderr }
    }

    /// Waits for its end, which has to have this status and say this on stderr.
    fn fails_with(self, status: i32, sentence: &str) -> Ending {
        let name = self.name;
        let ending = self.finish();
        assert_eq!(ending.status, status, "{name}: {ending:?}");
        assert!(ending.stderr.contains(sentence), "{name} did not say {sentence:?}: {ending:?}");
        ending
    }

    /// What it printed so far, in short.
    fn report(&mut self) -> String {
        self.stdout.extend(self.lines.try_iter());
        let last = self.stdout.iter().rev().take(5).collect::<Vec<_>>();
        let (name, count, stderr) = (self.name, self.stdout.len(), self.stderr.lock().unwrap());
        format!("{name} printed {count} lines, the last of them {last:?}, and on stderr:\n{stderr}")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends all these lines by `line_client`, which wants them back.
fn lines_come_back(arguments: &[&str], lines: &[impl AsRef<str>]) {
    let mut client = Program::start("line_client", arguments);
    client.write_and_end(lines.iter().map(|line| line.as_ref().to_owned() + "\n").collect::<String>());
    let ending = client.finish();
    assert_eq!((ending.status, &*ending.stderr), (0, ""));
    let came = ending.stdout.iter().map(String::as_str);
    assert!(came.eq(lines.iter().map(AsRef::as_ref)), "{} lines came back", ending.stdout.len());
}

/// A server that was told so refuses what is longer than ten bytes, and nothing else.
fn keeps_its_limit(server: &'static str) {
    let (_server, url) = serve(server, &["--max-message", "10"]);
    let mut client = Program::start("line_client", &[&url]);
    client.say("0123456789");
    assert_eq!(client.line(), "0123456789");
    client.say("0123456789a");
    client.fails_with(7, "1009");
}

/// A server refuses command lines that are wrong for all of them.
fn refuses_wrong_command_lines(server: &'static str) {
    let wrong: [&[&str]; 4] = [
        &["--max-message", "many", "127.0.0.1:0"],
        &["--max-message"],
        &["--unknown", "127.0.0.1:0"],
        &["127.0.0.1:0", "127.0.0.1:0"],
    ];
    for arguments in wrong {
        Program::start(server, arguments).fails_with(1, &format!("usage: {server}"));
    }
}

/// Starts a server on a free port; gives it, and its URL.
fn serve(name: &'static str, arguments: &[&str]) -> (Program, String) {
    let mut server = Program::start(name, &[arguments, &["127.0.0.1:0"]].concat());
    let address: SocketAddr = server.line().parse().expect("the address that it listens on");
    (server, format!("ws://{address}"))
}

/// A server that serves one connection by a script; gives the URL as well.
fn peer(script: impl FnOnce(TcpStream) + Send + 'static) -> (JoinHandle<()>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        script(stream);
    });
    (server, url)
}

fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.strip_prefix("ws://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The key of RFC 6455 §1.3.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Asks for an upgrade, which the server agrees to.
fn upgraded(stream: &mut TcpStream) {
    stream.write_all(REQUEST).unwrap();
    assert_eq!(field(&head(stream), "Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

/// All that comes until the end.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Reads the head of a request or an answer, and nothing behind it.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// Reads a client's request, and accepts it.
fn upgrade(stream: &mut TcpStream) {
    let request = head(stream);
    let accept = accept_key(field(&request, "Sec-WebSocket-Key").unwrap().as_bytes());
    let accept = String::from_utf8(accept.to_vec()).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).unwrap();
}

fn source(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)
}
