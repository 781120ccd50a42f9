//! `taut listen` and `taut echo`.

use taut::proto::{Deflate, Message};
use taut::tokio::{Client, Options};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::programs::{PATIENCE, Serving, connect};

#[tokio::test]
async fn listen_shows_each_and_tells_all() {
    let mut listen = Serving::start(&["listen", "127.0.0.1:0", "--subprotocol", "chat"]).await;
    let client = Client::new().origin("https://elsewhere.example").unwrap().subprotocol("chat").unwrap();
    let mut first = client.connect(&listen.url).await.unwrap();
    assert_eq!(first.subprotocol(), Some("chat"));
    first.send("from the first").await.unwrap();
    let shown = listen.lines.next_line().await.unwrap().unwrap();
    let number = shown.strip_suffix(" from the first").expect("the message").to_owned();
    assert!(number.starts_with('#'), "{shown}");
    let mut second = client.connect(&listen.url).await.unwrap();
    second.send(vec![0, 255]).await.unwrap();
    let shown = listen.lines.next_line().await.unwrap().unwrap();
    assert!(shown.ends_with(" 2 bytes: 00ff") && !shown.starts_with(&format!("{number} ")), "{shown}");
    listen.input.write_all(b"to all\n").await.unwrap();
    for socket in [&mut first, &mut second] {
        let heard = timeout(PATIENCE, socket.recv()).await.unwrap().unwrap();
        assert_eq!(heard, Some(Message::text("to all")));
    }
    let pid = listen.child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    // Those who are connected are told.
    for mut socket in [first, second] {
        while timeout(PATIENCE, socket.recv()).await.unwrap().unwrap().is_some() {}
        assert_eq!(socket.close_status().unwrap().code, 1001);
    }
    assert!(listen.child.wait().await.unwrap().success());
}

#[tokio::test]
async fn listen_and_connect_talk() {
    let mut listen = Serving::start(&["listen", "127.0.0.1:0", "--deflate", "--timestamps"]).await;
    let ran = connect(&[&listen.url, "--deflate", "--verbose"], b"hello\n").await;
    assert!(ran.code == Some(0) && ran.err.contains("connected, compressed"), "{ran:?}");
    let shown = listen.lines.next_line().await.unwrap().unwrap();
    assert!(shown.contains("T") && shown.contains("Z #") && shown.ends_with(" hello"), "{shown}");
}

#[tokio::test]
async fn echo_agrees_to_what_it_was_told() {
    for (arguments, is_compressed) in [(&["--deflate", "--subprotocol", "b"][..], true), (&[], false)] {
        let echo = Serving::echo(arguments).await;
        let client = Client::new().options(Options::new().deflate(Deflate::new()));
        let client = client.subprotocol("a").unwrap().subprotocol("b").unwrap();
        let mut socket = client.connect(&echo.url).await.unwrap();
        let compressed = socket.with_connection(|connection| connection.agreement().deflate().is_some());
        assert_eq!((compressed, socket.subprotocol()), (is_compressed, is_compressed.then_some("b")));
        for message in [Message::text("hello"), Message::binary(vec![0; 100_000])] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(timeout(PATIENCE, socket.recv()).await.unwrap().unwrap(), Some(message));
        }
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let echo = Serving::echo(&[]).await;
    let address = echo.url.strip_prefix("ws://").unwrap();
    for program in ["echo", "listen"] {
        let ran = crate::programs::output(crate::programs::taut(&[program, address]).spawn().unwrap()).await;
        assert!(ran.code == Some(1) && ran.err.contains("in use"), "{ran:?}");
    }
}
