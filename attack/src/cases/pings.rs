//! Pings, pongs and messages without number.

use std::time::Duration;

use tokio::time::Instant;

use crate::attack::Attack;
use crate::case::Script::Run;
use crate::case::{Case, Judged, Miss};
use crate::peer::{Seen, Sent, describe_close};
use crate::wire::{CLOSE, PONG, ping, pong, text};

const QUEUE: &str = "what waits for a peer that does not read is bounded";
const RATE: &str = "control frames have a rate that nobody needs more of";

pub(crate) const CASES: &[Case] = &[
    Case::must(
        "latest_ping_is_answered",
        "RFC 6455 §5.5.3",
        "the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame",
        "20 pings in one write: whichever are answered, the last one is",
        Run(|attack| Box::pin(latest(attack))),
    ),
    Case::hardening(
        "ping_flood_without_reading",
        "RUSTSEC-2020-0043",
        QUEUE,
        "a million pings of 125 bytes, whose pongs are not read",
        Run(|attack| {
            Box::pin(async move {
                let pings = ping([b'p'; 125]).bytes().repeat(1000);
                unread(&attack, &pings, 1000).await
            })
        }),
    )
    .memory(24)
    .needs_process(),
    Case::hardening(
        "echo_flood_without_reading",
        "RUSTSEC-2020-0043",
        QUEUE,
        "256 MiB of messages of 16 KiB, whose echoes are not read",
        Run(|attack| {
            Box::pin(async move { unread(&attack, &text(vec![b'e'; 16 << 10]).bytes(), 16 << 10).await })
        }),
    )
    .memory(48)
    .needs_process(),
    Case::hardening(
        "small_echo_flood_without_reading",
        "RUSTSEC-2020-0043",
        QUEUE,
        "ten million messages of one byte, whose echoes are not read",
        Run(|attack| Box::pin(async move { unread(&attack, &text("e").bytes().repeat(10_000), 1000).await })),
    )
    .memory(48)
    .needs_process(),
    Case::hardening(
        "ping_flood_is_ended",
        "a ping flood",
        RATE,
        "a million empty pings as fast as they go, whose pongs are read: the server ends it",
        Run(|attack| Box::pin(async move { rate(&attack, &ping("").bytes().repeat(1000), 1000).await })),
    ),
    Case::hardening(
        "pong_flood_is_ended",
        "a pong flood",
        RATE,
        "a million pongs that nobody asked for, as fast as they go: the server ends it",
        Run(|attack| Box::pin(async move { rate(&attack, &pong("").bytes().repeat(1000), 1000).await })),
    ),
    Case::hardening(
        "ping_flood_starves_nobody",
        "task starvation",
        "a connection that floods keeps no other one from being served",
        "four connections that ping without a pause, and healthy clients beside them",
        Run(|attack| Box::pin(starve(attack, || ping([b'p'; 125]).bytes().repeat(500)))),
    ),
    Case::hardening(
        "echo_flood_starves_nobody",
        "task starvation",
        "a connection that floods keeps no other one from being served",
        "four connections that send small messages without a pause, and healthy clients beside them",
        Run(|attack| Box::pin(starve(attack, || text("flood").bytes().repeat(5000)))),
    ),
    Case::hardening(
        "fragment_flood_starves_nobody",
        "task starvation",
        "a connection that floods keeps no other one from being served",
        "four connections that send messages in fragments of a byte without a pause, and healthy clients beside them",
        Run(|attack| {
            Box::pin(starve(attack, || {
                let mut bytes = text("").unfinished().bytes();
                bytes.extend(crate::wire::continuation("f").unfinished().bytes().repeat(5000));
                bytes.extend(crate::wire::continuation("").bytes());
                bytes
            }))
        }),
    ),
];

async fn latest(attack: Attack) -> Judged {
    let mut peer = attack.open().await?;
    peer.send(&(0..PINGS).flat_map(|at| ping(at.to_string()).bytes()).collect::<Vec<_>>()).await;
    let last = (PINGS - 1).to_string();
    let mut answered = 0;
    loop {
        match peer.next().await {
            Seen::Frame(frame) if frame.opcode == PONG => {
                answered += 1;
                if frame.payload == last.as_bytes() {
                    return Ok(format!("{answered} of {PINGS} are answered, the last one among them"));
                }
            }
            Seen::Frame(frame) if frame.opcode == CLOSE => return Ok(describe_close(&frame)),
            Seen::Frame(_) => {}
            Seen::End(ending) => return Err(Miss::Failed(format!("no pong for the last, but {ending}"))),
            Seen::Silence => {
                return Err(Miss::Failed(format!("{answered} are answered, the last one is not")));
            }
        }
    }
}

/// Sends this again and again and reads nothing, until the server takes no more.
async fn unread(attack: &Attack, piece: &[u8], times: usize) -> Judged {
    let files = attack.files();
    let mut peer = attack.open().await?;
    let mut detail = "all of it is taken".to_owned();
    for at in 0..times {
        let sent = peer.push(piece).await;
        if sent != Sent::All {
            let how = if sent == Sent::Ended { "ended" } else { "not read on" };
            detail = format!("{how} after {} KiB", (at * piece.len()) >> 10);
            break;
        }
    }
    attack.slowest_healthy(1).await?;
    // What waited in the sockets comes first; behind it shows whether the server ended the connection.
    let farewell = peer.farewell(FAREWELL).await;
    drop(peer);
    attack.files_return(files).await?;
    Ok(farewell.unwrap_or(detail))
}

/// Judges that the server ends a connection that sends this again and again, and reads what comes.
async fn rate(attack: &Attack, piece: &[u8], times: usize) -> Judged {
    let mut peer = attack.open().await?;
    let limit = Instant::now() + attack.timeout;
    for at in 0..times {
        let sent = peer.send(piece).await;
        while let Seen::Frame(frame) = peer.next_until(Instant::now()).await {
            if frame.opcode == CLOSE {
                return Ok(format!("{} within {} frames", describe_close(&frame), (at + 1) * 1000));
            }
        }
        if sent != Sent::All {
            return Ok(format!("ended within {} frames", (at + 1) * 1000));
        }
        if Instant::now() > limit {
            return Err(Miss::Failed(format!("{} frames are taken", (at + 1) * 1000)));
        }
    }
    Err(Miss::failed("all of them are taken"))
}

/// Judges that healthy clients are served while a few connections send this without a pause.
async fn starve(attack: Attack, piece: fn() -> Vec<u8>) -> Judged {
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut peer = attack.open().await?;
        let piece = piece();
        floods.spawn_local(async move {
            while peer.send(&piece).await == Sent::All {
                while let Seen::Frame(_) = peer.next_until(Instant::now()).await {}
            }
        });
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(1) {
        slowest = slowest.max(attack.slowest_healthy(1).await?);
    }
    floods.abort_all();
    Ok(format!("a healthy client waited at most {} ms", slowest.as_millis()))
}

/// How long what waits may take to come.
const FAREWELL: Duration = Duration::from_millis(500);

const PINGS: usize = 20;
