//! Receiving and sending messages: each contestant is verified, then measured.

use std::sync::Arc;

use crate::contestants::{BURST, Contestant, Seen};
use crate::frames::{Case, Kind, MOST_HEADER, Role};
use crate::measure::{Plan, Player, Score, print};
use crate::stream::{Memory, Told};

/// What is done with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Receive,
    Send,
}

impl Work {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Send => "send",
        }
    }

    /// All cases, the server's first.
    pub fn cases(self, sizes: &[usize]) -> Vec<Case> {
        let mut cases = Vec::new();
        for role in [Role::Server, Role::Client] {
            for kind in [Kind::Binary, Kind::Text, Kind::Mixed] {
                // One row of other characters is enough: only a server's reads are worth a second look at UTF-8.
                if kind == Kind::Mixed && (self, role) != (Self::Receive, Role::Server) {
                    continue;
                }
                cases.extend(sizes.iter().map(|&size| Case { role, kind, size }));
            }
        }
        cases
    }

    pub fn is_done_by(self, contestant: &Contestant, case: &Case) -> bool {
        (contestant.suits)(case)
            && match self {
                Self::Receive => contestant.receive.is_some(),
                Self::Send => contestant.send.is_some() && (case.role == Role::Client || contestant.serves),
            }
    }

    /// Verifies and measures all who do this work.
    pub fn measure(self, case: Case, contestants: &[Contestant], plan: Plan) {
        let payload = case.payload();
        let frames = case.frames(pass(case));
        let mut players = Vec::new();
        let mut told = Vec::new();
        for contestant in contestants.iter().filter(|contestant| self.is_done_by(contestant, &case)) {
            let (player, counts) = self.player(case, contestant, &payload, frames.clone());
            players.push(player);
            told.push(counts);
        }
        let before: Vec<u64> = told.iter().map(|told| self.calls(told)).collect();
        let scores = plan.play(players);
        for ((score, told), before) in scores.iter().zip(&told).zip(before) {
            self.report(case, score, self.calls(told) - before);
        }
    }

    /// Lets one contestant do the work for a tool that counts; gives the number of messages in so many passes.
    pub fn once(self, case: Case, contestant: &Contestant, passes: usize) -> usize {
        let payload = case.payload();
        let (mut player, _) = self.player(case, contestant, &payload, case.frames(pass(case)));
        let count = passes * pass(case).next_multiple_of(BURST);
        (player.play)(count);
        count
    }

    fn player<'a>(
        self,
        case: Case,
        contestant: &Contestant,
        payload: &'a [u8],
        frames: Arc<[u8]>,
    ) -> (Player<'a>, Arc<Told>) {
        let name = contestant.name;
        let memory = Memory::new(if self == Self::Receive { frames } else { Arc::default() });
        let told = memory.told();
        let mut unit = BURST;
        let play: Box<dyn FnMut(usize)> = if let (Self::Receive, Some(receive)) = (self, contestant.receive) {
            // A library may parse all of a read at once: only whole passes over the stream are alike.
            unit = pass(case);
            let mut connection = receive(case, memory);
            connection.receive(CHECKED.min(pass(case)), &mut Seen::new(Some(payload)));
            Box::new(move |count| {
                let mut seen = Seen::new(None);
                connection.receive(count, &mut seen);
                assert!(seen.bytes >= count * payload.len(), "{name} lost bytes");
            })
        } else if let (Self::Send, Some(send)) = (self, contestant.send) {
            told.keep();
            let mut connection = send(case, memory);
            connection.send(BURST);
            let written = told.kept();
            if name != "memcpy" {
                let in_place = contestant.in_place && case.role == Role::Client;
                if let Err(problem) = case.verify(&written, BURST, in_place) {
                    panic!("what {name} sends is wrong: {problem}");
                }
            }
            Box::new(move |count| connection.send(count))
        } else {
            panic!("{name} does not {}", self.name());
        };
        (Player { name: name.to_owned(), unit, play }, told)
    }

    fn calls(self, told: &Told) -> u64 {
        match self {
            Self::Receive => told.reads(),
            Self::Send => told.writes(),
        }
    }

    fn report(self, case: Case, score: &Score, calls: u64) {
        let Case { role, kind, size } = case;
        let what =
            format!(r#""work": "{}", "role": "{role}", "kind": "{kind}", "size": {size}"#, self.name());
        let calls = calls as f64 / score.played as f64;
        print(&what, score, &format!(r#", "calls": {calls:.5}"#));
    }
}

/// How many frames the stream has that is read over and over.
fn pass(case: Case) -> usize {
    (STREAM / (case.size + MOST_HEADER)).max(4)
}

/// About how long the stream is: it stays in the second cache, with the buffers of who reads it.
const STREAM: usize = 512 << 10;
/// How many messages are compared with what was sent.
const CHECKED: usize = 100;
