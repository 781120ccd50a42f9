//! What single polls of a stream do, as a list says or by chance; and that chance, which a seed repeats.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::time::Duration;

/// What one poll does, if the other end lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a poll waits or moves")]
pub enum Turn {
    /// It is pending, and its task is woken after others had their turn.
    Wait,
    /// It moves at most so many bytes.
    Bytes(usize),
}

/// What the polls of one end in one direction do: a list, again from the first after the last, or by chance.
#[derive(Clone, Debug)]
pub struct Turns(Kind);

#[derive(Clone, Debug)]
enum Kind {
    List { turns: Vec<Turn>, next: usize },
    Random { most: usize, chance: Chance, turn: Turn },
}

impl Turns {
    /// These, again and again.
    ///
    /// # Panics
    /// None of them ever moves a byte.
    #[must_use]
    pub fn new(turns: impl Into<Vec<Turn>>) -> Self {
        let turns = turns.into();
        let moves = turns.iter().any(|turn| matches!(turn, Turn::Bytes(1..)));
        assert!(moves, "nothing would ever move: {turns:?}; add a `Turn::Bytes` of at least one");
        Self(Kind::List { turns, next: 0 })
    }

    /// As many bytes as there are.
    #[must_use]
    pub fn free() -> Self {
        Self::new([Turn::Bytes(usize::MAX)])
    }

    /// Pending before every byte.
    #[must_use]
    pub fn bytewise() -> Self {
        Self::pieces(1)
    }

    /// Pending before every piece of that length.
    #[must_use]
    pub fn pieces(len: usize) -> Self {
        Self::new([Turn::Wait, Turn::Bytes(len)])
    }

    /// Pieces of one to `most` bytes, pending before one in four.
    #[must_use]
    pub fn random(seed: u64, most: usize) -> Self {
        let mut chance = Chance::new(seed);
        let turn = chance.turn(most);
        Self(Kind::Random { most, chance, turn })
    }

    pub(super) fn get(&self) -> Turn {
        match &self.0 {
            Kind::List { turns, next } => turns[*next],
            Kind::Random { turn, .. } => *turn,
        }
    }

    pub(super) fn advance(&mut self) {
        match &mut self.0 {
            Kind::List { turns, next } => *next = (*next + 1) % turns.len(),
            Kind::Random { most, chance, turn } => *turn = chance.turn(*most),
        }
    }
}

/// Numbers that a seed repeats, on any machine and in any version: SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// From one to `most`, which counts as one at least.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        1 + self.next() % most.max(1)
    }

    /// Up to that long.
    pub(super) fn time(&mut self, most: Duration) -> Duration {
        if most.is_zero() { most } else { most.mul_f64(self.next() as f64 / u64::MAX as f64) }
    }

    fn turn(&mut self, most: usize) -> Turn {
        if self.next().is_multiple_of(4) { Turn::Wait } else { Turn::Bytes(self.up_to(most as u64) as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_on_every_machine() {
        // The first numbers of SplitMix64 for this seed, as its author published them.
        let mut chance = Chance::new(1_234_567);
        let numbers = [chance.next(), chance.next(), chance.next()];
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn random_turns_wait_at_times_and_move_up_to_the_most() {
        let mut turns = Turns::random(7, 3);
        let mut seen = [0; 4];
        for _ in 0..1000 {
            match turns.get() {
                Turn::Wait => seen[0] += 1,
                Turn::Bytes(count) => seen[count] += 1,
            }
            turns.advance();
        }
        assert!(seen.iter().all(|&count| (200..300).contains(&count)), "{seen:?}");
    }
}
