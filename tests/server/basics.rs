//! Handlers, callbacks, and what a connection tells of itself.

use std::sync::{Arc, Mutex};

use taut::proto::{CloseCode, Message};
use taut::server::{BoxError, By, Connection, Fault, Handle, Outcome, Server};
use tokio::net::TcpListener;

use crate::support::*;

async fn echo(mut connection: Connection) -> Result<(), BoxError> {
    while let Some(message) = connection.recv().await? {
        connection.send(message).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handler_receives_and_answers_and_its_end_is_the_connections() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet())
        .handler(|mut connection| async move {
            while let Some(message) = connection.recv().await? {
                if message.as_text() == Some("bye") {
                    return Ok(());
                }
                connection.send(message).await?;
            }
            Ok::<_, BoxError>(())
        })
        .on_disconnect(move |_, outcome: Outcome| {
            told.push(format!("{:?} {}", outcome.by, outcome.is_clean()));
            async {}
        })
        .detached();
    let mut client = connect(&server).await;
    for text in ["one", "two", ""] {
        client.send(text).await.unwrap();
        assert_eq!(hear(&mut client).await, text);
    }
    client.send(Message::binary(vec![7; 200_000])).await.unwrap();
    assert_eq!(ends(client.recv()).await.unwrap(), Some(Message::binary(vec![7; 200_000])));
    client.send("bye").await.unwrap();
    assert_eq!(close_code(&mut client).await, 1000);
    is_empty(&server).await;
    assert_eq!(notes.take(), ["Application true"]);

    let mut client = connect(&server).await;
    client.close(CloseCode::NORMAL, "").await.unwrap();
    is_empty(&server).await;
    assert_eq!(notes.take(), ["Peer true"]);

    drop(connect(&server).await);
    is_empty(&server).await;
    assert_eq!(notes.take(), ["Transport false"]);
}

