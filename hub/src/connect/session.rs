//! Connections, one after the other: what is sent, what comes, and how it ends.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use taut::Error;
use taut::client::Loss;
use taut::proto::{CloseCode, CloseFrame, Message, SendErrorKind};
use taut::tokio::{NetworkStream, SendHalf, WebSocket};
use tokio::select;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::arguments::Arguments;
use super::command::{Action, file};
use super::form::Printed;
use super::input::Input;
use super::network::Way;
use super::output::Output;
use super::pause::Pause;
use super::record::{self, Record};
use super::signals::Signals;
use super::stats::Stats;
use super::tap::{Direction, Tap, Wire};
use crate::exit::{Exit, Failure};

/// A conversation with a server.
pub(super) struct Session<'a> {
    arguments: &'a Arguments,
    output: Arc<Output>,
    way: Way,
    record: RefCell<Option<Record>>,
    stats: RefCell<Stats>,
    /// Messages that were shown.
    shown: Cell<u64>,
    /// When `--for` is over.
    deadline: Cell<Option<Instant>>,
    /// A message is being written.
    is_writing: Cell<bool>,
}

/// That this end closes.
#[derive(Clone, Copy, Debug)]
struct Closing {
    why: Why,
    code: CloseCode,
}

/// Why this end closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// There is nothing more to do.
    Done,
    TimeIsOver,
    Interrupted,
}

/// How sending ended.
enum Sent {
    EndOfInput,
    Close(CloseFrame),
    /// The connection takes nothing more; why, if that is not for the receiver to say.
    Refused(Option<Error>),
}

impl<'a> Session<'a> {
    pub(super) fn new(arguments: &'a Arguments, output: Arc<Output>) -> Result<Self, Failure> {
        let way = Way::new(arguments)?;
        let record = arguments.record.as_deref().map(|path| {
            let failed = |error| Failure::new(Exit::Failed, format!("{}: {error}", path.display()));
            Record::create(path).map_err(failed)
        });
        Ok(Self {
            arguments,
            output,
            way,
            record: RefCell::new(record.transpose()?),
            stats: RefCell::default(),
            shown: Cell::new(0),
            deadline: Cell::new(None),
            is_writing: Cell::new(false),
        })
    }

    /// Connects, and again if that is wanted, until the conversation is over.
    pub(super) async fn run(&self, input: &mut Input) -> Result<Exit, Failure> {
        let ended = self.converse(input).await;
        if input.is_kept() {
            self.output.note("not everything was sent before the end");
        }
        ended
    }

    async fn converse(&self, input: &mut Input) -> Result<Exit, Failure> {
        let mut signals = Signals::new().map_err(here)?;
        let mut pause = Pause::new();
        loop {
            let connecting = self.way.client.connect(&self.way.uri);
            let opened = select! {
                opened = connecting => opened,
                () = signals.next() => return Ok(Exit::Interrupted),
                () = until(self.deadline.get()) => return self.time_is_over(),
                exit = closes(input) => return exit,
            };
            let loss = match opened {
                Err(error) => Loss::Connect(error),
                Ok(socket) => {
                    let since = Instant::now();
                    self.opened(&socket);
                    input.go();
                    match self.serve(socket, input, &mut signals).await? {
                        (Some(closing), loss) => return self.ended(closing, &loss),
                        (None, loss) => {
                            pause.connected(since.elapsed());
                            loss
                        }
                    }
                }
            };
            let again = self.arguments.reconnect.filter(|_| loss.is_retryable());
            let Some(delay) = again.and_then(|most| pause.next(most)) else {
                return self.lost(&loss);
            };
            self.output.note(&format!("{loss}; again in {:.1} s", delay.as_secs_f64()));
            let exit = select! {
                () = sleep_until(Instant::now() + delay) => None,
                () = signals.next() => Some(Ok(Exit::Interrupted)),
                () = until(self.deadline.get()) => Some(self.time_is_over()),
                exit = closes(input) => Some(exit),
            };
            if let Some(exit) = exit {
                return exit;
            }
        }
    }

