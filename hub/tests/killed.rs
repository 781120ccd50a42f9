//! The program itself, killed by SIGKILL while clients speak: what it acknowledged is there when it comes back.

#![cfg(unix)]

mod support;

use serde_json::{Value, json};
use support::postgres::PostgresServer;
use support::program::Program;
use support::{SECRET, Scratch, claims, now, token};

#[tokio::test]
async fn what_sqlite_acknowledged_survives_a_kill_once_each() {
    let database = Scratch::new(b"");
    survives(&format!("history.database={}", database.path())).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: .ci/run tests"]
async fn what_postgresql_acknowledged_survives_a_kill_once_each() {
    let postgres = PostgresServer::start().await;
    survives(&format!("postgresql.url={}", postgres.url())).await;
}

/// The program, killed again and again, with what keeps for it.
async fn survives(keeps: &str) {
    let key = Scratch::new(SECRET.as_bytes());
    let key = format!("auth.key_file={}", key.path());
    let settings = [keeps, &*key, "auth.algorithms=HS256"];
    let query = format!("?token={}", token(claims("ana")));
    let mut revoked = claims("bob");
    revoked["jti"] = json!("taken back");
    let revoked = format!("?token={}", token(revoked));

    let (mut acknowledged, mut said) = (Vec::new(), 0);
    let mut position = Value::Null;
    for round in 0..4 {
        let program = Program::start(&settings).await;
        let mut peer = program.connect(&query).await;
        let data = if position.is_null() { json!({}) } else { json!({ "after": position }) };
        let page = peer.ask(json!({ "id": "j", "message_type": "join", "room": "r", "data": data })).await;
        assert_eq!((&page["data"]["recovered"], &page["data"]["more"]), (&json!(true), &json!(false)));
        let messages = page["data"]["messages"].as_array().unwrap();
        let ids: Vec<_> = messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect();
        // What was acknowledged is there, in its order; behind it at most what was on the way.
        assert!(ids.starts_with(&acknowledged), "{ids:?} {acknowledged:?}");
        position = json!({ "epoch": page["data"]["epoch"], "seq": page["seq"] });
        let before = acknowledged.split_off(0);
        for id in before.iter().chain(ids.last()) {
            let again = peer.ask(text(id)).await;
            assert_eq!(again["data"]["duplicate"], true, "{id}");
        }
        if round == 0 {
            program.post("/ws/disable", json!({ "user_id": "eve" })).await;
            program.post("/ws/revoke", json!({ "token_id": "taken back", "until": now() + 3600 })).await;
        }
        let eve = format!("?token={}", token(claims("eve")));
        for barred in [&eve, &revoked] {
            assert_eq!(program.connect(barred).await.end().await, 4403);
        }
        for _ in 0..20 {
            let id = format!("m{said}");
            said += 1;
            assert_eq!(peer.ask(text(&id)).await["message_type"], "ack");
            acknowledged.push(id);
        }
        // More that is on its way when the end comes.
        for _ in 0..20 {
            peer.send(text(&format!("m{said}"))).await;
            said += 1;
        }
        drop(program);
    }
}

fn text(id: &str) -> Value {
    json!({ "id": id, "message_type": "text", "room": "r", "data": id })
}
