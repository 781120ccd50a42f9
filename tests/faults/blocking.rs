//! The blocking adapter over streams that fail at any byte.

use std::io::ErrorKind;

use taut::blocking::WebSocket;
use taut::proto::{CloseCode, Message};
use taut::{Deadline, Error, Options};

use crate::conversation::{Case, cases, large};
use crate::heap::Heap;
use crate::stream::{Fate, Plan, Stream, stream};
use crate::support::{Outcome, Take, replay};
use crate::ways::lengths;
use crate::{BROKEN, OPTIONS, RESET, TOLERANCE, others};

/// What the application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Recv,
    Echo,
    Feed,
    Close,
}

const WAYS: [Way; 4] = [Way::Recv, Way::Echo, Way::Feed, Way::Close];

/// A call that would have to wait times out, and is tried again so often at most.
const PATIENCE: usize = 2_000;

struct Seen {
    messages: Vec<Message>,
    error: Option<Error>,
    /// The last of many timeouts: nothing goes on.
    stuck: bool,
}

fn play(case: &Case, way: Way, plan: &Plan, options: &Options) -> Seen {
    let silent = [plan.end, plan.refusal, plan.flush].contains(&Fate::Silence);
    let most = if plan.waits { PATIENCE } else { 3 };
    let name = || format!("{case}, {way:?}, {plan:?}");
    let (stream, log) = stream(plan.clone());
    let mut socket = WebSocket::new(stream, case.connection(), options);
    let mut seen = Seen { messages: Vec::new(), error: None, stuck: false };
    let mut timeouts = 0;
    loop {
        let next = match way {
            Way::Close => socket.close(CloseCode::NORMAL, "bye").map(|_| None),
            _ => socket.recv(),
        };
        match next {
            Ok(Some(message)) => {
                seen.messages.push(message.clone());
                if message.is_data() {
                    let _ = match way {
                        Way::Echo => socket.send(message),
                        Way::Feed => socket.feed(message),
                        _ => Ok(()),
                    };
                }
            }
            Ok(None) => break,
            Err(error) if is_timeout(&error) => {
                timeouts += 1;
                if timeouts > most && (silent || timeouts > PATIENCE) {
                    assert!(silent, "nothing goes on");
                    seen.stuck = true;
                    break;
                }
            }
            Err(error) => {
                seen.error = Some(error);
                break;
            }
        }
    }
    if !seen.stuck {
        assert_ended(&mut socket, name);
    }
    drop(socket);
    assert!(log.is_gone());
    seen
}

fn is_timeout(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::TimedOut)
}

/// What was told is not told again, and nothing is held.
fn assert_ended(socket: &mut WebSocket<Stream>, name: impl Fn() -> String) {
    for _ in 0..3 {
        assert!(matches!(socket.recv(), Ok(None)));
    }
    assert!(matches!(socket.send("late"), Err(Error::Send(_))));
    assert_eq!(socket.connection().memory(), 0, "{}", name());
}

fn judge(case: &Case, way: Way, plan: &Plan, seen: &Seen) -> Result<(), String> {
    let Outcome { messages, error } = replay(&mut case.connection(), plan.comes(), &[], Take::Owned);
    let closed = matches!(messages.last(), Some(Message::Close(_)));
    // Who cannot write waits for that before the next read.
    if way != Way::Close && !seen.stuck && seen.messages != messages || !messages.starts_with(&seen.messages)
    {
        return Err(format!("came: {}", lengths(&messages)));
    }
    let all_is_taken = plan.room == usize::MAX && plan.flush == Fate::Nothing;
    let kinds = [plan.end, plan.refusal, plan.flush].map(|fate| match fate {
        Fate::Error(kind) => Some(kind),
        Fate::Nothing => Some(ErrorKind::WriteZero),
        Fate::Silence => None,
    });
    let right = match &seen.error {
        None => closed || seen.stuck,
        Some(Error::Protocol(told)) => Some(*told) == error,
        Some(Error::Io(told)) => kinds.contains(&Some(told.kind())) && !(closed && all_is_taken),
        Some(Error::Lost) => plan.end == Fate::Nothing && !(closed && all_is_taken),
        // The time to close was over before it began.
        Some(Error::Timeout(Deadline::Close)) => plan.end == Fate::Silence,
        _ => false,
    };
    let told = seen.stuck || error.is_none() || matches!(seen.error, Some(Error::Protocol(_)));
    if right && told { Ok(()) } else { Err(format!("{error:?}")) }
}

#[test]
fn blocking_streams_fail_at_any_byte() {
    let _others = others();
    // Compresses, so that the thread keeps what that takes.
    let (small, large) = (cases(), large());
    let mut before = None;
    let mut count = 0;
    let mut run = |case: &Case, way: Way, plan: Plan| {
        if count == 1000 {
            before = Some(Heap::now());
        }
        count += 1;
        let seen = play(case, way, &plan, &OPTIONS);
        judge(case, way, &plan, &seen).unwrap_or_else(|wrong| {
            panic!("{case}, {way:?}, {plan:?}: {wrong}; {}, {:?}", lengths(&seen.messages), seen.error)
        });
    };
    for case in small {
        let plan = || Plan::new(&case.wire);
        for way in WAYS {
            for cut in 0..=case.wire.len() {
                for end in [Fate::Nothing, RESET, Fate::Silence] {
                    run(&case, way, plan().cut(cut, end));
                }
                run(&case, way, plan().cut(cut, RESET).pieces(1));
            }
            for room in 0..300 {
                for refusal in [Fate::Nothing, BROKEN, Fate::Silence] {
                    run(&case, way, plan().room(room, refusal));
                }
                run(&case, way, plan().cut(room, RESET).room(300 - room, BROKEN));
            }
            for flush in [BROKEN, Fate::Silence] {
                for cut in (0..=case.wire.len()).step_by(9) {
                    run(&case, way, Plan { flush, ..plan().cut(cut, Fate::Nothing) });
                }
            }
            for piece in [1, 2, 3, 7, 64] {
                run(&case, way, plan().pieces(piece));
            }
        }
    }
    for case in large {
        for way in WAYS {
            for cut in (0..case.wire.len()).step_by(40_009) {
                run(&case, way, Plan::new(&case.wire).cut(cut, RESET));
                run(&case, way, Plan::new(&case.wire).room(cut, BROKEN));
            }
        }
    }
    assert!(count > 10_000, "{count}");
    let left = before.unwrap().owned();
    assert!(left <= TOLERANCE, "{left} bytes are left");
}
