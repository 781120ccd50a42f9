//! Sockets that go from task to task, from thread to thread and from runtime to runtime.

use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::sleep;

use taut::proto::Config;

use crate::{HOUR, echo_one, expected, numbers, received, server};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// The rest that waits for the stream is written by one task, however often frames are held meanwhile.
#[test]
fn a_stream_that_takes_nothing_costs_one_task() {
    let runtime = current_thread();
    let counted = async {
        let (mut socket, far) = server(Config::new());
        far.set_room(0);
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        for round in 0..100 {
            far.push(numbers(2 * round, 2));
            echo_one(&mut socket).await;
            sleep(HOUR).await;
            socket.recv().await.unwrap().unwrap();
        }
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() - before;
        far.set_room(usize::MAX);
        sleep(HOUR).await;
        let after = tokio::runtime::Handle::current().metrics().num_alive_tasks() - before;
        drop(socket);
        sleep(HOUR).await;
        let end = tokio::runtime::Handle::current().metrics().num_alive_tasks() - before;
        assert!(tasks <= 2 && after <= 1 && end <= 1, "{tasks}, {after}, {end}");
    };
    runtime.block_on(async { tokio::spawn(counted).await.unwrap() });
}

#[test]
fn a_socket_goes_on_in_another_runtime_once_its_first_is_gone() {
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    let first = current_thread();
    first.block_on(echo_one(&mut socket));
    drop(first);
    current_thread().block_on(async {
        echo_one(&mut socket).await;
        sleep(HOUR).await;
        assert_eq!(received(&far.output()), expected(0, 2));
    });
}

#[test]
fn a_socket_goes_on_in_another_runtime_while_its_first_does_not_run() {
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    let first = current_thread();
    first.block_on(echo_one(&mut socket));
    current_thread().block_on(async {
        echo_one(&mut socket).await;
        sleep(HOUR).await;
        assert_eq!(received(&far.output()), expected(0, 2));
    });
    drop(first);
}

/// Nothing runs a runtime of one thread between two of these: what the first took must not wait for the second.
#[test]
fn what_block_on_took_has_left_when_it_returns() {
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    let runtime = current_thread();
    runtime.block_on(echo_one(&mut socket));
    assert_eq!(received(&far.output()), expected(0, 1));
    runtime.block_on(echo_one(&mut socket));
    assert_eq!(received(&far.output()), expected(0, 2));
}

#[test]
fn a_runtime_that_was_entered_and_does_not_run_holds_nothing() {
    let (mut socket, far) = server(Config::new());
    far.push(numbers(0, 3));
    let runtime = current_thread();
    let entered = runtime.enter();
    futures_block_on(async { echo_one(&mut socket).await });
    assert_eq!(received(&far.output()), expected(0, 1));
    drop(entered);
}

fn futures_block_on<T>(future: impl Future<Output = T>) -> T {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut cx) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("pending"),
    }
}

#[test]
fn threads_that_end_leave_no_task_behind() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for _ in 0..50 {
        let handle = runtime.handle().clone();
        thread::spawn(move || {
            handle.block_on(async {
                let (mut socket, far) = server(Config::new());
                far.push(numbers(0, 3));
                echo_one(&mut socket).await;
            });
        })
        .join()
        .unwrap();
    }
    let tasks = runtime.metrics().num_alive_tasks();
    assert!(tasks <= 2, "{tasks}");
}

#[test]
fn runtimes_in_turn_on_one_thread_leave_no_tasks_behind() {
    let runtimes = [current_thread(), current_thread()];
    for _ in 0..50 {
        for runtime in &runtimes {
            let one = async {
                let (mut socket, far) = server(Config::new());
                far.push(numbers(0, 3));
                echo_one(&mut socket).await;
                yield_now().await;
            };
            runtime.block_on(async { tokio::spawn(one).await.unwrap() });
        }
    }
    for runtime in &runtimes {
        let tasks = runtime.metrics().num_alive_tasks();
        assert!(tasks <= 1, "{tasks}");
    }
}
