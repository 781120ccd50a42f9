//! Connections in memory.

use std::io::{self, ErrorKind};
use std::time::Duration;

use taut::testing::{Cut, Direction, Link, MemoryStream, Turn, Turns, pair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, advance, sleep, timeout};

use super::futures::{ends, once, polled};

const fn milliseconds(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Reads to the end; gives what came, and how it ended.
async fn read_all(mut stream: MemoryStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut all = Vec::new();
    let end = ends(stream.read_to_end(&mut all)).await;
    (all, end.err().map(|error| error.kind()))
}

/// The times, in milliseconds, and the sizes of what comes, until there are so many bytes.
async fn arrivals(stream: &mut MemoryStream, len: usize) -> Vec<(u128, usize)> {
    let start = Instant::now();
    let (mut seen, mut left) = (Vec::new(), len);
    while left > 0 {
        let count = ends(stream.read(&mut [0; 4096])).await.unwrap();
        assert!(count > 0, "the end comes {left} bytes early");
        left -= count;
        seen.push((start.elapsed().as_millis(), count));
    }
    seen
}

/// Writes in pieces of ten bytes with a pause behind each; gives what the other end sees.
async fn schedule(link: Link) -> Vec<(u128, usize)> {
    let (mut near, mut far) = link.pair();
    let writing = tokio::spawn(async move {
        for _ in 0..200 {
            near.write_all(&[7; 10]).await.unwrap();
            sleep(milliseconds(3)).await;
        }
        near
    });
    let seen = arrivals(&mut far, 2000).await;
    writing.await.unwrap();
    seen
}

#[tokio::test(start_paused = true)]
async fn bytes_are_under_way_for_the_latency() {
    let (mut client, mut server) = Link::new().latency(milliseconds(250)).pair();
    for stream in [&mut client, &mut server] {
        stream.write_all(b"hello").await.unwrap();
    }
    advance(milliseconds(249)).await;
    for stream in [&mut client, &mut server] {
        assert!(once(stream.read(&mut [0; 8])).await.is_none(), "before its time");
        assert!(stream.pull().is_empty());
    }
    advance(milliseconds(1)).await;
    for stream in [&mut client, &mut server] {
        assert_eq!(once(stream.read(&mut [0; 8])).await.unwrap().unwrap(), 5);
    }
    // The end is under way as well.
    let start = Instant::now();
    drop(client);
    assert_eq!(read_all(server).await, (vec![], None));
    assert_eq!(start.elapsed(), milliseconds(250));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_is_under_way_is_woken_when_it_comes() {
    let (mut client, mut server) = Link::new().latency(milliseconds(40)).pair();
    let reading = tokio::spawn(async move { arrivals(&mut server, 2).await });
    sleep(milliseconds(10)).await;
    client.write_all(b"a").await.unwrap();
    sleep(milliseconds(10)).await;
    client.write_all(b"b").await.unwrap();
    assert_eq!(ends(reading).await.unwrap(), [(50, 1), (60, 1)]);
}

#[tokio::test(start_paused = true)]
async fn bandwidth_bounds_what_leaves() {
    let (mut client, mut server) = Link::new().bandwidth(14_600).room(1 << 20).pair();
    client.write_all(&[0; 14_600]).await.unwrap();
    let expected: Vec<_> = (1..=10).map(|piece| (piece * 100, 1460)).collect();
    assert_eq!(arrivals(&mut server, 14_600).await, expected);
}

#[tokio::test(start_paused = true)]
async fn writes_wait_for_room() {
    let (mut client, mut server) = Link::new().room(3).pair();
    assert_eq!(client.write(b"hello").await.unwrap(), 3);
    assert!(once(client.write(b"lo")).await.is_none());
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 1);
    assert_eq!(once(client.write(b"lo")).await.unwrap().unwrap(), 1);
    // What the other end pushes by hand knows no limit.
    client.push(&[0; 100]);
    assert_eq!(server.pull().len(), 103);
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_are_partial_and_wait() {
    let (mut client, mut server) = Link::new().pieces(5).seed(3).pair();
    let writing = tokio::spawn(async move {
        let (mut sizes, mut left) = (Vec::new(), 1000);
        while left > 0 {
            let count = client.write(&vec![1; left]).await.unwrap();
            sizes.push(count);
            left -= count;
        }
        sizes
    });
    let mut sizes: Vec<_> = arrivals(&mut server, 1000).await.into_iter().map(|(_, size)| size).collect();
    let mut writes = writing.await.unwrap();
    for sizes in [&mut sizes, &mut writes] {
        sizes.sort_unstable();
        sizes.dedup();
        assert_eq!(*sizes, [1, 2, 3, 4, 5]);
    }
    // Some polls are pending though bytes are there.
    let (client, mut server) = Link::new().pieces(1).pair();
    client.push(&[0; 400]);
    let mut waits = 0;
    for _ in 0..400 {
        while once(server.read(&mut [0; 1])).await.is_none() {
            waits += 1;
        }
    }
    assert!((50..300).contains(&waits), "{waits}");
}

#[tokio::test(start_paused = true)]
async fn turns_are_as_the_list_says() {
    let (client, server) = pair(100);
    client.push(b"abcdef");
    let mut server = server.reading(Turns::new([Turn::Wait, Turn::Bytes(1), Turn::Bytes(2)]));
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(once(server.read(&mut [0; 8])).await.map(Result::unwrap));
    }
    assert_eq!(seen, [None, Some(1), Some(2), None, Some(1), Some(2)]);
    // Who waited for a turn is woken for it.
    client.push(b"g");
    assert_eq!(polled(2, server.read(&mut [0; 8])).await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_everything_and_another_does_not() {
    let link = |seed| {
        Link::new()
            .seed(seed)
            .latency(milliseconds(20))
            .jitter(milliseconds(100))
            .bandwidth(10_000)
            .pieces(7)
            .stalls(300, Duration::from_secs(2))
    };
    let first = schedule(link(1)).await;
    assert_eq!(first, schedule(link(1)).await);
    assert_ne!(first, schedule(link(2)).await);
    assert!(first.iter().is_sorted_by_key(|(time, _)| time), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_within_its_bound() {
    let link = Link::new().latency(milliseconds(20)).jitter(milliseconds(30));
    let mut delays = Vec::new();
    for seed in 0..100 {
        let (mut client, mut server) = link.seed(seed).pair();
        client.write_all(b"a").await.unwrap();
        delays.push(arrivals(&mut server, 1).await[0].0);
    }
    // A clock of milliseconds rounds up.
    assert!(delays.iter().all(|delay| (20..=51).contains(delay)), "{delays:?}");
    assert!(delays.iter().max().unwrap() - delays.iter().min().unwrap() > 20, "{delays:?}");
}

#[tokio::test(start_paused = true)]
async fn stalls_come_at_places_of_chance() {
    let quiet = schedule(Link::new()).await;
    let seen = schedule(Link::new().stalls(500, Duration::from_secs(60))).await;
    let longest = |seen: &[(u128, usize)]| seen.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
    assert!(longest(&quiet) < 10, "{quiet:?}");
    assert!(longest(&seen) > 1000, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_wire_goes_on_where_it_was() {
    let (mut client, mut server) = Link::new().room(4).pair();
    let wire = client.wire();
    wire.stall(Direction::ToServer);
    client.write_all(b"abcd").await.unwrap();
    assert!(once(client.write(b"e")).await.is_none(), "its room is full");
    assert!(timeout(Duration::from_secs(3600), server.read(&mut [0; 8])).await.is_err());
    // The other direction goes on.
    server.write_all(b"ok").await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 2);
    let reading = tokio::spawn(async move { (server.read_u8().await.unwrap(), server) });
    sleep(milliseconds(1)).await;
    wire.resume();
    let (first, server) = ends(reading).await.unwrap();
    client.write_all(b"e").await.unwrap();
    drop(client);
    assert_eq!((first, read_all(server).await), (b'a', (b"bcde".to_vec(), None)));
}

/// Writes until that fails; gives how much was taken, and the failure.
async fn write_on(stream: &mut MemoryStream, len: usize) -> (usize, Option<ErrorKind>) {
    for taken in 0..len {
        if let Err(error) = stream.write_all(&[taken as u8]).await {
            return (taken, Some(error.kind()));
        }
    }
    (len, None)
}

#[tokio::test(start_paused = true)]
async fn a_cut_behind_each_byte_lets_those_before_it_arrive() {
    for latency in [0, 30] {
        for bytes in 0..20_u64 {
            let count = bytes as usize;
            let cases = [
                (Cut::Reset, Some(ErrorKind::ConnectionReset), Some(ErrorKind::ConnectionReset)),
                (Cut::End, Some(ErrorKind::BrokenPipe), None),
                (Cut::HalfClose(Direction::ToServer), Some(ErrorKind::BrokenPipe), None),
            ];
            for (cut, write_error, read_error) in cases {
                let link = Link::new().latency(milliseconds(latency));
                let (mut client, server) = link.cut_at(Direction::ToServer, bytes, cut).pair();
                let wire = client.wire();
                let place = format!("{cut:?} at {bytes}, {latency} ms");
                assert_eq!(write_on(&mut client, 20).await, (count, write_error), "{place}");
                assert!(!wire.is_open(), "{place}");
                assert_eq!(wire.written(Direction::ToServer), bytes, "{place}");
                let expected: Vec<u8> = (0..bytes as u8).collect();
                assert_eq!(read_all(server).await, (expected, read_error), "{place}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_write_over_the_place_of_a_cut_is_partial() {
    let (mut client, server) = Link::new().cut_at(Direction::ToServer, 3, Cut::End).pair();
    assert_eq!(client.write(b"hello").await.unwrap(), 3);
    assert_eq!(read_all(server).await, (b"hel".to_vec(), None));
    // Also of a stream that holds back, whose flush then fails.
    let (client, server) = Link::new().cut_at(Direction::ToServer, 3, Cut::Reset).pair();
    let mut client = client.buffered();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(client.flush().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(read_all(server).await, (b"hel".to_vec(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test(start_paused = true)]
async fn a_reset_loses_what_is_under_way_and_an_end_does_not() {
    for (cut, arrives, error) in [
        (Cut::Reset, b"early".to_vec(), Some(ErrorKind::ConnectionReset)),
        (Cut::End, b"earlylate".to_vec(), None),
    ] {
        let (mut client, mut server) = Link::new().latency(milliseconds(100)).pair();
        client.write_all(b"early").await.unwrap();
        server.write_all(b"back").await.unwrap();
        sleep(milliseconds(100)).await;
        client.write_all(b"late").await.unwrap();
        sleep(milliseconds(50)).await;
        client.wire().cut(cut);
        assert_eq!(read_all(server).await, (arrives, error), "{cut:?}");
        let write = client.write(b"more").await.unwrap_err().kind();
        assert_eq!(write, error.unwrap_or(ErrorKind::BrokenPipe), "{cut:?}");
        assert_eq!(read_all(client).await, (b"back".to_vec(), error), "{cut:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_wakes_who_waits() {
    let after = Duration::from_secs(5);
    for (cut, read, write) in [
        (Cut::Reset, Some(ErrorKind::ConnectionReset), ErrorKind::ConnectionReset),
        (Cut::End, None, ErrorKind::BrokenPipe),
    ] {
        let start = Instant::now();
        let (client, server) = Link::new().cut_after(after, cut).pair();
        assert_eq!(read_all(server).await, (vec![], read), "{cut:?}");
        assert_eq!(start.elapsed(), after, "{cut:?}");
        drop(client);
        let (mut client, server) = Link::new().room(1).cut_after(after, cut).pair();
        assert_eq!(ends(client.write_all(b"ab")).await.unwrap_err().kind(), write, "{cut:?}");
        assert_eq!(start.elapsed(), 2 * after, "{cut:?}");
        drop(server);
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_close_leaves_the_other_direction() {
    let (mut client, mut server) = pair(100);
    client.wire().cut(Cut::HalfClose(Direction::ToClient));
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(server.write(b"a").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    client.write_all(b"still").await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn nobody_hears_of_a_silence_until_it_heals() {
    let (mut client, server) = Link::new().room(4).cut_at(Direction::ToServer, 2, Cut::Silence).pair();
    let wire = client.wire();
    client.write_all(b"abcd").await.unwrap();
    assert!(once(client.write(b"e")).await.is_none());
    drop(server);
    let day = Duration::from_secs(24 * 3600);
    assert!(timeout(day, client.write(b"e")).await.is_err(), "it hears of the end");
    assert!(timeout(day, client.read(&mut [0; 1])).await.is_err(), "it hears of the end");
    wire.resume();
    assert_eq!(client.write(b"e").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(client.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // It may also end in a reset.
    let (mut client, server) = pair(4);
    client.wire().cut(Cut::Silence);
    client.write_all(b"a").await.unwrap();
    client.wire().cut(Cut::Reset);
    assert_eq!(read_all(server).await, (b"a".to_vec(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_dropped_resets_if_it_left_something_unread() {
    let (client, server) = pair(100);
    client.push(b"unread");
    server.push(b"last");
    drop(server);
    assert_eq!(read_all(client).await, (b"last".to_vec(), Some(ErrorKind::ConnectionReset)));
    let (client, server) = pair(100);
    server.push(b"last");
    drop(server);
    assert_eq!(read_all(client).await, (b"last".to_vec(), None));
}

#[tokio::test(start_paused = true)]
async fn hands_on_one_end_are_felt_at_the_other() {
    let (mut client, server) = pair(100);
    server.refuse(3, ErrorKind::StorageFull);
    assert_eq!(client.write(b"hello").await.unwrap(), 3);
    assert_eq!(client.write(b"lo").await.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!((server.pull(), server.writes()), (b"hel".to_vec(), 1));
    server.fail_reads();
    let error: io::Error = client.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(!server.is_at_end());
    client.shutdown().await.unwrap();
    assert!(server.is_at_end());

    let (client, server) = pair(100);
    let mut client = client.shutdown_after_input();
    server.push(b"a");
    assert!(once(client.shutdown()).await.is_none());
    server.finish();
    assert_eq!(client.pull(), b"a");
    assert!(!server.is_at_end());
    once(client.shutdown()).await.unwrap().unwrap();
    assert!(server.is_at_end());
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_connection_begins_with_it() {
    let (mut client, server) = Link::new().cut_after(milliseconds(10), Cut::Reset).pair();
    advance(milliseconds(10)).await;
    sleep(milliseconds(1)).await;
    assert!(client.write_all(b"late").await.is_err());
    assert_eq!(format!("{server:?}").matches("is_open: false").count(), 1, "{server:?}");
}

#[tokio::test(start_paused = true)]
async fn the_task_of_a_cut_ends_with_the_connection() {
    let handle = tokio::runtime::Handle::current();
    let before = handle.metrics().num_alive_tasks();
    drop(Link::new().cut_after(Duration::from_secs(3600), Cut::Reset).pair());
    sleep(milliseconds(1)).await;
    assert_eq!(handle.metrics().num_alive_tasks(), before);
}
