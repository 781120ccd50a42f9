//! Messages of JSON: types, answers, errors, and questions of the server.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use taut::proto::Message;
use taut::server::{AskError, BoxError, MessageError, Router, Server};

use crate::support::*;

#[derive(Deserialize)]
struct Sum {
    a: i64,
    b: i64,
}

#[derive(Debug, Deserialize, Serialize, PartialEq)]
struct Total {
    total: i64,
}

async fn hear_json(client: &mut Client) -> Value {
    serde_json::from_str(&hear(client).await).unwrap()
}

fn routed(notes: &Notes) -> Server {
    let told = notes.clone();
    let router = Router::new()
        .on("note", |sender, text: String| async move {
            if text == "fail" {
                return Err(BoxError::from("a secret of ours"));
            }
            if text == "refuse" {
                return Err(MessageError::refuse("too rude").into());
            }
            sender.tell("noted", &text)?;
            Ok(())
        })
        .answer("sum", |_, Sum { a, b }: Sum| async move {
            a.checked_add(b).map(|total| Total { total }).ok_or("an overflow")
        })
        .answer("ask", |sender, (): ()| async move { sender.ask::<_, Total>("what", &7, seconds(5)).await })
        .on_error(move |sender, error| told.push(format!("{:?}: {error}", sender.kind())));
    server(quiet()).router(router).detached()
}

