//! What can go wrong with a stream, at every byte of every conversation and in every way of use: each end releases all
//! that was held, is told once, and loses nothing that came whole before it. Time is a paused clock's.
//!
//! The oracle of what comes is the engine alone, fed with the same bytes.
#![cfg(all(feature = "tokio", feature = "deflate"))]

#[path = "faults/blocking.rs"]
mod blocking;
#[path = "faults/conversation.rs"]
mod conversation;
#[path = "faults/handshakes.rs"]
mod handshakes;
#[path = "support/heap.rs"]
mod heap;
#[path = "faults/leases.rs"]
mod leases;
#[path = "faults/stream.rs"]
mod stream;
mod support;
#[path = "faults/wakers.rs"]
mod wakers;
#[path = "faults/ways.rs"]
mod ways;

use std::future::Future;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use conversation::{Case, cases, large};
use heap::Heap;
use stream::{Fate, Log, Plan, stream};
use support::{Outcome, Take, replay};
use taut::proto::{Message, ProtocolError};
use taut::tokio::{Options, WebSocket};
use taut::{Budget, Deadline, Error};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use ways::{Seen, WAYS, Way, lengths};

const RESET: Fate = Fate::Error(ErrorKind::ConnectionReset);
const BROKEN: Fate = Fate::Error(ErrorKind::BrokenPipe);
/// An error like any other, where there are no retries.
const WOULD_BLOCK: Fate = Fate::Error(ErrorKind::WouldBlock);
const OPTIONS: Options = Options::new();
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn the_input_ends_behind_any_byte() {
    let mut table = Table::new();
    for case in cases() {
        for cut in 0..=case.wire.len() {
            for end in [Fate::Nothing, RESET, WOULD_BLOCK, Fate::Silence] {
                for way in WAYS {
                    table.run(&case, way, Plan::new(&case.wire).cut(cut, end));
                }
            }
        }
    }
    table.finish(10_000);
}

#[test]
fn the_output_is_refused_behind_any_byte() {
    let mut table = Table::new();
    for case in cases() {
        for way in WAYS {
            let all = table.run(&case, way, Plan::new(&case.wire));
            for room in 0..=all {
                for refusal in [Fate::Nothing, BROKEN, Fate::Silence] {
                    let end = [Fate::Nothing, RESET, Fate::Silence][room % 3];
                    table.run(&case, way, Plan::new(&case.wire).cut(usize::MAX, end).room(room, refusal));
                }
            }
        }
    }
    table.finish(5_000);
}

#[test]
fn both_ends_fail_at_once() {
    let mut table = Table::new();
    for case in cases() {
        for cut in (0..case.wire.len()).step_by(5) {
            for room in (0..100).step_by(7) {
                for refusal in [BROKEN, Fate::Silence] {
                    for way in WAYS {
                        table.run(&case, way, Plan::new(&case.wire).cut(cut, RESET).room(room, refusal));
                    }
                }
            }
        }
    }
    table.finish(5_000);
}

/// All of it in pieces, each pending first: nothing is amiss, and no more is called than that takes.
#[test]
fn pieces_of_any_length_are_all_there_is() {
    let mut table = Table::new();
    for case in cases() {
        for piece in [1, 2, 3, 5, 7, 64, usize::MAX] {
            for way in WAYS {
                let plan = Plan::new(&case.wire).pieces(piece);
                let log = table.play(&case, way, plan.clone());
                let pieces = plan.input.len().div_ceil(piece) + log.output().len().div_ceil(piece);
                let most = 40 + 8 * case.frames + 4 * pieces;
                assert!(
                    log.calls() <= most,
                    "{} calls, and not {most}: {case}, {way:?}, {piece}",
                    log.calls()
                );
            }
        }
        for cut in (0..case.wire.len()).step_by(3) {
            for way in WAYS {
                table.run(&case, way, Plan::new(&case.wire).cut(cut, RESET).pieces(1));
            }
        }
    }
    table.finish(500);
}

#[test]
fn flushes_and_shutdowns_fail_or_never_end() {
    let mut table = Table::new();
    let fates = [Fate::Nothing, BROKEN, Fate::Silence];
    for case in cases() {
        for cut in (0..=case.wire.len()).step_by(9).chain([case.wire.len()]) {
            for (flush, shutdown) in
                fates.into_iter().flat_map(|flush| fates.map(|shutdown| (flush, shutdown)))
            {
                for end in [Fate::Nothing, RESET, Fate::Silence] {
                    for way in WAYS {
                        let plan = Plan { flush, shutdown, ..Plan::new(&case.wire).cut(cut, end) };
                        table.run(&case, way, plan);
                    }
                }
            }
        }
    }
    table.finish(1_000);
}

