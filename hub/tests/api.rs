//! The HTTP API: who may ask, what it does, and its document.

mod support;

use serde_json::{Value, json};
use support::{API_TOKEN, Peer, api, claims, hub, hub_with_secret, now, request, token};

const DEVELOPMENT: (&str, &str) = ("auth.development", "true");

fn document() -> Value {
    serde_json::from_str(include_str!("../schema/openapi.json")).unwrap()
}

/// One of the document's.
fn schema(name: &str) -> jsonschema::Validator {
    let mut schema = document();
    schema["$ref"] = json!(format!("#/components/schemas/{name}"));
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn every_path_is_in_the_document() {
    let source: String = include_str!("../src/api.rs").split_whitespace().collect();
    let routes = source.split(".route(\"").skip(1).map(|rest| rest.split_once('"').unwrap());
    let mut routes: Vec<_> = routes
        .map(|(path, rest)| {
            let line = rest.split(".method_not_allowed").next().unwrap();
            let methods = ["get", "post"].into_iter().filter(|method| line.contains(&format!("{method}(")));
            (path.to_owned(), methods.map(str::to_owned).collect::<Vec<_>>())
        })
        .collect();
    routes.sort();
    let document = document();
    let documented = document["paths"].as_object().unwrap().iter();
    let mut documented: Vec<_> = documented
        .map(|(path, methods)| (path.clone(), methods.as_object().unwrap().keys().cloned().collect()))
        .collect();
    documented.sort();
    assert_eq!(routes, documented);
}

#[tokio::test]
async fn nobody_is_answered_without_the_token() {
    let hub = hub(&[DEVELOPMENT]).await;
    let address = hub.api_address().unwrap();
    let document = document();
    let mut guarded = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let is_open = operation["security"] == json!([]);
            let longer = format!("{API_TOKEN}x");
            for wrong in [None, Some(""), Some("wrong"), Some(&API_TOKEN[1..]), Some(&longer)] {
                let method = method.to_uppercase();
                let (status, head, body) = request(address, &method, path, wrong, "{}").await;
                assert_eq!(status == 401, !is_open, "{method} {path} {wrong:?}");
                if !is_open {
                    guarded += 1;
                    assert!(head.contains("www-authenticate: bearer"));
                    let body: Value = serde_json::from_str(&body).unwrap();
                    assert_eq!(body["error"]["code"], "unauthorized");
                }
            }
        }
    }
    assert!(guarded > 50);
    let (status, _, _) = request(address, "GET", "/no/such/path", None, "").await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_json() {
    let hub = hub(&[DEVELOPMENT]).await;
    let long = json!({ "data": "x".repeat(1 << 20) });
    for (status, code, method, path, body) in [
        (404, "not_found", "GET", "/none", Value::Null),
        (404, "not_found", "GET", "/ws/rooms/none", Value::Null),
        (405, "wrong_method", "GET", "/ws/send", Value::Null),
        (400, "invalid", "POST", "/ws/send", json!({ "data": 1 })),
        (400, "invalid", "POST", "/ws/send", json!({ "to_user_id": "a", "unknown": 1 })),
        (400, "invalid", "POST", "/ws/broadcast", json!([])),
        (400, "invalid", "POST", "/ws/broadcast", json!({ "message_type": "ack" })),
        (400, "invalid", "POST", "/ws/rooms/@ana", json!({})),
        (400, "invalid", "GET", "/ws/online?limit=x", Value::Null),
        (400, "invalid", "GET", "/ws/rooms/%FF", Value::Null),
        (400, "invalid", "POST", "/ws/rooms/%FF", json!({})),
        (400, "invalid", "POST", "/ws/disconnect", json!({ "user_id": "" })),
        (400, "invalid", "POST", "/ws/enable", json!({ "user_id": "\u{7}" })),
        (413, "too_large", "POST", "/ws/broadcast", long),
    ] {
        let (got, answer) = api(&hub, method, path, body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{method} {path}");
        assert!(schema("Error").is_valid(&answer), "{answer}");
    }
}

#[tokio::test]
async fn messages_of_operators_reach_their_receivers() {
    let hub = hub(&[DEVELOPMENT]).await;
    let mut ana = Peer::guest(&hub, "ana").await;
    ana.ask(json!({ "id": "j", "message_type": "join", "room": "r" })).await;
    let said = json!({ "id": "1", "message_type": "notification", "data": { "a": 1 } });
    let mut direct = said.clone();
    direct["to_user_id"] = json!("ana");
    for (path, said) in [("/ws/broadcast", &said), ("/ws/send", &direct), ("/ws/rooms/r", &said)] {
        let (status, answer) = api(&hub, "POST", path, said.clone()).await;
        assert_eq!((status, &answer["seq"], &answer["duplicate"]), (200, &json!(1), &json!(false)));
        assert_eq!(api(&hub, "POST", path, said.clone()).await.1["duplicate"], true);
        let heard = ana.next("notification").await;
        assert_eq!(
            (&heard["data"], &heard["seq"], heard.get("from_user_id")),
            (&json!({ "a": 1 }), &json!(1), None)
        );
    }
}

#[tokio::test]
async fn who_is_here_is_told_in_parts() {
    let hub = hub(&[DEVELOPMENT]).await;
    let mut peers = Vec::new();
    for user in ["ana", "ana", "bob", "eve"] {
        let mut peer = Peer::guest(&hub, user).await;
        peer.ask(json!({ "id": "j", "message_type": "join", "room": user })).await;
        peers.push(peer);
    }
    let (_, online) = api(&hub, "GET", "/ws/online?limit=2", Value::Null).await;
    let first = json!([
        { "user_id": "ana", "connections": 2, "nodes": 1 },
        { "user_id": "bob", "connections": 1, "nodes": 1 },
    ]);
    assert_eq!((&online["total"], &online["users"], &online["next"]), (&json!(3), &first, &json!("bob")));
    let (_, online) = api(&hub, "GET", "/ws/online?limit=2&after=bob", Value::Null).await;
    assert_eq!((online["users"].as_array().unwrap().len(), &online["next"]), (1, &Value::Null));
    let (_, rooms) = api(&hub, "GET", "/ws/rooms", Value::Null).await;
    assert_eq!((&rooms["total"], &rooms["rooms"][0]), (&json!(3), &json!({ "room": "ana", "users": 1 })));
    assert_eq!(api(&hub, "GET", "/ws/rooms/bob", Value::Null).await.1["users"], json!(["bob"]));
    let (_, stats) = api(&hub, "GET", "/ws/stats", Value::Null).await;
    assert_eq!((&stats["connections"], &stats["users"], &stats["rooms"]), (&json!(4), &json!(3), &json!(3)));
}

#[tokio::test]
async fn users_are_disconnected_barred_and_let_in_again() {
    let hub = hub(&[DEVELOPMENT]).await;
    let ana = json!({ "user_id": "ana" });
    let mut peers = [Peer::guest(&hub, "ana").await, Peer::guest(&hub, "ana").await];
    let done = json!({ "done": true, "connections_of_this_node": 2 });
    assert_eq!(api(&hub, "POST", "/ws/disconnect", ana.clone()).await, (200, done));
    for peer in &mut peers {
        assert_eq!(peer.end().await, 4410);
    }
    let mut peer = Peer::guest(&hub, "ana").await;
    api(&hub, "POST", "/ws/disable", ana.clone()).await;
    assert_eq!(peer.end().await, 4403);
    assert_eq!(Peer::connect(&hub, "?user=ana", &[]).await.unwrap().end().await, 4403);
    api(&hub, "POST", "/ws/enable", ana).await;
    Peer::guest(&hub, "ana").await;
}

#[tokio::test]
async fn a_token_that_was_taken_back_ends_its_connections_and_no_others() {
    let hub = hub_with_secret(&[]).await;
    let named = |id: &str| {
        let mut claims = claims("ana");
        claims["jti"] = json!(id);
        format!("?token={}", token(claims))
    };
    let mut taken = Peer::connect(&hub, &named("1"), &[]).await.unwrap();
    let mut kept = Peer::connect(&hub, &named("2"), &[]).await.unwrap();
    for peer in [&mut taken, &mut kept] {
        peer.next("system_message").await;
    }
    let revoked = json!({ "token_id": "1", "until": now() + 3600 });
    assert_eq!(api(&hub, "POST", "/ws/revoke", revoked).await.0, 200);
    assert_eq!(taken.end().await, 4403);
    assert_eq!(Peer::connect(&hub, &named("1"), &[]).await.unwrap().end().await, 4403);
    assert_eq!(kept.ask(json!({ "id": "p", "message_type": "ping" })).await["message_type"], "pong");
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let hub = hub(&[DEVELOPMENT]).await;
    let mut ana = Peer::guest(&hub, "ana").await;
    ana.ask(json!({ "id": "j", "message_type": "join", "room": "{room}" })).await;
    let document = document();
    let bodies = json!({
        "Message": { "data": 1 },
        "DirectMessage": { "to_user_id": "bob" },
        "User": { "user_id": "bob" },
        "Revocation": { "token_id": "t", "until": now() },
        "RevocationBefore": { "user_id": "bob", "time": 1 },
    });
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = |content: &Value| {
                let reference = content["content"]["application/json"]["schema"]["$ref"].as_str();
                reference.map(|reference| reference.rsplit('/').next().unwrap().to_owned())
            };
            let sent =
                name(&operation["requestBody"]).map_or(String::new(), |name| bodies[&name].to_string());
            let path = path.replace("{room}", "%7Broom%7D");
            let address = hub.api_address().unwrap();
            let (status, _, body) =
                request(address, &method.to_uppercase(), &path, Some(API_TOKEN), &sent).await;
            assert_eq!(status, 200, "{method} {path} {body}");
            let Some(name) = name(&operation["responses"]["200"]) else { continue };
            let body: Value = serde_json::from_str(&body).unwrap();
            assert!(schema(&name).is_valid(&body), "{method} {path}: {body}");
        }
    }
    let (_, _, metrics) = request(hub.api_address().unwrap(), "GET", "/metrics", Some(API_TOKEN), "").await;
    assert!(
        metrics.contains("taut_hub_connections 1\n")
            && metrics.contains("taut_hub_nodes 1\n")
            && metrics.contains("taut_hub_build_info{version=")
            && metrics.contains("taut_hub_storing_seconds_bucket{")
            && metrics.contains("taut_hub_delivery_seconds_count 3\n")
            && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn it_drains() {
    let hub = hub(&[DEVELOPMENT]).await;
    let mut ana = Peer::guest(&hub, "ana").await;
    assert_eq!(api(&hub, "GET", "/ready", Value::Null).await, (200, json!({ "status": "ready" })));
    let (_, code) = tokio::join!(hub.shutdown(), ana.end());
    assert_eq!(code, 1012);
}
