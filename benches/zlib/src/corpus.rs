//! The messages: made up, the same each time, each different from all others.

use std::fmt::Write;
use std::sync::LazyLock;

/// What messages hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Text,
}

/// So many messages of a length.
pub(crate) fn messages(kind: Kind, length: usize, count: usize) -> Vec<Vec<u8>> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ length as u64);
    let messages = (0..count).map(|number| {
        let mut message = match kind {
            Kind::Json => json(&mut random, number, length),
            Kind::Text => text(&mut random, length),
        };
        // A message ends where it is as long as wanted, be it within a word.
        message.truncate(length);
        message.into_bytes()
    });
    messages.collect()
}

/// Orders on a market, as a feed might send them: a short one alone, or an array of long ones.
fn json(random: &mut Random, number: usize, length: usize) -> String {
    let mut out = String::new();
    let word = |random: &mut Random| WORDS[random.below(WORDS.len())];
    let (id, price) = (1_000_000 + 7 * number, random.below(900_000));
    if length < 200 {
        let (whole, cents) = (price / 100, price % 100);
        let side = ["buy", "sell"][random.below(2)];
        let _ = write!(
            out,
            r#"{{"id":{id},"side":"{side}","price":{whole}.{cents:02},"size":{},"#,
            random.below(500)
        );
        while out.len() < length {
            let _ = write!(out, r#""{}":{},"#, word(random), random.below(10_000));
        }
        return out;
    }
    let _ = write!(out, r#"{{"type":"orders","sequence":{id},"orders":["#);
    for order in 0.. {
        if out.len() >= length {
            break;
        }
        let user = format!("{}.{}{}", word(random), word(random), random.below(100));
        let _ = write!(
            out,
            r#"{{"id":"{:08x}-{:04x}","user":"{user}","pair":"{}/USD","side":"{}","price":{}.{:02},"size":{},"filled":{},"tags":["{}","{}"],"note":{},"time":"2024-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z"}},"#,
            random.next() as u32,
            (id + order) & 0xFFFF,
            ["BTC", "ETH", "SOL", "XRP", "ADA", "DOT"][random.below(6)],
            ["buy", "sell"][random.below(2)],
            random.below(70_000),
            random.below(100),
            random.below(5000),
            random.below(2) == 0,
            word(random),
            word(random),
            match random.below(3) {
                0 => "null".to_owned(),
                _ => format!(r#""{} {} {}""#, word(random), word(random), word(random)),
            },
            1 + random.below(12),
            1 + random.below(28),
            random.below(24),
            random.below(60),
            random.below(60),
            random.below(1000),
        );
    }
    out
}

/// Sentences of English words, each as frequent as Zipf's law has it of its rank; every fifth one is rarer, made
/// of syllables, as names and terms are.
fn text(random: &mut Random, length: usize) -> String {
    let weights: Vec<f64> = (1..=WORDS.len()).map(|rank| 1.0 / (rank as f64 + 2.0)).collect();
    let total: f64 = weights.iter().sum();
    let mut out = String::new();
    while out.len() < length {
        let words = 4 + random.below(16);
        for place in 0..words {
            let mut word = if random.below(5) == 0 {
                (0..2 + random.below(3)).map(|_| SYLLABLES[random.below(SYLLABLES.len())]).collect()
            } else {
                let mut left = random.below(1 << 30) as f64 / (1 << 30) as f64 * total;
                let index = weights.iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                WORDS[index.unwrap_or(0)].to_owned()
            };
            if place == 0 {
                word[..1].make_ascii_uppercase();
            }
            out.push_str(&word);
            out.push_str(match random.below(12) {
                _ if place + 1 == words => ". ",
                0 => ", ",
                _ => " ",
            });
        }
        if random.below(6) == 0 {
            out.push('\n');
        }
    }
    out
}

/// Numbers that look random and are the same each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Common English words, the most frequent first.
static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    "the of and to a in is you that it he was for on are as with his they I at be this have from or one had \
    by word but not what all were we when your can said there use an each which she do how their if will up \
    other about out many then them these so some her would make like him into time has look two more write \
    go see number no way could people my than first water been call who oil its now find long down day did \
    get come made may part over new sound take only little work know place year live me back give most very \
    after thing our just name good sentence man think say great where help through much before line right \
    too mean old any same tell boy follow came want show also around form three small set put end does \
    another well large must big even such because turn here why ask went men read need land different home \
    us move try kind hand picture again change off play spell air away animal house point page letter mother \
    answer found study still learn should world high every near add food between own below country plant \
    last school father keep tree never start city earth eye light thought head under story saw left few \
    while along might close something seem next hard open"
        .split(' ')
        .collect()
});

static SYLLABLES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    "ka ri mo ten ver sta lin dor ex pre con tra min ter ble ment ish tion al er un par gen lo si que fab ric \
    hol den sor py wick ham ford ley nor cas bur zen"
        .split(' ')
        .collect()
});
