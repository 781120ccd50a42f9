//! What messages say that not every reader of JSON takes, and that what is read later is what was said.

use serde_json::{Value, json};
use taut::proto::Message;
use taut_hub::envelope::Envelope;
use taut_hub::hub::Target;
use taut_hub::serve::Running;
use tokio::time::timeout;

use super::{API_TOKEN, PATIENCE, Peer, request};

/// In any store: what cannot be read is refused; where it is kept nevertheless, the hub lives, and so do all in it.
pub(crate) async fn whatever_is_said_the_hub_lives_and_tells_it_as_it_was_said(hub: &Running) {
    let mut ana = Peer::guest(hub, "ana").await;
    let join =
        |id: &str| format!(r#"{{"id":"{id}","message_type":"join","room":"r","data":{{"last":100}}}}"#);
    text(&mut ana, &join("j")).await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let unreadable = ["1e999", r#""\ud800""#, &deep];
    let said =
        |id: &str, data: &str| format!(r#"{{"id":"{id}","message_type":"text","room":"r","data":{data}}}"#);
    for data in unreadable {
        let refused: Value = serde_json::from_str(&text(&mut ana, &said("m", data)).await).unwrap();
        assert_eq!((&refused["id"], &refused["data"]["code"]), (&"m".into(), &"malformed".into()));
        let body = format!(r#"{{"data":{data}}}"#);
        let address = hub.api_address().unwrap();
        let (status, ..) = request(address, "POST", "/ws/rooms/r", Some(API_TOKEN), &body).await;
        assert_eq!(status, 400, "{data:.40}");
    }
    // By the hub itself nothing is looked at: so may be what was kept before.
    let mut live = Vec::new();
    let odd = [
        r#"{"b":1,"a":100000000000000000001,"c":1.0,"d":0.10000000000000000000001}"#,
        r#"{"a":1,"a":2, "b" : [ -0, 1E5 ]}"#,
    ];
    for (number, data) in unreadable.into_iter().chain(odd).enumerate() {
        let message: Envelope = serde_json::from_str(&said(&number.to_string(), data)).unwrap();
        hub.hub().publish(Some("eve"), Target::Room("r".into()), message).await.unwrap();
        let heard = next(&mut ana).await;
        assert!(heard.contains(data), "{heard:.200}");
        live.push(heard);
    }
    let mut bob = Peer::guest(hub, "bob").await;
    for id in ["j", "again"] {
        let page = text(&mut bob, &join(id)).await;
        for heard in &live {
            assert!(page.contains(heard.as_str()), "{heard:.200} is another in {page:.2000}");
        }
    }
    let history = r#"{"id":"h","message_type":"history","room":"r","data":{"last":100}}"#;
    assert!(text(&mut bob, history).await.contains(&live.join(",")));
    Peer::guest(hub, "late").await;
    assert!(hub.hub().is_delivering());
}

/// A history of any store: what does not fit into a page comes with the next one.
pub(crate) async fn a_page_is_bounded_and_says_where_to_go_on(hub: &Running) {
    let mut ana = Peer::guest(hub, "ana").await;
    let join = json!({ "id": "j", "message_type": "join", "room": "r" });
    let mut position = after(&ana.ask(join).await);
    say(&mut ana, 12, 60_000).await;
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page =
            ana.ask(json!({ "id": "h", "message_type": "history", "room": "r", "data": position })).await;
        assert_eq!(page["data"]["recovered"], true);
        seen.extend(
            page["data"]["messages"].as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap()),
        );
        position = after(&page);
        pages += 1;
        if page["data"]["more"] == false {
            break;
        }
    }
    assert_eq!((seen, pages), ((1..=12).collect::<Vec<_>>(), 3));
}

/// With `history.bytes` of 20,000: what is forgotten of a stream because of its bytes is told as any other.
pub(crate) async fn a_stream_is_bounded_by_its_bytes(hub: &Running) {
    let mut ana = Peer::guest(hub, "ana").await;
    let begin = after(&ana.ask(json!({ "id": "j", "message_type": "join", "room": "r" })).await);
    say(&mut ana, 10, 3000).await;
    let history = |data: &Value| json!({ "id": "h", "message_type": "history", "room": "r", "data": data });
    let page = ana.ask(history(&json!({ "last": 100 }))).await;
    let kept = page["data"]["messages"].as_array().unwrap().len();
    assert!((4..=6).contains(&kept), "{kept}");
    assert_eq!(ana.ask(history(&begin)).await["data"]["recovered"], false);
    let mut position = begin;
    position["after"]["seq"] = json!(10 - kept);
    let page = ana.ask(history(&position)).await;
    assert_eq!(
        (&page["data"]["recovered"], page["data"]["messages"].as_array().unwrap().len()),
        (&json!(true), kept)
    );
    // What is longer by itself is kept as long as it is the last.
    let long = json!({ "id": "long", "message_type": "text", "room": "r", "data": "x".repeat(30_000) });
    for duplicate in [false, true] {
        let ack = ana.ask(long.clone()).await;
        assert_eq!((&ack["seq"], &ack["data"]["duplicate"]), (&json!(11), &json!(duplicate)));
    }
    let page = ana.ask(history(&json!({ "last": 100 }))).await;
    assert_eq!(page["data"]["messages"].as_array().unwrap().len(), 1);
}

/// So many messages of so many bytes in the room.
pub(crate) async fn say(peer: &mut Peer, messages: usize, bytes: usize) {
    for number in 1..=messages {
        let data = "x".repeat(bytes);
        let message = json!({ "id": number.to_string(), "message_type": "text", "room": "r", "data": data });
        assert_eq!(peer.ask(message).await["seq"], number);
    }
}

fn after(page: &Value) -> Value {
    json!({ "after": { "epoch": page["data"]["epoch"], "seq": page["seq"] } })
}

/// Sends this, and gives what comes next, as it comes.
async fn text(peer: &mut Peer, message: &str) -> String {
    peer.0.send(Message::text(message.to_owned())).await.unwrap();
    next(peer).await
}

/// The next message but for who comes and goes.
async fn next(peer: &mut Peer) -> String {
    loop {
        let message = timeout(PATIENCE, peer.0.recv()).await.expect("a message comes").unwrap();
        let Some(Message::Text(text)) = message else { panic!("{message:?} is no text") };
        if !text.contains(r#""message_type":"user_"#) {
            return text.to_string();
        }
    }
}
