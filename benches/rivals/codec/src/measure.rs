//! Rounds in which everybody takes a turn, and the figures that come out, one JSON object a line.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How long, and how often.
#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    /// The least that a turn takes.
    pub turn: Duration,
}

/// One who takes turns.
pub struct Player<'a> {
    pub name: String,
    /// Turns have a multiple of so many operations.
    pub unit: usize,
    /// Does so many operations.
    pub play: Box<dyn FnMut(usize) + 'a>,
}

/// What one player took.
pub struct Score {
    pub name: String,
    /// Operations in a turn.
    pub count: usize,
    /// All operations, those among them that found out how many fill a turn.
    pub played: usize,
    /// Nanoseconds for each operation, in the order of the rounds.
    pub samples: Vec<f64>,
}

impl Plan {
    /// Lets everybody play in each round: another one first each time, and every other round in the other direction.
    pub fn play(&self, mut players: Vec<Player<'_>>) -> Vec<Score> {
        let mut scores: Vec<Score> = players
            .iter_mut()
            .map(|player| {
                let (count, before) = self.operations(player);
                let samples = Vec::with_capacity(self.rounds);
                Score { name: player.name.clone(), count, played: before + count * self.rounds, samples }
            })
            .collect();
        for round in 0..self.rounds {
            for turn in 0..players.len() {
                let step = if round % 2 == 0 { turn } else { players.len() - turn };
                let index = (round + step) % players.len();
                let score = &mut scores[index];
                let begin = Instant::now();
                (players[index].play)(score.count);
                score.samples.push(begin.elapsed().as_nanos() as f64 / score.count as f64);
            }
        }
        scores
    }

    /// How many operations fill a turn, and how many it took to find out, which warms up what there is to warm up.
    fn operations(&self, player: &mut Player<'_>) -> (usize, usize) {
        let (mut count, mut played) = (player.unit, 0);
        loop {
            let begin = Instant::now();
            (player.play)(count);
            let time = begin.elapsed();
            played += count;
            if time * 4 >= self.turn {
                let turns = self.turn.as_secs_f64() / time.as_secs_f64();
                let units = (turns * count as f64 / player.unit as f64).ceil() as usize;
                return (units.max(1) * player.unit, played);
            }
            count *= 2;
        }
    }
}

/// One line of JSON: what was done, as `"key": value` pairs, and what each operation took.
pub fn print(what: &str, score: &Score, more: &str) {
    let mut samples = String::new();
    for sample in &score.samples {
        let comma = if samples.is_empty() { "" } else { ", " };
        let _ = write!(samples, "{comma}{sample:.4}");
    }
    let Score { name, count, .. } = score;
    println!(r#"{{{what}, "who": "{name}", "count": {count}{more}, "nanoseconds": [{samples}]}}"#);
}
