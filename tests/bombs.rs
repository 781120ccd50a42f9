//! Compressed messages that become a thousand times as large, and messages without an end: what they take, by an
//! allocator that counts and by what the kernel says of a process.
//!
//! A bomb is a GiB, of which little is inflated before it fails. What flows through is 64 MiB, so that a debug
//! build stays fast; with `TAUT_LONG=1` it is a GiB too.
#![cfg(feature = "deflate")]

#[path = "rfc7692/bits.rs"]
mod bits;
#[path = "support/heap.rs"]
mod heap;
mod support;

use bits::{Bits, Distance, zeros};
use bytes::Buf;
use heap::Heap;
use taut::proto::frame::{Header, MAX_HEADER, OpCode};
use taut::proto::{
    Agreement, ChunkRef, Config, Connection, Deflate, Delivery, EventRef, Kind, MessageRef, ProtocolError,
    Role,
};

const ROLES: [Role; 2] = [Role::Server, Role::Client];
const MIB: usize = 1 << 20;
const GIB: u64 = 1 << 30;

/// How much flows through.
fn long() -> u64 {
    if std::env::var_os("TAUT_LONG").is_some() { GIB } else { GIB / 16 }
}

fn agreed(role: Role, config: Config) -> Connection {
    support::connection(role, config).with_agreement(Agreement::new().with_deflate(Deflate::new()))
}

/// How a GiB of zeros comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    OneFrame,
    /// In fragments of a KiB.
    Fragments,
    /// A first message fills the window, and a second refers to it only.
    Takeover,
    /// As before, but to the far end of a window of noise.
    FarTakeover,
}

const SHAPES: [Shape; 4] = [Shape::OneFrame, Shape::Fragments, Shape::Takeover, Shape::FarTakeover];

/// The frames of a bomb, one after the other.
fn bomb(from: Role, shape: Shape, len: u64) -> Vec<u8> {
    let mut wire = Vec::new();
    let window = 32 << 10;
    let payload = match shape {
        Shape::OneFrame | Shape::Fragments => zeros(len, true),
        Shape::Takeover => {
            put(&mut wire, from, true, true, OpCode::Binary, &zeros(window, true));
            zeros(len, false)
        }
        Shape::FarTakeover => {
            let mut seed = 1_u32;
            let mut next = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            };
            let noise: Vec<u8> = (0..window).map(|_| next()).collect();
            put(
                &mut wire,
                from,
                true,
                true,
                OpCode::Binary,
                &Bits::default().stored(false, &noise).message(),
            );
            Bits::default().run(0, Distance::Farthest, len / 258).message()
        }
    };
    if shape == Shape::Fragments {
        let mut pieces = payload.chunks(1 << 10).peekable();
        let (mut first, mut opcode) = (true, OpCode::Binary);
        while let Some(piece) = pieces.next() {
            put(&mut wire, from, pieces.peek().is_none(), first, opcode, piece);
            (first, opcode) = (false, OpCode::Continuation);
        }
    } else {
        put(&mut wire, from, true, true, OpCode::Binary, &payload);
    }
    wire
}

fn put(wire: &mut Vec<u8>, from: Role, fin: bool, rsv1: bool, opcode: OpCode, payload: &[u8]) {
    let mut frame = support::frame(from, fin, opcode, payload);
    frame[0] |= if rsv1 { 0x40 } else { 0 };
    wire.extend(frame);
}

