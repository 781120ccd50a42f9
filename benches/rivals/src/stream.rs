//! Echo loops for libraries whose connection is a `Stream` of messages and a `Sink` for them: answers are queued as
//! long as messages are ready, and leave together.

#![forbid(unsafe_code)]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt, Stream};

/// Queues the answer to each message, and flushes when no further message is ready, or none will be: whatever ends the
/// connection, answers to what came before it leave as far as they can without waiting.
///
/// # Errors
/// The connection's.
pub async fn echo_while_ready<S, I, M, E>(
    mut socket: S,
    answer: impl Fn(I) -> Result<Option<M>, E>,
) -> Result<(), E>
where
    S: Stream<Item = I> + Sink<M, Error = E> + Unpin,
{
    let mut held = None;
    let mut queued = false;
    poll_fn(|context| {
        loop {
            // A queue that is full has to be written before anything else happens.
            if held.is_some() {
                ready!(socket.poll_ready_unpin(context))?;
                if let Some(message) = held.take() {
                    socket.start_send_unpin(message)?;
                    queued = true;
                }
            }
            match Pin::new(&mut socket).poll_next(context) {
                Poll::Ready(Some(item)) => match answer(item) {
                    Ok(answer) => held = answer,
                    Err(error) => return Poll::Ready(last_flush(&mut socket, queued, context, Err(error))),
                },
                Poll::Ready(None) => return Poll::Ready(last_flush(&mut socket, queued, context, Ok(()))),
                Poll::Pending => {
                    if queued {
                        ready!(socket.poll_flush_unpin(context))?;
                        queued = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

fn last_flush<S, M, E>(
    socket: &mut S,
    queued: bool,
    context: &mut Context<'_>,
    end: Result<(), E>,
) -> Result<(), E>
where
    S: Sink<M, Error = E> + Unpin,
{
    if queued {
        // How the connection ended is told already.
        let _ = socket.poll_flush_unpin(context);
    }
    end
}

/// Takes all messages that are ready, and then sends all answers: for connections that write whatever is queued
/// before they look for another message.
///
/// # Errors
/// The connection's.
pub async fn echo_by_turns<S, I, M, E>(
    mut socket: S,
    answer: impl Fn(I) -> Result<Option<M>, E>,
) -> Result<(), E>
where
    S: Stream<Item = I> + Sink<M, Error = E> + Unpin,
{
    let mut answers = Vec::new();
    let mut end = None;
    while end.is_none() {
        end = poll_fn(|context| collect(&mut socket, &answer, &mut answers, context)).await;
        for message in answers.drain(..) {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
    end.unwrap_or(Ok(()))
}

/// Takes the messages that are ready, and tells how the connection ended, if it did; waits for the first.
fn collect<S, I, M, E>(
    socket: &mut S,
    answer: &impl Fn(I) -> Result<Option<M>, E>,
    answers: &mut Vec<M>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<(), E>>>
where
    S: Stream<Item = I> + Unpin,
{
    while answers.len() < TURN {
        match Pin::new(&mut *socket).poll_next(context) {
            Poll::Ready(Some(item)) => match answer(item) {
                Ok(answer) => answers.extend(answer),
                Err(error) => return Poll::Ready(Some(Err(error))),
            },
            Poll::Ready(None) => return Poll::Ready(Some(Ok(()))),
            Poll::Pending if answers.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(None)
}

/// How many answers may wait at most.
const TURN: usize = 64;
