//! What the task of a connection runs, from its first byte to its end.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll, ready};
use std::panic::catch_unwind;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::time::{Timeout, timeout};

use super::handle::{self, Handle, lock};
use super::hooks::{BoxError, Caught, Running};
use super::outcome::{Fault, Outcome};
use super::run::Run;
use super::shared::Core;
use crate::admission::Admitted;
use crate::tokio::WebSocket;

/// What the task of a connection runs. It is no `async` block: such a one keeps the room of all that it ever waits for,
/// and twice of what it was given.
pub(super) enum Task<S> {
    /// Up to the end of its handshake.
    Opening(Running<Option<Opened<S>>>),
    Open(Serving<S>),
    /// Over TLS.
    Secure(Running<()>),
}

/// A connection that is open.
pub(super) enum Opened<S> {
    Plain(Serving<S>),
    Secure(Running<()>),
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Task<S> {
    pub(super) fn new(opening: impl Future<Output = Option<Opened<S>>> + Send + 'static) -> Self {
        Self::Opening(Box::pin(opening))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Future for Task<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut *self {
                Self::Opening(opening) => {
                    *self = match ready!(opening.as_mut().poll(cx)) {
                        Some(Opened::Plain(serving)) => Self::Open(serving),
                        Some(Opened::Secure(serving)) => Self::Secure(serving),
                        None => return Poll::Ready(()),
                    };
                }
                Self::Open(serving) => return Pin::new(serving).poll(cx),
                Self::Secure(serving) => return serving.as_mut().poll(cx),
            }
        }
    }
}

/// A connection that is open, to its end, its hooks included. In which order it goes, the order of the fields says.
pub(super) struct Serving<S> {
    run: Run<S>,
    /// The hook on the end.
    told: Option<Told>,
    /// Nothing after the end.
    place: Option<Place>,
    data: Data,
    _admitted: Admitted,
    core: Arc<Core>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Serving<S> {
    pub(super) fn new(core: Arc<Core>, socket: WebSocket<S>, handle: Handle, admitted: Admitted) -> Self {
        let data = Data(handle.clone());
        let place = Place { core: core.clone(), handle };
        let run = Run::new(&core, &data.0, socket);
        Self { run, told: None, place: Some(place), data, _admitted: admitted, core }
    }

    /// Tells of the end, if that is wanted.
    fn ended(&mut self, outcome: Outcome) -> bool {
        self.place = None;
        let (core, handle) = (&self.core, &self.data.0);
        let Some(hook) = &core.hooks.disconnect else { return true };
        if !handle.0.entered.load(Ordering::Relaxed) {
            return true;
        }
        match Caught::new(|| hook(handle.clone(), outcome)) {
            Ok(told) => {
                self.told = Some(Box::pin(timeout(core.config.handler_timeout, told)));
                false
            }
            Err(said) => {
                core.hooks.fault(&Fault::Panicked(handle.id(), said));
                true
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Future for Serving<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.told.is_none() {
            let outcome = ready!(this.run.poll(&this.core, &this.data.0, cx));
            if this.ended(outcome) {
                return Poll::Ready(());
            }
        }
        let Some(told) = &mut this.told else { return Poll::Ready(()) };
        let (hooks, id) = (&this.core.hooks, this.data.0.id());
        match ready!(told.as_mut().poll(cx)) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => hooks.fault(&Fault::Failed(id, error)),
            Ok(Err(said)) => hooks.fault(&Fault::Panicked(id, said)),
            Err(_) => hooks.fault(&Fault::Lingered(id)),
        }
        Poll::Ready(())
    }
}

type Told = Pin<Box<Timeout<Caught<Result<(), BoxError>>>>>;

/// The place of a connection in the registry, however its task ends.
struct Place {
    core: Arc<Core>,
    handle: Handle,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handle.end();
        self.core.registry.forget(&self.handle);
    }
}

/// What is kept with a connection, however its task ends: it may hold handles of the connection itself.
struct Data(Handle);

impl Drop for Data {
    fn drop(&mut self) {
        let data = core::mem::replace(&mut *lock(&self.0.0.data), handle::Data::Gone);
        // Destructors of the application may panic, and be run by a panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(data)));
    }
}
