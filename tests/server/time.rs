//! Heartbeats and idle connections, by a paused clock.

use taut::proto::{CloseCode, Message};
use taut::server::{BoxError, Config};
use tokio::time::{Instant, sleep, timeout};

use crate::support::*;

fn beating() -> Config {
    Config::new().heartbeat_interval(seconds(30)).heartbeat_timeout(seconds(20))
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_stays_and_its_round_trip_is_known() {
    let server = server(beating()).detached();
    let mut client = connect(&server).await;
    settle().await;
    let handle = server.registry().list()[0].clone();
    assert_eq!(handle.round_trip(), None);
    for _ in 0..20 {
        assert!(
            timeout(seconds(31), client.recv())
                .await
                .is_ok_and(|ping| matches!(ping, Ok(Some(Message::Ping(_)))))
        );
    }
    assert!(handle.is_open() && handle.uptime() >= seconds(600));
    assert!(handle.round_trip().is_some_and(|time| time < seconds(1)));
    assert_eq!(handle.traffic().sent, 0, "pings are no messages");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_frozen_is_given_up() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(beating())
        .on_disconnect(move |handle, outcome| {
            told.push(format!("{:?} after {}", outcome.by, handle.uptime().as_secs()));
            async {}
        })
        .detached();
    let _frozen = connect(&server).await;
    sleep(seconds(100)).await;
    assert_eq!(notes.take(), ["Heartbeat after 50"]);
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn any_message_is_a_sign_of_life() {
    let server = server(beating()).detached();
    let mut client = connect(&server).await;
    // It never reads, and so never answers a ping.
    for _ in 0..50 {
        sleep(seconds(10)).await;
        client.feed("x").unwrap();
        client.flush().await.unwrap();
    }
    assert_eq!(server.registry().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_time_passes_for_a_peer_that_is_not_read() {
    let server = server(beating())
        .handler(|mut connection| async move {
            sleep(seconds(600)).await;
            while connection.recv().await?.is_some() {}
            Ok::<_, BoxError>(())
        })
        .detached();
    let mut client = connect(&server).await;
    // One message is read ahead, and nothing behind it: the answers to pings lie in the transport.
    client.send("x").await.unwrap();
    let receiving = tokio::spawn(async move {
        let mut pings = 0;
        while let Ok(Some(message)) = client.recv().await {
            pings += usize::from(matches!(message, Message::Ping(_)));
            if pings == 25 {
                break;
            }
        }
        pings
    });
    assert_eq!(ends(receiving).await.unwrap(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_ends_with_1001() {
    let server = server(beating().idle_timeout(seconds(100))).detached();
    let mut client = connect(&server).await;
    let start = Instant::now();
    let used = tokio::spawn(async move {
        for _ in 0..5 {
            let _ = timeout(seconds(60), async { while client.recv().await.is_ok() {} }).await;
            client.send("used").await.unwrap();
        }
        close_code(&mut client).await
    });
    assert_eq!(used.await.unwrap(), CloseCode::AWAY.get());
    assert_eq!(start.elapsed().as_secs(), 5 * 60 + 100);
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn how_the_time_was_over_is_told() {
    let config = || quiet().write_timeout(seconds(30)).write_buffer(1);
    for (config, by) in [
        (config().idle_timeout(seconds(10)), "Idle Some(Timeout(Idle)) after 10"),
        (
            config().heartbeat_interval(seconds(5)).heartbeat_timeout(seconds(1)),
            "Heartbeat Some(Timeout(Pong)) after 6",
        ),
        (config(), "Stalled Some(Timeout(Write)) after 30"),
    ] {
        let notes = Notes::default();
        let [told, faults] = [(); 2].map(|()| notes.clone());
        let server = server(config)
            .on_disconnect(move |handle, end| {
                told.push(format!("{:?} {:?} after {}", end.by, end.error, handle.uptime().as_secs()));
                async {}
            })
            .on_error(move |fault| faults.push(fault.to_string()))
            .handler(|mut connection| async move {
                while connection.recv().await?.is_some() {}
                Ok::<_, BoxError>(())
            })
            .detached();
        let client = connect_to(&server, "ws://a/", 1 << 10, |request| request).await.unwrap();
        settle().await;
        if by.starts_with("Stalled") {
            assert_eq!(server.registry().broadcast(vec![7; 1 << 16]).to_all().queued, 1);
        }
        sleep(seconds(100)).await;
        assert_eq!(notes.take(), [by]);
        drop(client);
        is_empty(&server).await;
    }
}

/// How a connection fails whose handler does not take what came: the peer goes, takes nothing, or has too much wait.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Gone,
    Stalled,
    OverBudget,
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_nothing_keeps_no_connection_that_failed() {
    for (failure, slow, told) in [
        (Failure::Gone, 0, &["Transport after 80"][..]),
        (Failure::Gone, 15, &["a", "b", "c", "Transport after 60"]),
        (Failure::Stalled, 0, &["Stalled after 100"]),
        (Failure::OverBudget, 0, &["Transport after 80"]),
    ] {
        let notes = Notes::default();
        let config = quiet().handler_timeout(seconds(40)).write_timeout(seconds(10)).write_buffer(1 << 20);
        let config = config.max_memory((failure == Failure::OverBudget).then_some(10_000));
        let [ended, heard] = [(); 2].map(|()| notes.clone());
        let server = server(config)
            .on_disconnect(move |handle, end| {
                ended.push(format!("{:?} after {}", end.by, handle.uptime().as_secs()));
                async {}
            })
            .handler(move |mut connection| {
                let heard = heard.clone();
                async move {
                    if slow == 0 {
                        std::future::pending::<()>().await;
                    }
                    loop {
                        sleep(seconds(slow)).await;
                        let Some(message) = connection.recv().await? else { return Ok::<_, BoxError>(()) };
                        heard.push(message.as_text().unwrap());
                    }
                }
            })
            .detached();
        let mut client = connect_to(&server, "ws://a/", 1 << 10, |request| request).await.unwrap();
        for text in ["a", "b", "c"] {
            client.send(text).await.unwrap();
        }
        settle().await;
        let kept = (failure != Failure::Gone).then_some(client);
        assert_eq!(server.registry().broadcast(vec![7; 1 << 16]).to_all().queued, 1);
        sleep(seconds(300)).await;
        assert_eq!(notes.take(), told, "{failure:?}");
        drop(kept);
        is_empty(&server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_does_not_take_delays_no_close() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet().handler_timeout(seconds(0)))
        .handler(|_connection| std::future::pending::<()>())
        .on_disconnect(move |handle, end| {
            told.push(format!("{} after {}", end.is_clean(), handle.uptime().as_secs()));
            async {}
        })
        .detached();
    let mut client = connect(&server).await;
    client.send("waits for the handler").await.unwrap();
    settle().await;
    server.registry().list()[0].close(CloseCode::NORMAL, "").unwrap();
    settle().await;
    for _ in 0..3 {
        client.feed("nobody takes it").unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(close_code(&mut client).await, 1000);
    settle().await;
    assert_eq!(notes.take(), ["true after 0"]);
    is_empty(&server).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_way_is_no_dead_peer() {
    let server = server(beating().max_queued_bytes(2 << 20)).detached();
    let client = connect_to(&server, "ws://a/", 1 << 10, |request| request).await.unwrap();
    settle().await;
    assert_eq!(server.registry().broadcast(vec![7; 1 << 20]).to_all().queued, 1);
    let (mut stream, _) = client.into_parts();
    // It takes 10 KiB a second, so that the pings come behind what takes 100 s.
    for _ in 0..100 {
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut [0; 10 << 10]).await.unwrap();
        sleep(seconds(1)).await;
    }
    assert_eq!(server.registry().len(), 1);
    // Once it has taken all, there is as much time for the answer as ever.
    let mut taken = 100 * (10 << 10);
    while taken < (1 << 20) {
        taken += tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1 << 10]).await.unwrap();
    }
    sleep(seconds(15)).await;
    assert_eq!(server.registry().len(), 1, "a ping that has just come is not late");
    sleep(seconds(60)).await;
    assert_eq!(server.registry().len(), 0);
}
