//! Sockets that stop in the middle of what came: few of them keep a buffer of their thread.

#[path = "../support/heap.rs"]
mod heap;

use heap::Heap;
use taut::proto::{Config, Message};

use crate::{numbers, server, text};

/// How many buffers stay with sockets, and how many a thread keeps for itself.
const MOST: isize = 16 + 2;

/// More than is moved to memory of its own, and small enough that only a whole buffer counts.
const MESSAGES: usize = 2_000;

#[tokio::test]
async fn few_sockets_keep_a_buffer_and_all_keep_their_messages() {
    let before = Heap::warm();
    let mut sockets = Vec::new();
    for _ in 0..100 {
        let (mut socket, far) = server(Config::new());
        far.push(numbers(0, MESSAGES));
        assert_eq!(socket.recv().await.unwrap(), Some(Message::text("0")));
        sockets.push((socket, far));
    }
    let kept = before.large_blocks();
    assert!(kept <= MOST, "{kept} buffers");
    // All go on in turn, a message at a time, and each reads more behind it.
    for (_, far) in &sockets {
        far.push(text("more"));
    }
    for number in 1..MESSAGES {
        for (socket, _) in &mut sockets {
            assert_eq!(socket.recv().await.unwrap(), Some(Message::text(number.to_string())));
        }
    }
    let kept = before.large_blocks();
    assert!(kept <= MOST, "{kept} buffers");
    for (socket, _) in &mut sockets {
        assert_eq!(socket.recv().await.unwrap(), Some(Message::text("more")));
    }
    drop(sockets);
    let kept = before.large_blocks();
    assert!(kept <= 2, "{kept} buffers stay with the thread");
}

/// Who reads on leaves its buffer to others: as often as it is done, there is one again.
#[tokio::test]
async fn a_socket_that_is_done_keeps_nothing() {
    let before = Heap::warm();
    let mut sockets = Vec::new();
    for _ in 0..100 {
        let (mut socket, far) = server(Config::new());
        far.push(numbers(0, MESSAGES));
        let task = tokio::spawn(async move {
            for _ in 0..MESSAGES {
                socket.recv().await.unwrap().unwrap();
            }
            // Finds nothing more.
            let more = tokio::time::timeout(std::time::Duration::ZERO, socket.recv()).await;
            assert!(more.is_err());
            socket
        });
        sockets.push((task.await.unwrap(), far));
    }
    let kept = before.large_blocks();
    assert!(kept <= 2, "{kept} buffers");
}
