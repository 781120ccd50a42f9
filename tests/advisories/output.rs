//! Peers that do not read, and what leaves for those that do.

use bytes::{Buf, Bytes};
use taut::proto::{CloseCode, CloseFrame, Config, Role, SendErrorKind};

use crate::heap::Heap;
use crate::support::connection;
use crate::wire::{BINARY, CLOSE, FIN, PING, TEXT, body, frame, sent};
use crate::{READ, ROLES};

/// Data is refused once the queue is full; pongs and Closes, which are not, come to two and one.
#[test]
fn peer_never_reads() {
    const QUEUE: usize = 100_000;
    for (role, shared) in ROLES.iter().flat_map(|&role| [false, true].map(|shared| (role, shared))) {
        let payload = Bytes::from(vec![7; 10_000]);
        let before = Heap::now();
        let mut connection = connection(role, Config::new().max_queued(QUEUE));
        for round in 0..10_000 {
            let result =
                if shared { connection.send(payload.clone()) } else { connection.send_binary(&payload) };
            match result {
                Ok(()) => assert!(connection.queued() < QUEUE + 10_014),
                Err(error) => assert_eq!(error.kind(), SendErrorKind::Full),
            }
            connection.feed(&frame(role.peer(), FIN | PING, [round as u8; 125]));
            connection.feed(&frame(role.peer(), FIN | TEXT, "and a message"));
            while connection.next_event_ref().unwrap().is_some() {}
        }
        let queued = connection.queued();
        // What fits, one message more, and two pongs.
        assert!(queued <= QUEUE + 10_014 + 2 * 139, "{queued}");
        connection.feed(&frame(role.peer(), FIN | CLOSE, body(1000, "why")).repeat(1000));
        while connection.next_event_ref().unwrap().is_some() {}
        assert!(connection.queued() <= queued + 139, "one Close: {}", connection.queued());
        assert!(before.owned() <= 2 * QUEUE as isize + READ, "{role:?}: {}", before.owned());
        connection.output_lost();
        drop(connection);
        assert!(before.owned() <= 1 << 10, "{} bytes stay", before.owned());
    }
}

/// A million pings while nothing is written; a client gets fewer.
#[test]
fn ping_flood_with_a_closed_window() {
    for role in ROLES {
        let pings = frame(role.peer(), FIN | PING, [7; 125]).repeat(400);
        let mut connection = connection(role, Config::new());
        let before = Heap::now();
        let mut events = 0;
        while events < if role == Role::Server { 1_000_000 } else { 100_000 } {
            connection.feed(&pings);
            while connection.next_event_ref().unwrap().is_some() {
                events += 1;
            }
            // A header is counted with the 14 bytes that it may have.
            assert!(connection.queued() <= 2 * (14 + 125), "{} bytes wait", connection.queued());
            assert!(before.owned() <= READ + (2 << 10), "{} bytes", before.owned());
        }
        assert_eq!(sent(&mut connection).len(), 2);
    }
}

/// Frames are made in memory that held other things: nothing of these leaves, whatever was said and however long.
#[test]
fn no_stale_bytes_reach_the_wire() {
    const SECRET: u8 = 0x5E;
    for role in ROLES {
        for len in 0..=123 {
            let mut connection = connection(role, Config::new());
            // Fills the arena, the read buffer and the gathered message.
            connection.send_binary(&[SECRET; 2000]).unwrap();
            connection.feed(&frame(role.peer(), BINARY, [SECRET; 2000]));
            connection.feed(&frame(role.peer(), FIN, [SECRET; 2000]));
            while connection.next_event().unwrap().is_some() {}
            let output = connection.output();
            output.advance(output.remaining());

            let reason = "r".repeat(len);
            connection.ping(reason.as_bytes()).unwrap();
            connection.close(Some(CloseFrame::new(CloseCode::NORMAL, &*reason).unwrap()));
            let frames = sent(&mut connection);
            let plain: Vec<_> = frames.iter().map(|frame| frame.plain()).collect();
            assert_eq!(plain, [(FIN | PING, reason.as_bytes()), (FIN | CLOSE, &body(1000, &reason))]);
        }
    }
}
