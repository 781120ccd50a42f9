//! The same over TCP, whose streams are what most programs have.

use std::future::pending;

use taut::proto::{CloseCode, Message};
use taut::tokio::{accept, connect};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::stream::HANGS;

/// A server that answers so many messages of its one client, and then does something else for good.
async fn server(answers: usize) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("ws://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut socket = accept(listener.accept().await.unwrap().0).await.unwrap();
        for _ in 0..answers {
            match socket.recv().await.unwrap() {
                Some(message) if message.is_data() => socket.send(message).await.unwrap(),
                Some(_) => {}
                None => return,
            }
        }
        pending::<()>().await;
    });
    (uri, task)
}

/// Fails where it would hang.
async fn ends<T>(future: impl Future<Output = T>) -> T {
    timeout(HANGS, future).await.expect("something waits for ever")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_arrives_while_the_server_does_something_else() {
    for answers in [1, 2, 49] {
        let (uri, task) = ends(server(answers)).await;
        let mut client = ends(connect(&uri)).await.unwrap();
        // In one segment.
        (0..50).for_each(|number| client.feed(number.to_string()).unwrap());
        ends(client.flush()).await.unwrap();
        for number in 0..answers {
            let answer = ends(client.recv()).await.unwrap();
            assert_eq!(answer, Some(Message::text(number.to_string())), "of {answers}");
        }
        task.abort();
    }
}

/// Bursts of many sizes, most of which take several segments, and answers for which the client does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_get_all_answers_in_order() {
    let mut clients = Vec::new();
    for client in 0..8_usize {
        clients.push(tokio::spawn(async move {
            let (uri, task) = server(usize::MAX).await;
            let mut socket = connect(&uri).await.unwrap();
            let (mut sent, mut got) = (Vec::new(), 0);
            for round in 0..60_usize {
                for number in 0..(round * 7 + client) % 40 {
                    let len = if number == 11 { 200_000 } else { number * 31 };
                    let message = Message::binary(vec![(round + number) as u8; len]);
                    socket.feed(message.clone()).unwrap();
                    sent.push(message);
                }
                while got + 60 < sent.len() {
                    assert_eq!(socket.recv().await.unwrap().as_ref(), Some(&sent[got]));
                    got += 1;
                }
            }
            while got < sent.len() {
                assert_eq!(socket.recv().await.unwrap().as_ref(), Some(&sent[got]));
                got += 1;
            }
            assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
            task.await.unwrap();
        }));
    }
    for client in clients {
        ends(client).await.unwrap();
    }
}

/// Sockets over a runtime with one thread, each of which holds before any other task runs.
#[tokio::test]
async fn many_sockets_that_hold_together_are_all_written() {
    let mut clients = Vec::new();
    for _ in 0..300 {
        let (uri, task) = ends(server(1)).await;
        let mut client = ends(connect(&uri)).await.unwrap();
        client.feed("a").unwrap();
        client.feed("b").unwrap();
        clients.push((client, task));
    }
    for (client, _) in &mut clients {
        ends(client.flush()).await.unwrap();
    }
    for (client, task) in &mut clients {
        assert_eq!(ends(client.recv()).await.unwrap(), Some(Message::text("a")));
        task.abort();
    }
}
