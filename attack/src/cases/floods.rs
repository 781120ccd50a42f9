//! Connections without number, while a healthy client measures how long it waits.

use std::time::Duration;

use crate::attack::Attack;
use crate::case::Script::Run;
use crate::case::{Case, Judged, Miss};
use crate::peer::Peer;
use crate::wire::{binary, text};

const FLOOD: &str = "connection floods";
const OTHERS: &str = "connections that do nothing keep no other one from being served, and cost little";
const CHURN: &str = "what connections held is given back when they end";

pub(crate) const CASES: &[Case] = &[
    Case::must(
        "silent_tcp_connections",
        FLOOD,
        OTHERS,
        "thousands of TCP connections that never send anything, and healthy clients beside them",
        Run(|attack| Box::pin(silent(attack, false))),
    ),
    Case::must(
        "silent_websockets",
        FLOOD,
        OTHERS,
        "thousands of WebSocket connections that never send a frame, and healthy clients beside them",
        Run(|attack| Box::pin(silent(attack, true))),
    ),
    Case::hardening(
        "idle_websocket_is_small",
        FLOOD,
        OTHERS,
        "1000 WebSocket connections that echoed a message of 16 KiB and wait: at most 32 KiB of memory each",
        Run(|attack| Box::pin(idle(attack))),
    )
    .needs_process(),
    Case::hardening(
        "churn_gives_back",
        FLOOD,
        CHURN,
        "twice 3000 connections that echo a message and are reset: the second time memory grows by at most 8 MiB",
        Run(|attack| Box::pin(churn(attack))),
    )
    .needs_process(),
    Case::must(
        "more_connections_than_files",
        FLOOD,
        "a server that may open no more files accepts again once it may",
        "more connections than the server may open files; once they are gone, healthy clients are served",
        Run(|attack| Box::pin(more_than_files(attack))),
    )
    .needs_process(),
];

async fn silent(attack: Attack, shaken: bool) -> Judged {
    let files = attack.files();
    let mut peers: Vec<Peer> = Vec::new();
    let mut slowest = Duration::ZERO;
    for at in 0..attack.connections {
        peers.push(if shaken { attack.open().await } else { attack.connect().await }?);
        if at % 500 == 499 {
            slowest = slowest.max(attack.slowest_healthy(1).await?);
        }
    }
    slowest = slowest.max(attack.slowest_healthy(20).await?);
    let count = peers.len();
    // Not one after the other with ends that wait: the ports are wanted again.
    peers.into_iter().for_each(Peer::reset);
    attack.files_return(files).await?;
    attack.slowest_healthy(1).await?;
    Ok(format!("beside {count} a healthy client waited at most {} ms", slowest.as_millis()))
}

async fn idle(attack: Attack) -> Judged {
    let process = attack.process()?;
    let payload = vec![b'i'; 16 << 10];
    let mut peers = Vec::new();
    let mut before = 0;
    for at in 0..=IDLE {
        let mut peer = attack.open().await?;
        peer.send(&binary(&payload).bytes()).await;
        peer.expect(crate::wire::BINARY, &payload).await?;
        peers.push(peer);
        if at == 0 {
            // What a server takes once is not for one connection.
            before = process.resident().unwrap_or_default();
        }
    }
    let grown = process.resident().unwrap_or_default().saturating_sub(before) / IDLE as u64;
    peers.into_iter().for_each(Peer::reset);
    if grown > MOST_IDLE {
        return Err(Miss::Failed(format!("{} KiB for each connection", grown >> 10)));
    }
    Ok(format!("{:.1} KiB for each connection", grown as f64 / 1024.0))
}

async fn churn(attack: Attack) -> Judged {
    let process = attack.process()?;
    let files = attack.files();
    let mut sizes = Vec::new();
    for _ in 0..2 {
        for _ in 0..CHURNED {
            let mut peer = attack.open().await?;
            peer.send(&text("churn").bytes()).await;
            peer.expect(crate::wire::TEXT, b"churn").await?;
            peer.reset();
        }
        attack.files_return(files).await?;
        sizes.push(process.resident().unwrap_or_default());
    }
    let grown = sizes[1].saturating_sub(sizes[0]);
    if grown > MOST_CHURN {
        return Err(Miss::Failed(format!("memory grows by {} KiB", grown >> 10)));
    }
    Ok(format!("memory grows by {} KiB", grown >> 10))
}

async fn more_than_files(attack: Attack) -> Judged {
    let limit = attack.process()?.files_limit().unwrap_or(usize::MAX);
    if limit.saturating_add(100) > attack.ours {
        return Err(Miss::Skipped(format!(
            "the server may open {limit} files and the attacker {}: limit it with prlimit --nofile",
            attack.ours
        )));
    }
    let files = attack.files();
    let mut peers = Vec::new();
    for _ in 0..limit + 50 {
        match attack.connect().await {
            Ok(peer) => peers.push(peer),
            // The server's queue is full as well.
            Err(_) => break,
        }
    }
    let count = peers.len();
    peers.into_iter().for_each(Peer::reset);
    attack.files_return(files).await?;
    attack.slowest_healthy(1).await?;
    Ok(format!("served again after {count} connections"))
}

const IDLE: usize = 1000;
const MOST_IDLE: u64 = 32 << 10;
const CHURNED: usize = 3000;
const MOST_CHURN: u64 = 8 << 20;
