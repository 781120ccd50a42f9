//! What the engine takes from the heap: in proportion to the bytes that came, nothing for each message of an
//! echo, nothing for an idle connection, and little for a peer that misbehaves.

#[path = "support/heap.rs"]
mod heap;
mod support;

use bytes::{Buf, Bytes, BytesMut};
use heap::Heap;
use support::{connection, frame};
use taut::proto::frame::{Header, MAX_HEADER, OpCode};
use taut::proto::handshake::{Accept, ServerHandshake};
use taut::proto::{
    Agreement, Config, Connection, Deflate, Delivery, Event, EventRef, Kind, Message, MessageRef, Role,
    release_thread_memory,
};

const ROLES: [Role; 2] = [Role::Server, Role::Client];
const DELIVERIES: [Delivery; 2] = [Delivery::Whole, Delivery::Chunks];
/// The read buffer at first, and at most. See `Config::read_size`: 4 KiB and 64 KiB of room behind the
/// beginning of a frame, in memory that doubles.
const FIRST_BUFFER: isize = 2 * (4 << 10);
const MOST_BUFFER: isize = 2 * (64 << 10);
/// What a shared buffer needs beside its bytes: counters and pointers.
const SMALL: isize = 256;

fn no_limits() -> Config {
    Config::new()
        .max_message(usize::MAX)
        .max_frame(usize::MAX)
        .max_streamed(u64::MAX)
        .max_fragments(u32::MAX)
        .max_empty_fragments(u32::MAX)
}

/// A header that announces `len` bytes, which need not come.
fn header(from: Role, opcode: OpCode, fin: bool, len: u64) -> Vec<u8> {
    let key = (from == Role::Client).then_some([0; 4]);
    let mut bytes = [0; MAX_HEADER];
    let length = Header { fin, rsv1: false, opcode, key, len }.encode(&mut bytes);
    bytes[..length].to_vec()
}

/// One read, as a socket does it: into the room that there is.
fn read<'a>(connection: &mut Connection, wire: &'a [u8]) -> &'a [u8] {
    read_into(connection.input(), wire)
}

fn read_into<'a>(input: &mut BytesMut, wire: &'a [u8]) -> &'a [u8] {
    let count = wire.len().min(input.capacity() - input.len());
    input.extend_from_slice(&wire[..count]);
    &wire[count..]
}

/// Takes all events; gives how many.
fn take(connection: &mut Connection, borrowed: bool) -> usize {
    let mut count = 0;
    while if borrowed {
        connection.next_event_ref().unwrap().is_some()
    } else {
        connection.next_event().unwrap().is_some()
    } {
        count += 1;
    }
    count
}

/// Writes all that waits, piece by piece; gives the number of bytes.
fn write(connection: &mut Connection) -> usize {
    let mut count = 0;
    while connection.wants_output() {
        let output = connection.output();
        let piece = output.chunk().len();
        output.advance(piece);
        count += piece;
    }
    count
}

#[test]
fn a_header_that_announces_much_costs_the_read_buffer() {
    let claims = [(no_limits(), 1 << 62), (Config::new(), 16 << 20), (no_limits(), (1 << 63) - 1)];
    for (config, len) in claims {
        for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
            for (opcode, fin) in [(OpCode::Text, true), (OpCode::Binary, true), (OpCode::Binary, false)] {
                let wire = header(role.peer(), opcode, fin, len);
                let mut connection = connection(role, config.delivery(delivery));
                let before = Heap::now();
                // Byte by byte, then with some of the payload, of which 100 bytes are gathered at most.
                for bytes in wire.chunks(1).chain([&[b'x'; 1][..]; 100]) {
                    connection.input().extend_from_slice(bytes);
                    take(&mut connection, false);
                }
                connection.input();
                let grown = before.owned();
                assert!(grown <= FIRST_BUFFER + 2 * SMALL, "{role:?} {delivery:?} {len}: {grown} bytes");
            }
        }
    }
}