#[tokio::test(start_paused = true)]
async fn callbacks_hear_of_connections_messages_ends_and_failures() {
    let notes = Notes::default();
    let [connected, heard, ended, failed] = [(); 4].map(|()| notes.clone());
    let server = server(quiet())
        .on_connect(move |handle: Handle| {
            connected.push("connect");
            async move { handle.send_text("hello").map(|_| ()) }
        })
        .on_message(move |handle, message| {
            heard.push(format!("message {}", message.as_text().unwrap_or("-")));
            async move {
                match message.as_text() {
                    Some("fail") => Err::<(), BoxError>("did not work".into()),
                    Some("panic") => panic!("oh no"),
                    _ => handle.queue(message).map(|_| ()).map_err(Into::into),
                }
            }
        })
        .on_disconnect(move |_, outcome| {
            ended.push(format!("disconnect {:?}", outcome.by));
            async {}
        })
        .on_error(move |fault| {
            failed.push(match fault {
                Fault::Failed(_, error) => format!("failed: {error}"),
                Fault::Panicked(_, said) => format!("panicked: {said}"),
                other => format!("{other:?}"),
            });
        })
        .detached();
    let mut bystander = connect(&server).await;
    assert_eq!(hear(&mut bystander).await, "hello");
    assert_eq!(notes.take(), ["connect"]);
    for (text, said) in [("fail", "failed: did not work"), ("panic", "panicked: oh no")] {
        let mut client = connect(&server).await;
        assert_eq!(hear(&mut client).await, "hello");
        client.send("echo").await.unwrap();
        assert_eq!(hear(&mut client).await, "echo");
        client.send(text).await.unwrap();
        assert_eq!(close_code(&mut client).await, 1011);
        settle().await;
        let expected = ["connect", "message echo", &format!("message {text}"), said, "disconnect Handler"];
        assert_eq!(notes.take(), expected);
    }
    bystander.send("still here").await.unwrap();
    assert_eq!(hear(&mut bystander).await, "still here");
    drop(bystander);
    is_empty(&server).await;
    // An ordinary end is no failure of the handler.
    assert_eq!(notes.take(), ["message still here", "disconnect Transport"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_any_hook_is_told_and_harms_nobody_else() {
    fn panic_at(handle: &Handle, place: &str) {
        assert!(handle.request().resource() != place, "oh no");
    }
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet())
        .authenticate_by_message(|handle, _| async move {
            panic_at(&handle, "/first");
            Ok(())
        })
        .on_connect(|handle: Handle| async move {
            panic_at(&handle, "/connect");
            handle.join("room")?;
            handle.send_text("in the room")?;
            Ok::<_, BoxError>(())
        })
        .on_message(|handle, message| async move { handle.queue(message).map(|_| ()) })
        .on_room(|event| panic_at(&event.connection, "/room"))
        .on_disconnect(|handle, _| async move { panic_at(&handle, "/disconnect") })
        .on_error(move |fault| {
            if let Fault::Panicked(_, said) = fault {
                told.push(said.clone());
            }
            panic!("here as well");
        })
        .detached();
    let enter = async |resource: &str| {
        let mut client =
            connect_to(&server, &format!("ws://a{resource}"), 1 << 16, |request| request).await.unwrap();
        client.send("who I am").await.unwrap();
        client
    };
    let mut bystander = enter("/").await;
    assert_eq!(hear(&mut bystander).await, "in the room");
    for place in ["/first", "/connect"] {
        assert_eq!(close_code(&mut enter(place).await).await, 1011, "{place}");
        settle().await;
        assert_eq!(notes.take(), ["oh no"], "{place}");
    }
    // To join and to leave are done, whoever hears of it.
    for (place, panics) in [("/room", 2), ("/disconnect", 1)] {
        let mut client = enter(place).await;
        assert_eq!(hear(&mut client).await, "in the room");
        assert_eq!(server.registry().members("room").len(), 2, "{place}");
        client.close(CloseCode::NORMAL, "").await.unwrap();
        settle().await;
        assert_eq!(server.registry().members("room").len(), 1, "{place}");
        assert_eq!(notes.take(), vec!["oh no"; panics], "{place}");
    }
    bystander.send("still here").await.unwrap();
    assert_eq!(hear(&mut bystander).await, "still here");
    drop(bystander);
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn what_others_send_arrives_while_the_handler_does_something_else() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet())
        .on_error(move |fault| told.push(format!("{}", matches!(fault, Fault::Lingered(_)))))
        .handler(|mut connection| async move {
            connection.recv().await?;
            std::future::pending::<()>().await;
            Ok::<_, BoxError>(())
        })
        .detached();
    let mut client = connect(&server).await;
    client.send("now you are busy").await.unwrap();
    client.send("read ahead").await.unwrap();
    settle().await;
    for text in ["one", "two"] {
        server.registry().broadcast(text).to_all();
        assert_eq!(hear(&mut client).await, text);
    }
    let handle = server.registry().list()[0].clone();
    handle.close(CloseCode::new(4000).unwrap(), "enough").unwrap();
    assert_eq!(close_code(&mut client).await, 4000);
    // The handler has its time, and no more.
    settle().await;
    assert_eq!((server.registry().len(), server.tasks()), (0, 1));
    assert_eq!(notes.take(), [""; 0]);
    tokio::time::sleep(seconds(31)).await;
    is_empty(&server).await;
    assert_eq!(notes.take(), ["true"]);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_connection_ends_with_its_handler() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet())
        .handler(|_connection| std::future::pending::<()>())
        .on_disconnect(move |_, outcome| {
            assert_eq!(outcome.by, By::Aborted);
            told.push("told");
            async {}
        })
        .detached();
    let mut client = connect(&server).await;
    settle().await;
    server.registry().list()[0].abort();
    assert!(matches!(ends(client.recv()).await, Err(taut::Error::Lost | taut::Error::Io(_))));
    is_empty(&server).await;
    assert_eq!(notes.take(), ["told"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_tells_who_it_is_and_what_it_did() {
    let server = server(quiet().subprotocols(["b", "a"])).handler(echo).detached();
    let offer = |request: taut::proto::handshake::ClientRequest| {
        request.subprotocol("a").unwrap().subprotocol("b").unwrap().field("User-Agent", "test/1").unwrap()
    };
    let mut client = connect_to(&server, "ws://example.com/chat?x=1", 1 << 16, offer).await.unwrap();
    assert_eq!(client.subprotocol(), Some("b"), "the server prefers");
    client.send("12345").await.unwrap();
    assert_eq!(hear(&mut client).await, "12345");
    tokio::time::sleep(seconds(5)).await;
    let handle = server.registry().list()[0].clone();
    assert_eq!(server.registry().get(handle.id()), Some(handle.clone()));
    assert_eq!(handle.address(), address(1));
    assert_eq!(handle.user_agent(), Some("test/1"));
    assert_eq!(handle.request().resource(), "/chat?x=1");
    assert_eq!((handle.subprotocol(), handle.is_compressed()), (Some("b"), false));
    assert_eq!(handle.uptime().as_secs(), 5);
    assert!(handle.connected_at().elapsed().is_ok());
    let traffic = handle.traffic();
    assert_eq!((traffic.received, traffic.received_bytes, traffic.sent, traffic.sent_bytes), (1, 5, 1, 5));
    assert_eq!((handle.insert(7_u8), handle.get::<u8>().as_deref()), (None, Some(&7)));
    assert_eq!((handle.insert(8_u8).as_deref(), handle.get::<u16>()), (Some(&7), None));
    assert_eq!(server.registry().filter(|handle| handle.get::<u8>().is_some()).len(), 1);
    drop(client);
    is_empty(&server).await;
    assert!(!handle.is_open());
    assert!(handle.send_text("too late").is_err());
    assert_eq!(handle.traffic().received, 1, "it tells what it was");
    assert_eq!(server.registry().get(handle.id()), None);
}

#[cfg(feature = "deflate")]
#[tokio::test(start_paused = true)]
async fn messages_are_compressed_where_that_is_set() {
    for (compression, expected) in [("off", false), ("per-message", true), ("takeover", true)] {
        let mut config = quiet();
        config.set("compression", compression).unwrap();
        let server = server(config).handler(echo).detached();
        let mut client = connect(&server).await;
        let text = "the same again, ".repeat(100);
        client.send(&*text).await.unwrap();
        assert_eq!(hear(&mut client).await, text);
        assert_eq!(server.registry().list()[0].is_compressed(), expected);
        server.registry().broadcast(&*text).to_all();
        assert_eq!(hear(&mut client).await, text);
    }
}

#[tokio::test]
async fn it_listens_on_a_free_port_and_tells_it() {
    let server = Server::builder(quiet().address("127.0.0.1:0").keepalive(seconds(60)).nodelay(false))
        .handler(echo)
        .bind()
        .await
        .unwrap();
    let url = format!("ws://{}/", server.address().unwrap());
    let mut client = taut::tokio::connect(&url).await.unwrap();
    client.send("hello").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("hello")));
    let taken = Server::builder(quiet().address(server.address().unwrap().to_string())).bind().await;
    let error = taken.unwrap_err().to_string();
    assert!(error.contains(&server.address().unwrap().to_string()), "{error}");
    // Over what the application makes of a stream, too.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wrapped = Server::builder(quiet().keepalive(seconds(60)))
        .handler(echo)
        .listen_with(listener, |stream, _| async {
            assert!(socket2::SockRef::from(&stream).keepalive()? && stream.nodelay()?);
            Ok(tokio::io::BufStream::new(stream))
        })
        .unwrap();
    let mut client = taut::tokio::connect(&format!("ws://{}/", wrapped.address().unwrap())).await.unwrap();
    client.send("hello").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("hello")));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_with_a_connection_goes_with_it() {
    struct Kept(#[expect(dead_code, reason = "a circle")] Handle, Notes);
    impl Drop for Kept {
        fn drop(&mut self) {
            self.1.push("gone");
        }
    }
    let notes = Notes::default();
    let [kept, told] = [(); 2].map(|()| notes.clone());
    let ended: Arc<Mutex<Option<Handle>>> = Arc::default();
    let late = ended.clone();
    let server = server(quiet())
        .on_connect(move |handle: Handle| {
            handle.insert(Kept(handle.clone(), kept.clone()));
            async {}
        })
        .on_disconnect(move |handle, _| {
            told.push(format!("told {}", handle.get::<Kept>().is_some()));
            *late.lock().unwrap() = Some(handle);
            async {}
        })
        .detached();
    drop(connect(&server).await);
    is_empty(&server).await;
    assert_eq!(notes.take(), ["told true", "gone"]);
    // What comes after the end is handed back, and not kept.
    let handle = ended.lock().unwrap().take().unwrap();
    drop(handle.insert(Kept(handle.clone(), notes.clone())));
    assert_eq!(notes.take(), ["gone"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receive_loses_nothing_and_a_connection_may_move() {
    let server = server(quiet())
        .handler(|mut connection| async move {
            // In a task of its own, which is another than the one that runs the connection.
            let moved = tokio::spawn(async move {
                loop {
                    // Dropped after one poll, where nothing has come yet.
                    let message = match tokio::time::timeout(seconds(0), connection.recv()).await {
                        Ok(received) => received?,
                        Err(_) => connection.recv().await?,
                    };
                    match message {
                        Some(message) => connection.queue(message)?,
                        None => return Ok::<_, BoxError>(()),
                    };
                }
            });
            moved.await?
        })
        .detached();
    let mut client = connect(&server).await;
    for round in 0..100 {
        for number in 0..round % 5 {
            client.feed(format!("{round} {number}")).unwrap();
        }
        client.flush().await.unwrap();
        for number in 0..round % 5 {
            assert_eq!(hear(&mut client).await, format!("{round} {number}"));
        }
    }
    client.close(CloseCode::NORMAL, "").await.unwrap();
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_another_task_receives_all_that_comes() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet())
        .handler(move |mut connection| {
            let told = told.clone();
            async move {
                let moved = tokio::spawn(async move {
                    while let Ok(Some(message)) = connection.recv().await {
                        told.push(message.as_text().unwrap_or_default());
                        // The next is read ahead meanwhile, and then nothing more.
                        settle().await;
                    }
                });
                moved.await
            }
        })
        .detached();
    let mut client = connect(&server).await;
    for number in 0..5 {
        client.feed(number.to_string()).unwrap();
    }
    client.flush().await.unwrap();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(notes.take(), ["0", "1", "2", "3", "4"]);
}
