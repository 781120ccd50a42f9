//! Messages through an open connection in memory: received, sent, to many, and back.
//!
//! `cargo bench --bench connection`, or only some: `cargo bench --bench connection -- receive/borrowed/text`

#[path = "support/case.rs"]
mod case;
#[path = "support/connection.rs"]
mod connection;
#[path = "support/timing.rs"]
mod timing;

use connection::{Compression, Content, Row, Work};
use criterion::{Criterion, criterion_group, criterion_main};
use taut::proto::Role;

fn connections(criterion: &mut Criterion) {
    timing::measure(criterion, connection::cases(&ROWS));
}

const ROWS: [Row; 16] = [
    plain(Work::Borrowed, RECEIVED, BOTH),
    plain(Work::Owned, RECEIVED, BOTH),
    Row { sizes: &FRAGMENTED, ..plain(Work::Fragmented, RECEIVED, SERVER) },
    plain(Work::Copied, SENT, BOTH),
    plain(Work::Lent, SENT, SERVER),
    plain(Work::Shared, SENT, BOTH),
    plain(Work::Broadcast, SENT, SERVER),
    plain(Work::Echo, SENT, SERVER),
    deflated(Work::Borrowed, BOTH, Compression::Takeover),
    deflated(Work::Borrowed, BOTH, Compression::NoTakeover),
    deflated(Work::Copied, BOTH, Compression::Takeover),
    deflated(Work::Copied, BOTH, Compression::NoTakeover),
    deflated(Work::Broadcast, SERVER, Compression::Takeover),
    deflated(Work::Broadcast, SERVER, Compression::NoTakeover),
    deflated(Work::Echo, SERVER, Compression::Takeover),
    deflated(Work::Echo, SERVER, Compression::NoTakeover),
];

const fn plain(work: Work, contents: &'static [Content], roles: &'static [Role]) -> Row {
    Row { work, contents, roles, compression: Compression::Off, sizes: &SIZES }
}

const fn deflated(work: Work, roles: &'static [Role], compression: Compression) -> Row {
    Row { work, contents: &[Content::Records], roles, compression, sizes: &DEFLATED }
}

const RECEIVED: &[Content] = &[Content::Binary, Content::Text, Content::Mixed];
/// Who sends text has checked it.
const SENT: &[Content] = &[Content::Binary, Content::Text];
const BOTH: &[Role] = &[Role::Server, Role::Client];
const SERVER: &[Role] = &[Role::Server];
const SIZES: [usize; 7] = [0, 16, 125, 1 << 10, 16 << 10, 64 << 10, 1 << 20];
/// Smaller messages have no parts worth sending.
const FRAGMENTED: [usize; 5] = [125, 1 << 10, 16 << 10, 64 << 10, 1 << 20];
/// Smaller messages are not compressed by default.
const DEFLATED: [usize; 4] = [1 << 10, 16 << 10, 64 << 10, 1 << 20];

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = connections
}
criterion_main!(benches);
