//! The parts of a frame by themselves: header, mask, UTF-8.
//!
//! `cargo bench --bench frame`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use taut::proto::Role;
use taut::proto::frame::{Header, MAX_HEADER, OpCode};
use taut::proto::{mask, utf8};

/// Of a server's frames, which have no key, and a client's; of each length of the length.
fn header(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    group.throughput(Throughput::Elements(1));
    for (from, key) in [(Role::Server, None), (Role::Client, Some(KEY))] {
        for len in [16, 1 << 10, 1 << 20] {
            let header = Header { fin: true, rsv1: false, opcode: OpCode::Text, key, len };
            let mut bytes = [0; MAX_HEADER];
            let length = header.encode(&mut bytes);
            let name = |work| BenchmarkId::new(format!("{work}/{from:?}"), len);
            group.bench_function(name("decode"), |bencher| {
                bencher.iter(|| Header::decode(black_box(&bytes[..length]), from));
            });
            group.bench_function(name("encode"), |bencher| {
                bencher.iter(|| black_box(&header).encode(black_box(&mut bytes)));
            });
        }
    }
}

fn masking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in SIZES {
        let mut payload = vec![7; size];
        group.throughput(throughput(size));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| mask::apply(black_box(&mut payload), KEY, 0));
        });
    }
}

fn text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for (name, unit) in [("ascii", "a"), ("mixed", "aé€𐍈")] {
        for size in SIZES {
            let payload = unit.repeat(size / unit.len()) + &"a".repeat(size % unit.len());
            group.throughput(throughput(size));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| utf8::check(black_box(payload.as_bytes())).is_ok());
            });
            group.bench_function(BenchmarkId::new(format!("{name}, in pieces"), size), |bencher| {
                bencher.iter(|| {
                    let mut validator = utf8::Validator::new();
                    validator.feed(black_box(payload.as_bytes())).and_then(|()| validator.finish())
                });
            });
        }
    }
}

/// Nothing has no rate.
fn throughput(size: usize) -> Throughput {
    if size == 0 { Throughput::Elements(1) } else { Throughput::Bytes(size as u64) }
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SIZES: [usize; 7] = [0, 16, 125, 1 << 10, 16 << 10, 64 << 10, 1 << 20];

criterion_group!(benches, header, masking, text);
criterion_main!(benches);
