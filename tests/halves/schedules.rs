//! Random schedules of many senders and a receiver over narrow pipes.
//!
//! For an hour: `TAUT_SCHEDULES=1000000 timeout 3600 cargo test --release --features testing --test halves schedules`.

use proptest::prelude::*;
use taut::testing::Turn;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Send(u16),
    Feed(u16),
    Reserve(u16),
    Flush,
    /// A future is made, polled once and dropped.
    Abandon,
    Sleep,
    /// The handle is replaced by a clone.
    Clone,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0_u16..40, 100_u16..300];
    prop_oneof![
        3 => len.clone().prop_map(Step::Send),
        2 => len.clone().prop_map(Step::Feed),
        3 => len.prop_map(Step::Reserve),
        1 => Just(Step::Flush),
        1 => Just(Step::Abandon),
        1 => Just(Step::Sleep),
        1 => Just(Step::Clone),
    ]
}

fn turns() -> impl Strategy<Value = Turns> {
    let turn = prop_oneof![Just(Turn::Wait), (1_usize..100).prop_map(Turn::Bytes)];
    prop::collection::vec(turn, 0..5).prop_map(|mut turns| {
        turns.push(Turn::Bytes(50));
        Turns::new(turns)
    })
}

/// Plays one sender; tells how many of its messages were taken.
async fn play(mut send: Send, sender: usize, steps: Vec<Step>) -> usize {
    let mut taken = 0;
    for step in steps {
        let text = |len: u16, taken: usize| format!("{sender} {taken} {}", "x".repeat(len.into()));
        match step {
            Step::Send(len) => match send.send(text(len, taken)).await {
                Ok(()) => taken += 1,
                Err(Error::Send(error)) => assert_eq!(error.kind(), SendErrorKind::Full),
                Err(error) => panic!("{error}"),
            },
            Step::Feed(len) => taken += usize::from(send.feed(text(len, taken)).is_ok()),
            Step::Reserve(len) => {
                send.reserve().await.unwrap().send(text(len, taken)).unwrap();
                taken += 1;
            }
            Step::Flush => send.flush().await.unwrap(),
            Step::Abandon => {
                let _ = once(send.flush()).await;
                let _ = once(send.reserve()).await;
            }
            Step::Sleep => sleep(Duration::from_millis(1)).await,
            Step::Clone => send = send.clone(),
        }
    }
    taken
}

fn schedules() -> u32 {
    std::env::var("TAUT_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(150)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(schedules()) })]

    #[test]
    fn any_schedule_ends_with_all_that_was_taken(
        steps in prop::array::uniform2(prop::collection::vec(prop::collection::vec(step(), 0..15), 1..5)),
        turns in prop::array::uniform4(turns()),
        room in 1_usize..200,
        buffered: bool,
        max_queued in 1_usize..600,
        pings in 0_usize..10,
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (near, far) = pair(room);
            let [a, b, c, d] = turns;
            let near = near.reading(a).writing(b);
            let far = far.reading(c).writing(d);
            let near = if buffered { near.buffered() } else { near };
            let config = Config::new().max_queued(max_queued);
            let mut ends_of = Vec::new();
            for ((role, stream), steps) in [(Role::Server, near), (Role::Client, far)].into_iter().zip(steps) {
                let (mut receive, mut send) = socket(role, config, stream).into_split();
                let count = steps.len();
                let senders: Vec<_> = steps.into_iter().enumerate()
                    .map(|(sender, steps)| tokio::spawn(play(send.clone(), sender, steps)))
                    .collect();
                let closing = tokio::spawn(async move {
                    let mut taken = Vec::new();
                    for sender in senders {
                        taken.push(sender.await.unwrap());
                    }
                    for _ in 0..pings {
                        let _ = send.feed(Message::Ping(b"?"[..].into()));
                    }
                    // The queue of a closed connection takes no part of a message.
                    send.flush().await.unwrap();
                    (taken, send)
                });
                let receiving = tokio::spawn(async move {
                    let mut next = vec![0; 8];
                    while let Some(message) = receive.recv().await.unwrap() {
                        let Message::Text(text) = message else { continue };
                        let mut words = text.as_str().split(' ');
                        let mut number = || words.next().unwrap().parse::<usize>().unwrap();
                        let (sender, number) = (number(), number());
                        assert_eq!(number, next[sender]);
                        next[sender] += 1;
                    }
                    next
                });
                ends_of.push((closing, receiving, count));
            }
            let mut all = Vec::new();
            for (closing, receiving, count) in ends_of {
                let (taken, send) = ends(closing).await.unwrap();
                all.push((taken, send, receiving, count));
            }
            let [mut one, mut two]: [_; 2] = all.try_into().unwrap_or_else(|_| panic!());
            one.1.start_close(None);
            let (at_one, at_two) = ends(async { tokio::join!(one.2, two.2) }).await;
            assert_eq!(at_two.unwrap()[..one.3], one.0[..]);
            assert_eq!(at_one.unwrap()[..two.3], two.0[..]);
            two.1.start_close(None);
        });
    }
}
