//! Each future of the halves dropped at every `Pending`.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use taut::proto::CloseCode;
use tokio::task::{LocalSet, spawn_local};

use super::*;

/// Makes a future, polls it once, drops it if it is pending, waits for other tasks, and again until one ends.
async fn restarted<T>(drops: &AtomicUsize, mut make: impl AsyncFnMut() -> T) -> T {
    loop {
        if let Some(value) = once(make()).await {
            return value;
        }
        drops.fetch_add(1, Relaxed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Everything gets through, in order, and nothing twice.
#[tokio::test(start_paused = true)]
async fn dropped_at_every_pending_both_ends_get_all() {
    LocalSet::new().run_until(both_ends_get_all()).await;
}

async fn both_ends_get_all() {
    let (near, far) = pair(7);
    let near = near.reading(Turns::bytewise()).writing(Turns::bytewise());
    let mut tasks = Vec::new();
    for (role, stream) in [(Role::Server, near), (Role::Client, far)] {
        let (mut receive, send) = socket(role, Config::new().max_queued(100), stream).into_split();
        let mut sending = send.clone();
        let sender = spawn_local(async move {
            for number in 0..60_u32 {
                let drops = AtomicUsize::new(0);
                if number % 3 == 0 {
                    // What is taken is taken at the first poll.
                    match once(sending.send(number.to_string())).await {
                        None | Some(Ok(())) => continue,
                        Some(Err(Error::Send(_))) => {}
                        Some(Err(error)) => panic!("{error}"),
                    }
                }
                let reserved = restarted(&drops, async || {
                    sending.reserve().await.map(|permit| permit.send(number.to_string()).unwrap())
                });
                ends(reserved).await.unwrap();
                if number % 5 == 0 {
                    ends(restarted(&drops, async || sending.flush().await)).await.unwrap();
                }
            }
            sending
        });
        let receiver = spawn_local(async move {
            let drops = AtomicUsize::new(0);
            for number in 0..60 {
                let next = if number % 2 == 0 {
                    ends(restarted(&drops, async || receive.recv().await)).await.unwrap()
                } else {
                    let event = ends(restarted(&drops, async || receive.recv_event().await)).await.unwrap();
                    event.map(taut::proto::Event::into_message)
                };
                assert_eq!(next, Some(Message::text(number.to_string())));
            }
            assert!(drops.load(Relaxed) > 10);
            receive
        });
        tasks.push((sender, receiver, send));
    }
    let mut halves = Vec::new();
    for (sender, receiver, send) in tasks {
        halves.push((ends(sender).await.unwrap(), receiver, send));
    }
    let mut closing = Vec::new();
    for (mut sender, receiver, send) in halves {
        drop(send);
        closing.push(spawn_local(async move {
            let drops = AtomicUsize::new(0);
            let mut receive = ends(receiver).await.unwrap();
            let reading = spawn_local(async move { while let Ok(Some(_)) = receive.recv().await {} });
            let status = ends(restarted(&drops, async || sender.close(CloseCode::NORMAL, "").await)).await;
            assert!(status.unwrap().clean);
            ends(restarted(&drops, async || sender.closed().await)).await.unwrap();
            ends(reading).await.unwrap();
        }));
    }
    for task in closing {
        ends(task).await.unwrap();
    }
}
