//! Rooms and topics: who hears what, and that nothing stays behind.

use taut::proto::CloseCode;
use taut::server::{Handle, JoinError, NameError, RoomChange, Server};

use crate::support::*;

async fn three(server: &Server) -> ([Client; 3], [Handle; 3]) {
    let mut clients = Vec::new();
    let mut handles: Vec<Handle> = Vec::new();
    for _ in 0..3 {
        clients.push(connect(server).await);
        settle().await;
        let new = server.registry().filter(|handle| !handles.contains(handle));
        handles.extend(new);
    }
    (clients.try_into().unwrap_or_else(|_| panic!()), handles.try_into().unwrap())
}

#[tokio::test(start_paused = true)]
async fn rooms_come_with_their_first_member_and_go_with_their_last() {
    let notes = Notes::default();
    let told = notes.clone();
    let server = server(quiet())
        .on_room(move |event| {
            let change = match event.change {
                RoomChange::Joined { first, .. } => format!("joined {first}"),
                RoomChange::Left { last, .. } => format!("left {last}"),
                _ => String::new(),
            };
            told.push(format!("{} {change}", event.room));
        })
        .detached();
    let ([mut ana, mut ben, mut cy], [a, b, c]) = three(&server).await;
    assert_eq!((a.join("red"), a.join("red"), b.join("red")), (Ok(true), Ok(false), Ok(true)));
    assert_eq!(c.join("blue"), Ok(true));
    assert_eq!(notes.take(), ["red joined true", "red joined false", "blue joined true"]);
    assert_eq!(server.registry().members("red").len(), 2);
    assert_eq!(server.registry().broadcast("to red").to_room("red").queued, 2);
    assert_eq!(server.registry().broadcast("to blue").to_room("blue").queued, 1);
    assert_eq!(server.registry().broadcast("to ben").except(a.id()).to_room("red").queued, 1);
    assert_eq!(server.registry().broadcast("to nobody").to_room("green").queued, 0);
    assert_eq!(hear(&mut ana).await, "to red");
    assert_eq!([hear(&mut ben).await, hear(&mut ben).await], ["to red", "to ben"]);
    assert_eq!(hear(&mut cy).await, "to blue");
    assert_eq!((a.leave("red"), a.leave("red"), a.leave("none")), (true, false, false));
    assert_eq!((a.rooms().len(), b.rooms().len()), (0, 1));
    // By leaving, by a Close, by an end without one.
    ben.close(CloseCode::NORMAL, "").await.unwrap();
    drop(cy);
    settle().await;
    assert_eq!(notes.take(), ["red left false", "red left true", "blue left true"]);
    assert_eq!(server.registry().rooms().len(), 0);
    assert_eq!(b.join("red"), Err(JoinError::Gone));
    assert_eq!(server.registry().rooms().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_in_so_many_groups_and_names_are_checked() {
    let server = server(quiet().max_groups(3)).detached();
    let (_clients, [a, b, _]) = three(&server).await;
    a.join("one").unwrap();
    a.subscribe("two/#").unwrap();
    a.join("three").unwrap();
    assert_eq!((a.join("four"), a.subscribe("four")), (Err(JoinError::TooMany), Err(JoinError::TooMany)));
    assert_eq!(a.join("one"), Ok(false));
    a.leave("one");
    a.unsubscribe("two/#");
    assert_eq!((a.join("four"), b.join("four")), (Ok(true), Ok(true)));
    assert_eq!(a.join(""), Err(JoinError::Name(NameError::Length)));
    assert_eq!(a.subscribe("a/#/b"), Err(JoinError::Name(NameError::Wildcard)));
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_heard_by_who_subscribed_to_it_or_to_a_pattern_once() {
    let server = server(quiet()).detached();
    let ([mut ana, mut ben, mut cy], [a, b, c]) = three(&server).await;
    for pattern in ["sport/+/score", "sport/#", "sport/tennis/score"] {
        assert_eq!(a.subscribe(pattern), Ok(true));
    }
    assert_eq!(a.subscribe("sport/#"), Ok(false));
    b.subscribe("sport/tennis/score").unwrap();
    b.subscribe("+/weather").unwrap();
    c.subscribe("#").unwrap();
    let publish = |topic: &str| server.registry().broadcast(topic).to_topic(topic).queued;
    let counts =
        ["sport/tennis/score", "sport/golf/score", "sport", "town/weather", "a/town/weather", "sports"]
            .map(publish);
    assert_eq!(counts, [3, 2, 2, 2, 1, 1]);
    assert_eq!(publish("sport/+"), 0, "patterns are not published to");
    server.registry().broadcast("end").to_all();
    assert_eq!(until_end(&mut ana).await, ["sport/tennis/score", "sport/golf/score", "sport"]);
    assert_eq!(until_end(&mut ben).await, ["sport/tennis/score", "town/weather"]);
    assert_eq!(until_end(&mut cy).await.len(), 6);
    assert_eq!(
        (a.unsubscribe("sport/#"), a.unsubscribe("sport/#"), a.subscriptions().len()),
        (true, false, 2)
    );
    assert_eq!(["sport", "sport/golf/score"].map(publish), [1, 2]);
    drop((ana, ben, cy));
    is_empty(&server).await;
}

async fn until_end(client: &mut Client) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        match hear(client).await {
            text if text == "end" => return texts,
            text => texts.push(text),
        }
    }
}

#[test]
fn all_members_hear_many_senders_in_one_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = server(quiet().max_queued_messages(10_000))
            .on_connect(|handle: Handle| async move { handle.join("room").map(drop) })
            .on_message(|handle, message| async move {
                handle.registry().ok_or(JoinError::Gone)?.broadcast(message).to_room("room");
                Ok::<_, JoinError>(())
            })
            .detached();
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(connect(&server).await);
        }
        while server.registry().members("room").len() < 4 {
            tokio::task::yield_now().await;
        }
        let talking = clients.into_iter().enumerate().map(|(number, mut client)| {
            tokio::spawn(async move {
                let mut heard = Vec::new();
                for round in 0..200 {
                    client.feed(format!("{number} {round}")).unwrap();
                }
                client.flush().await.unwrap();
                while heard.len() < 800 {
                    heard.push(hear(&mut client).await);
                }
                heard
            })
        });
        let mut all = Vec::new();
        for talking in talking.collect::<Vec<_>>() {
            all.push(talking.await.unwrap());
        }
        assert!(all.iter().all(|heard| *heard == all[0]), "in different orders");
    });
}
