//! Who may connect: origins, paths, hooks before the upgrade and for the first message.

use taut::Error;
use taut::proto::handshake::{ClientRequest, Response};
use taut::proto::{CloseCode, CloseFrame, Message};
use taut::server::{Fault, Grant, Origins, Upgrade, forbidden, unauthorized};

use crate::support::*;

fn refused(result: Result<Client, Error>) -> Response {
    match result {
        Err(Error::Refused(response)) => *response,
        other => panic!("{other:?}"),
    }
}

fn with(name: &'static str, value: &'static str) -> impl FnOnce(ClientRequest) -> ClientRequest {
    move |request| request.field(name, value).unwrap()
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_sites_get_403_and_other_paths_404() {
    let config = quiet().path("/chat").origins(Origins::same().and(["https://app.net"]).unwrap());
    let server = server(config).detached();
    for (url, origin, status) in [
        ("ws://example.com/chat", "http://example.com", None),
        ("ws://example.com/chat?x=1", "https://app.net", None),
        ("ws://example.com/chat", "https://evil.net", Some(403)),
        ("ws://example.com/chat", "null", Some(403)),
        ("ws://example.com/", "http://example.com", Some(404)),
        ("ws://example.com/chat/", "http://example.com", Some(404)),
    ] {
        let result =
            connect_to(&server, url, 1 << 16, |request| request.field("Origin", origin).unwrap()).await;
        match status {
            None => drop(result.unwrap()),
            Some(status) => assert_eq!(refused(result).status(), status, "{url} {origin}"),
        }
    }
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn the_hook_lets_in_refuses_whole_and_panics_alone() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet().auth_timeout(seconds(3)).subprotocols(["chat"]))
        .authenticate(|upgrade: Upgrade| async move {
            let token = upgrade.bearer().map(String::from).or_else(|| upgrade.query("token"));
            match token.as_deref() {
                Some("ana") => {
                    tokio::time::sleep(seconds(2)).await;
                    Ok(Grant::new().insert(String::from("ana")).field("X-Who", "ana").unwrap())
                }
                Some("slow") => std::future::pending().await,
                Some("panic") => panic!("oh no"),
                Some(_) => Err(forbidden()),
                None => Err(unauthorized("Bearer realm=\"chat\"")),
            }
        })
        .on_error(move |fault| {
            if let Fault::Refusing(_, said) = fault {
                told.push(said.clone());
            }
        })
        .detached();
    let mut client = try_connect(&server, with("Authorization", "Bearer ana")).await.unwrap();
    settle().await;
    let handle = server.registry().list()[0].clone();
    assert_eq!(handle.get::<String>().as_deref().map(String::as_str), Some("ana"));
    client.send("hello").await.unwrap();

    let response = refused(try_connect(&server, |request| request).await);
    assert_eq!((response.status(), response.body()), (401, &b"say who you are\n"[..]));
    assert!(response.body_is_whole());
    assert_eq!(response.fields().text("WWW-Authenticate"), Some("Bearer realm=\"chat\""));
    let response = refused(connect_to(&server, "ws://a/?token=eve", 1 << 16, |request| request).await);
    assert_eq!((response.status(), response.body_is_whole()), (403, true));
    assert_eq!(refused(try_connect(&server, with("Authorization", "Bearer slow")).await).status(), 503);
    assert_eq!(refused(try_connect(&server, with("Authorization", "Bearer panic")).await).status(), 500);
    assert_eq!(notes.take(), ["oh no"]);
    assert_eq!(server.registry().len(), 1);
    drop(client);
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_may_come_as_a_subprotocol_which_is_not_agreed_on() {
    let server = server(quiet().subprotocols(["chat"]))
        .authenticate(|upgrade| async move {
            if upgrade.offered("token.") == Some("s3cret") { Ok(Grant::new()) } else { Err(forbidden()) }
        })
        .detached();
    let offer =
        |request: ClientRequest| request.subprotocol("token.s3cret").unwrap().subprotocol("chat").unwrap();
    assert_eq!(try_connect(&server, offer).await.unwrap().subprotocol(), Some("chat"));
    let wrong = |request: ClientRequest| request.subprotocol("token.guess").unwrap();
    assert_eq!(refused(try_connect(&server, wrong).await).status(), 403);
}

#[tokio::test(start_paused = true)]
async fn who_offers_no_subprotocol_that_is_spoken_gets_none() {
    let server = server(quiet().subprotocols(["chat"])).detached();
    let other = try_connect(&server, |request| request.subprotocol("other").unwrap()).await.unwrap();
    assert_eq!(other.subprotocol(), None);
    assert_eq!(connect(&server).await.subprotocol(), None);
}

#[tokio::test(start_paused = true)]
async fn the_first_message_authenticates_in_time_or_the_connection_ends_unseen() {
    let notes = Notes::default();
    let [connected, ended] = [(); 2].map(|()| notes.clone());
    let server = server(quiet().auth_timeout(seconds(5)))
        .authenticate_by_message(|handle, message| async move {
            match message {
                Message::Text(text) if text == "ana" => {
                    handle.insert(text.to_string());
                    Ok(())
                }
                Message::Text(text) if text == "slow" => std::future::pending().await,
                _ => Err(CloseFrame::from(CloseCode::new(4401).unwrap())),
            }
        })
        .on_connect(move |handle: taut::server::Handle| {
            connected.push(format!("connect {}", handle.get::<String>().unwrap()));
            async {}
        })
        .on_message(|handle, message| async move { handle.queue(message).map(|_| ()) })
        .on_disconnect(move |_, outcome| {
            ended.push(format!("disconnect {:?}", outcome.by));
            async {}
        })
        .detached();
    let mut client = connect(&server).await;
    settle().await;
    assert_eq!(server.registry().broadcast("secret").to_all().queued, 0);
    client.send("ana").await.unwrap();
    client.send("hello").await.unwrap();
    assert_eq!(hear(&mut client).await, "hello");
    assert_eq!(notes.take(), ["connect ana"]);
    client.close(CloseCode::NORMAL, "").await.unwrap();
    settle().await;
    assert_eq!(notes.take(), ["disconnect Peer"]);

    let mut wrong = connect(&server).await;
    wrong.send("eve").await.unwrap();
    assert_eq!(close_code(&mut wrong).await, 4401);
    let mut silent = connect(&server).await;
    assert_eq!(close_code(&mut silent).await, 1008);
    let mut slow = connect(&server).await;
    slow.send("slow").await.unwrap();
    assert_eq!(close_code(&mut slow).await, 1008);
    drop(connect(&server).await);
    is_empty(&server).await;
    assert_eq!(notes.take(), [""; 0], "nobody sees them");
}
