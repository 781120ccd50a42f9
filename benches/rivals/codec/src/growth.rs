//! How the time of a server's reads grows: with the bytes of one message, with messages, with fragments.

use std::time::{Duration, Instant};

use crate::contestants::{Contestant, Seen};
use crate::frames::{Case, Kind, Role};
use crate::measure::{Plan, Score, print};
use crate::stream::Memory;

/// A fresh connection for each sample: what a connection takes before its first message is in it.
pub fn measure(contestants: &[Contestant], plan: Plan) {
    let contestants: Vec<&Contestant> = contestants.iter().filter(|one| one.receive.is_some()).collect();
    for (kind, work) in [(Kind::Binary, "bytes"), (Kind::Text, "bytes of text")] {
        for size in powers(1 << 10, 64 << 20) {
            let case = Case { role: Role::Server, kind, size };
            series(work, size, case, Amount::Messages(1), &contestants, plan);
        }
    }
    for count in powers(1 << 10, 1 << 22) {
        let case = Case { role: Role::Server, kind: Kind::Binary, size: SMALL };
        series("frames", count, case, Amount::Messages(count), &contestants, plan);
    }
    let gather: Vec<&Contestant> = contestants.iter().copied().filter(|one| one.gathers).collect();
    for (kind, work) in [(Kind::Binary, "fragments"), (Kind::Text, "fragments of text")] {
        for count in powers(1 << 10, 1 << 20) {
            let case = Case { role: Role::Server, kind, size: SMALL };
            series(work, count, case, Amount::Fragments(count), &gather, plan);
        }
    }
}

#[derive(Clone, Copy)]
enum Amount {
    Messages(usize),
    /// One message in so many.
    Fragments(usize),
}

fn series(work: &str, place: usize, case: Case, amount: Amount, contestants: &[&Contestant], plan: Plan) {
    eprintln!("growth, {work}, {place}");
    let (frames, messages, payload) = match amount {
        Amount::Messages(count) => (case.frames(count.min(FRAMES)), count, case.payload()),
        Amount::Fragments(count) => (case.fragments(count), 1, case.payload().repeat(count)),
    };
    let mut scores: Vec<Score> = contestants
        .iter()
        .map(|one| Score { name: one.name.to_owned(), count: messages, played: 0, samples: Vec::new() })
        .collect();
    let mut late = vec![Duration::ZERO; contestants.len()];
    for round in 0..plan.rounds.min(ROUNDS) + 1 {
        for turn in 0..contestants.len() {
            let index = (round + turn) % contestants.len();
            let Some(receive) = contestants[index].receive else { continue };
            if late[index] > PATIENCE {
                continue;
            }
            let memory = Memory::new(frames.clone());
            // The first round checks, and warms up.
            let mut seen =
                Seen::new((round == 0 && contestants[index].name != "memcpy").then_some(&payload[..]));
            let begin = Instant::now();
            let mut connection = receive(case, memory);
            connection.receive(messages, &mut seen);
            let time = begin.elapsed();
            drop(connection);
            assert!(seen.bytes >= messages * payload.len(), "{} lost bytes", contestants[index].name);
            late[index] += time;
            if round > 0 || late[index] > PATIENCE {
                scores[index].samples.push(time.as_nanos() as f64);
            }
        }
    }
    for score in &scores {
        print(&format!(r#""work": "growth", "series": "{work}", "place": {place}"#), score, "");
    }
}

/// Powers of four from the first to the last.
fn powers(first: usize, last: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(first), |place| Some(place * 4)).take_while(move |&place| place <= last)
}

/// Bytes of a message, or fragment, where there are many.
const SMALL: usize = 16;
const ROUNDS: usize = 7;
/// Whoever took so long at one place is not asked again.
const PATIENCE: Duration = Duration::from_secs(2);
/// Frames in the stream that is read over and over, so that the stream stays in the cache.
const FRAMES: usize = 16 << 10;
