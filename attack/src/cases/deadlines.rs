//! Peers that are slow, or silent, for ever: the server leaves them after a while. These cases wait, and run beside each
//! other.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::attack::Attack;
use crate::case::Script::Run;
use crate::case::{Case, Judged, Miss};
use crate::peer::{Answer, Peer};
use crate::wire::{binary, continuation, text};

const SLOWLORIS: &str = "slowloris";
const HANDSHAKE: &str = "a handshake has a deadline that no byte moves";
const MESSAGE: &str = "an unfinished message has a deadline, or a least rate";
const READING: &str = "a peer that does not read is left after a while";
const CLOSING: &str = "a connection that is closing or failed has a deadline that no byte moves";

pub(crate) const CASES: &[Case] = &[
    Case::hardening(
        "handshake_never_begins",
        SLOWLORIS,
        HANDSHAKE,
        "a TCP connection without a byte: the server ends it within --timeout",
        Run(|attack| Box::pin(handshake(attack, |_| Vec::new()))),
    )
    .waits(),
    Case::hardening(
        "handshake_never_ends",
        SLOWLORIS,
        HANDSHAKE,
        "half a request and nothing behind it: the server ends it within --timeout",
        Run(|attack| Box::pin(handshake(attack, |head| head[..head.len() / 2].to_vec()))),
    )
    .waits(),
    Case::hardening(
        "handshake_a_byte_a_second",
        "CVE-2026-47073",
        HANDSHAKE,
        "a request of which a byte comes each second: the server ends it within --timeout",
        Run(|attack| Box::pin(dribble(attack))),
    )
    .waits(),
    Case::hardening(
        "handshake_slow_in_hundreds",
        SLOWLORIS,
        HANDSHAKE,
        "300 connections that send a byte of their request each second: all are ended within --timeout",
        Run(|attack| Box::pin(async move {
            let mut slow = JoinSet::new();
            for _ in 0..300 {
                slow.spawn_local(dribble(attack.clone()));
            }
            while let Some(judged) = slow.join_next().await {
                judged.map_err(|error| Miss::Failed(error.to_string()))??;
            }
            Ok("all are ended".to_owned())
        })),
    )
    .waits(),
    Case::hardening(
        "refused_and_never_leaves",
        SLOWLORIS,
        CLOSING,
        "a client that is refused and stays: the server ends the connection within --deadline",
        Run(|attack| Box::pin(async move {
            let mut peer = attack.ask(&attack.request().set("Sec-WebSocket-Version", "777")).await?;
            let every = Duration::from_millis(500);
            // What is sent behind may be a request, which an HTTP server may answer, or time out.
            leaves(&mut peer, b"", every, true, attack.deadline).await
        })),
    )
    .waits(),
    Case::hardening(
        "failed_and_never_leaves",
        SLOWLORIS,
        CLOSING,
        "a client that breaks a rule, reads nothing and sends on: the server ends the connection within --deadline",
        Run(|attack| Box::pin(async move {
            let mut peer = attack.open().await?;
            peer.send(&text("unmasked").unmasked().bytes()).await;
            leaves(&mut peer, b"x", Duration::from_millis(500), false, attack.deadline).await
        })),
    )
    .waits(),
    Case::hardening(
        "closed_and_never_leaves",
        SLOWLORIS,
        CLOSING,
        "a client that sends a Close, reads nothing and sends on: the server ends the connection within --deadline",
        Run(|attack| Box::pin(async move {
            let mut peer = attack.open().await?;
            peer.send(&crate::wire::close(1000, "").bytes()).await;
            leaves(&mut peer, b"x", Duration::from_millis(500), false, attack.deadline).await
        })),
    )
    .waits(),
    Case::hardening(
        "message_never_ends",
        "slow payload",
        MESSAGE,
        "half a frame and nothing behind it: the server ends the connection within --deadline",
        Run(|attack| Box::pin(message(attack, || binary("half").announce(1000).bytes(), Vec::new))),
    )
    .waits(),
    Case::hardening(
        "message_a_byte_a_second",
        "slow payload",
        MESSAGE,
        "a frame of which a byte comes each second: the server ends the connection within --deadline",
        Run(|attack| Box::pin(message(attack, || binary("half").announce(1000).bytes(), || vec![b'x']))),
    )
    .waits(),
    Case::hardening(
        "message_a_fragment_a_second",
        "slow fragments",
        MESSAGE,
        "a message of which a fragment comes each second: the server ends the connection within --deadline",
        Run(|attack| {
            let fragment = || continuation("f").unfinished().bytes();
            Box::pin(message(attack, || binary("").unfinished().bytes(), fragment))
        }),
    )
    .waits(),
    Case::hardening(
        "peer_never_reads",
        "RUSTSEC-2020-0043",
        READING,
        "a client that asks for echoes and never reads them: the server ends the connection within --deadline",
        Run(|attack| Box::pin(async move {
            let mut peer = attack.open().await?;
            let echo = binary(vec![b'e'; 64 << 10]).bytes();
            for _ in 0..ECHOES {
                if peer.push(&echo).await != crate::peer::Sent::All {
                    break;
                }
            }
            leaves(&mut peer, b"x", Duration::from_millis(500), false, attack.deadline).await
        })),
    )
    .waits(),
];

