//! What each option does.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use serde_json::{Value, json};
use taut::proto::Message;
use taut::server::{Config, Connection, Server};
use taut::tokio::ServerTls;
use taut::tokio::rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::programs::{End, Serving, asked, connect, output, scripted, taut};
use crate::support::{SECRET, Scratch, hub, hub_with_secret};

#[tokio::test]
async fn the_request() {
    let bearer = Scratch::new(b" from a file\n");
    let from_file = format!("@{}", bearer.path());
    for (arguments, field, value) in [
        (&["--header", "X-A: b: c"][..], "X-A", "b: c"),
        (&["-H", "X-A:b"], "X-A", "b"),
        (&["--origin", "https://a.example"], "Origin", "https://a.example"),
        (&["--bearer", "secret"], "Authorization", "Bearer secret"),
        (&["--bearer", &from_file], "Authorization", "Bearer from a file"),
        (&["--basic", "ana:a:b"], "Authorization", "Basic YW5hOmE6Yg=="),
        (&["--cookie", "a=1", "--cookie", "b=2"], "Cookie", "a=1; b=2"),
        (&["--subprotocol", "a", "--subprotocol", "b"], "Sec-WebSocket-Protocol", "a, b"),
    ] {
        let (url, request) = asked().await;
        let ran = connect(&[&[&*url, "--no-input"], arguments].concat(), b"").await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(request.await.unwrap().fields().text(field), Some(value), "{arguments:?}");
    }
    for (arguments, target) in
        [(&["--token", "a b"][..], "/?token=a%20b"), (&["--username", "ana"], "/?user=ana"), (&[], "/")]
    {
        let (url, request) = asked().await;
        connect(&[&[&*url.replace("ws://", "http://"), "--no-input"], arguments].concat(), b"").await;
        let request = request.await.unwrap();
        assert_eq!(request.target(), target);
        // Compression is not offered unless it is asked for.
        assert_eq!(request.fields().text("Sec-WebSocket-Extensions"), None);
    }
}

#[tokio::test]
async fn bytes_as_text_and_as_they_are() {
    let echo = Serving::echo(&[]).await;
    for (form, input, output) in [("hex", "00 FF\n\n0a", "00ff\n\n0a\n"), ("base64", "AP8=\n", "AP8=\n")] {
        let ran = connect(&[&echo.url, "--binary", form], input.as_bytes()).await;
        assert_eq!((ran.code, ran.out()), (Some(0), output), "{ran:?}");
    }
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    let ran = connect(&[&echo.url, "--binary", "raw"], &bytes).await;
    assert!(ran.code == Some(0) && ran.out == bytes, "{} bytes", ran.out.len());
    // A file of any lines comes back as it is, more of it than any buffer holds.
    let lines: String = (0..40_000).map(|number| format!("line {number}, of no great length\n")).collect();
    let ran = connect(&[&echo.url, "--deflate"], lines.as_bytes()).await;
    assert!(ran.code == Some(0), "{}", ran.err);
    assert!(ran.out() == lines, "{} of {} bytes", ran.out.len(), lines.len());
}

#[tokio::test]
async fn what_is_shown() {
    let echo = Serving::echo(&["--deflate"]).await;
    let text = |n| format!("{{\"type\":\"t\",\"n\":{n},\"data\":{{}}}}\n");
    let input = [text(1), "not JSON\n".to_owned(), text(2), "{\"n\":3}\n".to_owned(), text(4)].concat();
    for (arguments, output) in [
        (&["--filter", "type=t"][..], [text(1), text(2), text(4)].concat()),
        (&["--filter", "/type", "--filter", "/n=2"], text(2)),
        (&["--filter", "/type", "--count", "2"], [text(1), text(2)].concat()),
        (&["--filter", "n=3", "--json"], "{\n  \"n\": 3\n}\n".to_owned()),
        (&["--count", "1"], text(1)),
    ] {
        let ran = connect(&[&[&*echo.url], arguments].concat(), input.as_bytes()).await;
        assert_eq!((ran.code, ran.out()), (Some(0), &*output), "{arguments:?} {}", ran.err);
    }
    let ran = connect(&[&echo.url, "--timestamps"], b"hello\n").await;
    let (when, said) = ran.out().split_once(' ').unwrap();
    assert!(when.starts_with("20") && when.ends_with('Z') && said == "hello\n", "{ran:?}");
}

