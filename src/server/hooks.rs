//! What an application gives a server to call.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::error::Error as StdError;
use core::fmt;
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic::catch_unwind;

use super::connection::Connection;
use super::handle::Handle;
use super::outcome::{Fault, Outcome};
use super::registry::OnRoom;
use super::upgrade::Upgrade;
use crate::proto::handshake::{Accept, BuildError, Reject};
use crate::proto::{CloseFrame, Message};

/// What handlers and hooks fail with: any error.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What a handler or hook may return: nothing, or whether it went well, with any error.
pub trait Ending {
    /// As a result.
    ///
    /// # Errors
    /// What the handler failed with.
    fn into_result(self) -> Result<(), BoxError>;
}

impl Ending for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> Ending for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// Leave to open a connection, and what it gets on the way.
#[derive(Default)]
pub struct Grant {
    pub(super) accept: Accept,
    pub(super) has_subprotocol: bool,
    data: Vec<Insert>,
}

impl Grant {
    /// Leave, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a value with the connection, for [`Handle::get`]: who it is.
    #[must_use]
    pub fn insert<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.data.push(Box::new(|handle| drop(handle.insert(value))));
        self
    }

    /// Agrees on this subprotocol, which the client has to have offered, in the place of what
    /// [`Config::subprotocols`](super::Config::subprotocols) prefers.
    #[must_use]
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.accept = self.accept.subprotocol(name);
        self.has_subprotocol = true;
        self
    }

    /// Adds a header field to the answer.
    ///
    /// # Errors
    /// The name or the value cannot stand in a head, or the field is the handshake's own.
    pub fn field(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        self.accept = self.accept.field(name, value)?;
        Ok(self)
    }

    /// Gives the connection what it is to keep.
    pub(super) fn apply(data: Vec<Insert>, handle: &Handle) {
        for insert in data {
            insert(handle);
        }
    }

    pub(super) fn take_data(&mut self) -> Vec<Insert> {
        core::mem::take(&mut self.data)
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("accept", &self.accept).finish_non_exhaustive()
    }
}

/// Gives a connection a value to keep.
pub(super) type Insert = Box<dyn FnOnce(&Handle) + Send>;

pub(super) type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type OnFault = Arc<dyn Fn(&Fault) + Send + Sync>;
type Hook<A, T> = Arc<dyn Fn(A) -> Running<T> + Send + Sync>;
type Hook2<A, B, T> = Arc<dyn Fn(A, B) -> Running<T> + Send + Sync>;

/// All that an application can give.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    pub(super) authenticate: Option<Hook<Upgrade, Result<Grant, Reject>>>,
    pub(super) first: Option<Hook2<Handle, Message, Result<(), CloseFrame>>>,
    pub(super) connect: Option<Hook<Handle, Result<(), BoxError>>>,
    pub(super) handler: Option<Hook<Connection, Result<(), BoxError>>>,
    pub(super) disconnect: Option<Hook2<Handle, Outcome, Result<(), BoxError>>>,
    pub(super) error: Option<OnFault>,
    pub(super) room: Option<OnRoom>,
}

impl Hooks {
    pub(super) fn fault(&self, fault: &Fault) {
        if let Some(error) = &self.error {
            // Nobody is left to tell of a panic there.
            let _ = catch_unwind(AssertUnwindSafe(|| error(fault)));
        }
    }
}

/// A future whose panic is its output.
pub(super) struct Caught<T>(Option<Running<T>>);

impl<T> Caught<T> {
    /// Calls what makes the future, too, where panics are caught.
    pub(super) fn new(make: impl FnOnce() -> Running<T>) -> Result<Self, String> {
        catch_unwind(AssertUnwindSafe(make)).map(|running| Self(Some(running))).map_err(said)
    }
}

impl<T> Future for Caught<T> {
    type Output = Result<T, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(running) = &mut self.0 else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => {
                let dropped = self.let_go();
                Poll::Ready(dropped.map(|()| output))
            }
            Err(panic) => {
                let said = said(panic);
                let _ = self.let_go();
                Poll::Ready(Err(said))
            }
        }
    }
}

impl<T> Caught<T> {
    /// Drops the future; destructors may panic as well.
    fn let_go(&mut self) -> Result<(), String> {
        let running = self.0.take();
        catch_unwind(AssertUnwindSafe(|| drop(running))).map_err(said)
    }
}

impl<T> Drop for Caught<T> {
    fn drop(&mut self) {
        let _ = self.let_go();
    }
}

/// What a panic said.
#[expect(clippy::needless_pass_by_value, reason = "as `catch_unwind` gives it")]
pub(super) fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_string())
}