/// Judges that a connection that sent this part of a request is ended, whatever is said before.
async fn handshake(attack: Attack, part: fn(&[u8]) -> Vec<u8>) -> Judged {
    let began = Instant::now();
    let mut peer = attack.connect().await?;
    peer.send(&part(&attack.request().bytes())).await;
    in_time(&attack, began, peer.answer_until(began + attack.longest()).await)
}

/// Judges that a connection that sends a byte of its request each second is ended.
async fn dribble(attack: Attack) -> Judged {
    let began = Instant::now();
    let mut peer = attack.connect().await?;
    for byte in attack.request().bytes() {
        peer.send(&[byte]).await;
        match peer.answer_until(Instant::now() + Duration::from_secs(1)).await {
            Answer::Silence if began.elapsed() < attack.longest() => {}
            answer => return in_time(&attack, began, answer),
        }
    }
    in_time(&attack, began, Answer::Silence)
}

/// Judges an end of a handshake that took since then: it may be waited for longer, to tell when it came.
fn in_time(attack: &Attack, began: Instant, answer: Answer) -> Judged {
    let seconds = began.elapsed().as_secs();
    let end = match answer {
        Answer::Response(response) if response.status == 101 => return Err(Miss::failed("it is accepted")),
        Answer::Response(response) => format!("status {}", response.status),
        Answer::End(ending) => ending.to_string(),
        Answer::Silence => return Err(Miss::Failed(format!("the connection is open after {seconds} s"))),
    };
    if began.elapsed() > attack.timeout {
        return Err(Miss::Failed(format!("{end}, but only after {seconds} s")));
    }
    Ok(format!("{end} after {seconds} s"))
}

/// Judges that a connection with the start of a message, and more of it each second, is ended.
async fn message(attack: Attack, start: fn() -> Vec<u8>, more: fn() -> Vec<u8>) -> Judged {
    let mut peer = attack.open().await?;
    peer.send(&start()).await;
    leaves(&mut peer, &more(), Duration::from_secs(1), true, attack.deadline).await
}

async fn leaves(peer: &mut Peer, nudge: &[u8], every: Duration, reads: bool, within: Duration) -> Judged {
    let began = Instant::now();
    if peer.left(nudge, every, reads, within).await {
        return Ok(format!("ended after {} s", began.elapsed().as_secs()));
    }
    Err(Miss::Failed(format!("the connection is open after {} s", began.elapsed().as_secs())))
}

/// 64 MiB: more than the buffers of two sockets hold.
const ECHOES: usize = 1024;
