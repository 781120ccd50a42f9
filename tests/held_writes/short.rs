//! The plain loop with messages of each length, of which the short ones go a way of their own; and with one that is wrong.

use std::future::pending;

use taut::Error;
use taut::proto::frame::OpCode;
use taut::proto::{CloseCode, Config, Message, ProtocolError, Role};
use taut::tokio::WebSocket;
use tokio::task::yield_now;

use crate::support::{Take, connection, drain, frame, replay};
use crate::{OPTIONS, echo_one, expected, numbers, pair, received, server};

#[tokio::test(start_paused = true)]
async fn text_that_is_not_utf8_fails_the_connection_behind_the_answers_before_it() {
    let (mut socket, far) = server(Config::new());
    let wrong = frame(Role::Client, true, OpCode::Text, b"wrong \xC3(");
    far.push([numbers(0, 2), wrong, numbers(2, 2)].concat());
    far.finish();
    let task = tokio::spawn(async move {
        echo_one(&mut socket).await;
        echo_one(&mut socket).await;
        (socket.recv().await, socket.recv().await)
    });
    let (failed, then) = task.await.unwrap();
    assert!(matches!(failed, Err(Error::Protocol(ProtocolError::InvalidUtf8 { offset: 6 }))), "{failed:?}");
    assert!(matches!(then, Ok(None)), "{then:?}");
    let mut answers = received(&far.output());
    let Some(Message::Close(Some(frame))) = answers.pop() else { panic!("no Close behind {answers:?}") };
    assert_eq!(frame.code(), CloseCode::INVALID_DATA);
    assert_eq!(answers, expected(0, 2));
}

/// Some lie in the future that receives, some are copied, some shared; some go out as they are, some under a key.
#[tokio::test]
async fn messages_of_each_length_are_echoed_by_either_end() {
    for role in [Role::Server, Role::Client] {
        let (stream, far) = pair();
        let mut socket = WebSocket::new(stream, connection(role, Config::new()), &OPTIONS);
        let lengths = (0..140).chain([1_023, 1_024, 4_095, 4_096, 4_097, 32_767, 32_768, 65_535, 65_536]);
        let sent: Vec<Message> = lengths
            .flat_map(|len: usize| {
                [Message::binary(vec![len as u8; len]), Message::text("é".repeat(len / 2))]
            })
            .collect();
        let mut peer = connection(role.peer(), Config::new().max_queued(usize::MAX));
        sent.iter().for_each(|message| peer.send(message.clone()).unwrap());
        far.push(drain(&mut peer));
        let count = sent.len();
        let task = tokio::spawn(async move {
            for _ in 0..count {
                echo_one(&mut socket).await;
            }
            pending::<()>().await;
        });
        let echoed = |wire: &[u8]| {
            let mut peer = connection(role.peer(), Config::new());
            let outcome = replay(&mut peer, wire, &[], Take::Owned);
            assert_eq!(outcome.error, None);
            outcome.messages
        };
        while echoed(&far.output()).len() < count {
            yield_now().await;
        }
        assert!(echoed(&far.output()) == sent, "{role:?}");
        task.abort();
    }
}