#[tokio::test]
async fn sizes_and_frames() {
    let echo = Serving::echo(&["--deflate"]).await;
    let line = "a".repeat(10_000) + "\n";
    let ran = connect(&[&echo.url, "--verbose", "--deflate"], line.as_bytes()).await;
    for way in ["sent", "received"] {
        let (_, said) = ran.err.split_once(&format!("{way} text of 10000 bytes, ")).expect(&ran.err);
        let size: u32 = said.split(' ').next().unwrap().parse().unwrap();
        assert!((1..200).contains(&size), "{ran:?}");
    }
    let ran = connect(&[&echo.url, "--verbose"], line.as_bytes()).await;
    assert!(ran.err.contains("sent text of 10000 bytes, 10000 on the wire"), "{ran:?}");
    let ran = connect(&[&echo.url, "--frames"], b"h\xc3\xa4\n").await;
    for frame in [
        ">> text fin masked 6+3 \"hä\"",
        "<< text fin 2+3 \"hä\"",
        ">> close fin masked 6+2 03e8",
        "<< close fin 2+2 03e8",
    ] {
        assert!(ran.err.lines().any(|line| line == frame), "{frame}: {ran:?}");
    }
}

#[tokio::test]
async fn recorded_and_sent_again() {
    let (echo, file) = (Serving::echo(&[]).await, Scratch::new(b""));
    connect(&[&echo.url, "--record", file.path()], "ä\n{}\n".as_bytes()).await;
    let ran = connect(&[&echo.url, "--binary", "hex"], b"00\n").await;
    assert_eq!(ran.code, Some(0));
    let recorded = std::fs::read_to_string(file.path()).unwrap();
    let entries: Vec<Value> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts = |direction: &str| -> Vec<Value> {
        let those = entries.iter().filter(|entry| entry["direction"] == direction);
        those.map(|entry| entry["text"].clone()).collect()
    };
    assert_eq!(
        (texts("sent"), texts("received")),
        (vec![json!("ä"), json!("{}")], vec![json!("ä"), json!("{}")])
    );
    assert!(entries.iter().all(|entry| entry["offset"].is_f64()));

    // Only what was sent; at its time, or at once.
    let far = "{\"offset\":0,\"direction\":\"sent\",\"text\":\"a\"}\n{\"offset\":1,\"direction\":\"received\",\"text\":\
               \"b\"}\n{\"offset\":3600,\"direction\":\"sent\",\"base64\":\"AP8=\"}\n";
    file.write(far.as_bytes());
    let at_once = connect(&[&echo.url, "--replay", file.path(), "--replay-speed", "0"], b"").await;
    assert_eq!((at_once.code, at_once.out()), (Some(0), "a\n00ff\n"), "{at_once:?}");
    let paced = connect(&[&echo.url, "--replay", file.path(), "--for", "0.5"], b"").await;
    assert_eq!((paced.code, paced.out()), (Some(0), "a\n"), "{paced:?}");
    file.write(b"{\"offset\":0,\"direction\":\"sent\"}\n");
    let wrong = connect(&[&echo.url, "--replay", file.path()], b"").await;
    assert!(wrong.code == Some(1) && wrong.err.contains("line 1"), "{wrong:?}");
}

