//! Sockets that go from task to task, from thread to thread and from runtime to runtime.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use taut::proto::Config;
use taut::tokio::WebSocket;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::{LocalSet, block_in_place, spawn_local, yield_now};
use tokio::time::sleep;

use crate::{Far, HOUR, Stream, echo_one, expected, numbers, received, server};

/// It polls what is given to `block_on` after each task: it can stop between one that holds and the one that writes.
fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).event_interval(1).build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Three messages came, and one is answered in a task of that runtime, which stops before it writes.
fn held_in(runtime: &Runtime) -> (WebSocket<Stream>, Far) {
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    let holds = async move {
        echo_one(&mut socket).await;
        socket
    };
    let socket = runtime.block_on(async { tokio::spawn(holds).await.unwrap() });
    assert_eq!(far.written(), 0, "it is held");
    (socket, far)
}

/// The next message is answered in another task of that runtime, which waits then.
fn goes_on_in(runtime: &Runtime, mut socket: WebSocket<Stream>, far: &Far) {
    let far = far.clone();
    runtime.block_on(async move {
        let task = tokio::spawn(async move {
            echo_one(&mut socket).await;
            pending::<()>().await;
        });
        far.set_room(usize::MAX);
        sleep(HOUR).await;
        assert_eq!(received(&far.output()), expected(0, 2));
        task.abort();
    });
}

#[test]
fn what_is_held_leaves_when_its_runtime_ends() {
    let runtime = current_thread();
    let (_socket, far) = held_in(&runtime);
    drop(runtime);
    assert_eq!(received(&far.output()), expected(0, 1));
}

#[test]
fn a_socket_goes_on_in_another_runtime_once_its_first_is_gone() {
    let first = current_thread();
    let (socket, far) = held_in(&first);
    drop(first);
    goes_on_in(&current_thread(), socket, &far);
}

#[test]
fn a_socket_goes_on_in_another_runtime_while_its_first_does_not_run() {
    let first = current_thread();
    let (socket, far) = held_in(&first);
    goes_on_in(&current_thread(), socket, &far);
    drop(first);
}

/// What was asked of the first runtime is done by the second, and not undone when the first goes on.
#[test]
fn the_first_runtime_may_run_again() {
    let runtimes = [current_thread(), current_thread()];
    let (mut socket, far) = held_in(&runtimes[0]);
    far.set_room(0);
    let _waits = runtimes[1].spawn(async move {
        echo_one(&mut socket).await;
        pending::<()>().await;
    });
    for runtime in [1, 0] {
        runtimes[runtime].block_on(async { sleep(HOUR).await });
    }
    far.set_room(usize::MAX);
    runtimes[1].block_on(async { sleep(HOUR).await });
    assert_eq!(received(&far.output()), expected(0, 2));
}

#[test]
fn a_socket_whose_stream_took_nothing_goes_on_in_another_runtime() {
    for waits in [false, true] {
        let first = current_thread();
        let (socket, far) = held_in(&first);
        far.set_room(0);
        if waits {
            // There is a task for the rest.
            first.block_on(async { sleep(HOUR).await });
        }
        drop(first);
        goes_on_in(&current_thread(), socket, &far);
    }
}

/// Nothing runs a runtime of one thread between two of these: what the first took must not wait for the second.
#[test]
fn what_block_on_took_has_left_when_it_returns() {
    for runtime in [current_thread(), multi_thread()] {
        let (mut socket, far) = server(Config::new());
        far.push(numbers(0, 3));
        runtime.block_on(echo_one(&mut socket));
        far.wait(3);
        assert_eq!(received(&far.output()), expected(0, 1));
        runtime.block_on(LocalSet::new().run_until(echo_one(&mut socket)));
        far.wait(6);
        assert_eq!(received(&far.output()), expected(0, 2));
    }
}

#[test]
fn without_a_runtime_or_in_one_that_does_not_run_nothing_is_held() {
    let runtime = current_thread();
    for enters in [false, true] {
        let entered = enters.then(|| runtime.enter());
        let (mut socket, far) = server(Config::new());
        far.push(numbers(0, 3));
        let polled = pin!(echo_one(&mut socket)).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(()));
        assert_eq!(received(&far.output()), expected(0, 1));
        drop(entered);
    }
}