/// Of a message that has not ended, what came is held at most twice, and a read's room.
#[test]
fn memory_follows_the_bytes_that_came() {
    for role in ROLES {
        for opcode in [OpCode::Text, OpCode::Binary] {
            for by_feed in [false, true] {
                let mut connection = connection(role, no_limits());
                let wire = header(role.peer(), opcode, true, 1 << 40);
                let payload = vec![b'x'; 3000];
                let before = Heap::now();
                let mut came = 0;
                connection.feed(&wire);
                while came < 4 << 20 {
                    if by_feed {
                        connection.feed(&payload);
                    } else {
                        assert!(
                            read(&mut connection, &payload).is_empty(),
                            "a read has room for these bytes"
                        );
                    }
                    came += payload.len();
                    assert_eq!(take(&mut connection, true), 0);
                    let grown = before.owned();
                    let most = 2 * came as isize + MOST_BUFFER + SMALL;
                    assert!(grown <= most, "{role:?}, feed {by_feed}: {grown} for {came} bytes");
                }
            }
        }
    }
}

/// In chunks, a message of any size is held for no longer than its read.
#[test]
fn chunks_take_the_memory_of_a_read() {
    for role in ROLES {
        for opcode in [OpCode::Text, OpCode::Binary] {
            for borrowed in [true, false] {
                let mut connection = connection(role, no_limits().delivery(Delivery::Chunks));
                let mut wire = header(role.peer(), opcode, true, 1 << 40);
                wire.resize(8 << 20, b'x');
                let before = Heap::now();
                let mut rest = &wire[..];
                while !rest.is_empty() {
                    rest = read(&mut connection, rest);
                    assert_eq!(take(&mut connection, borrowed), 1);
                    let grown = before.owned();
                    assert!(
                        grown <= MOST_BUFFER + SMALL,
                        "{role:?} {opcode:?}, borrowed {borrowed}: {grown}"
                    );
                }
            }
        }
    }
}