#[tokio::test]
async fn connected_again() {
    let url =
        scripted([End::Close("first", 1012, "restart"), End::Vanish, End::Close("third", 1000, "")]).await;
    let ran = connect(&[&url, "--no-input", "--reconnect"], b"").await;
    assert_eq!((ran.code, ran.out()), (Some(0), "first\nthird\n"), "{ran:?}");
    assert_eq!(ran.err.matches("connected again").count(), 2, "{ran:?}");
    // What is to be sent waits for a connection.
    let busy = End::Raw("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let ran = connect(&[&scripted([busy, End::Echo]).await, "--reconnect"], b"one\ntwo\n").await;
    assert_eq!((ran.code, ran.out()), (Some(0), "one\ntwo\n"), "{ran:?}");
    // A server that does not want this client is not asked again.
    let url = scripted([End::Close("", 1008, ""), End::Close("", 1000, "")]).await;
    let ran = connect(&[&url, "--no-input", "--reconnect"], b"").await;
    assert_eq!(ran.code, Some(6), "{ran:?}");
    // Time goes on while there is no connection.
    let url = scripted([End::Close("", 1012, "")]).await;
    let ran = connect(&[&url, "--no-input", "--reconnect", "--for", "1"], b"").await;
    assert!(ran.code == Some(0) && ran.err.contains("again in"), "{ran:?}");
    let url = scripted([End::Close("", 1012, ""), End::Silent]).await;
    let patient = ["--no-input", "--reconnect", "--for", "1", "--connect-timeout", "3600"];
    assert_eq!(connect(&[&[&*url], &patient[..]].concat(), b"").await.code, Some(0));
}

#[tokio::test]
async fn what_a_closing_connection_refuses_goes_over_the_next() {
    let url = scripted([End::Linger, End::Echo]).await;
    let program = ["connect", &url, "--reconnect", "--frames", "--close-timeout", "0.5"];
    let mut child = taut(&program).spawn().unwrap();
    let (mut input, mut err) =
        (child.stdin.take().unwrap(), BufReader::new(child.stderr.take().unwrap()).lines());
    input.write_all(b"zero\n").await.unwrap();
    while !err.next_line().await.unwrap().unwrap().starts_with("<< close") {}
    input.write_all(b"one\ntwo\n").await.unwrap();
    while err.next_line().await.unwrap().unwrap() != "connected again" {}
    drop(input);
    let said = async { while err.next_line().await.unwrap().is_some() {} };
    let (ran, ()) = tokio::join!(output(child), said);
    assert_eq!((ran.code, ran.out()), (Some(0), "one\ntwo\n"));
}

#[tokio::test]
async fn pings_by_themselves() {
    let echo = Serving::echo(&[]).await;
    let ran =
        connect(&[&echo.url, "--no-input", "--ping", "0.05", "--for", "0.5", "--frames", "-v"], b"").await;
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.matches("<< pong").count() > 1 && ran.err.contains("round trip "), "{ran:?}");
}

#[tokio::test]
async fn whom_tls_trusts() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let ca = Scratch::new(certificate.pem().as_bytes());
    let none = Scratch::new(b"nothing");
    let tls = ServerTls::from_certificate(
        [certificate.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    );
    let server = Server::builder(Config::new().address("127.0.0.1:0")).tls(tls);
    let server = server.handler(|mut connection: Connection| async move {
        connection.send(Message::text("hello")).await?;
        while connection.recv().await?.is_some() {}
        Ok::<_, taut::server::BoxError>(())
    });
    let server = server.bind().await.unwrap();
    let port = server.address().unwrap().port();
    let (by_name, by_address) = (format!("https://localhost:{port}"), format!("wss://127.0.0.1:{port}"));
    for (arguments, code) in [
        (&[&*by_name][..], 4),
        (&[&by_name, "--ca", ca.path()], 0),
        (&[&by_name, "--ca", none.path()], 2),
        (&[&by_address, "--ca", ca.path()], 4),
        (&[&by_address, "--ca", ca.path(), "--server-name", "localhost"], 0),
        (&[&by_address, "--dangerous-accept-any-certificate"], 0),
    ] {
        let ran = connect(&[arguments, &["--no-input", "--count", "1", "-v"]].concat(), b"").await;
        assert_eq!(ran.code, Some(code), "{arguments:?} {ran:?}");
        assert_eq!(ran.out(), if code == 0 { "hello\n" } else { "" });
        assert_eq!(ran.err.contains("INSECURE"), arguments.len() == 2, "{ran:?}");
        assert_eq!(ran.err.contains("connected, TLSv1_3"), code == 0, "{ran:?}");
    }
}

#[tokio::test]
async fn through_a_proxy() {
    let echo = Serving::echo(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://ana:secret@{}", listener.local_addr().unwrap());
    let to = echo.url.strip_prefix("ws://").unwrap().to_owned();
    let proxying = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut server = TcpStream::connect(to).await.unwrap();
        // How it ends is for the two to say.
        let _ = copy_bidirectional(&mut client, &mut server).await;
        String::from_utf8(head).unwrap()
    });
    let ran = connect(&["ws://nowhere.example/a", "--proxy", &proxy], b"hello\n").await;
    assert_eq!((ran.code, ran.out()), (Some(0), "hello\n"), "{ran:?}");
    let head = proxying.await.unwrap();
    assert!(
        head.starts_with("CONNECT nowhere.example:80 ") && head.contains("Basic YW5hOnNlY3JldA=="),
        "{head}"
    );
}