    fn opened(&self, socket: &WebSocket<NetworkStream>) {
        let is_compressed = socket.with_connection(|connection| connection.agreement().deflate().is_some());
        self.output.detail(|| {
            let subprotocol = socket.subprotocol().map(|name| format!(", subprotocol {name}"));
            let compressed = if is_compressed { ", compressed" } else { "" };
            let version = socket.with_stream(|stream| stream.tls().and_then(|tls| tls.protocol_version()));
            let tls = version.map(|version| format!(", {version:?}")).unwrap_or_default();
            format!("connected{tls}{}{compressed}", subprotocol.unwrap_or_default())
        });
        if self.stats.borrow_mut().opened() > 1 {
            self.output.note("connected again");
        }
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.start();
        }
        if let (None, Some(duration)) = (self.deadline.get(), self.arguments.duration) {
            self.deadline.set(Instant::now().checked_add(duration));
        }
    }

    /// One connection: whether this end closed it, and how it ended.
    async fn serve(
        &self,
        socket: WebSocket<NetworkStream>,
        input: &mut Input,
        signals: &mut Signals,
    ) -> Result<(Option<Closing>, Loss), Failure> {
        let wire = Arc::new(Wire::new(self.output.clone()));
        let (stream, connection) = socket.into_parts();
        let tap = Tap::new(stream, &wire, connection.unparsed());
        let socket = WebSocket::new(tap, connection, &self.way.options);
        let (mut receiver, sender) = socket.into_split();
        let mut closer = receiver.sender();
        let mut sending = pin!(self.send(input, sender, &wire));
        let (mut is_sending, mut refused, mut closing) = (true, None, None::<Closing>);
        let loss = loop {
            let close = select! {
                received = async { self.output.room().await; receiver.recv().await } => match received {
                    Ok(Some(message)) => {
                        if let (Message::Pong(_), Some(time)) = (&message, receiver.round_trip()) {
                            self.output.detail(|| format!("round trip {:.3} ms", 1e3 * time.as_secs_f64()));
                        }
                        self.received(&message, &wire)?.then_some((Why::Done, None))
                    }
                    Ok(None) => break match (receiver.close_status(), refused) {
                        (Some(status), None) => Loss::Closed(status),
                        (Some(status), _) if status.clean => Loss::Closed(status),
                        (_, error) => Loss::Broken(error.unwrap_or(Error::Lost)),
                    },
                    Err(error) => break Loss::Broken(error),
                },
                sent = &mut sending, if is_sending => {
                    is_sending = false;
                    match sent? {
                        // What was asked for may still come.
                        Sent::EndOfInput if self.waits() => None,
                        Sent::EndOfInput => Some((Why::Done, None)),
                        Sent::Close(frame) => Some((Why::Done, Some(frame))),
                        Sent::Refused(error) => {
                            refused = error;
                            None
                        }
                    }
                }
                () = until(self.deadline.get()), if closing.is_none() => Some((Why::TimeIsOver, None)),
                () = signals.next() => {
                    if closing.is_some_and(|closing| closing.why == Why::Interrupted) {
                        // The second does not wait for anybody.
                        break Loss::Broken(Error::Lost);
                    }
                    closing = Some(Closing { why: Why::Interrupted, code: CloseCode::AWAY });
                    closer.start_close(CloseFrame::from(CloseCode::AWAY));
                    None
                }
            };
            if let (Some((why, frame)), None) = (close, closing) {
                let frame = frame.unwrap_or_else(|| CloseFrame::from(CloseCode::NORMAL));
                closing = Some(Closing { why, code: frame.code() });
                closer.start_close(frame);
            }
        };
        if self.is_writing.replace(false) {
            self.output.note("the message that was being sent may not have arrived");
        }
        self.stats.borrow_mut().ended(&wire);
        Ok((closing, loss))
    }

    /// Sends what is asked for.
    async fn send(
        &self,
        input: &mut Input,
        mut sender: SendHalf<Tap<NetworkStream>>,
        wire: &Wire,
    ) -> Result<Sent, Failure> {
        loop {
            self.output.room().await;
            let Some(action) = input.next().await else { return Ok(Sent::EndOfInput) };
            let message = match action {
                Action::Send(message) => message,
                Action::SendFile(path) => {
                    self.is_writing.set(true);
                    match spawn_blocking(move || file(&path)).await {
                        Ok(Ok(bytes)) => Message::binary(bytes),
                        Ok(Err(problem)) => {
                            self.is_writing.set(false);
                            self.output.note(&problem);
                            continue;
                        }
                        Err(error) => return Err(Failure::new(Exit::Failed, error.to_string())),
                    }
                }
                Action::Ping(payload) => Message::Ping(self.stats.borrow_mut().ping(payload).into()),
                Action::Close(frame) => return Ok(Sent::Close(frame)),
                Action::ShowFrames(on) => {
                    self.output.show_frames(on);
                    continue;
                }
                Action::ShowStats => {
                    self.output.note(&self.stats.borrow().shown(wire));
                    continue;
                }
                Action::Fail(failure) => return Err(failure),
            };
            self.is_writing.set(true);
            let sent = sender.send(message.clone()).await;
            match sent {
                Ok(()) => self.is_writing.set(false),
                Err(Error::Send(error)) => {
                    // Nothing of it left.
                    self.is_writing.set(false);
                    if error.kind() != SendErrorKind::Closed {
                        return Err(Failure::new(Exit::Failed, error.to_string()));
                    }
                    input.keep(Action::Send(message));
                    return Ok(Sent::Refused(None));
                }
                Err(error) => return Ok(Sent::Refused(Some(error))),
            }
            self.sent(&message, wire)?;
        }
    }

    fn sent(&self, message: &Message, wire: &Wire) -> Result<(), Failure> {
        self.keep(record::Way::Sent, message)?;
        let Some(length) = length(message) else { return Ok(()) };
        self.stats.borrow_mut().sent(length);
        if let Some(size) = wire.size(Direction::Sent) {
            self.output.detail(|| format!("sent {}", sizes(message, length, size)));
        }
        Ok(())
    }

    /// Whether it was the last that is wanted.
    fn received(&self, message: &Message, wire: &Wire) -> Result<bool, Failure> {
        let count = self.arguments.count;
        if let Message::Pong(payload) = message
            && let Some(time) = self.stats.borrow_mut().pong(payload)
        {
            let payload = String::from_utf8_lossy(payload);
            self.output.note(&format!("pong {payload:?} after {:.3} ms", 1e3 * time.as_secs_f64()));
        }
        if let Message::Ping(_) = message {
            self.output.detail(|| "ping, answered".to_owned());
        }
        let Some(length) = length(message) else { return Ok(false) };
        self.keep(record::Way::Received, message)?;
        self.stats.borrow_mut().received(length);
        let size = wire.size(Direction::Received);
        if count.is_some_and(|count| self.shown.get() >= count) {
            return Ok(true);
        }
        if let Some(size) = size {
            self.output.detail(|| format!("received {}", sizes(message, length, size)));
        }
        if self.output.message(message)? {
            self.shown.set(self.shown.get() + 1);
        }
        Ok(count.is_some_and(|count| self.shown.get() >= count))
    }

    fn keep(&self, direction: record::Way, message: &Message) -> Result<(), Failure> {
        match &mut *self.record.borrow_mut() {
            Some(record) => record
                .write(direction, message)
                .map_err(|error| Failure::new(Exit::Failed, format!("--record: {error}"))),
            None => Ok(()),
        }
    }

    /// Whether the end of the input is not the end: something else decides about it.
    fn waits(&self) -> bool {
        self.arguments.count.is_some() || self.arguments.duration.is_some()
    }

    /// This end closed.
    fn ended(&self, closing: Closing, loss: &Loss) -> Result<Exit, Failure> {
        // A Close that answers has the same code, none, or says goodbye; another is about what was sent before.
        let is_answer = |code| code == closing.code.get() || [1000, 1001, 1005].contains(&code);
        match (closing.why, loss) {
            (Why::Interrupted, _) => Ok(Exit::Interrupted),
            (_, Loss::Closed(status)) if status.clean && !is_answer(status.code) => Err(self.failure(loss)),
            (Why::TimeIsOver, _) => self.time_is_over(),
            (Why::Done, Loss::Closed(status)) if status.clean => self.enough(),
            (Why::Done, _) => Err(self.failure(loss)),
        }
    }

    fn time_is_over(&self) -> Result<Exit, Failure> {
        if self.missing() > 0 {
            return Err(Failure::new(Exit::Timeout, self.few("before the time was over")));
        }
        Ok(Exit::Closed)
    }

    /// The server ended it, or the network.
    fn lost(&self, loss: &Loss) -> Result<Exit, Failure> {
        match Exit::of_loss(loss) {
            Exit::Closed => {
                self.output.remark(|| loss.to_string());
                self.enough()
            }
            _ => Err(self.failure(loss)),
        }
    }

    fn enough(&self) -> Result<Exit, Failure> {
        if self.missing() > 0 {
            return Err(Failure::new(Exit::Few, self.few("before the connection was closed")));
        }
        Ok(Exit::Closed)
    }

    fn missing(&self) -> u64 {
        self.arguments.count.unwrap_or(0).saturating_sub(self.shown.get())
    }

    fn few(&self, before: &str) -> String {
        format!("{} of {} messages came {before}", self.shown.get(), self.arguments.count.unwrap_or(0))
    }

    fn failure(&self, loss: &Loss) -> Failure {
        let mut text = match loss {
            Loss::Connect(error) => error.to_string(),
            _ => loss.to_string(),
        };
        if let Loss::Connect(Error::Refused(answer)) = loss {
            let body = String::from_utf8_lossy(&answer.body()[..answer.body().len().min(LONGEST_BODY)]);
            if !body.trim().is_empty() {
                text += &format!("\n{}", Printed(body.trim()));
            }
        }
        Failure::new(Exit::of_loss(loss), text)
    }
}

/// The payload of a text or binary message in bytes.
fn length(message: &Message) -> Option<usize> {
    match message {
        Message::Text(text) => Some(text.len()),
        Message::Binary(bytes) => Some(bytes.len()),
        _ => None,
    }
}

fn sizes(message: &Message, length: usize, size: u64) -> String {
    let kind = if message.as_text().is_some() { "text" } else { "binary" };
    format!("{kind} of {length} bytes, {size} on the wire")
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Waits until the next thing to do needs no connection: to close, or to fail.
async fn closes(input: &mut Input) -> Result<Exit, Failure> {
    match input.peek().await {
        Action::Close(_) => Ok(Exit::Closed),
        Action::Fail(failure) => Err(failure.clone()),
        _ => pending().await,
    }
}

fn here(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the signals: {error}"))
}

/// How much of the body of an answer that refuses is shown, in bytes.
const LONGEST_BODY: usize = 1_024;
