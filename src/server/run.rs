//! A connection and its handler, in one task.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::time::{Sleep, sleep, timeout};

use super::connection::Connection;
use super::handle::{Handle, HandlerBell};
use super::hooks::{BoxError, Caught, Running};
use super::outbox::{News, Refusal};
use super::outcome::{By, Fault, Outcome};
use super::pump::{Pump, Step};
use super::shared::Core;
use crate::error::Error;
use crate::proto::{CloseCode, CloseFrame};
use crate::tokio::WebSocket;

/// A socket and its handler. Each has a waker of its own, so that only what was woken is polled: of a message that others
/// send the handler need not know, and the socket only to write.
pub(super) struct Run<S> {
    pump: Pump<S>,
    /// Nothing once it ended.
    handler: Option<Caught<Result<(), BoxError>>>,
    /// Once the connection ended.
    outcome: Option<Box<Outcome>>,
    /// How long the handler may go on.
    patience: Option<Pin<Box<Sleep>>>,
    for_socket: Waker,
    for_handler: Waker,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Run<S> {
    pub(super) fn new(core: &Arc<Core>, handle: &Handle, socket: WebSocket<S>) -> Self {
        let mut run = Self {
            pump: Pump::new(socket, handle.clone(), &core.config),
            handler: None,
            outcome: None,
            patience: None,
            for_socket: handle.0.clone().into(),
            for_handler: Arc::new(HandlerBell(handle.clone())).into(),
        };
        match Caught::new(|| application(core.clone(), Connection::new(handle.clone()))) {
            Ok(handler) => run.handler = Some(handler),
            Err(said) => failed(core, handle, Err(said)),
        }
        handle.tell(News::SOCKET.and(News::HANDLER));
        run
    }

    /// Ready once both have ended.
    pub(super) fn poll(&mut self, core: &Core, handle: &Handle, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            let mut news = handle.outbox().take_news();
            let mut turn = false;
            let mut for_socket = Context::from_waker(&self.for_socket);
            if self.outcome.is_none() {
                match self.pump.poll(news.socket, &core.config, &mut for_socket) {
                    Step::Turn => turn = true,
                    Step::Rest => {}
                    Step::Ended(outcome) => self.ended(core, handle, outcome),
                    Step::Aborted(outcome) => {
                        self.handler = None;
                        self.ended(core, handle, outcome);
                    }
                }
            }
            news.handler |= handle.outbox().take_handler();
            if news.handler
                && let Some(handler) = &mut self.handler
                && let Poll::Ready(result) =
                    Pin::new(handler).poll(&mut Context::from_waker(&self.for_handler))
            {
                self.handler = None;
                failed(core, handle, result);
                self.pump.discard();
            }
            if let Some(patience) = &mut self.patience
                && self.handler.is_some()
                && patience.as_mut().poll(&mut Context::from_waker(&self.for_socket)).is_ready()
            {
                self.handler = None;
                core.hooks.fault(&Fault::Lingered(handle.id()));
            }
            if self.handler.is_none()
                && let Some(outcome) = self.outcome.take()
            {
                return Poll::Ready(*outcome);
            }
            // The socket was not read to its end.
            if turn {
                continue;
            }
            let news = handle.outbox().rest(cx.waker());
            if !news.queue {
                if news != News::default() {
                    // Its turn is over before it is done: others have theirs.
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    }

    fn ended(&mut self, core: &Core, handle: &Handle, outcome: Outcome) {
        // Nobody sends to it while its handler comes to its end.
        core.registry.forget(handle);
        self.outcome = Some(Box::new(outcome));
        if self.handler.is_some() {
            self.patience = Some(Box::pin(sleep(core.config.handler_timeout)));
        }
    }
}

/// The handler came to its end, well or not.
fn failed(core: &Core, handle: &Handle, result: Result<Result<(), BoxError>, String>) {
    let fault = match result {
        Ok(Ok(())) => None,
        // How the connection ended is no failure of the handler.
        Ok(Err(error)) if !handle.is_open() && (error.is::<Error>() || error.is::<Refusal>()) => None,
        Ok(Err(error)) => Some(Fault::Failed(handle.id(), error)),
        Err(said) => Some(Fault::Panicked(handle.id(), said)),
    };
    match fault {
        None => handle.begin_close(CloseCode::NORMAL.into(), By::Application),
        Some(fault) => {
            handle.begin_close(CloseCode::INTERNAL.into(), By::Handler);
            core.hooks.fault(&fault);
        }
    }
}

/// What runs beside the socket: the first message, where it has to authenticate, the hook, the handler.
fn application(core: Arc<Core>, mut connection: Connection) -> Running<Result<(), BoxError>> {
    Box::pin(async move {
        if let Some(check) = &core.hooks.first {
            let checked = async {
                match connection.recv().await {
                    Ok(Some(message)) => check(connection.handle().clone(), message).await.map_err(Some),
                    Ok(None) | Err(_) => Err(None),
                }
            };
            let refused = match Box::pin(timeout(core.config.auth_timeout, checked)).await {
                Ok(Ok(())) => None,
                Ok(Err(refused)) => Some(refused),
                Err(_) => {
                    Some(CloseFrame::new(CloseCode::POLICY, "say who you are by the first message").ok())
                }
            };
            if let Some(refused) = refused {
                let frame = refused.unwrap_or_else(|| CloseCode::NORMAL.into());
                connection.begin_close(frame, By::Authentication);
                return Ok(());
            }
        }
        core.registry.enter(connection.handle());
        if core.is_stopping() {
            connection.begin_close(CloseCode::AWAY.into(), By::Shutdown);
        }
        if let Some(hook) = &core.hooks.connect {
            hook(connection.handle().clone()).await?;
        }
        match &core.hooks.handler {
            Some(handler) => handler(connection).await,
            None => {
                while connection.recv().await?.is_some() {}
                Ok(())
            }
        }
    })
}
