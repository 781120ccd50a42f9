//! Opening handshakes whose stream fails at every byte, over tokio and over a blocking stream.

use std::io::ErrorKind;

use taut::proto::Message;
use taut::proto::handshake::{Accept, ClientRequest, Reject, accept_key};
use taut::{Deadline, Error};
use tokio::time::{Instant, timeout};

use crate::heap::Heap;
use crate::stream::{Fate, Plan, Stream, stream};
use crate::{BROKEN, DAY, OPTIONS, RESET, TOLERANCE, WARM, WOULD_BLOCK, others, runtime, turns};

/// Who shakes hands, and what becomes of it if nothing fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hands {
    Accepts,
    /// The application does not want the client.
    Rejects,
    /// The request is none.
    Complains,
    Connects,
    /// The server does not want us, and says why at length.
    IsRefused,
}

const ALL: [Hands; 5] = [Hands::Accepts, Hands::Rejects, Hands::Complains, Hands::Connects, Hands::IsRefused];

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What came of it. A socket has received one message.
type Ended = Result<Option<Message>, Error>;

impl Hands {
    fn plan(self) -> Plan {
        match self {
            Self::Accepts => Plan::new(&[REQUEST.as_bytes(), b"\x81\x82\0\0\0\0hi"].concat()),
            Self::Rejects => Plan::new(REQUEST.as_bytes()),
            Self::Complains => Plan::new(REQUEST.replace("Version: 13", "Version: 12").as_bytes()),
            Self::Connects => Plan { answer: Some(upgrade), ..Plan::new(b"") },
            Self::IsRefused => Plan { answer: Some(|_| REFUSAL.into()), ..Plan::new(b"") },
        }
    }

    async fn shake(self, stream: Stream) -> Ended {
        let request = ClientRequest::new("a", "/").unwrap();
        let mut socket = match self {
            Self::Connects | Self::IsRefused => {
                taut::tokio::connect_over(stream, &request, OPTIONS.deflate(None)).await
            }
            _ => taut::tokio::accept_with(stream, OPTIONS, |_| self.decide()).await,
        }?;
        let message = socket.recv().await;
        let _ = socket.close(taut::proto::CloseCode::NORMAL, "").await;
        message
    }

    fn shake_blocking(self, stream: Stream) -> Ended {
        let request = ClientRequest::new("a", "/").unwrap();
        match self {
            Self::Connects | Self::IsRefused => {
                taut::blocking::connect_over(stream, &request, OPTIONS.deflate(None))
            }
            _ => taut::blocking::accept_with(stream, OPTIONS, |_| self.decide()),
        }?
        .recv()
    }

    fn decide(self) -> Result<Accept, Reject> {
        if self == Self::Rejects { Err(Reject::new(403).unwrap()) } else { Ok(Accept::new()) }
    }

    /// What comes if nothing fails, however the stream ends.
    fn is_right(self, ended: &Ended) -> bool {
        match (self, ended) {
            (Self::Accepts | Self::Connects, Ok(Some(message))) => *message == Message::text("hi"),
            (Self::Rejects, Err(Error::Rejected(403))) | (Self::Complains, Err(Error::Handshake(_))) => true,
            (Self::IsRefused, Err(Error::Refused(answer))) => answer.body() == b"not for you",
            _ => false,
        }
    }
}

const REFUSAL: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 11\r\n\r\nnot for you";

fn upgrade(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8(request.to_vec()).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).unwrap();
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
    format!("{head}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n\u{81}\x02hi").chars().map(|c| c as u8).collect()
}

/// Every way for a stream to fail, with what it does amiss: the input at each byte, the output at each, flush and
/// shutdown; and short pieces.
fn plans(hands: Hands) -> Vec<(Plan, Vec<Fate>)> {
    let plan = || hands.plan();
    // More than any request or answer here.
    const LONGEST: usize = 280;
    let mut plans = Vec::new();
    for at in 0..LONGEST {
        for fate in [Fate::Nothing, RESET, WOULD_BLOCK, Fate::Silence] {
            plans.push((plan().cut(at, fate), vec![fate]));
            plans.push((plan().cut(at, fate).pieces(1), vec![fate]));
        }
        for refusal in [Fate::Nothing, BROKEN, Fate::Silence] {
            for end in [Fate::Nothing, RESET, Fate::Silence] {
                plans.push((plan().cut(usize::MAX, end).room(at, refusal), vec![end, refusal]));
            }
        }
    }
    for (flush, shutdown) in
        [(BROKEN, Fate::Nothing), (Fate::Silence, Fate::Nothing), (Fate::Nothing, BROKEN)]
    {
        plans.push((Plan { flush, shutdown, ..plan() }, vec![flush, shutdown]));
    }
    plans.push((Plan { shutdown: Fate::Silence, ..plan() }, vec![Fate::Silence]));
    plans.extend((1..50).map(|piece| (plan().pieces(piece), Vec::new())));
    plans
}

