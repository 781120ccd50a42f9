//! The program as an operator has it: settings that are checked, signals, and its output.

#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;
use support::program::Program;
use support::{Peer, SECRET, Scratch, claims, now, request};
use taut::Error;

const ANOTHER: &str = "another secret of thirty-two bytes, at least";

fn signed(secret: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims("ana"), &key).unwrap();
    format!("?token={token}")
}

/// The status of the refusal; `None` if it was taken.
async fn refusal(program: &Program, query: &str) -> Option<u16> {
    match Peer::connect_to(&program.address, query, &[]).await {
        Ok(_) => None,
        Err(Error::Refused(response)) => Some(response.status()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn at_sighup_keys_are_read_again_and_connections_live() {
    let key = Scratch::new(SECRET.as_bytes());
    let file = format!("auth.key_file={}", key.path());
    let program = Program::start(&["auth.algorithms=HS256", "auth.key_refresh=24h", &file]).await;
    let mut ana = program.connect(&signed(SECRET)).await;
    ana.next("system_message").await;
    assert_eq!(refusal(&program, &signed(ANOTHER)).await, Some(401));
    key.write(ANOTHER.as_bytes());
    program.signal("HUP");
    while refusal(&program, &signed(ANOTHER)).await.is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(refusal(&program, &signed(SECRET)).await, Some(401));
    assert_eq!(ana.ask(json!({ "id": "p", "message_type": "ping" })).await["message_type"], "pong");
}

#[tokio::test]
async fn at_sigterm_it_drains() {
    let mut program = Program::start(&["auth.development=true"]).await;
    let mut peers = Vec::new();
    for number in 0..20 {
        let mut peer = program.connect(&format!("?user=u{number}")).await;
        peer.next("system_message").await;
        peers.push(peer);
    }
    program.signal("TERM");
    // It says so, while it closes its connections: each at a moment of its own, within seconds.
    while request(program.api, "GET", "/ready", None, "").await.0 != 503 {}
    for peer in &mut peers {
        assert_eq!(peer.end().await, 1012);
    }
    assert!(program.end().await.success());
}

#[test]
fn settings_are_checked_before_anything_runs() {
    let key = Scratch::new(b"short");
    let good = Scratch::new(SECRET.as_bytes());
    let file = |key: &Scratch| format!("auth.key_file={}", key.path());
    for (settings, said) in [
        (vec!["auth.algorithms=none".to_owned(), file(&good)], "HS256, RS256, ES256, EdDSA"),
        (vec!["auth.algorithms=HS256".to_owned(), file(&key)], "32 bytes"),
        (vec!["no.such=1".to_owned()], "there is no setting"),
        (vec!["server.address=here".to_owned()], "server.address"),
        (
            vec!["server.tls_certificate=/nowhere".to_owned(), "server.tls_key=/nowhere".to_owned()],
            "/nowhere",
        ),
        (vec!["server.tls_key=/nowhere".to_owned()], "set both"),
        (vec!["history.database=/nowhere/a.db".to_owned()], "there is no folder /nowhere"),
        (vec!["auth.timeout=0s".to_owned()], "a time from 1ms"),
        (vec!["auth.cookie=a b;c".to_owned()], "the name of a cookie"),
        (vec!["api.address=127.0.0.1:9001".to_owned()], "they want a port each"),
        (vec!["server.address=0.0.0.0:9001".to_owned()], "auth.insecure_anywhere=true"),
        (vec!["auth.development=true".to_owned(), "api.address=[::]:9002".to_owned()], "without a token"),
        (vec!["server.address=[::1]:9001".to_owned()], "the settings are good"),
        (vec!["auth.algorithms=HS256".to_owned(), file(&good)], "the settings are good"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
        command.args(["serve", "--check-config"]);
        for setting in &settings {
            command.args(["--set", setting]);
        }
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(said), "{settings:?}: {text}");
        assert_eq!(output.status.success(), said == "the settings are good", "{settings:?}");
    }
}

#[tokio::test]
async fn without_tokens_it_warns_whatever_is_logged() {
    for level in ["off", "info"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
        command.args([
            "serve",
            "--insecure-development",
            "--address=127.0.0.1:0",
            "--api-address=127.0.0.1:0",
        ]);
        let piped = command.env("RUST_LOG", level).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let first = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(first.contains("INSECURE"), "{level}: {first}");
    }
}

#[tokio::test]
async fn without_settings_it_says_who_may_come_in() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
    command.args(["serve", "--address=127.0.0.1:0", "--api-address=127.0.0.1:0"]).env("RUST_LOG", "off");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines: Vec<_> =
        BufReader::new(child.stdout.take().unwrap()).lines().take(6).map(Result::unwrap).collect();
    let program = Program::of(child, &lines[0], &lines[1]);
    let ana = lines[3].split_once("#token=").unwrap().1;
    assert_eq!(refusal(&program, "").await, None, "the first message may bring it");
    let mut peer = program.connect(&format!("?token={ana}")).await;
    assert_eq!(peer.next("system_message").await["data"]["user_id"], "ana");
    let api = lines[5].split_once("#token=").unwrap().1;
    assert_eq!(request(program.api, "GET", "/ws/stats", Some(api), "").await.0, 200);
    assert_eq!(request(program.api, "GET", "/ws/stats", Some(ana), "").await.0, 401);
    // Nobody else's: neither of another secret, nor of none.
    assert_eq!(refusal(&program, &signed(SECRET)).await, Some(401));
    let expired = json!({ "sub": "ana", "exp": now() - 60 });
    assert_eq!(refusal(&program, &format!("?token={}", support::token(expired))).await, Some(401));
}

#[test]
fn one_cryptography_is_compiled_in() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--locked", "--offline", "--package", "taut-hub", "--edges", "normal,build"]);
    command.args(["--prefix", "none"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let crates = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let has = |name: &str| crates.lines().any(|line| line.starts_with(&format!("{name} v")));
    assert_eq!(
        ["aws-lc-rs", "ring", "openssl", "native-tls"].map(has),
        [true, false, false, false],
        "{crates}"
    );
}
