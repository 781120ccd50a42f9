//! Messages of JSON, each to the handler of its type.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;
use core::future::{Future, poll_fn, ready};
use core::ops::Deref;
use core::pin::pin;
use core::task::Poll;
use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::builder::Builder;
use super::connection::Connection;
use super::handle::Handle;
use super::hooks::{BoxError, Ending, Running};
use super::outbox::{Refusal, Sent};
use super::seen::Seen;
use crate::proto::Message;

/// Handlers by the `type` of a message. The messages are texts of JSON: `{"type": "…", "data": …}`; one with an `id`, a
/// number or a text of at most 128 bytes, wants an answer, which is `{"type": "reply", "id": …, "data": …}`, or `{"type": "ack", "id": …}` where there is
/// nothing to say, or `{"type": "error", "id": …, "error": "…"}`. An error is told in any case.
///
/// The handlers of one connection run one after the other, while answers to [`Handle::ask`] are taken as they come, so
/// that a handler may ask back. At most 64 messages wait for it meanwhile, then the peer does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde::Deserialize;
/// use serde_json::json;
/// use taut::server::{BoxError, Config, Router, Sender, Server};
///
/// #[derive(Deserialize)]
/// struct Sum {
///     numbers: Vec<i64>,
/// }
///
/// let router = Router::new()
///     .answer("sum", async |_: Sender, sum: Sum| Ok::<i64, BoxError>(sum.numbers.iter().sum()))
///     .on("join", async |from: Sender, room: String| from.join(&room).map(|_| ()));
/// let server = Server::builder(Config::new().address("127.0.0.1:0")).router(router).bind().await?;
///
/// let mut socket = taut::connect(&format!("ws://{}/", server.address().unwrap())).await?;
/// socket.send(json!({"type": "sum", "id": 1, "data": {"numbers": [1, 2, 39]}}).to_string()).await?;
/// let answer: serde_json::Value = match socket.recv().await? {
///     Some(message) => serde_json::from_str(message.as_text().unwrap_or_default())?,
///     None => return Err("no answer".into()),
/// };
/// assert_eq!(answer, json!({"type": "reply", "id": 1, "data": 42}));
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use = "a router is for Builder::router"]
pub struct Router {
    routes: HashMap<Box<str>, Route>,
    otherwise: Option<Route>,
    error: Option<OnError>,
    /// None if none are remembered.
    seen: Option<Arc<Seen>>,
}

type Route = Arc<dyn Fn(Sender, Value) -> Running<Result<Option<Value>, MessageError>> + Send + Sync>;
type OnError = Arc<dyn Fn(&Sender, &MessageError) + Send + Sync>;

/// Who sent a message, and which: the connection, beside what the message says of itself.
#[derive(Clone, Debug)]
pub struct Sender {
    handle: Handle,
    kind: Arc<str>,
    id: Option<Id>,
}

/// By which a peer knows its message again.
#[derive(Clone, Debug)]
enum Id {
    Number(u64),
    Text(Arc<str>),
}

/// Why a message was not handled. The peer is told what it did wrong; of handlers that failed, only that they did.
#[derive(Debug)]
#[non_exhaustive]
pub enum MessageError {
    /// Not a text, not JSON, no object, or without a `type`.
    Malformed(String),
    /// No handler has this type.
    Unknown(String),
    /// The `data` are not what this type has.
    Data(serde_json::Error),
    /// The handler failed, and the peer is told only that.
    Failed(BoxError),
    /// The handler refuses, and the peer is told why: by [`MessageError::refuse`].
    Refused(String),
}

impl Router {
    /// Without a handler.
    pub fn new() -> Self {
        Self::default()
    }