/// At the borders of frames and of what the adapter reads at once, and at some bytes between.
#[test]
fn large_messages_end_anywhere() {
    let mut table = Table::new();
    for case in large() {
        let borders = case.borders.iter().flat_map(|border| border.saturating_sub(1)..border + 16);
        let reads = [4 << 10, 64 << 10, 512 << 10].into_iter().flat_map(|size| size - 1..=size + 1);
        let cuts: Vec<usize> = borders.chain(reads).chain((0..case.wire.len()).step_by(50_021)).collect();
        for (index, cut) in cuts.into_iter().filter(|cut| *cut <= case.wire.len()).enumerate() {
            // Each cut in one way, and each way at many cuts.
            let way = WAYS[index % WAYS.len()];
            let end = [Fate::Nothing, RESET, Fate::Silence][index / WAYS.len() % 3];
            table.run(&case, way, Plan::new(&case.wire).cut(cut, end));
            table.run(&case, way, Plan::new(&case.wire).room(cut, [BROKEN, Fate::Silence][index % 2]));
        }
        for way in WAYS {
            table.run(&case, way, Plan::new(&case.wire).pieces(10_007));
        }
    }
    table.finish(100);
}

/// The cases of a test, and what its thread held before.
struct Table {
    runtime: Runtime,
    budget: Budget,
    count: usize,
    /// Once the runtime and the thread have what they keep.
    before: Option<(Heap, usize)>,
    _others: RwLockReadGuard<'static, ()>,
}

impl Table {
    fn new() -> Self {
        let mut table = Self {
            runtime: runtime(),
            budget: Budget::new(1 << 30),
            count: 0,
            before: None,
            _others: others(),
        };
        // There is one task from now on that writes what is held.
        let case = &cases()[0];
        table.run(case, Way::Echo, Plan::new(&case.wire));
        assert_eq!(alive(&table.runtime), 1);
        table
    }

    /// Plays a case, judges it, and tells how many bytes were written.
    fn run(&mut self, case: &Case, way: Way, plan: Plan) -> usize {
        self.play(case, way, plan).output().len()
    }

    fn play(&mut self, case: &Case, way: Way, plan: Plan) -> Log {
        if self.count == WARM {
            self.before = Some((Heap::now(), alive(&self.runtime)));
        }
        self.count += 1;
        let (stream, log) = stream(plan.clone());
        let connection = case.connection();
        let socket = if way == Way::Local {
            WebSocket::new_local(stream, connection, &OPTIONS)
        } else {
            WebSocket::new(stream, connection, &OPTIONS)
        };
        let budget = self.budget.clone();
        let name = || format!("{case}, {way:?}, {plan:?}");
        let seen = self
            .runtime
            .block_on(turns(move |turns| play(socket, way, budget, turns)))
            .unwrap_or_else(|_| panic!("{}", name()));
        assert!(log.is_gone(), "the stream is still there: {}", name());
        assert_eq!(self.budget.used(), 0, "{}", name());
        judge(case, way, &plan, &seen, &log.output())
            .unwrap_or_else(|wrong| panic!("{wrong}: {}: {seen:?}", name()));
        if let Some((_, tasks)) = &self.before {
            self.runtime.block_on(settled(*tasks, || alive(&self.runtime)));
        }
        log
    }

    /// Nothing is left of at least so many cases.
    fn finish(self, least: usize) {
        assert!(self.count >= least, "{} cases", self.count);
        let (heap, tasks) = self.before.expect("more cases than to get warm");
        assert_eq!(alive(&self.runtime), tasks, "tasks");
        let left = heap.owned();
        assert!(left <= TOLERANCE, "{left} bytes are left of {} cases", self.count);
    }
}

/// Uses a socket until it has ended, and sees to it that nothing is left but the socket.
async fn play(
    mut socket: WebSocket<stream::Stream>,
    way: Way,
    budget: Budget,
    turns: Arc<AtomicUsize>,
) -> Seen {
    socket.set_budget(Some(&budget));
    let mut seen = Seen::default();
    let mut socket = timeout(DAY, way.talk(socket, &mut seen)).await.expect("it hangs");
    assert!(socket.is_ended());
    for _ in 0..3 {
        // What was told is not told again.
        assert!(matches!(socket.recv().await, Ok(None)));
    }
    assert!(matches!(socket.send("late").await, Err(Error::Send(_))));
    assert_eq!((socket.with_connection(|connection| connection.memory()), budget.used()), (0, 0));
    // The end woke all who waited, this task among them.
    sleep(Duration::from_millis(1)).await;
    // A timer that was left would come up.
    let before = turns.load(Ordering::Relaxed);
    sleep(DAY).await;
    let more = turns.load(Ordering::Relaxed) - before;
    assert_eq!(more, 1, "the end of the sleep is one turn");
    seen
}

