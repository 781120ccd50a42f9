//! What the log has of Redis or PostgreSQL that is away: a few lines, however many messages are refused meanwhile.

#![cfg(unix)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::postgres::PostgresServer;
use support::program::{Behind, Program, RedisServer};
use support::{API_TOKEN, Scratch, request};
use tokio::task::JoinSet;
use tokio::time::sleep;

#[tokio::test]
#[ignore = "needs redis-server and PostgreSQL: .ci/run tests"]
async fn redis_that_is_away_does_not_fill_the_log() {
    does_not_fill_the_log::<RedisServer>().await;
}

#[tokio::test]
#[ignore = "needs redis-server and PostgreSQL: .ci/run tests"]
async fn postgresql_that_is_away_does_not_fill_the_log() {
    does_not_fill_the_log::<PostgresServer>().await;
}

async fn does_not_fill_the_log<B: Behind>() {
    let mut behind = B::start().await;
    let log = Scratch::new(b"");
    // But for the warning of the development mode.
    let lines = || {
        let text = std::fs::read_to_string(log.path()).unwrap();
        text.lines().filter(|line| !line.contains("INSECURE")).map(str::to_owned).collect::<Vec<_>>()
    };
    let settings =
        behind.program_settings(&["auth.development=true", "server.max_connections_from_one=1000"]);
    let program = Program::start_logging(&log, &settings).await;
    let mut peers = Vec::new();
    for number in 0..WRITERS {
        let mut peer = program.connect(&format!("?user=u{number}")).await;
        peer.ask(json!({ "id": "j", "message_type": "join", "room": "r" })).await;
        peers.push(peer);
    }
    assert_eq!(lines(), [""; 0], "all is well");

    behind.kill();
    let mut writing = JoinSet::new();
    for mut peer in peers {
        writing.spawn(async move {
            for number in 0..MESSAGES {
                let refused = peer.ask(text(number)).await;
                assert_eq!(refused["data"]["code"], "not_stored");
            }
        });
    }
    writing.join_all().await;
    let mut refused = WRITERS * MESSAGES;
    for _ in 0..2 {
        // Who comes meanwhile, and what operators want.
        let mut late = program.connect("?user=late").await;
        while late.0.recv().await.is_ok_and(|message| message.is_some()) {}
        let (status, ..) = request(program.api, "POST", "/ws/broadcast", Some(API_TOKEN), "{}").await;
        assert_eq!(status, 503);
        refused += 2;
    }
    behind.again().await;
    while request(program.api, "POST", "/ws/broadcast", Some(API_TOKEN), "{}").await.0 != 200 {
        refused += 1;
        sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..400 {
        if lines().iter().any(|line| line.contains(&format!("{WHAT}: it is over"))) {
            break;
        }
        sleep(Duration::from_millis(25)).await;
    }
    drop(program);

    let lines = lines();
    assert!(lines.len() * 10 < refused, "{refused} refused: {lines:#?}");
    let of_store: Vec<_> = lines.iter().filter(|line| line.contains(WHAT)).collect();
    assert!(of_store[0].contains("ERROR") && of_store[0].contains("error="), "{of_store:#?}");
    let over = of_store.last().unwrap();
    let times = over.split("times=").nth(1).expect("a count").split(' ').next().unwrap();
    assert!(over.contains("INFO") && times.parse::<usize>().unwrap() == refused, "{refused}: {of_store:#?}");
}

fn text(number: usize) -> Value {
    json!({ "id": number.to_string(), "message_type": "text", "room": "r", "data": number })
}

const WHAT: &str = "nothing can be stored or read";
const WRITERS: usize = 100;
const MESSAGES: usize = 2;
