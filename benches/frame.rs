//! The parts of a frame by themselves: header, mask, UTF-8; and a message through the engine, in and out.
//!
//! `cargo bench --bench frame`

use std::hint::black_box;

use bytes::{Buf, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use taut::proto::frame::{Header, MAX_HEADER, OpCode};
use taut::proto::{Config, Connection, EventRef, Role, mask, utf8};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SIZES: [usize; 6] = [0, 16, 125, 1 << 10, 16 << 10, 64 << 10];
/// Frames for each measured pass, so that the cost of setting up is shared by many.
const BATCH: usize = 64;

fn header(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    for len in [16, 1 << 10, 1 << 20] {
        let header = Header { fin: true, rsv1: false, opcode: OpCode::Text, key: Some(KEY), len };
        let mut bytes = [0; MAX_HEADER];
        let length = header.encode(&mut bytes);
        group.bench_function(BenchmarkId::new("decode", len), |bencher| {
            bencher.iter(|| Header::decode(black_box(&bytes[..length]), Role::Client));
        });
        group.bench_function(BenchmarkId::new("encode", len), |bencher| {
            bencher.iter(|| black_box(&header).encode(&mut bytes));
        });
    }
}

fn masking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in SIZES {
        let mut payload = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| mask::apply(black_box(&mut payload), KEY, 0));
        });
    }
}

fn text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for (name, unit) in [("ascii", "a"), ("mixed", "aé€𐍈")] {
        for size in SIZES {
            let payload = unit.repeat(size / unit.len());
            group.throughput(Throughput::Bytes(payload.len() as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    let mut validator = utf8::Validator::new();
                    validator.feed(black_box(payload.as_bytes())).and_then(|()| validator.finish())
                });
            });
        }
    }
}

fn wire(opcode: OpCode, size: usize) -> Vec<u8> {
    let mut client = Connection::client(Config::new().max_queued(usize::MAX), || KEY);
    for _ in 0..BATCH {
        let payload = vec![b'a'; size];
        if opcode == OpCode::Text {
            client.send_text(std::str::from_utf8(&payload).unwrap()).unwrap();
        } else {
            client.send_binary(&payload).unwrap();
        }
    }
    let output = client.output();
    output.copy_to_bytes(output.remaining()).to_vec()
}

/// Time for each message, out of a buffer that holds many; the copy into that buffer is in it, as a read's is.
fn receive(criterion: &mut Criterion) {
    for (kind, opcode) in [("binary", OpCode::Binary), ("text", OpCode::Text)] {
        let mut group = criterion.benchmark_group(format!("receive/{kind}"));
        group.throughput(Throughput::Elements(BATCH as u64));
        for size in SIZES {
            let wire = wire(opcode, size);
            let mut server = Connection::server(Config::new());
            let mut buffer = BytesMut::with_capacity(wire.len());
            group.bench_function(BenchmarkId::new("borrowed", size), |bencher| {
                bencher.iter(|| {
                    buffer.clear();
                    buffer.extend_from_slice(&wire);
                    server.put_input(std::mem::take(&mut buffer));
                    while let Some(event) = server.next_event_ref().unwrap() {
                        black_box(event);
                    }
                    buffer = server.take_input();
                });
            });
            group.bench_function(BenchmarkId::new("owned", size), |bencher| {
                bencher.iter(|| {
                    buffer.clear();
                    buffer.extend_from_slice(&wire);
                    server.put_input(std::mem::take(&mut buffer));
                    while let Some(event) = server.next_event().unwrap() {
                        black_box(event);
                    }
                    buffer = server.take_input();
                });
            });
        }
    }
}

/// Time for each message, queued and drained in one piece.
fn echo(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("echo");
    group.throughput(Throughput::Elements(BATCH as u64));
    for size in SIZES {
        let wire = wire(OpCode::Binary, size);
        let mut server = Connection::server(Config::new().max_queued(usize::MAX));
        group.bench_function(BenchmarkId::new("borrowed", size), |bencher| {
            bencher.iter(|| {
                server.feed(&wire);
                let (receiver, sender) = server.halves();
                while let Some(event) = receiver.next_event_ref().unwrap() {
                    if let EventRef::Message(message) = event {
                        sender.send_ref(message).unwrap();
                    }
                }
                let output = server.output();
                output.advance(black_box(output.remaining()));
            });
        });
    }
}

criterion_group!(benches, header, masking, text, receive, echo);
criterion_main!(benches);