/// What may come of that, if it is not what comes without a fault.
fn judge(plan: &Plan, fates: &[Fate], ended: &Ended, output: &[u8], blocking: bool) -> bool {
    let has = |fate: Fate| fates.contains(&fate);
    match ended {
        Err(Error::Io(error)) => match error.kind() {
            ErrorKind::WriteZero => plan.refusal == Fate::Nothing,
            ErrorKind::TimedOut => blocking && (has(Fate::Silence) || plan.waits),
            kind => has(Fate::Error(kind)),
        },
        // A peer that is gone before it said a word.
        Err(error)
            if matches!(error, Error::NoRequest)
                && !blocking
                && has(Fate::Error(ErrorKind::ConnectionReset)) =>
        {
            true
        }
        // The end of the stream is that of the head.
        Err(Error::Handshake(_) | Error::Lost | Error::NoRequest) => has(Fate::Nothing),
        Err(Error::Timeout(Deadline::Handshake)) => !blocking && has(Fate::Silence),
        // The handshake was done.
        Err(Error::Timeout(_)) => has(Fate::Silence) && output.ends_with(b"\r\n\r\n"),
        // The body of a refusal is what came of it.
        Err(Error::Refused(answer)) => b"not for you".starts_with(answer.body()),
        Err(Error::Protocol(error)) => *error == taut::proto::ProtocolError::TooSlow && has(Fate::Silence),
        _ => false,
    }
}

#[test]
fn handshakes_fail_at_any_byte() {
    let _others = others();
    let runtime = runtime();
    each_plan(|hands, plan, fates| {
        let (stream, log) = stream(plan.clone());
        let (ended, time) = runtime
            .block_on(turns(move |_| async move {
                let start = Instant::now();
                let ended = timeout(DAY, hands.shake(stream)).await;
                (ended, start.elapsed())
            }))
            .unwrap();
        let right = match &ended {
            Ok(ended) => hands.is_right(ended) || judge(plan, fates, ended, &log.output(), false),
            // A socket that is open may wait for ever for a message.
            Err(_) => {
                let is_open = matches!(hands, Hands::Accepts | Hands::Connects) && plan.room == usize::MAX;
                is_open && plan.end == Fate::Silence
            }
        };
        assert!(right, "{hands:?}, {plan:?}: {ended:?}");
        assert!(ended.is_err() || time.as_secs() <= MOST_TIME, "{hands:?}, {plan:?}: {time:?}");
        assert!(log.is_gone(), "{hands:?}, {plan:?}");
        assert_eq!(runtime.metrics().num_alive_tasks(), 0, "{hands:?}, {plan:?}");
    });
}

#[test]
fn blocking_handshakes_fail_at_any_byte() {
    let _others = others();
    each_plan(|hands, plan, fates| {
        let (stream, log) = stream(plan.clone());
        let ended = hands.shake_blocking(stream);
        let right = hands.is_right(&ended) || judge(plan, fates, &ended, &log.output(), true);
        assert!(right, "{hands:?}, {plan:?}: {ended:?}");
        assert!(log.is_gone(), "{hands:?}, {plan:?}");
    });
}

/// Runs every plan, which must leave nothing.
fn each_plan(run: impl Fn(Hands, &Plan, &[Fate])) {
    let mut before = None;
    let all = ALL.iter().flat_map(|hands| plans(*hands).into_iter().map(|plan| (*hands, plan)));
    for (index, (hands, (plan, fates))) in all.enumerate() {
        if index == WARM {
            before = Some(Heap::now());
        }
        run(hands, &plan, &fates);
    }
    let left = before.unwrap().owned();
    assert!(left <= TOLERANCE, "{left} bytes are left");
}

/// In seconds, by the default options: for the handshake, a message, a refusal and the end.
const MOST_TIME: u64 = 10 + 30 + 5 + 5;
