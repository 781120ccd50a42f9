//! Opening handshakes in memory: a server that answers a browser, a client that asks and checks the answer.
//!
//! `cargo bench --bench handshake`

#[path = "support/case.rs"]
mod case;
#[path = "support/handshake.rs"]
mod handshake;
#[path = "support/timing.rs"]
mod timing;

use criterion::{Criterion, criterion_group, criterion_main};

fn handshakes(criterion: &mut Criterion) {
    timing::measure(criterion, handshake::cases());
}

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = handshakes
}
criterion_main!(benches);
