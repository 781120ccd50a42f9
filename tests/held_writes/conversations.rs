//! Random conversations against a naive twin that never holds: the same is received, the same leaves in the same
//! order, and whenever the task suspends the twin is not ahead.

use proptest::prelude::*;
use taut::Error;
use taut::proto::frame::OpCode;
use taut::proto::{Config, Message, Role};
use taut::tokio::WebSocket;
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::support::{connection, frame};
use crate::{Far, HOUR, OPTIONS, Stream, once, pair, received};

#[derive(Clone, Debug)]
enum Operation {
    /// So much more comes, in one read.
    Come(usize),
    Receive,
    Send(usize),
    Feed(usize),
    Flush,
    Yield,
    Sleep,
    /// The stream takes so much more, and then waits.
    Room(usize),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let length = || prop_oneof![6 => 0_usize..200, 1 => 4_000_usize..6_000, 1 => 60_000_usize..70_000];
    let operation = prop_oneof![
        2 => (1_usize..2_000).prop_map(Operation::Come),
        1 => Just(Operation::Come(usize::MAX)),
        8 => Just(Operation::Receive),
        8 => length().prop_map(Operation::Send),
        1 => length().prop_map(Operation::Feed),
        1 => Just(Operation::Flush),
        1 => Just(Operation::Yield),
        2 => Just(Operation::Sleep),
        1 => prop_oneof![0_usize..300, Just(usize::MAX)].prop_map(Operation::Room),
    ];
    prop::collection::vec(operation, 1..60)
}

/// What a client sends.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => (0_usize..300).prop_map(|len| frame(Role::Client, true, OpCode::Binary, &vec![1; len])),
        2 => "\\PC{0,20}".prop_map(|text| frame(Role::Client, true, OpCode::Text, text.as_bytes())),
        1 => any::<u8>().prop_map(|byte| frame(Role::Client, true, OpCode::Ping, &[byte])),
        1 => (0_usize..9_000).prop_map(|len| {
            let (half, end) = (vec![2; len / 2], vec![3; len - len / 2]);
            [
                frame(Role::Client, false, OpCode::Binary, &half),
                frame(Role::Client, true, OpCode::Ping, b"between"),
                frame(Role::Client, true, OpCode::Continuation, &end),
            ]
            .concat()
        }),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// What came of a conversation.
#[derive(Debug, Default)]
struct Seen {
    received: Vec<Message>,
    /// What was taken to be sent, in order.
    taken: Vec<Message>,
    /// How many messages were on the wire, each time that the task suspended.
    written: Vec<usize>,
    /// How many of them `send` had taken, with those before them.
    due: Vec<usize>,
    /// In the end.
    wire: Vec<Message>,
}

/// The messages on the wire so far; of the last one a part may be there.
fn data(far: &Far) -> Vec<Message> {
    received(&far.output()).into_iter().filter(Message::is_data).collect()
}

async fn play(mut socket: WebSocket<Stream>, far: Far, mut input: Vec<u8>, script: Vec<Operation>) -> Seen {
    let mut seen = Seen::default();
    // Messages that `send` took, and those fed before them.
    let (mut due, mut blocks) = (0, false);
    for (index, operation) in script.into_iter().enumerate() {
        let message = |len| Message::binary([&index.to_be_bytes()[..], &vec![4; len]].concat());
        match operation {
            Operation::Come(len) => {
                let rest = input.split_off(len.min(input.len()));
                far.push(std::mem::replace(&mut input, rest));
            }
            Operation::Receive => {
                seen.received.extend(once(socket.recv()).await.map(|got| got.unwrap().unwrap()))
            }
            Operation::Send(len) => match once(socket.send(message(len))).await {
                // What is pending was taken, too.
                None | Some(Ok(())) => {
                    seen.taken.push(message(len));
                    due = seen.taken.len();
                }
                Some(Err(Error::Send(_))) => {}
                Some(Err(error)) => panic!("{error}"),
            },
            Operation::Feed(len) => {
                if socket.feed(message(len)).is_ok() {
                    seen.taken.push(message(len));
                }
            }
            Operation::Flush => {
                if once(socket.flush()).await.is_some() {
                    due = seen.taken.len();
                    assert_eq!(data(&far).len(), due, "flushed");
                }
            }
            // Whoever is ready runs before the task goes on; twice, for the runtime may look elsewhere first.
            Operation::Yield => {
                yield_now().await;
                yield_now().await;
            }
            Operation::Sleep => sleep(HOUR).await,
            Operation::Room(room) => {
                far.set_room(room);
                blocks |= room < usize::MAX;
                if room == usize::MAX {
                    sleep(HOUR).await;
                    blocks = false;
                }
                continue;
            }
        }
        if !blocks && matches!(operation, Operation::Yield | Operation::Sleep) {
            seen.written.push(data(&far).len());
            seen.due.push(due);
        }
    }
    far.set_room(usize::MAX);
    sleep(HOUR).await;
    seen.written.push(data(&far).len());
    seen.due.push(due);
    far.push(input);
    while let Some(message) = once(socket.recv()).await {
        seen.received.push(message.unwrap().unwrap());
        yield_now().await;
    }
    socket.flush().await.unwrap();
    seen.wire = received(&far.output());
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn what_is_held_is_what_a_naive_twin_sends(
        input in input(),
        script in operations(),
        max_queued in prop_oneof![1_usize..2_000, Just(usize::MAX)],
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let config = Config::new().max_queued(max_queued);
        let blocks = script.iter().any(|operation| matches!(operation, Operation::Room(_)));
        let (held, naive) = runtime.block_on(async {
            let mut both = Vec::new();
            for holds in [true, false] {
                let (stream, far) = pair();
                let connection = connection(Role::Server, config);
                let socket = if holds {
                    WebSocket::new(stream, connection, &OPTIONS)
                } else {
                    WebSocket::new_local(stream, connection, &OPTIONS)
                };
                both.push(tokio::spawn(play(socket, far, input.clone(), script.clone())).await.unwrap());
            }
            let naive = both.pop().unwrap();
            (both.pop().unwrap(), naive)
        });
        assert_eq!(held.received, naive.received);
        for seen in [&held, &naive] {
            let data: Vec<&Message> = seen.wire.iter().filter(|message| message.is_data()).collect();
            assert_eq!(data, seen.taken.iter().collect::<Vec<_>>());
        }
        for (written, due) in held.written.iter().zip(&held.due) {
            assert!(written >= due, "{written} messages of {due} had left when the task suspended");
        }
        // Else one of them may refuse what the other takes.
        if !blocks && max_queued == usize::MAX {
            assert_eq!(held.taken, naive.taken);
            for (held, naive) in held.written.iter().zip(&naive.written) {
                assert!(held >= naive, "{held} messages had left, and {naive} of the twin's");
            }
            let pongs = |seen: &Seen| -> Vec<Message> {
                seen.wire.iter().filter(|message| !message.is_data()).cloned().collect()
            };
            assert_eq!(pongs(&held), pongs(&naive));
        }
    }
}