/// A message in frames of one byte grows up to the limit and not to the next power of two.
#[test]
fn a_message_in_tiny_fragments_stays_within_its_limit() {
    const LIMIT: usize = 300_000;
    for role in ROLES {
        for opcode in [OpCode::Text, OpCode::Binary] {
            for borrowed in [true, false] {
                let config = Config::new().max_message(LIMIT).max_fragments(u32::MAX);
                let mut connection = connection(role, config);
                let first = frame(role.peer(), false, opcode, b"x");
                let middle = frame(role.peer(), false, OpCode::Continuation, b"x").repeat(500);
                let frames = (LIMIT - 1) / 500 * 500;
                let before = Heap::now();
                let most = LIMIT as isize * 11 / 10 + MOST_BUFFER + SMALL;
                connection.feed(&first);
                for _ in 0..frames / 500 {
                    connection.feed(&middle);
                    assert_eq!(take(&mut connection, borrowed), 0);
                    assert!(before.owned() <= most, "{role:?} {opcode:?}: {} of {most}", before.owned());
                }
                let last = frame(role.peer(), true, OpCode::Continuation, &vec![b'x'; LIMIT - frames - 1]);
                connection.feed(&last);
                let event = connection.next_event().unwrap().unwrap();
                assert!(before.owned() <= most, "{role:?} {opcode:?}: {} of {most}", before.owned());
                match event {
                    Event::Message(Message::Text(text)) => assert_eq!(text.len(), LIMIT),
                    Event::Message(Message::Binary(bytes)) => assert_eq!(bytes.len(), LIMIT),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

/// Frames of all lengths up to 1000, text and binary, as a peer sends them.
fn messages(from: Role) -> Vec<Vec<u8>> {
    let text = "€".repeat(400);
    let mut frames = Vec::new();
    // Lengths in no order, each once.
    for len in (0..=1000).map(|step| step * 617 % 1001) {
        let text = &text[..len - len % 3];
        frames.push(frame(from, true, OpCode::Text, text.as_bytes()));
        frames.push(frame(from, true, OpCode::Binary, &text.as_bytes()[..len - len % 3]));
        frames.push(frame(from, true, OpCode::Binary, &vec![7; len]));
    }
    frames
}

fn echo(connection: &mut Connection) -> usize {
    let (receiver, sender) = connection.halves();
    let mut count = 0;
    while let Some(event) = receiver.next_event_ref().unwrap() {
        if let EventRef::Message(message) = event {
            sender.send_ref(message).unwrap();
            count += 1;
        }
    }
    count
}

#[test]
fn an_echo_allocates_nothing_for_a_message() {
    for role in ROLES {
        let frames = messages(role.peer());
        let mut connection = connection(role, Config::new());
        let mut round = |rounds: usize| {
            let (mut count, mut bytes) = (0, 0);
            for wire in frames.iter().cycle().take(rounds) {
                let mut rest = &wire[..];
                while !rest.is_empty() {
                    rest = read(&mut connection, rest);
                    count += echo(&mut connection);
                }
                bytes += write(&mut connection);
            }
            assert_eq!(count, rounds);
            assert!(bytes >= rounds * 2, "nothing was echoed");
        };
        round(frames.len());
        let before = Heap::warm();
        round(10_000);
        assert_eq!(before.allocations(), 0, "{role:?}");
    }
}

/// What a transport takes at once is not even copied.
#[test]
fn a_borrowed_message_that_goes_as_it_lies_allocates_nothing() {
    let mut connection = connection(Role::Server, Config::new());
    let payload = vec![b'x'; 1 << 20];
    let mut bytes = 0;
    let before = Heap::warm();
    for len in [4_097, 16 << 10, 64 << 10, 1 << 20] {
        let sent = connection.send_ref_with(MessageRef::Binary(&payload[..len]), |header, lent| {
            assert_eq!(lent.as_ptr(), payload.as_ptr());
            bytes += header.len() + lent.len();
            header.len() + lent.len()
        });
        sent.unwrap();
        assert!(!connection.wants_output());
    }
    assert_eq!(before.allocations(), 0);
    assert!(bytes > (1 << 20) + (64 << 10));
}

/// Messages cut by reads, which go through the buffer of gathered messages.
#[test]
fn an_echo_of_messages_in_two_reads_allocates_nothing() {
    for role in ROLES {
        let frames = messages(role.peer());
        let mut connection = connection(role, Config::new());
        let mut round = |rounds: usize| {
            let mut count = 0;
            for wire in frames.iter().cycle().take(rounds) {
                let (first, second) = wire.split_at(wire.len() / 2);
                for mut rest in [first, second] {
                    while !rest.is_empty() {
                        rest = read(&mut connection, rest);
                        count += echo(&mut connection);
                    }
                }
                write(&mut connection);
            }
            assert_eq!(count, rounds);
        };
        round(frames.len());
        let before = Heap::warm();
        round(10_000);
        assert_eq!(before.allocations(), 0, "{role:?}");
    }
}

/// Two ends that agreed on compression.
fn compressing(deflate: Deflate) -> [Connection; 2] {
    let agreement = Agreement::new().with_deflate(deflate);
    ROLES.map(|role| connection(role, Config::new()).with_agreement(agreement.clone()))
}

/// Carries all bytes that wait.
fn carry(from: &mut Connection, to: &mut Connection) {
    let output = from.output();
    while output.has_remaining() {
        to.input().extend_from_slice(output.chunk());
        output.advance(output.chunk().len());
    }
}

/// A text of `len` bytes that compresses about as well as JSON.
fn record(len: usize, number: usize) -> String {
    let mut text = String::new();
    for id in number * 1000.. {
        if text.len() >= len {
            break;
        }
        text +=
            &format!("{{\"id\":{},\"name\":\"item {}\",\"price\":{}}},", id, id * 7919 % 1000, id * 31 % 977);
    }
    text.truncate(len);
    text
}

#[test]
fn a_compressed_echo_allocates_nothing_for_a_message() {
    for deflate in [Deflate::new(), Deflate::no_context_takeover()] {
        let [mut server, mut client] = compressing(deflate);
        let texts: Vec<String> = (0..10).map(|number| record(300 + number * 1000, number)).collect();
        let mut round = |rounds: usize| {
            let mut count = 0;
            for text in texts.iter().cycle().take(rounds) {
                client.send_text(text).unwrap();
                carry(&mut client, &mut server);
                count += echo(&mut server);
                carry(&mut server, &mut client);
                assert_eq!(take(&mut client, true), 1);
            }
            assert_eq!(count, rounds);
        };
        round(20);
        let before = Heap::warm();
        round(100);
        assert_eq!(before.allocations(), 0, "{deflate:?}");
    }
}

#[test]
fn compressed_messages_that_wait_hold_little_more_than_is_counted() {
    let [mut server, _] = compressing(Deflate::no_context_takeover());
    let text = record(30_000, 1) + &" ".repeat(100_000);
    let before = Heap::now();
    let mut count = 0;
    while server.send_text(&text).is_ok() {
        count += 1;
    }
    let (queued, held) = (server.queued() as isize, before.owned());
    assert!(queued / count > 4 << 10, "{} bytes each, which are copied anyway", queued / count);
    // The thread's compressor is part of what grew.
    assert!(held < 2 * queued + (512 << 10), "{held} bytes for {queued} of {count} messages");
}

/// What each server holds, released, after messages both ways.
fn held(deflate: Deflate) -> isize {
    // A thread of its own, whose pool no other test has filled.
    let measure = move || {
        let mut kept = Vec::new();
        let mut last = 0;
        // The first ones fill, or empty, what the thread keeps for all.
        for number in 0..10 {
            let agreement = Agreement::new().with_deflate(deflate);
            let mut server = connection(Role::Server, Config::new()).with_agreement(agreement.clone());
            // At a level of its own, so that it takes nothing that the server gave back.
            let mut client =
                connection(Role::Client, Config::new().deflate_level(9)).with_agreement(agreement);
            client.send_text(&record(4000, number)).unwrap();
            let waiting = client.output().remaining();
            let wire = client.output().copy_to_bytes(waiting);
            let before = Heap::now();
            server.send_text("a short message is not compressed").unwrap();
            write(&mut server);
            server.release();
            assert_eq!(before.owned(), 0, "before the first compressed message");
            server.feed(&wire);
            assert_eq!(echo(&mut server), 1);
            write(&mut server);
            server.release();
            last = before.owned();
            kept.push((server, client));
        }
        last
    };
    std::thread::spawn(measure).join().unwrap()
}

#[test]
fn a_compressing_connection_holds_what_is_documented() {
    let documented = include_str!("../docs/deflate.md");
    let none = Deflate::no_context_takeover();
    assert_eq!(held(none), 0, "without takeover");
    let receives = held(none.client_no_context_takeover(false));
    for bits in 9..=15 {
        let sends = held(none.server_no_context_takeover(false).server_max_window_bits(bits));
        let both = Deflate::new().server_max_window_bits(bits);
        assert_eq!(held(both), sends + receives, "{bits}");
        let kib = |bytes: isize| (bytes + 512) / 1024;
        let row = format!("| {bits} | {} KiB | {} KiB |", kib(sends), kib(receives));
        assert!(
            documented.contains(&row),
            "docs/deflate.md has another row for {bits}; it should be:\n{row}"
        );
    }
}

/// When reads bring many messages at once, allocations come with the batch, if at all, not with a message.
#[test]
fn an_echo_in_batches_allocates_for_batches() {
    for role in ROLES {
        let wire = messages(role.peer()).concat();
        let mut connection = connection(role, Config::new());
        let mut round = || {
            let (mut count, mut batches) = (0, 0);
            let mut rest = &wire[..];
            while !rest.is_empty() {
                rest = read(&mut connection, rest);
                count += echo(&mut connection);
                batches += 1;
                write(&mut connection);
            }
            (count, batches)
        };
        round();
        let before = Heap::warm();
        let (count, batches) = round();
        assert_eq!(count, 3003);
        // An arena of 64 KiB is given back and grown again: doubling from 8 bytes, 14 steps at most.
        let allocations = before.allocations();
        assert!(allocations <= batches * 14, "{role:?}: {allocations} in {batches} batches");
        assert!(allocations < count / 4, "{role:?}: {allocations} for {count} messages");
    }
}

#[test]
fn a_fresh_connection_owns_no_heap() {
    for role in ROLES {
        let before = Heap::warm();
        let mut connection = connection(role, Config::new());
        assert_eq!(before.allocations(), 0, "{role:?}");
        connection.release();
        assert!(!connection.wants_output() && connection.next_event().unwrap().is_none());
        assert_eq!(before.allocations(), 0, "{role:?}");
    }
}

/// The fields of the request, and its target; the answer goes where those before it were.
#[test]
fn a_handshake_in_one_piece_allocates_twice() {
    let shake_hands = || {
        let before = Heap::warm();
        let pending = ServerHandshake::new().poll_with(REQUEST).unwrap().unwrap();
        let mut connection = pending.accept(Accept::new(), Config::new()).unwrap();
        let allocations = before.allocations();
        assert!(write(&mut connection) > 0);
        allocations
    };
    shake_hands();
    assert_eq!(shake_hands(), 2);
}

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Traffic of all kinds in both directions.
fn traffic(connection: &mut Connection, wire: &[u8], borrowed: bool) {
    let mut rest = wire;
    while !rest.is_empty() {
        rest = read(connection, rest);
        take(connection, borrowed);
        write(connection);
    }
    connection.feed(wire);
    take(connection, borrowed);
    let large = Bytes::from(vec![1; 1 << 20]);
    for message in [
        Message::text("small"),
        Message::binary(large.clone()),
        Message::Ping(Bytes::from_static(b"ping")),
        Message::binary(large),
        Message::binary(vec![1; 10_000]),
    ] {
        connection.send(message).unwrap();
        // In part, so that frames are queued on both sides of what is written.
        connection.output().advance(3);
    }
    write(connection);
    connection.send_ref(MessageRef::Binary(&[1; 100_000])).unwrap();
    write(connection);
    connection.send_fragment(Kind::Text, "€".as_bytes(), false).unwrap();
    connection.send_fragment(Kind::Text, "€".as_bytes(), true).unwrap();
    write(connection);
}

#[test]
fn a_connection_released_after_a_small_message_owns_no_heap() {
    for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
        for borrowed in [true, false] {
            let fragments = [
                frame(role.peer(), false, OpCode::Text, "€".as_bytes()),
                frame(role.peer(), true, OpCode::Continuation, "€".as_bytes()),
            ];
            let mut connection = connection(role, Config::new().delivery(delivery));
            // Settings of its own are kept with it.
            let before = Heap::now();
            for fragment in &fragments {
                connection.feed(fragment);
                take(&mut connection, borrowed);
            }
            connection.send_text("€").unwrap();
            write(&mut connection);
            connection.release();
            assert_eq!(before.owned(), 0, "{role:?} {delivery:?}, borrowed {borrowed}");
        }
    }
}

#[test]
fn a_released_connection_owns_no_heap() {
    for (role, delivery) in ROLES.iter().flat_map(|&role| DELIVERIES.map(|delivery| (role, delivery))) {
        for borrowed in [true, false] {
            let peer = role.peer();
            let text = "€".repeat(500);
            let wire = [
                frame(peer, true, OpCode::Text, b"small"),
                frame(peer, true, OpCode::Binary, &vec![1; 1 << 20]),
                frame(peer, true, OpCode::Ping, b"ping"),
                frame(peer, false, OpCode::Text, &text.as_bytes()[..100]),
                frame(peer, true, OpCode::Ping, b"between"),
                frame(peer, true, OpCode::Continuation, &text.as_bytes()[100..]),
                frame(peer, true, OpCode::Text, "€".repeat(400_000).as_bytes()),
                frame(peer, true, OpCode::Pong, b""),
            ]
            .concat();
            let mut connection = connection(role, Config::new().delivery(delivery).max_queued(usize::MAX));
            // Settings of its own are kept with it.
            let before = Heap::now();
            traffic(&mut connection, &wire, borrowed);
            assert!(!connection.wants_output());
            connection.release();
            assert_eq!(before.owned(), 0, "{role:?} {delivery:?}, borrowed {borrowed}");
            // And it goes on as before.
            traffic(&mut connection, &wire, borrowed);
            connection.release();
            assert_eq!(before.owned(), 0, "{role:?} {delivery:?}, borrowed {borrowed}");
        }
    }
}

/// Without `release`: two buffers of a read's size, for input and for gathered messages, and an arena.
fn assert_keeps_little(by_feed: bool) {
    for (role, borrowed) in ROLES.iter().flat_map(|&role| [true, false].map(|borrowed| (role, borrowed))) {
        let payload = vec![1; 4 << 20];
        let wire = frame(role.peer(), true, OpCode::Binary, &payload);
        let before = Heap::now();
        let mut connection = connection(role, Config::new());
        for owned in [true, false] {
            if owned {
                connection.send(payload.clone()).unwrap();
            } else {
                connection.send_binary(&payload).unwrap();
            }
            write(&mut connection);
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            if by_feed {
                connection.feed(std::mem::take(&mut rest));
            } else {
                rest = read(&mut connection, rest);
            }
            take(&mut connection, borrowed);
        }
        connection.input();
        let grown = before.owned();
        let most = MOST_BUFFER + (64 << 10) + (4 << 10) + SMALL;
        assert!(grown <= most, "{role:?}, borrowed {borrowed}: {grown} bytes");
    }
}

#[test]
fn a_drained_connection_keeps_little() {
    assert_keeps_little(false);
}

#[test]
fn a_drained_connection_keeps_little_of_what_it_was_fed_at_once() {
    assert_keeps_little(true);
}

/// An arena of 4 KiB, and places for 16 large payloads.
#[test]
fn a_drained_output_keeps_little() {
    for role in ROLES {
        let payload = Bytes::from(vec![1; 5000]);
        let before = Heap::now();
        let mut connection = connection(role, Config::new().max_queued(usize::MAX));
        for _ in 0..2000 {
            connection.send(payload.clone()).unwrap();
            connection.send_binary(&payload).unwrap();
        }
        write(&mut connection);
        assert!(before.owned() <= (4 << 10) + (1 << 10), "{role:?}: {} bytes", before.owned());
    }
}

#[test]
fn a_connection_is_small() {
    // A million idle sockets cost a million of these. 704 bytes today on 64 bits, of which the settings are
    // 144, once in each half; four words are left for fields to come.
    const MOST: usize = 736;
    let size = size_of::<Connection>();
    println!("a Connection takes {size} bytes, a Message {}", size_of::<Message>());
    assert!(size <= MOST, "{size} bytes");
    // Passed by value with each message: a `Bytes` of four words, and a tag.
    assert!(size_of::<Message>() <= 40, "{} bytes", size_of::<Message>());
}

/// A peer that sends pings and never reads.
#[test]
fn a_flood_of_pings_queues_two_pongs() {
    for (role, borrowed) in ROLES.iter().flat_map(|&role| [true, false].map(|borrowed| (role, borrowed))) {
        for written in [None, Some(1)] {
            let pings = frame(role.peer(), true, OpCode::Ping, &[7; 125]).repeat(100);
            let before = Heap::now();
            let mut connection = connection(role, Config::new());
            for batch in 0..1000 {
                connection.feed(&pings);
                assert_eq!(take(&mut connection, borrowed), 100);
                if let Some(count) = written {
                    // The kernel takes one byte, once.
                    let output = connection.output();
                    output.advance(if batch == 0 { count } else { 0 });
                }
                // Two frames of 14 and 125 bytes.
                assert!(connection.queued() <= 278, "{} bytes wait", connection.queued());
                let most = MOST_BUFFER + 4 * 278 + SMALL;
                assert!(before.owned() <= most, "{role:?}: {} bytes", before.owned());
            }
            connection.release();
            // The read buffer is gone.
            assert!(before.owned() <= 4 * 278 + SMALL, "{role:?}: {} bytes", before.owned());
        }
    }
}

/// The same in front of and behind large messages that wait, and with a peer that reads slowly.
#[test]
fn a_flood_of_pings_between_messages_stays_small() {
    for role in ROLES {
        let ping = frame(role.peer(), true, OpCode::Ping, &[7; 125]);
        let payload = Bytes::from(vec![1; 100_000]);
        let config = Config::new();
        let mut connection = connection(role, config);
        for _ in 0..3 {
            connection.send(payload.clone()).unwrap();
        }
        let queued = connection.queued();
        let before = Heap::now();
        for round in 0..20_000 {
            connection.feed(&ping);
            assert_eq!(take(&mut connection, true), 1);
            if round % 10 == 0 {
                connection.output().advance(1);
            }
            assert!(connection.queued() <= queued + 278, "{} bytes wait", connection.queued());
            let most = MOST_BUFFER + 16 * 278 + SMALL;
            assert!(before.owned() <= most, "{role:?}: {} bytes", before.owned());
        }
    }
}

/// Messages that the application keeps, with what it keeps of them in bytes and in heap.
fn keep(connection: &mut Connection, kept: &mut Vec<Message>, least: usize) -> usize {
    let mut bytes = 0;
    while let Some(event) = connection.next_event().unwrap() {
        if let Event::Message(message) = event {
            let len = match &message {
                Message::Text(text) => text.len(),
                Message::Binary(payload) => payload.len(),
                other => panic!("{other:?}"),
            };
            if len < least {
                bytes += len;
                kept.push(message);
            }
        }
    }
    bytes
}

#[test]
fn a_kept_small_message_does_not_pin_the_read_buffer() {
    for role in ROLES {
        let wire = [
            frame(role.peer(), true, OpCode::Binary, &[1; 100]),
            frame(role.peer(), true, OpCode::Text, &[b'x'; 100]),
        ]
        .concat()
        .repeat(500);
        let mut connection = connection(role, Config::new().read_size(64 << 10));
        let mut kept = Vec::with_capacity(1000);
        let before = Heap::now();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            rest = read(&mut connection, rest);
            keep(&mut connection, &mut kept, usize::MAX);
        }
        assert_eq!(kept.len(), 1000);
        assert!(before.owned() < 400_000, "{role:?}: {} bytes", before.owned());
        connection.release();
        drop(connection);
        assert!(before.owned() < 200_000, "{role:?}: {} bytes", before.owned());
    }
}

/// How bytes come in.
#[derive(Clone, Copy, Debug)]
enum Way {
    Read,
    /// Up to the end of a frame as large as the one before.
    Ahead,
    Feed,
    /// The buffer is lent out around each read.
    Lend,
}

/// Whatever lies beside a message in the buffer that it came in, keeping it costs at most four times its size.
#[test]
fn a_kept_message_pins_at_most_four_times_its_size() {
    let ways = [Way::Read, Way::Ahead, Way::Feed, Way::Lend];
    let mut wrong = Vec::new();
    for (role, way) in ROLES.iter().flat_map(|&role| ways.map(|way| (role, way))) {
        for small in [100, 1023, 1024, 1100, 4096, 5000, 16_000, 16_384, 20_000] {
            for large in [0, 2000, 20_000, 40_000, 60_000, 62_000, 64_000] {
                let wire = [
                    frame(role.peer(), true, OpCode::Binary, &vec![1; large]),
                    frame(role.peer(), true, OpCode::Binary, &vec![2; small]),
                ]
                .concat();
                let mut connection = connection(role, Config::new());
                let mut kept = Vec::with_capacity(100);
                release_thread_memory();
                let before = Heap::now();
                let mut bytes = 0;
                for _ in 0..50 {
                    let mut rest = &wire[..];
                    while !rest.is_empty() {
                        match way {
                            Way::Read => rest = read(&mut connection, rest),
                            Way::Ahead => rest = read_into(connection.large_input(), rest),
                            Way::Feed => connection.feed(std::mem::take(&mut rest)),
                            Way::Lend => {
                                let mut lent = connection.take_input();
                                lent.extend_from_slice(std::mem::take(&mut rest));
                                connection.put_input(lent);
                            }
                        }
                        bytes += keep(&mut connection, &mut kept, small + 1);
                    }
                }
                drop(connection);
                release_thread_memory();
                let grown = before.owned();
                if grown > bytes as isize * 4 + kept.len() as isize * SMALL {
                    let kept = kept.len();
                    wrong.push(format!(
                        "{role:?}, {way:?}: {grown} bytes for {kept} of {small} beside {large}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What comes behind a large frame is read to the end of as many frames of its size as may share a buffer.
#[test]
fn large_frames_are_read_to_their_ends_and_shared() {
    for role in ROLES {
        for (len, frames) in [(16 << 10, 3), (17_000, 3), (30_000, 2), (64 << 10, 1), (200 << 10, 1)] {
            for (opcode, byte) in [(OpCode::Binary, 7), (OpCode::Text, b'x')] {
                let one = frame(role.peer(), true, opcode, &vec![byte; len]);
                let mut connection = connection(role, Config::new());
                connection.feed(&one);
                assert_eq!(take(&mut connection, false), 1);
                for _ in 0..5 {
                    let input = connection.large_input();
                    assert_eq!((input.len(), input.capacity()), (0, frames * one.len()), "{role:?}, {len}");
                    let memory = input.as_ptr().addr()..input.as_ptr().addr() + input.capacity();
                    input.extend_from_slice(&one.repeat(frames));
                    for _ in 0..frames {
                        let Some(Event::Message(Message::Binary(payload))) =
                            connection.next_event().unwrap().map(|event| match event {
                                Event::Message(Message::Text(text)) => {
                                    Event::Message(Message::Binary(text.into_bytes()))
                                }
                                other => other,
                            })
                        else {
                            panic!("no message");
                        };
                        assert!(payload == vec![byte; len]);
                        assert!(memory.contains(&payload.as_ptr().addr()), "{role:?}, {len}: a copy");
                    }
                }
                connection.release();
            }
        }
    }
}

/// The size that a peer's latest frame had makes room once; it neither outlives `release` nor exceeds its limit.
#[test]
fn room_for_large_frames_is_bounded_and_given_back() {
    for role in ROLES {
        let mut connection = connection(role, no_limits());
        release_thread_memory();
        let before = Heap::now();
        connection.feed(&frame(role.peer(), true, OpCode::Binary, &vec![0; 5 << 20]));
        assert_eq!(take(&mut connection, false), 1);
        let room = connection.large_input().capacity();
        assert_eq!(room, 2 << 20);
        connection.release();
        release_thread_memory();
        assert!(before.owned() < SMALL, "{role:?}: {} bytes", before.owned());
        // A small frame ends the expectation.
        connection.feed(&frame(role.peer(), true, OpCode::Binary, &[0; 10]));
        assert_eq!(take(&mut connection, false), 1);
        assert!(connection.large_input().capacity() <= 64 << 10);
    }
}

/// Memory counts as what is seen of it: what a read was not to fill comes along where the buffer is taken.
#[test]
fn a_buffer_that_is_taken_has_all_of_its_memory() {
    for role in ROLES {
        let mut connection = connection(role, Config::new());
        release_thread_memory();
        let one = frame(role.peer(), true, OpCode::Binary, &vec![0; 300_000]);
        connection.feed(&one);
        assert_eq!(take(&mut connection, false), 1);
        release_thread_memory();
        let before = Heap::now();
        assert_eq!(connection.large_input().capacity(), one.len());
        let taken = before.owned();
        assert!(taken > one.len() as isize + 1000, "{role:?}: {taken} bytes");
        let buffer = connection.take_input();
        assert!(taken - buffer.capacity() as isize <= SMALL, "{role:?}: {} of {taken}", buffer.capacity());
    }
}
