//! The program itself, killed by SIGKILL while clients speak: what it acknowledged is there when it comes back.

#![cfg(unix)]

mod support;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{API_TOKEN, Peer, SECRET, Scratch, claims, now, request, token};
use tokio::net::TcpListener;

/// A hub in a process of its own, killed with this.
struct Program {
    child: Child,
    address: String,
    api: std::net::SocketAddr,
}

impl Program {
    /// Starts it, and waits until it takes connections.
    async fn start(settings: &[&str]) -> Self {
        let mut free = Vec::new();
        for _ in 0..2 {
            free.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let [address, api] = [0, 1].map(|index| free[index].local_addr().unwrap());
        drop(free);
        let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
        command.arg("serve").arg(format!("--address={address}")).arg(format!("--api-address={api}"));
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        command.env("TAUT_HUB_API_TOKEN", API_TOKEN).env("RUST_LOG", "error").stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let program = Self { child, address: address.to_string(), api };
        for _ in 0..400 {
            if tokio::net::TcpStream::connect(api).await.is_ok() {
                assert_eq!(request(api, "GET", "/ready", None, "").await.0, 200);
                return program;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the program does not take connections");
    }

    async fn connect(&self, query: &str) -> Peer {
        Peer::connect_to(&self.address, query, &[]).await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, _, answer) = request(self.api, "POST", path, Some(API_TOKEN), &body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGKILL: nothing of the program runs any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_sqlite_acknowledged_survives_a_kill_once_each() {
    let (database, key) = (Scratch::new(b""), Scratch::new(SECRET.as_bytes()));
    let settings = [format!("history.database={}", database.path()), format!("auth.key_file={}", key.path())];
    let settings = [&*settings[0], &*settings[1], "auth.algorithms=HS256"];
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
