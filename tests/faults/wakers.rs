//! Tasks that come and go: in each state in which a socket can wait, the waker that was given last is woken, whatever
//! became of those before; and turns that nobody asked for do nothing.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use taut::proto::frame::OpCode;
use taut::proto::{CloseCode, CloseFrame, Config, Role};
use taut::tokio::{WebSocket, accept};
use taut::{Budget, Error};
use tokio::time::advance;

use crate::OPTIONS;
use crate::heap::Heap;
use crate::support::{connection, frame};
use taut::testing::{MemoryStream, pair};

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task that can be polled by hand.
struct Task {
    bell: Arc<Bell>,
    waker: Waker,
}

impl Task {
    fn new() -> Self {
        let bell = Arc::new(Bell::default());
        Self { waker: bell.clone().into(), bell }
    }

    fn poll<T>(&self, future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(&self.waker))
    }

    /// How often it was woken since it was asked last.
    fn rings(&self) -> usize {
        self.bell.0.swap(0, Ordering::Relaxed)
    }
}

/// What a socket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A message.
    Idle,
    /// The rest of a message.
    Begun,
    /// Room, with a message that is not written.
    Full,
    /// The peer's Close.
    Closing,
    /// Room for a Close that answers that of the peer.
    Answering,
    /// The end of a peer that broke the protocol.
    Failing,
    /// The end of a shutdown.
    ShuttingDown,
}

const STATES: [State; 7] = [
    State::Idle,
    State::Begun,
    State::Full,
    State::Closing,
    State::Answering,
    State::Failing,
    State::ShuttingDown,
];

/// How the socket is polled.
#[derive(Clone, Copy, Debug)]
enum Call {
    Recv,
    Each,
    Flush,
}

type Socket = WebSocket<MemoryStream>;

impl State {
    fn socket(self) -> (Socket, MemoryStream) {
        let blocked = matches!(self, Self::Full | Self::Answering);
        let (stream, peer) = pair(if blocked { 1 } else { 1 << 20 });
        let stream = if self == Self::ShuttingDown { stream.shutdown_after_input() } else { stream };
        let mut socket = WebSocket::new(stream, connection(Role::Server, Config::new()), &OPTIONS);
        match self {
            Self::Idle => {}
            Self::Begun => peer.push(&frame(Role::Client, false, OpCode::Text, b"begun")),
            Self::Full => socket.feed("more than there is room for").unwrap(),
            Self::Closing => socket.start_close(CloseFrame::from(CloseCode::NORMAL)),
            Self::Answering | Self::ShuttingDown => {
                peer.push(&frame(Role::Client, true, OpCode::Close, &[3, 232]))
            }
            Self::Failing => peer.push(&[0xff; 20]),
        }
        (socket, peer)
    }

    /// Lets happen what it waits for.
    fn happen(self, peer: &MemoryStream) {
        match self {
            Self::Idle | Self::Begun => peer.push(&frame(Role::Client, true, OpCode::Ping, b"?")),
            Self::Full | Self::Answering => drop(peer.pull()),
            Self::Closing => peer.push(&frame(Role::Client, true, OpCode::Close, &[3, 232])),
            Self::Failing | Self::ShuttingDown => peer.finish(),
        }
    }

    fn calls(self) -> &'static [Call] {
        match self {
            Self::Full => &[Call::Recv, Call::Each, Call::Flush],
            _ => &[Call::Recv, Call::Each],
        }
    }

    /// How long the peer may take.
    fn time(self) -> Option<Duration> {
        match self {
            Self::Idle => None,
            Self::Begun | Self::Full => Some(Duration::from_secs(31)),
            _ => Some(Duration::from_secs(6)),
        }
    }
}

/// Polls until it waits.
fn wait(socket: &mut Socket, call: Call, task: &Task) {
    for _ in 0..10 {
        let polled = match call {
            Call::Recv => task.poll(socket.recv()).map(|result| result.map(drop)),
            Call::Each => task.poll(socket.recv_each(|_, _| Ok(()))),
            Call::Flush => task.poll(socket.flush()),
        };
        if polled.is_pending() {
            return;
        }
        assert!(matches!(polled, Poll::Ready(Ok(()))), "{polled:?}");
    }
    panic!("it never waits");
}

