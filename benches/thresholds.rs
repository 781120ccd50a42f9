//! Where copying and sharing cost the same: the figures behind `Config::copy_below` and `share_above`.
//!
//! `cargo bench --bench thresholds`

use std::hint::black_box;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};

use bytes::{Buf, Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use taut::proto::{Config, Connection};

/// What one read brings.
const READ: usize = 64 << 10;
/// Messages in one write.
const BURST: usize = 32;

/// A payload out of a read buffer: a copy of it, or a share of the buffer.
fn received(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("received");
    for size in [128, 256, 512, 1 << 10, 2 << 10, 4 << 10] {
        let count = READ / size;
        group.throughput(Throughput::Elements(count as u64));
        let bytes = vec![7; READ];
        let mut buffer = BytesMut::with_capacity(READ);
        group.bench_function(BenchmarkId::new("copy", size), |bencher| {
            bencher.iter(|| {
                buffer.clear();
                buffer.extend_from_slice(&bytes);
                for payload in buffer.chunks(size) {
                    black_box(Bytes::copy_from_slice(payload));
                }
            });
        });
        group.bench_function(BenchmarkId::new("share", size), |bencher| {
            bencher.iter(|| {
                buffer.clear();
                buffer.reserve(READ);
                buffer.extend_from_slice(&bytes);
                for _ in 0..count {
                    black_box(buffer.split_to(size).freeze());
                }
            });
        });
    }
}

/// A burst of payloads into a TCP socket: copied behind their headers, or by reference between them.
fn sent(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sent");
    for size in [512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10] {
        group.throughput(Throughput::Elements(BURST as u64));
        for (name, share_above) in [("copy", u32::MAX), ("share", 0)] {
            let mut stream = drained();
            let config = Config::new().share_above(share_above).max_queued(usize::MAX);
            let mut server = Connection::server(config);
            let payload = Bytes::from(vec![7; size]);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    for _ in 0..BURST {
                        server.send(payload.clone()).unwrap();
                    }
                    while server.wants_output() {
                        let mut slices = [IoSlice::new(&[]); 2 * BURST];
                        let output = server.output();
                        let count = output.chunks_vectored(&mut slices);
                        let written = stream.write_vectored(&slices[..count]).unwrap();
                        output.advance(written);
                    }
                });
            });
        }
    }
}

/// A stream whose other end reads all that comes.
fn drained() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while other.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    stream
}

criterion_group!(benches, received, sent);
criterion_main!(benches);