/// Whether that came of the plan which has to.
fn judge(case: &Case, way: Way, plan: &Plan, seen: &Seen, output: &[u8]) -> Result<(), String> {
    let Outcome { messages, error } = replay(&mut case.connection(), plan.comes(), &[], Take::Owned);
    let answered = replay(&mut case.peer(), output, &[], Take::Owned);
    let closed = matches!(messages.last(), Some(Message::Close(_)));
    let told = answered.messages.iter().any(|message| matches!(message, Message::Close(_)));
    let waits = plan.refusal == Fate::Silence && plan.room < usize::MAX || plan.flush == Fate::Silence;
    check(answered.error.is_none(), || format!("the peer got nonsense: {:?}", answered.error))?;

    // Who waits to write takes nothing more.
    if way != Way::Close && !waits {
        check(seen.messages == messages, || format!("came: {}", lengths(&messages)))?;
    }
    check(messages.starts_with(&seen.messages), || format!("came: {}", lengths(&messages)))?;
    let data = |messages: &[Message]| -> Vec<Message> {
        messages.iter().filter(|message| message.is_data()).cloned().collect()
    };
    let (asked, got) = (data(&seen.messages), data(&answered.messages));
    check(asked.starts_with(&got), || format!("was answered: {}", lengths(&got)))?;
    let all_is_taken = plan.room == usize::MAX && plan.flush == Fate::Nothing;
    // Two who share a socket need not wait for each other.
    let in_turn = !matches!(way, Way::Recv | Way::Close | Way::Joined | Way::Split | Way::Halves);
    if in_turn && all_is_taken && plan.end != RESET && plan.end != WOULD_BLOCK {
        check(asked == got, || format!("was answered: {}", lengths(&got)))?;
    }

    let write_error = match (plan.refusal, plan.flush) {
        (Fate::Error(kind), _) | (_, Fate::Error(kind)) => Some(kind),
        (Fate::Nothing, _) => Some(ErrorKind::WriteZero),
        _ => None,
    };
    let read_error = if let Fate::Error(kind) = plan.end { Some(kind) } else { None };
    let unfinished = {
        let mut twin = case.connection();
        replay(&mut twin, plan.comes(), &[], Take::Owned);
        twin.unfinished().is_some()
    };
    let right = match &seen.error {
        // RFC 6455 §7.1.4: both Closes.
        None => closed && told,
        Some(Error::Protocol(ProtocolError::TooSlow)) => {
            unfinished && plan.end == Fate::Silence && error.is_none()
        }
        Some(Error::Protocol(told)) => Some(*told) == error,
        Some(Error::Io(told)) => [write_error, read_error].contains(&Some(told.kind())),
        Some(Error::Lost) => plan.end == Fate::Nothing && !(closed && told && all_is_taken),
        Some(Error::Timeout(Deadline::Close)) => [plan.end, plan.shutdown].contains(&Fate::Silence) || waits,
        Some(Error::Timeout(Deadline::Write)) => waits,
        _ => false,
    };
    check(right, || format!("not so: {error:?}"))?;
    // What is known to be wrong comes first.
    let is_protocol = matches!(seen.error, Some(Error::Protocol(_)));
    check(error.is_none() || is_protocol || waits, || format!("untold: {error:?}"))?;
    if all_is_taken && plan.shutdown == Fate::Nothing {
        let end = plan.end;
        let expected = match &seen.error {
            None => closed,
            Some(Error::Io(_)) => read_error.is_some() && !closed,
            Some(Error::Lost) => end == Fate::Nothing && !closed,
            Some(Error::Timeout(_)) => end == Fate::Silence && !closed && (!unfinished || way == Way::Close),
            _ => true,
        };
        check(expected, || format!("closed: {closed}, unfinished: {unfinished}"))?;
    }
    check(seen.idle <= (plan.end == Fate::Silence), || "it is idle".to_owned())
}

fn check(right: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(wrong()) }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn alive(runtime: &Runtime) -> usize {
    runtime.metrics().num_alive_tasks()
}

/// Waits until that is so, for as long as other tasks have something to do.
async fn settled(expected: usize, mut found: impl FnMut() -> usize) {
    for _ in 0..10 {
        if found() == expected {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(found(), expected, "tasks");
}

/// Runs a future as a task that knows how often it was polled.
async fn turns<F, T>(work: impl FnOnce(Arc<AtomicUsize>) -> F) -> Result<T, tokio::task::JoinError>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let turns = Arc::new(AtomicUsize::new(0));
    let mut work = Box::pin(work(turns.clone()));
    tokio::spawn(std::future::poll_fn(move |cx| {
        turns.fetch_add(1, Ordering::Relaxed);
        work.as_mut().poll(cx)
    }))
    .await
}

/// Keeps the test that needs all leases from running beside others.
fn others() -> RwLockReadGuard<'static, ()> {
    ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

static ALONE: RwLock<()> = RwLock::new(());

/// After so many cases a runtime and its thread have grown to what they need.
const WARM: usize = 100;

/// Less than a byte for each case: what a runtime's queue may grow by.
const TOLERANCE: isize = 4096;