fn everywhere(mut check: impl FnMut(&str, State, Call, &mut Socket, &MemoryStream)) {
    for state in STATES {
        for &call in state.calls() {
            let (mut socket, peer) = state.socket();
            check(&format!("{state:?}, {call:?}"), state, call, &mut socket, &peer);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_task_is_woken() {
    everywhere(|name, state, call, socket, peer| {
        let (first, second) = (Task::new(), Task::new());
        wait(socket, call, &first);
        wait(socket, call, &second);
        first.rings();
        second.rings();
        state.happen(peer);
        assert!(second.rings() > 0, "{name}");
        // Nothing keeps the task that went away.
        assert_eq!(Arc::strong_count(&first.bell), 2, "{name}");
    });
}

/// Its wake-up is lost with it; whoever comes next finds what happened.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_gone_takes_nothing_with_it() {
    everywhere(|name, state, call, socket, peer| {
        wait(socket, call, &Task::new());
        state.happen(peer);
        let before = peer.writes();
        let task = Task::new();
        let is_ready = match call {
            Call::Recv | Call::Flush => task.poll(socket.recv()).is_ready(),
            Call::Each => task.poll(socket.recv_each(|_, _| Ok(()))).is_ready(),
        };
        peer.pull();
        assert!(is_ready || peer.writes() > before || peer.is_at_end(), "{name}");
    });
}

#[tokio::test(start_paused = true)]
async fn the_last_task_hears_that_the_time_is_over() {
    for state in STATES {
        for &call in state.calls() {
            let (mut socket, _peer) = state.socket();
            let (first, second) = (Task::new(), Task::new());
            wait(&mut socket, call, &first);
            wait(&mut socket, call, &second);
            first.rings();
            second.rings();
            // By steps: a deadline that was put off is found to be so when its timer fires.
            let mut woken = false;
            for _ in 0..state.time().map_or(3600, |time| time.as_secs()) {
                advance(Duration::from_secs(1)).await;
                woken |= second.rings() > 0;
            }
            assert_eq!(woken, state.time().is_some(), "{state:?}, {call:?}");
            assert_eq!(first.rings(), 0, "{state:?}, {call:?}");
        }
    }
}

/// A socket that goes from thread to thread and from task to task in the middle of it all.
#[tokio::test(start_paused = true)]
async fn a_future_may_move() {
    everywhere(|name, state, call, socket, peer| {
        let mut future: Pin<Box<dyn Future<Output = ()> + Send + '_>> = Box::pin(async move {
            match call {
                Call::Recv | Call::Flush => while let Ok(Some(_)) = socket.recv().await {},
                Call::Each => drop(socket.recv_each(|_, _| Ok(())).await),
            }
        });
        let (first, second) = (Task::new(), Task::new());
        assert!(first.poll(future.as_mut()).is_pending(), "{name}");
        let runtime = tokio::runtime::Handle::current();
        std::thread::scope(|scope| {
            let moved = scope.spawn(|| {
                let _entered = runtime.enter();
                assert!(second.poll(future.as_mut()).is_pending(), "{name}");
            });
            moved.join().unwrap();
        });
        first.rings();
        second.rings();
        state.happen(peer);
        assert!(second.rings() > 0, "{name}");
    });
}

#[tokio::test(start_paused = true)]
async fn turns_that_nobody_asked_for_do_nothing() {
    let budget = Budget::new(1 << 20);
    everywhere(|name, _, call, socket, peer| {
        socket.set_budget(Some(&budget));
        let task = Task::new();
        wait(socket, call, &task);
        wait(socket, call, &task);
        task.rings();
        let (heap, used, writes) = (Heap::now(), budget.used(), peer.writes());
        for _ in 0..1_000 {
            wait(socket, call, &task);
        }
        assert_eq!((heap.owned(), budget.used(), peer.writes()), (0, used, writes), "{name}");
        assert_eq!(task.rings(), 0, "{name}");
    });
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_told_of_the_end_is_not_woken_by_it() {
    let task = Task::new();
    let (stream, peer) = pair(1000);
    let mut socket = WebSocket::new(stream, connection(Role::Server, Config::new()), &OPTIONS);
    assert!(task.poll(socket.recv()).is_pending());
    peer.finish();
    assert_eq!(task.rings(), 1, "the stream tells");
    assert!(matches!(task.poll(socket.recv()), Poll::Ready(Err(Error::Lost))));
    drop(socket);
    assert_eq!(task.rings(), 0);

    // Nor by the drop of a socket that nobody waits for any more.
    let (stream, _peer) = pair(1000);
    let mut socket = WebSocket::new(stream, connection(Role::Server, Config::new()), &OPTIONS);
    assert!(task.poll(socket.recv()).is_pending());
    drop(socket);
    assert_eq!(task.rings(), 0);
}

/// The answer is written where those before it were: what they made grow stays with the thread.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_the_answer_keeps_no_memory_of_the_thread() {
    let task = Task::new();
    let (stream, busy_peer) = pair(1 << 20);
    let mut busy = WebSocket::new(stream, connection(Role::Server, Config::new()), &OPTIONS);
    // The thread has its buffer to read into from here on.
    wait(&mut busy, Call::Recv, &task);
    let before = Heap::now();
    for _ in 0..100 {
        busy.feed(vec![0; 1 << 10]).unwrap();
    }
    assert!(matches!(task.poll(busy.flush()), Poll::Ready(Ok(()))));
    drop((busy, busy_peer));

    let (stream, peer) = pair(1);
    peer.push(REQUEST);
    let mut accepted = pin!(accept(stream));
    assert!(task.poll(accepted.as_mut()).is_pending());
    assert_eq!(peer.pull(), b"H", "it waits in the middle of its answer");
    let owned = before.owned();
    assert!(owned < 8 << 10, "{owned} B");
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
