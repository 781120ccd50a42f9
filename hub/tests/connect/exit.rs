//! The exit codes.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use crate::programs::{End, Ran, Serving, connect, scripted, taut};
use crate::support::Scratch;

async fn listening(url: &str, arguments: &[&str]) -> Ran {
    connect(&[&[url, "--no-input"], arguments].concat(), b"").await
}

#[tokio::test]
async fn closed_normally_is_0() {
    let echo = Serving::echo(&[]).await;
    let ran = connect(&[&echo.url], b"one\n\ntwo").await;
    assert_eq!((ran.code, ran.out(), &*ran.err), (Some(0), "one\n\ntwo\n", ""));
    // By the server, after it said something.
    let url = scripted([End::Close("bye", 1000, "")]).await;
    let ran = listening(&url, &[]).await;
    assert_eq!((ran.code, ran.out(), &*ran.err), (Some(0), "bye\n", ""));
    // Time is over.
    let ran = listening(&echo.url, &["--for", "0.1"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn what_fails_here_is_1() {
    let echo = Serving::echo(&[]).await;
    let ran = connect(&[&echo.url, "--binary", "hex"], b"00\nno\n").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("line 2") && ran.err.contains("hexadecimal"), "{ran:?}");
    let ran = connect(&[&echo.url], b"\xff\n").await;
    assert!(ran.code == Some(1) && ran.err.contains("--binary"), "{ran:?}");
    for missing in [["--replay", "/nowhere/file"], ["--record", "/nowhere/file"], ["--ca", "/nowhere/file"]] {
        let ran = connect(&[&[&*echo.url], &missing[..]].concat(), b"").await;
        assert!(ran.code == Some(1) && ran.err.contains("/nowhere/file"), "{ran:?}");
    }
    let ran = connect(&[&echo.url, "--bearer", "@/nowhere/token"], b"").await;
    assert!(ran.code == Some(1) && ran.err.contains("/nowhere/token"), "{ran:?}");
}

#[tokio::test]
async fn a_wrong_command_line_is_2() {
    let short = Scratch::new(b"short");
    for arguments in [
        &["ftp://localhost"][..],
        &["ws://"],
        &[],
        &["localhost:1", "--nothing"],
        &["localhost:1", "--header", "no colon"],
        &["localhost:1", "--header", "Host: a"],
        &["localhost:1", "--subprotocol", "a b"],
        &["localhost:1", "--basic", "no colon"],
        &["localhost:1", "--proxy", "ftp://a"],
        &["localhost:1", "--for", "-1"],
        &["localhost:1", "--count", "0"],
        &["localhost:1", "--filter", "=5"],
        &["localhost:1", "--replay-speed", "2"],
        &["localhost:1", "--username", "ana", "--key", short.path()],
        &["localhost:1", "--username", "ana", "--key", short.path(), "--algorithm", "none"],
    ] {
        let ran = connect(arguments, b"").await;
        assert!(ran.code == Some(2) && !ran.err.is_empty(), "{arguments:?} {ran:?}");
    }
}

#[tokio::test]
async fn who_cannot_be_reached_is_3() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let ran = listening(&address, &[]).await;
    assert!(ran.code == Some(3) && ran.err.contains(&address), "{ran:?}");
    let proxy = format!("http://{address}");
    let ran = listening("ws://example.com", &["--proxy", &proxy]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    // Each attempt is told, and there are no more than were asked for.
    let ran = listening(&address, &["--reconnect=2"]).await;
    assert_eq!((ran.code, ran.err.matches("again in").count()), (Some(3), 2), "{ran:?}");
}

#[tokio::test]
async fn no_tls_is_4() {
    let echo = Serving::echo(&[]).await;
    let ran = listening(&echo.url.replace("ws://", "wss://"), &[]).await;
    assert!(ran.code == Some(4) && ran.err.contains("ws://"), "{ran:?}");
}

#[tokio::test]
async fn a_refused_handshake_is_5() {
    let forbidden = "HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nnot\x1b[2J today";
    let ran = listening(&scripted([End::Raw(forbidden)]).await, &[]).await;
    assert!(ran.code == Some(5) && ran.err.contains("403") && ran.err.contains("not\\u{1b}"), "{ran:?}");
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    let ran = listening(&scripted([End::Raw(wrong)]).await, &[]).await;
    assert!(ran.code == Some(5) && ran.err.contains("Sec-WebSocket-Accept"), "{ran:?}");
}

#[tokio::test]
async fn another_code_is_6() {
    let ran = listening(&scripted([End::Close("", 4401, "no token")]).await, &[]).await;
    assert!(ran.code == Some(6) && ran.err.contains("4401: no token"), "{ran:?}");
    let echo = Serving::echo(&["--max-message", "4"]).await;
    let ran = connect(&[&echo.url], b"four\nfive!\n").await;
    assert!(ran.code == Some(6) && ran.err.contains("1009") && ran.out() == "four\n", "{ran:?}");
}

#[tokio::test]
async fn what_takes_too_long_is_7() {
    let ran = listening(&scripted([End::Silent]).await, &["--connect-timeout", "0.2"]).await;
    assert!(ran.code == Some(7) && ran.err.contains("handshake"), "{ran:?}");
    let ran = connect(&[&scripted([End::Deaf]).await, "--close-timeout", "0.2"], b"").await;
    assert!(ran.code == Some(7) && ran.err.contains("closing"), "{ran:?}");
    let echo = Serving::echo(&[]).await;
    let ran = connect(&[&echo.url, "--count", "2", "--for", "0.5"], b"one\n").await;
    assert!(ran.code == Some(7) && ran.err.contains("1 of 2") && ran.out() == "one\n", "{ran:?}");
}

#[tokio::test]
async fn a_lost_connection_is_8() {
    let ran = listening(&scripted([End::Vanish]).await, &[]).await;
    assert!(ran.code == Some(8) && ran.err.contains("1006"), "{ran:?}");
}

#[tokio::test]
async fn too_few_messages_are_9() {
    let ran = listening(&scripted([End::Close("one", 1000, "")]).await, &["--count", "2"]).await;
    assert!(ran.code == Some(9) && ran.err.contains("1 of 2") && ran.out() == "one\n", "{ran:?}");
}

#[tokio::test]
async fn a_signal_is_130() {
    let echo = Serving::echo(&[]).await;
    let (mut child, _input) = connected(&echo.url).await;
    interrupt(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    // The first waits for the server's Close, the second for nobody.
    let (mut child, _input) = connected(&scripted([End::Deaf]).await).await;
    interrupt(&child);
    assert!(timeout(Duration::from_millis(300), child.wait()).await.is_err());
    interrupt(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
}

/// One that has said that it is connected, and whose input is open.
async fn connected(url: &str) -> (Child, ChildStdin) {
    let mut child = taut(&["connect", url, "--verbose"]).spawn().unwrap();
    let mut said = [0; 9];
    child.stderr.as_mut().unwrap().read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"connected");
    let input = child.stdin.take().unwrap();
    (child, input)
}

fn interrupt(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}