#[tokio::test(start_paused = true)]
async fn messages_find_their_handlers_and_errors_are_told() {
    let notes = Notes::default();
    let server = routed(&notes);
    let mut client = connect(&server).await;
    for (question, answer) in [
        (json!({"type": "note", "data": "x"}), json!({"type": "noted", "data": "x"})),
        (
            json!({"type": "sum", "id": 5, "data": {"a": 1, "b": 2}}),
            json!({"type": "reply", "id": 5, "data": {"total": 3}}),
        ),
        (json!({"type": "note", "data": "refuse"}), json!({"type": "error", "error": "too rude"})),
        (
            json!({"type": "note", "id": 6, "data": "fail"}),
            json!({"type": "error", "id": 6, "error": "the server failed"}),
        ),
        (
            json!({"type": "what", "id": 1}),
            json!({"type": "error", "id": 1, "error": "no message has the type \"what\""}),
        ),
    ] {
        client.send(question.to_string()).await.unwrap();
        assert_eq!(hear_json(&mut client).await, answer);
    }
    let expected = [
        "\"note\": too rude",
        "\"note\": the handler failed: a secret of ours",
        "\"what\": no message has the type \"what\"",
    ];
    settle().await;
    assert_eq!(notes.take(), expected);
    client.send(json!({"type": "note", "id": 9, "data": "x"}).to_string()).await.unwrap();
    assert_eq!(hear_json(&mut client).await["type"], "noted");
    assert_eq!(hear_json(&mut client).await, json!({"type": "ack", "id": 9}));
    for malformed in
        ["", "{", "7", "[]", "{\"id\": 1}", "{\"type\": 1}", "{\"type\": \"sum\", \"data\": {\"a\": 1}}"]
    {
        client.send(malformed).await.unwrap();
        assert_eq!(hear_json(&mut client).await["type"], "error", "{malformed}");
    }
    client.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(hear_json(&mut client).await["type"], "error");
    // A hundred arrays in each other are nothing for a parser to fall over.
    client.send("[".repeat(100_000)).await.unwrap();
    assert_eq!(hear_json(&mut client).await["type"], "error");
    assert_eq!(notes.take().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn all_other_types_have_a_handler() {
    let notes = Notes::default();
    let told = notes.clone();
    let router = Router::new().on("known", |_, (): ()| async {}).otherwise(move |sender, data| {
        told.push(format!("{} {data} {}", sender.kind(), sender.wants_answer()));
        told.push(sender.message_id().unwrap_or("-"));
        async move { if data == 7 { Err(MessageError::refuse("not 7")) } else { Ok(()) } }
    });
    let server = server(quiet()).router(router).detached();
    let mut client = connect(&server).await;
    for message in [
        json!({"type": "known"}),
        json!({"type": "what", "data": [1]}),
        json!({"type": "why", "data": 7}),
        json!({"type": "who", "id": 3}),
        json!({"type": "where", "id": "x"}),
    ] {
        client.send(message.to_string()).await.unwrap();
    }
    assert_eq!(hear_json(&mut client).await, json!({"type": "error", "error": "not 7"}));
    assert_eq!(hear_json(&mut client).await, json!({"type": "ack", "id": 3}));
    assert_eq!(hear_json(&mut client).await, json!({"type": "ack", "id": "x"}));
    let expected = ["what [1] false", "-", "why 7 false", "-", "who null true", "-", "where null true", "x"];
    assert_eq!(notes.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_ask_back_and_an_answer_has_its_time() {
    let notes = Notes::default();
    let server = routed(&notes);
    let mut client = connect(&server).await;
    client.send(json!({"type": "ask", "id": 1}).to_string()).await.unwrap();
    assert_eq!(hear_json(&mut client).await, json!({"type": "what", "id": 1, "data": 7}));
    // What comes before the answer waits for the handler, and does not keep the answer from it.
    client.send(json!({"type": "sum", "id": 2, "data": {"a": 1, "b": 1}}).to_string()).await.unwrap();
    client.send(json!({"type": "reply", "id": 1, "data": {"total": 9}}).to_string()).await.unwrap();
    assert_eq!(hear_json(&mut client).await, json!({"type": "reply", "id": 1, "data": {"total": 9}}));
    assert_eq!(hear_json(&mut client).await["data"], json!({"total": 2}));

    let handle = server.registry().list()[0].clone();
    let asked = handle.clone();
    let asking = tokio::spawn(async move {
        let ack = asked.ask::<_, ()>("q", "x", seconds(5)).await;
        let failed = asked.ask::<_, ()>("q", "x", seconds(5)).await;
        let wrong = asked.ask::<_, Total>("q", "x", seconds(5)).await;
        let late = asked.ask::<_, Total>("q", "x", seconds(5)).await;
        (ack, failed, wrong, late, asked.ask::<_, ()>("q", "x", seconds(5)).await)
    });
    for answer in
        [json!({"type": "ack"}), json!({"type": "error", "error": "no"}), json!({"type": "reply", "data": 7})]
    {
        let mut answer = answer;
        answer["id"] = hear_json(&mut client).await["id"].clone();
        client.send(answer.to_string()).await.unwrap();
    }
    assert_eq!(hear_json(&mut client).await["type"], "q");
    assert_eq!(hear_json(&mut client).await["type"], "q");
    drop(client);
    let (ack, failed, wrong, late, gone) = ends(asking).await.unwrap();
    assert!(matches!((ack, failed), (Ok(()), Err(AskError::Failed(said))) if said == "no"));
    assert!(matches!((wrong, late), (Err(AskError::Json(_)), Err(AskError::Timeout))));
    assert!(matches!(gone, Err(AskError::Closed)), "{gone:?}");
    is_empty(&server).await;
    assert!(matches!(handle.ask::<_, ()>("q", "x", seconds(5)).await, Err(AskError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn questions_without_answers_are_bounded() {
    let server = routed(&Notes::default());
    let _client = connect(&server).await;
    settle().await;
    let handle = server.registry().list()[0].clone();
    let asking: Vec<_> = (0..257)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.ask::<_, ()>("q", "x", seconds(5)).await })
        })
        .collect();
    let mut results = Vec::new();
    for asking in asking {
        results.push(ends(asking).await.unwrap());
    }
    let too_many = results.iter().filter(|result| matches!(result, Err(AskError::TooMany))).count();
    assert_eq!(too_many, 1);
    assert!(results.iter().all(|result| matches!(result, Err(AskError::TooMany | AskError::Timeout))));
    // Those that nobody waits for any more do not count.
    let again = server.registry().list()[0].ask::<_, ()>("q", "x", seconds(5)).await;
    assert!(matches!(again, Err(AskError::Timeout)), "{again:?}");
}