/// Threads with tasks of their own, which all share one runtime, come and go.
#[test]
fn threads_that_end_leave_no_task_behind() {
    let runtime = Arc::new(multi_thread());
    for _ in 0..50 {
        let runtime = runtime.clone();
        let thread = thread::spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                let (mut socket, far) = server(Config::new());
                far.push(numbers(0, 3));
                let task = spawn_local(async move {
                    echo_one(&mut socket).await;
                    pending::<()>().await;
                });
                yield_now().await;
                far.wait(3);
                task.abort();
            });
        });
        thread.join().unwrap();
    }
    settles_at(&runtime, 0);
}

#[test]
fn runtimes_in_turn_on_one_thread_leave_no_tasks_behind() {
    let runtimes = [current_thread(), current_thread()];
    for _ in 0..50 {
        for runtime in &runtimes {
            drop(held_in(runtime));
            runtime.block_on(async { sleep(HOUR).await });
        }
    }
    for runtime in &runtimes {
        let tasks = runtime.metrics().num_alive_tasks();
        assert!(tasks <= 1, "{tasks}");
    }
}

/// Waits until no more tasks than that are there.
fn settles_at(runtime: &Runtime, tasks: usize) {
    let mut tries = 0;
    while runtime.metrics().num_alive_tasks() > tasks {
        tries += 1;
        assert!(tries < 10_000, "{} tasks stay", runtime.metrics().num_alive_tasks());
        thread::sleep(Duration::from_millis(1));
    }
}

/// The thread of a task is busy with another one right after it suspends, before or behind who writes.
#[test]
fn another_thread_writes_while_that_of_the_task_is_busy() {
    for wakes_first in [false, true] {
        for _ in 0..50 {
            let runtime = multi_thread();
            let (mut socket, far) = server(Config::new());
            far.push(numbers(0, 3));
            let notify = Arc::new(Notify::new());
            let (notified, ours) = (notify.clone(), far.clone());
            runtime.spawn(async move {
                notified.notified().await;
                ours.wait(3);
            });
            runtime.spawn(async move {
                let message = socket.recv().await.unwrap().unwrap();
                if wakes_first {
                    notify.notify_one();
                }
                socket.send(message).await.unwrap();
                notify.notify_one();
                pending::<()>().await;
            });
            far.wait(3);
        }
    }
}

#[test]
fn what_is_held_leaves_while_its_task_blocks_in_place() {
    let runtime = multi_thread();
    let task = runtime.spawn(async {
        for _ in 0..50 {
            let (mut socket, far) = server(Config::new());
            far.push(numbers(0, 3));
            echo_one(&mut socket).await;
            block_in_place(|| far.wait(3));
            echo_one(&mut socket).await;
            block_in_place(|| Handle::current().block_on(async { far.wait(6) }));
        }
    });
    runtime.block_on(task).unwrap();
}

/// Who writes finds the socket in use, and comes again.
#[test]
fn what_is_held_leaves_although_somebody_looks_at_the_socket() {
    let runtime = multi_thread();
    let task = runtime.spawn(async {
        for _ in 0..50 {
            let (mut socket, far) = server(Config::new());
            far.push(numbers(0, 3));
            echo_one(&mut socket).await;
            // It runs behind who writes, on the other thread.
            let other = tokio::spawn(async {
                for _ in 0..10 {
                    yield_now().await;
                }
            });
            block_in_place(|| {
                socket.with_stream(|_| {
                    while !other.is_finished() {
                        thread::yield_now();
                    }
                });
                far.wait(3);
            });
        }
    });
    runtime.block_on(task).unwrap();
}

/// A socket that is answered by many tasks in turn, wherever they run.
#[test]
fn a_socket_goes_from_task_to_task() {
    const MESSAGES: usize = 2_000;
    let runtime = multi_thread();
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, MESSAGES + 1));
    runtime.block_on(async {
        for number in 0..MESSAGES {
            let task = tokio::spawn(async move {
                echo_one(&mut socket).await;
                if number % 3 == 0 {
                    yield_now().await;
                }
                socket
            });
            socket = task.await.unwrap();
        }
        // The socket is alive, and nobody is at it.
        far.wait((0..MESSAGES).map(|number| 2 + number.to_string().len()).sum());
    });
    assert_eq!(received(&far.output()), expected(0, MESSAGES));
}
