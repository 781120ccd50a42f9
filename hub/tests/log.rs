//! What is logged, at the finest level: what happened, and nothing of tokens or of what was said.

mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use support::{Peer, api, claims, hub_with_secret, now, request, token};
use tracing_subscriber::filter::LevelFilter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_tells_of_refusals_and_no_secrets() {
    let log = Log::default();
    let kept = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || log.clone())
        .init();

    let hub = hub_with_secret(&[]).await;
    let good = token(claims("ana"));
    let expired = token(json!({ "sub": "ana", "exp": now() - 60 }));
    let forged = format!("{good}x");
    for wrong in [&expired, &forged] {
        let field = format!("Bearer {wrong}");
        assert!(Peer::connect(&hub, "", &[("Authorization", &field)]).await.is_err());
        assert!(Peer::connect(&hub, &format!("?token={wrong}"), &[]).await.is_err());
    }
    let mut first = Peer::connect(&hub, "", &[]).await.unwrap();
    let auth = json!({ "message_type": "auth", "data": { "token": forged } });
    first.send(auth).await;
    assert_eq!(first.end().await, 4401);
    let query = format!("?token={good}");
    assert!(Peer::connect(&hub, &query, &[("Origin", "https://evil.example")]).await.is_err());
    api(&hub, "POST", "/ws/disable", json!({ "user_id": "eve" })).await;
    let eve = token(claims("eve"));
    assert_eq!(Peer::connect(&hub, &format!("?token={eve}"), &[]).await.unwrap().end().await, 4403);
    let mut peer = Peer::connect(&hub, &query, &[]).await.unwrap();
    peer.next("system_message").await;
    let said = "a payload that is nobody else's business";
    peer.ask(json!({ "id": "1", "message_type": "text", "to_user_id": "ana", "data": said })).await;
    peer.0.send(taut::proto::Message::text(format!("{{ {said}"))).await.unwrap();
    let refresh = json!({ "id": "2", "message_type": "refresh", "data": { "token": expired } });
    assert_eq!(peer.ask(refresh).await["message_type"], "error");
    let address = hub.api_address().unwrap();
    request(address, "GET", "/ws/stats", Some("a wrong token of the API"), "").await;
    api(&hub, "GET", "/ws/stats", Value::Null).await;
    hub.shutdown().await;

    let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = String::from_utf8(bytes).unwrap();
    // What an operator sees without asking for more: by the header, the query, the first message and the refresh.
    let seen: Vec<_> = text.lines().filter(|line| line.contains(" INFO ")).collect();
    let refused =
        |why: &str| seen.iter().filter(|line| line.contains("refused") && line.contains(why)).count();
    let told = ["the token expired", "signature is wrong", "Origin", "barred"].map(refused);
    assert_eq!(told, [3, 3, 1, 1], "{text}");
    assert!(seen.iter().any(|line| line.contains("barred by the API") && line.contains("eve")), "{text}");
    assert!(text.contains("an HTTP request without the token was refused"), "{text}");
    let parts =
        [&good, &expired, &eve].map(|token| token.split('.').skip(1).map(str::to_owned).collect::<Vec<_>>());
    let secrets = [said, "a wrong token of the API", support::API_TOKEN, support::SECRET].map(str::to_owned);
    for secret in parts.into_iter().flatten().chain(secrets) {
        assert!(!text.contains(&secret), "{secret}\n{text}");
    }
}