#[tokio::test]
async fn tokens_of_ones_own() {
    let key = Scratch::new(format!(" {SECRET}\n").as_bytes());
    let hub = hub_with_secret(&[("auth.timeout", "200ms")]).await;
    let url = format!("ws://{}/ws", hub.address().unwrap());
    let own = [
        "--username",
        "ana",
        "--key",
        key.path(),
        "--no-input",
        "--count",
        "1",
        "--filter",
        "data.user_id=ana",
    ];
    let ran = connect(&[&[&*url], &own[..]].concat(), b"").await;
    assert!(ran.code == Some(0) && ran.out().contains("system_message"), "{ran:?}");
    // Another key's tokens are refused, and so is whoever has none.
    let other = Scratch::new(SECRET.to_uppercase().as_bytes());
    for (arguments, code) in
        [(&["--username", "ana", "--key", other.path()][..], 5), (&["--username", "ana"], 6)]
    {
        let ran = connect(&[&[&*url, "--no-input"], arguments].concat(), b"").await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
    }

    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let signing = Scratch::new(pair.serialize_pem().as_bytes());
    let (url, request) = asked().await;
    let claims = ["--email", "ana@example.com", "--claim", "rooms=[\"a\"]", "--claim", "aud=chat"];
    let ed = ["--username", "ana", "--key", signing.path(), "--algorithm", "EdDSA", "--no-input"];
    let ran = connect(&[&[&*url], &claims[..], &ed].concat(), b"").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let request = request.await.unwrap();
    let token = request.fields().text("Authorization").unwrap().strip_prefix("Bearer ").unwrap();
    let public = DecodingKey::from_ed_pem(pair.public_key_pem().as_bytes()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["chat"]);
    let claims = decode::<Value>(token, &public, &validation).unwrap().claims;
    assert_eq!((&claims["sub"], &claims["email"]), (&json!("ana"), &json!("ana@example.com")));
    assert_eq!(claims["rooms"], json!(["a"]));
    let left = claims["exp"].as_u64().unwrap() - crate::support::now();
    assert!(left <= 3600 && left > 3600 - 120, "{left}");
}

#[tokio::test]
async fn a_hub_that_asks_nobody() {
    let hub = hub(&[("auth.development", "true")]).await;
    let url = format!("ws://{}/ws", hub.address().unwrap());
    let envelope = json!({ "id": "1", "message_type": "text", "to_user_id": "bob", "data": "hello" });
    let input = format!("{envelope}\n");
    let arguments = [&*url, "--username", "bob", "--filter", "message_type=text", "--count", "1"];
    let ran = connect(&arguments, input.as_bytes()).await;
    let said: Value = serde_json::from_str(ran.out()).expect(&ran.err);
    assert_eq!((&said["from_user_id"], &said["data"]), (&json!("bob"), &json!("hello")));
}

#[tokio::test]
async fn nothing_is_lost_while_both_ends_are_slow() {
    // A server that reads nothing until it has sent more than the sockets hold.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut socket = taut::tokio::accept(listener.accept().await.unwrap().0).await.unwrap();
        for number in 0..200 {
            socket.send(vec![number; 100_000]).await.unwrap();
        }
        let mut bytes = 0;
        while let Some(message) = socket.recv().await.unwrap() {
            if let Message::Binary(piece) = message {
                bytes += piece.len();
            }
        }
        bytes
    });
    let input = vec![7; 20_000_000];
    let ran = connect(&[&url, "--binary", "raw"], &input).await;
    assert_eq!((ran.code, ran.out.len()), (Some(0), 20_000_000), "{}", ran.err);
    assert_eq!(serving.await.unwrap(), input.len());
}

#[tokio::test]
async fn each_option_and_exit_code_is_documented() {
    let documented = include_str!("../../../docs/connect.md");
    let help = connect(&["--help"], b"").await;
    let options = help
        .out()
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--").or(line.split(", --").nth(1)));
    let names: Vec<_> = options.map(|line| line.split([' ', '[']).next().unwrap()).collect();
    assert!(names.len() > 35 && names.contains(&"header"), "{names:?}");
    for name in names.iter().filter(|name| **name != "help") {
        assert!(documented.contains(&format!("`--{name}")), "--{name}");
    }
    for code in (0..10).chain([130]) {
        assert!(documented.contains(&format!("\n| {code} ")), "{code}");
    }
}