    /// Handles messages of a type; one with an id is acknowledged once this is done.
    pub fn on<T, F, R>(self, kind: &str, handler: impl Fn(Sender, T) -> F + Send + Sync + 'static) -> Self
    where
        T: DeserializeOwned,
        F: Future<Output = R> + Send + 'static,
        R: Ending,
    {
        self.route(kind, move |sender, data| match serde_json::from_value(data) {
            Ok(data) => {
                let running = handler(sender, data);
                Box::pin(
                    async move { running.await.into_result().map(|()| None).map_err(MessageError::from) },
                )
            }
            Err(error) => Box::pin(ready(Err(MessageError::Data(error)))),
        })
    }

    /// Answers messages of a type. One without an id is handled, and gets no answer.
    pub fn answer<T, F, A, E>(
        self,
        kind: &str,
        handler: impl Fn(Sender, T) -> F + Send + Sync + 'static,
    ) -> Self
    where
        T: DeserializeOwned,
        F: Future<Output = Result<A, E>> + Send + 'static,
        A: Serialize,
        E: Into<BoxError>,
    {
        self.route(kind, move |sender, data| match serde_json::from_value(data) {
            Ok(data) => {
                let running = handler(sender, data);
                Box::pin(async move {
                    let answer = running.await.map_err(|error| MessageError::from(error.into()))?;
                    serde_json::to_value(answer).map(Some).map_err(|error| MessageError::Failed(error.into()))
                })
            }
            Err(error) => Box::pin(ready(Err(MessageError::Data(error)))),
        })
    }

    /// Handles messages of all other types, as [`on`](Self::on) does. Without this they are errors.
    pub fn otherwise<F, R>(mut self, handler: impl Fn(Sender, Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: Ending,
    {
        self.otherwise = Some(Arc::new(move |sender, data| {
            let running = handler(sender, data);
            Box::pin(async move { running.await.into_result().map(|()| None).map_err(MessageError::from) })
        }));
        self
    }

    /// Tells this of every message that was not handled. It must not block.
    pub fn on_error(mut self, hook: impl Fn(&Sender, &MessageError) + Send + Sync + 'static) -> Self {
        self.error = Some(Arc::new(hook));
        self
    }

    /// Recognises messages that come again, by any connection, and hands them to their handler once: of those with an `id`
    /// that is a text, the last so many are remembered, with their answer if it has at most 1 KiB; a longer one is an
    /// `ack` the second time. A handler that was dropped amid its work runs again. Default: none are.
    ///
    /// Such ids have to be unique among all clients, and not to be guessed: those of `taut::client` hold 128 random bits.
    /// Who knows the id of another's message gets its answer.
    pub fn remember(mut self, messages: usize) -> Self {
        self.seen = (messages > 0).then(|| Arc::new(Seen::new(messages)));
        self
    }

    fn route(
        mut self,
        kind: &str,
        route: impl Fn(Sender, Value) -> Running<Result<Option<Value>, MessageError>> + Send + Sync + 'static,
    ) -> Self {
        self.routes.insert(kind.into(), Arc::new(route));
        self
    }

    /// Runs a connection to its end.
    async fn run(self: Arc<Self>, mut connection: Connection) -> Result<(), BoxError> {
        let mut waiting: VecDeque<(Sender, Result<Value, MessageError>)> = VecDeque::new();
        let mut current: Option<Running<()>> = None;
        let mut end = None;
        poll_fn(|cx| {
            loop {
                if let Some(running) = &mut current {
                    if running.as_mut().poll(cx).is_ready() {
                        current = None;
                        continue;
                    }
                } else if let Some((sender, data)) = waiting.pop_front() {
                    current = Some(Box::pin(self.clone().dispatch(sender, data)));
                    continue;
                }
                if end.is_some() || waiting.len() >= MOST_WAITING {
                    return if current.is_none() { Poll::Ready(()) } else { Poll::Pending };
                }
                let received = pin!(connection.recv()).poll(cx);
                match received {
                    Poll::Ready(Ok(Some(message))) => waiting.extend(read(connection.handle(), &message)),
                    Poll::Ready(ended) => {
                        connection.forget_questions();
                        end = Some(ended);
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        match end {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn dispatch(self: Arc<Self>, sender: Sender, data: Result<Value, MessageError>) {
        let answer = match (&self.seen, &sender.id) {
            (Some(seen), Some(Id::Text(id))) => {
                let answered =
                    seen.once(id, async { self.handle(&sender, data).await.unwrap_or_default() }).await;
                Some(answered.unwrap_or_else(|| json!({ "type": "ack", "id": **id }).to_string()))
            }
            _ => self.handle(&sender, data).await,
        };
        if let Some(answer) = answer {
            // A queue that is full has its policy; a connection that ended needs no answer.
            let _ = sender.handle.send(answer).await;
        }
    }

    /// Has a message handled; gives the answer.
    async fn handle(&self, sender: &Sender, data: Result<Value, MessageError>) -> Option<String> {
        let handled = match data {
            Ok(data) => match self.routes.get(&*sender.kind).or(self.otherwise.as_ref()) {
                Some(route) => route(sender.clone(), data).await,
                None => Err(MessageError::Unknown(sender.kind.to_string())),
            },
            Err(error) => Err(error),
        };
        let id = sender.id.as_ref().map(Id::to_json);
        let answer = match (&handled, id) {
            (Ok(None), Some(id)) => json!({ "type": "ack", "id": id }),
            (Ok(Some(data)), Some(id)) => json!({ "type": "reply", "id": id, "data": data }),
            (Ok(_), None) => return None,
            (Err(error), Some(id)) => json!({ "type": "error", "id": id, "error": error.told() }),
            (Err(error), None) => json!({ "type": "error", "error": error.told() }),
        };
        if let (Err(error), Some(hook)) = (&handled, &self.error) {
            hook(sender, error);
        }
        Some(answer.to_string())
    }
}

impl Builder {
    /// Runs connections by a router of JSON messages; takes the place of [`handler`](Self::handler).
    pub fn router(self, router: Router) -> Self {
        let router = Arc::new(router);
        self.handler(move |connection| router.clone().run(connection))
    }
}

/// What a message says; nothing if it is an answer that somebody waited for.
fn read(handle: &Handle, message: &Message) -> Option<(Sender, Result<Value, MessageError>)> {
    let mut sender = Sender { handle: handle.clone(), kind: Arc::default(), id: None };
    let malformed = |reason: String| MessageError::Malformed(reason);
    let Some(text) = message.as_text() else {
        return Some((sender, Err(malformed("messages are text".into()))));
    };
    let mut value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return Some((sender, Err(malformed(error.to_string())))),
    };
    sender.id = match &value["id"] {
        Value::String(id) if id.len() > LONGEST_ID => {
            return Some((sender, Err(malformed(format!("its id is longer than {LONGEST_ID} bytes")))));
        }
        Value::String(id) => Some(Id::Text(id.as_str().into())),
        id => id.as_u64().map(Id::Number),
    };
    let Some(kind) = value["type"].as_str() else {
        return Some((sender, Err(malformed("an object with a \"type\" is wanted".into()))));
    };
    sender.kind = kind.into();
    let number = if let Some(Id::Number(number)) = sender.id { Some(number) } else { None };
    if handle.resolve(&sender.kind, number, &mut value) {
        return None;
    }
    Some((sender, Ok(value["data"].take())))
}

impl Id {
    fn to_json(&self) -> Value {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Text(text) => (**text).into(),
        }
    }
}

impl Sender {
    /// The type of the message.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether an answer is wanted.
    #[must_use]
    pub const fn wants_answer(&self) -> bool {
        self.id.is_some()
    }

    /// The id of the message, if it is a text: by which it is known when it comes again, also by a server that was started
    /// anew and kept it. See [`Router::remember`].
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        if let Some(Id::Text(id)) = &self.id { Some(id) } else { None }
    }

    /// The connection.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Sends a message of a type, as this router's peers send theirs.
    ///
    /// # Errors
    /// As [`Handle::send_json`].
    pub fn tell<T: Serialize + ?Sized>(&self, kind: &str, data: &T) -> Result<Sent, Refusal> {
        self.handle.send_json(&json!({ "type": kind, "data": data }))
    }
}

impl Deref for Sender {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl MessageError {
    /// For handlers: refuses a message, and tells the peer why.
    pub fn refuse(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// What the peer is told: nothing of what is ours.
    fn told(&self) -> String {
        match self {
            Self::Failed(_) => "the server failed".into(),
            Self::Refused(why) => why.clone(),
            error => error.to_string(),
        }
    }
}

/// A handler's own refusal stays one.
impl From<BoxError> for MessageError {
    fn from(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(refused) => *refused,
            Err(error) => Self::Failed(error),
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) => write!(f, "not a message of this server: {reason}"),
            Self::Unknown(kind) => write!(f, "no message has the type {kind:?}"),
            Self::Data(error) => write!(f, "the data do not fit the type: {error}"),
            Self::Failed(error) => write!(f, "the handler failed: {error}"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for MessageError {}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Router({} types)", self.routes.len())
    }
}

/// How long an id may be that is a text, in bytes.
const LONGEST_ID: usize = 128;

/// How many messages wait for a handler before nothing more is read.
const MOST_WAITING: usize = 64;