/// Reads as a socket is read, into the room that there is, and looks at each event. Ends with an error, or
/// with the input.
fn read(
    connection: &mut Connection,
    mut wire: &[u8],
    mut look: impl FnMut(EventRef<'_>),
) -> Result<(), ProtocolError> {
    while !wire.is_empty() {
        let input = connection.input();
        let count = wire.len().min(input.capacity() - input.len());
        input.extend_from_slice(&wire[..count]);
        wire = &wire[count..];
        while let Some(event) = connection.next_event_ref()? {
            look(event);
        }
    }
    Ok(())
}

/// A bomb against a limit: fails with 1009, once what fits into the limit has come.
fn explode(connection: &mut Connection, shape: Shape, wire: &[u8], limit: usize) {
    let mut messages = 0;
    let error = read(connection, wire, |event| match event {
        EventRef::Message(MessageRef::Binary(bytes)) => {
            assert_eq!(bytes.len(), 32 << 10, "the message that fills the window");
            messages += 1;
        }
        other => panic!("{other:?}"),
    })
    .unwrap_err();
    assert_eq!(error, ProtocolError::MessageTooBig { max: limit });
    assert_eq!(error.close_code().get(), 1009);
    assert_eq!(messages, usize::from(matches!(shape, Shape::Takeover | Shape::FarTakeover)));
}

/// A GiB in chunks; gives how many bytes came.
fn count_chunks(connection: &mut Connection, wire: &[u8], expected: u8) -> u64 {
    let (mut count, mut ended) = (0, false);
    read(connection, wire, |event| {
        let EventRef::Chunk(ChunkRef { data, first, last }) = event else { panic!("{event:?}") };
        let bytes = data.as_bytes();
        assert!(bytes.len() <= 16 << 10, "a chunk of {}", bytes.len());
        assert!(bytes.iter().all(|&byte| byte == expected));
        assert_eq!(first, count == 0);
        count += bytes.len() as u64;
        ended = last;
    })
    .unwrap();
    assert!(ended);
    count
}

/// A bomb ends with 1009, in less than twice the limit, and a Close is all that it leaves.
fn ends_with_1009(shape: Shape) {
    for role in ROLES {
        let wire = bomb(role.peer(), shape, GIB);
        // 1,032 bytes in one; with a distance of 13 bits more it is 137 bytes in one.
        assert!(wire.len() < if shape == Shape::FarTakeover { 8 * MIB } else { MIB + (16 << 10) });
        for limit in [MIB, 16 * MIB] {
            let config = Config::new().max_message(limit).max_frame(usize::MAX);
            // What bounds the wire comes first, if the wire is larger than the message may be.
            if wire.len() > limit + limit / 8 {
                continue;
            }
            let heap = Heap::now();
            let mut connection = agreed(role, config);
            explode(&mut connection, shape, &wire, limit);
            let peak = heap.peak();
            assert!(peak < 2 * limit as isize, "{shape:?} took {peak} of {limit} ({role:?})");
            assert!(peak > limit as isize, "{shape:?} took {peak}, and inflated nothing");
            assert!(heap.owned() < 256 << 10, "{shape:?} keeps {}", heap.owned());
            drop(connection);
            assert!(heap.owned() < 128 << 10, "{shape:?} leaves {}", heap.owned());
        }
    }
}

#[test]
fn inflate_bomb_single() {
    ends_with_1009(Shape::OneFrame);
}

#[test]
fn inflate_bomb_fragmented() {
    ends_with_1009(Shape::Fragments);
}

#[test]
fn inflate_bomb_context_takeover() {
    ends_with_1009(Shape::Takeover);
    ends_with_1009(Shape::FarTakeover);
}

/// Ten GiB in name, of which in chunks no byte beyond the limit is handed out.
#[test]
fn inflate_bomb_of_ten_gigabytes() {
    // The wire is bounded as well, at an eighth more than the limit: the bomb has to fit into that.
    const LIMIT: usize = 10 * MIB + 7;
    for role in ROLES {
        let wire = bomb(role.peer(), Shape::OneFrame, 10 * GIB);
        let config = Config::new().delivery(Delivery::Chunks).max_streamed(LIMIT as u64);
        let heap = Heap::now();
        let mut connection = agreed(role, config);
        let mut inflated = 0;
        let error = read(&mut connection, &wire, |event| match event {
            EventRef::Chunk(chunk) => inflated += chunk.data.as_bytes().len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(error, Err(ProtocolError::StreamTooBig { max: LIMIT as u64 }));
        assert!(inflated <= LIMIT && inflated + (32 << 10) > LIMIT, "{inflated} bytes came");
        assert!(heap.peak() < MIB as isize, "{role:?} took {}", heap.peak());
    }
}

/// The default limit, and one for each message: messages that fit pass, however many come.
#[test]
fn bombs_one_after_the_other_take_no_more_than_one() {
    let payload = zeros(MIB as u64, true);
    let heap = Heap::now();
    let mut connection = agreed(Role::Server, Config::new());
    let mut wire = Vec::new();
    put(&mut wire, Role::Client, true, true, OpCode::Binary, &payload);
    let mut count = 0;
    for _ in 0..20 {
        read(&mut connection, &wire, |event| {
            let EventRef::Message(MessageRef::Binary(bytes)) = event else { panic!("{event:?}") };
            assert_eq!(bytes.len(), MIB);
            count += 1;
        })
        .unwrap();
    }
    assert_eq!(count, 20);
    // One, the smaller memory that it grew out of, and what the thread keeps of the one before.
    assert!(heap.peak() < 7 * MIB as isize / 2, "{}", heap.peak());
}

#[test]
fn in_chunks_a_bomb_flows_through() {
    for shape in [Shape::OneFrame, Shape::Fragments] {
        let wire = bomb(Role::Client, shape, long());
        let config = Config::new().delivery(Delivery::Chunks).max_message(0).max_frame(0);
        let heap = Heap::now();
        let mut connection = agreed(Role::Server, config);
        assert_eq!(count_chunks(&mut connection, &wire, 0), long());
        assert!(heap.peak() < MIB as isize, "{shape:?} took {}", heap.peak());
    }
}

/// What `flow` sends in one fragment: a KiB of noise, again and again, so that it has to be compared.
const PIECE: usize = 64 << 10;

/// A message without an end that is known, sent in fragments and received in chunks; gives its length.
fn flow(from: Role, len: u64) -> u64 {
    let mut sender = agreed(from, Config::new());
    let mut receiver = agreed(from.peer(), Config::new().delivery(Delivery::Chunks).max_message(0));
    let piece: Vec<u8> =
        (0..PIECE as u32).map(|i| ((i % 1024).wrapping_mul(2_654_435_769) >> 24) as u8).collect();
    let (mut sent, mut wire_len, mut come) = (0, 0, 0);
    while sent < len {
        sent += PIECE as u64;
        sender.send_fragment(Kind::Binary, &piece, sent >= len).unwrap();
        while sender.wants_output() {
            let output = sender.output();
            let input = receiver.input();
            let count = output.chunk().len().min(input.capacity() - input.len());
            input.extend_from_slice(&output.chunk()[..count]);
            output.advance(count);
            wire_len += count as u64;
            while let Some(event) = receiver.next_event_ref().unwrap() {
                let EventRef::Chunk(chunk) = event else { panic!("{event:?}") };
                let mut bytes = chunk.data.as_bytes();
                while !bytes.is_empty() {
                    let at = come as usize % PIECE;
                    let same = bytes.len().min(PIECE - at);
                    assert!(bytes[..same] == piece[at..at + same], "at {come}");
                    come += same as u64;
                    bytes = &bytes[same..];
                }
                assert_eq!(chunk.last, come == len);
            }
        }
    }
    assert!(wire_len < len / 20, "{len} bytes became {wire_len}");
    come
}

#[test]
fn a_message_without_end_is_compressed_and_inflated_in_flat_memory() {
    for role in ROLES {
        let heap = Heap::now();
        assert_eq!(flow(role, long()), long());
        assert!(heap.peak() < MIB as isize, "{role:?} took {}", heap.peak());
    }
}

/// A header that announces much, with RSV1: nothing is taken before it comes.
#[test]
fn a_compressed_frame_that_announces_much_takes_nothing() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let config = Config::new().delivery(delivery).max_message(usize::MAX).max_frame(usize::MAX);
        let heap = Heap::now();
        let mut connection = agreed(Role::Client, config);
        let header = Header { fin: true, rsv1: true, opcode: OpCode::Binary, key: None, len: 1 << 40 };
        let mut bytes = [0; MAX_HEADER];
        let length = header.encode(&mut bytes);
        connection.feed(&bytes[..length]);
        connection.feed(&zeros(1000, true)[..20]);
        while connection.next_event_ref().unwrap().is_some() {}
        assert!(heap.peak() < 128 << 10, "{}", heap.peak());
    }
}

/// What the kernel says, in processes that do nothing else.
#[cfg(target_os = "linux")]
mod resident {
    use std::fs;
    use std::process::Command;

    use super::*;

    const CASE: &str = "TAUT_BOMB";

    /// A line of `/proc/self/status`, in bytes.
    fn status(name: &str) -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches([':', '\t', ' ']).split(' ').next().unwrap().parse::<u64>().unwrap() << 10
    }

    /// The most that is resident while `work` runs, beyond what was before.
    fn grown(work: impl FnOnce()) -> u64 {
        let before = status("VmRSS");
        // proc(5): sets the peak to what is resident now. Where that is not allowed, the peak is of the whole
        // process, which is more.
        let _ = fs::write("/proc/self/clear_refs", "5");
        work();
        status("VmHWM").saturating_sub(before)
    }

    /// Runs the case in a process of its own, which is this test binary again.
    fn in_a_process(case: &str) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "resident::a_case_in_its_own_process", "--test-threads=1"])
            .env(CASE, case)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{case}: {text}");
    }

    #[test]
    fn bombs_grow_a_process_by_less_than_twice_the_limit() {
        for shape in SHAPES {
            for limit in [MIB, 16 * MIB] {
                if !(shape == Shape::FarTakeover && limit == MIB) {
                    in_a_process(&format!("{shape:?} {limit}"));
                }
            }
        }
    }

    #[test]
    fn what_flows_through_leaves_a_process_as_small_as_it_was() {
        in_a_process("chunks");
        in_a_process("flow");
    }

    /// Does nothing unless [`in_a_process`] asks for it.
    #[test]
    fn a_case_in_its_own_process() {
        let Ok(case) = std::env::var(CASE) else { return };
        // The first of everything is not what is measured.
        flow(Role::Client, 10 * PIECE as u64);
        let most = match &*case {
            "flow" => {
                let grown = grown(|| assert_eq!(flow(Role::Client, long()), long()));
                (grown, MIB)
            }
            "chunks" => {
                let wire = bomb(Role::Client, Shape::OneFrame, long());
                let config = Config::new().delivery(Delivery::Chunks);
                let grown = grown(|| {
                    let mut connection = agreed(Role::Server, config);
                    assert_eq!(count_chunks(&mut connection, &wire, 0), long());
                });
                (grown, MIB)
            }
            bomb_case => {
                let (name, limit) = bomb_case.split_once(' ').unwrap();
                let shape = SHAPES.into_iter().find(|shape| format!("{shape:?}") == name).unwrap();
                let limit = limit.parse().unwrap();
                let wire = bomb(Role::Client, shape, GIB);
                let grown = grown(|| {
                    let config = Config::new().max_message(limit).max_frame(usize::MAX);
                    explode(&mut agreed(Role::Server, config), shape, &wire, limit);
                });
                assert!(grown > limit as u64 / 2, "{case}: {grown}, and inflated nothing");
                (grown, 2 * limit)
            }
        };
        assert!(most.0 < most.1 as u64, "{case} grew the process by {} of {}", most.0, most.1);
    }
}
