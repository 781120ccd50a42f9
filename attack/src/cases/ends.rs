//! Ends and resets at every state of a connection: the server gives back what it held, and serves on.

use std::time::Duration;

use tokio::time::sleep;

use crate::attack::Attack;
use crate::case::Script::Run;
use crate::case::{Case, Judged, Miss};
use crate::peer::Peer;
use crate::wire::{binary, close, continuation, frames, text};

const S7_1_5: &str = "CVE-2017-2670, CVE-2024-23672";
const RELEASED: &str = "however a connection ends, all that it held is released, and nothing goes on for it";

/// Where a connection is when it ends.
#[derive(Clone, Copy)]
enum State {
    Silent,
    AmidRequest,
    BehindRequest,
    Open,
    AmidHeader,
    AmidPayload,
    AmidMessage,
    BehindMessages,
    BehindClose,
}

#[derive(Clone, Copy)]
enum End {
    /// Both halves: the process is gone, and so is its socket.
    Gone,
    /// The sending half only; what comes is still read.
    Half,
    Reset,
}

macro_rules! ends {
    ($($name:literal: $state:ident, $end:ident, $does:literal;)*) => {&[$(
        Case::must($name, S7_1_5, RELEASED, concat!("50 connections that ", $does), Run(|attack| {
            Box::pin(vanish(attack, State::$state, End::$end))
        })),
    )*]};
}

pub(crate) const CASES: &[Case] = ends! {
    "end_before_a_request": Silent, Gone, "end before they send anything";
    "end_amid_a_request": AmidRequest, Gone, "end in the middle of their request";
    "end_behind_a_request": BehindRequest, Gone, "end right behind their request";
    "end_amid_a_header": AmidHeader, Gone, "end in the middle of a frame's header";
    "end_amid_a_payload": AmidPayload, Gone, "end in the middle of a frame";
    "end_amid_a_message": AmidMessage, Gone, "end between two fragments";
    "end_behind_messages": BehindMessages, Gone, "send 64 messages and end without reading the echoes";
    "end_behind_a_close": BehindClose, Gone, "send a Close and end";
    "half_end_before_a_request": Silent, Half, "end their sending half before they send anything";
    "half_end_amid_a_request": AmidRequest, Half, "end their sending half in the middle of their request";
    "half_end_while_open": Open, Half, "end their sending half without a Close";
    "half_end_amid_a_message": AmidMessage, Half, "end their sending half between two fragments";
    "reset_before_a_request": Silent, Reset, "reset before they send anything";
    "reset_amid_a_request": AmidRequest, Reset, "reset in the middle of their request";
    "reset_behind_a_request": BehindRequest, Reset, "reset right behind their request";
    "reset_amid_a_header": AmidHeader, Reset, "reset in the middle of a frame's header";
    "reset_amid_a_payload": AmidPayload, Reset, "reset in the middle of a frame";
    "reset_amid_a_message": AmidMessage, Reset, "reset between two fragments";
    "reset_behind_messages": BehindMessages, Reset, "send 64 messages and reset";
    "reset_behind_a_close": BehindClose, Reset, "send a Close and reset";
};

async fn vanish(attack: Attack, state: State, end: End) -> Judged {
    let files = attack.files();
    let mut halves = Vec::new();
    for _ in 0..CONNECTIONS {
        let peer = reach(&attack, state).await?;
        match end {
            End::Gone => drop(peer),
            End::Reset => peer.reset(),
            End::Half => {
                peer.finish();
                halves.push(peer);
            }
        }
    }
    for mut peer in halves {
        let deadline = tokio::time::Instant::now() + attack.timeout;
        while let crate::peer::Seen::Frame(_) = peer.next_until(deadline).await {}
        if !peer.has_ended() {
            return Err(Miss::failed("the server does not end its half"));
        }
    }
    attack.files_return(files).await?;
    attack.idles().await.map(|()| "all is released".to_owned())
}

async fn reach(attack: &Attack, state: State) -> Result<Peer, Miss> {
    let mut peer = attack.connect().await?;
    let request = attack.request().bytes();
    match state {
        State::Silent => return Ok(peer),
        State::AmidRequest => {
            peer.send(&request[..request.len() / 2]).await;
            return Ok(peer);
        }
        State::BehindRequest => {
            peer.send(&request).await;
            return Ok(peer);
        }
        _ => {}
    }
    peer.send(&request).await;
    peer.accepted().await?;
    let bytes = match state {
        State::AmidHeader => vec![0x82, 0xff, 0, 0],
        State::AmidPayload => binary([b'p'; 100]).announce(100_000).bytes(),
        State::AmidMessage => frames([text("half").unfinished(), continuation("more").unfinished()]),
        State::BehindMessages => binary([b'm'; 1000]).bytes().repeat(64),
        State::BehindClose => close(1000, "").bytes(),
        _ => Vec::new(),
    };
    peer.send(&bytes).await;
    // So that the server is where it is to be, most of the time.
    sleep(Duration::from_micros(500)).await;
    Ok(peer)
}

const CONNECTIONS: usize = 50;
