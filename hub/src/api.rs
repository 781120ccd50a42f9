//! The HTTP API: what a team's other programs, its monitoring and its operators ask of the hub.
//!
//! `schema/openapi.json` describes it, and is served by it.

#![forbid(unsafe_code)]

mod error;
mod listen;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::bus::{Figures, News};
use crate::cluster::Cluster;
use crate::config::Secret;
use crate::envelope::{Envelope, TO_ALL, is_id, is_room, is_user, readable_data};
use crate::hub::{Hub, Target, close_code};
use crate::pages;
use crate::store::{can_be_issued, can_expire, now};
pub use error::ApiError;
pub(crate) use listen::serve;

/// What the API answers from.
#[derive(Debug)]
pub struct Api {
    hub: Arc<Hub>,
    token: Secret,
    /// Whether the hub takes connections.
    ready: AtomicBool,
    /// When the store was asked, and whether it answered.
    looked: Mutex<Option<(Instant, bool)>>,
}

impl Api {
    /// An API of this hub, for those who show the token.
    #[must_use]
    pub fn new(hub: Arc<Hub>, token: Secret) -> Self {
        Self { hub, token, ready: AtomicBool::new(true), looked: Mutex::default() }
    }

    /// Whether the store answers. Asked by anybody, it is looked up once a second at most.
    async fn has_store(&self) -> bool {
        let mut looked = self.looked.lock().await;
        if let Some((when, answers)) = *looked
            && when.elapsed() < LOOK_EVERY
        {
            return answers;
        }
        let asked = timeout(PATIENCE, self.hub.store.is_barred("nobody".to_owned(), None)).await;
        let answers = matches!(asked, Ok(Ok(_)));
        *looked = Some((Instant::now(), answers));
        answers
    }

    /// The hub drains: it is not to be sent anybody any more.
    pub fn drain(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }
}

/// All paths, and the pages for clients of WebSockets at this port.
pub fn router(api: Arc<Api>, port: u16) -> Router {
    let guarded = Router::new()
        .route("/ws/online", get(online))
        .route("/ws/stats", get(stats))
        .route("/ws/broadcast", post(broadcast))
        .route("/ws/send", post(send))
        .route("/ws/rooms", get(rooms))
        .route("/ws/rooms/{room}", get(room).post(say))
        .route("/ws/disconnect", post(disconnect))
        .route("/ws/disable", post(disable))
        .route("/ws/enable", post(enable))
        .route("/ws/revoke", post(revoke))
        .route("/ws/revoke_before", post(revoke_before))
        .route("/metrics", get(metrics))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(api.clone(), guard));
    Router::new()
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/ready", get(ready))
        .route("/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI)))
        .route(
            "/envelope.json",
            get(async || ([(header::CONTENT_TYPE, "application/schema+json")], ENVELOPE)),
        )
        .method_not_allowed_fallback(wrong_method)
        .merge(guarded)
        .merge(pages::router(port))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn(in_time))
        .with_state(api)
}

type Answer = Result<Json<Value>, ApiError>;
type Shared = State<Arc<Api>>;
type ByName<T> = (Arc<str>, T);

/// A message to send.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    id: Option<String>,
    message_type: Option<String>,
    #[serde(default, deserialize_with = "readable_data")]
    data: Option<Box<RawValue>>,
    to_user_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    user_id: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoked {
    token_id: String,
    until: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedBefore {
    user_id: String,
    time: Option<u64>,
}

impl Named {
    fn of_a_user(self) -> Result<Self, ApiError> {
        check_user(&self.user_id)?;
        Ok(self)
    }
}

fn check_user(user: &str) -> Result<(), ApiError> {
    if is_user(user) { Ok(()) } else { Err(ApiError::invalid("user_id names no user")) }
}

/// A part of a list, by name.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    after: String,
    #[serde(default = "Part::usual")]
    limit: usize,
}

impl Part {
    const fn usual() -> usize {
        MOST_LISTED
    }

    /// The part, and where the next begins, if there is one.
    fn of<T>(&self, all: BTreeMap<Arc<str>, T>) -> (Vec<ByName<T>>, Option<Arc<str>>) {
        let mut rest = all.into_iter().skip_while(|(name, _)| **name <= *self.after);
        let part: Vec<_> = rest.by_ref().take(self.limit.clamp(1, MOST_LISTED)).collect();
        let next = rest.next().and_then(|_| part.last().map(|(name, _)| name.clone()));
        (part, next)
    }
}

/// Lets those in who show the token.
async fn guard(State(api): Shared, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.split_once(' '));
    let shown =
        shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let is_right = shown.is_some_and(|shown| shown.as_bytes().ct_eq(api.token.reveal().as_bytes()).into());
    if is_right {
        return next.run(request).await;
    }
    api.hub.metrics.refuse("api_token");
    tracing::info!(path = request.uri().path(), "an HTTP request without the token was refused");
    let mut response = ApiError::unauthorized().into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Ends a request whose body does not come, or whose answer is not found.
async fn in_time(request: Request, next: Next) -> Response {
    timeout(LONGEST_REQUEST, next.run(request)).await.unwrap_or_else(|_| ApiError::late().into_response())
}

async fn online(State(api): Shared, part: Result<Query<Part>, QueryRejection>) -> Answer {
    let Query(part) = part?;
    let users = api.hub.online.places_of(TO_ALL);
    let (total, nodes) = (users.len(), api.hub.nodes());
    let (part, next) = part.of(users);
    let users: Vec<_> = part
        .iter()
        .map(|(user, at)| json!({ "user_id": **user, "connections": at.connections, "nodes": at.nodes }))
        .collect();
    Ok(Json(json!({
        "total": total,
        "nodes": nodes,
        "connections": api.hub.everybody().len(),
        "users": users,
        "next": next.as_deref(),
    })))
}

async fn stats(State(api): Shared) -> Answer {
    let hub = &api.hub;
    let own = hub.figures();
    let metrics = &hub.metrics;
    let mut by_node: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    for (node, age, figures) in hub.cluster.iter().flat_map(Cluster::figures) {
        by_node.insert(node.clone(), of_node(&node, age, &figures));
    }
    by_node.insert(hub.name.as_str().into(), of_node(&hub.name, Duration::ZERO, &own));
    let ended = ENDS.map(|reason| {
        let count = metrics.ended.get(&crate::metrics::Reason { reason }).map_or(0, |count| count.get());
        (reason, count)
    });
    Ok(Json(json!({
        "node": hub.name,
        "nodes": hub.nodes(),
        "by_node": by_node.into_values().collect::<Vec<_>>(),
        "users_of_all_nodes": hub.users_of(TO_ALL, 0).1,
        "uptime_seconds": own.uptime_seconds,
        "connections": metrics.connections.get(),
        "users": metrics.users.get(),
        "rooms": metrics.rooms.get(),
        "memory_bytes": metrics.memory.get(),
        "durability": hub.store.durability(),
        "connections_opened": metrics.opened.get(),
        "messages": {
            "received": metrics.received.get(),
            "stored": metrics.stored.get(),
            "duplicate": metrics.duplicates.get(),
            "delivered": metrics.delivered.get(),
            "lost": metrics.lost.get(),
            "not_stored": metrics.failures.get(),
            "storing_microseconds": metrics.storing.get(),
            "delivery_milliseconds": metrics.delivery().map(|(half, most)| json!({ "p50": half, "p99": most })),
        },
        "ended": BTreeMap::from(ended),
    })))
}

/// What a node has, as it said so long ago.
fn of_node(node: &str, age: Duration, figures: &Figures) -> Value {
    json!({
        "node": node,
        "seconds_ago": age.as_secs_f64(),
        "uptime_seconds": figures.uptime_seconds,
        "connections": figures.connections,
        "users": figures.users,
        "rooms": figures.rooms,
        "memory_bytes": figures.memory_bytes,
        "messages": {
            "received": figures.received,
            "stored": figures.stored,
            "delivered": figures.delivered,
            "lost": figures.lost,
        },
    })
}

async fn broadcast(State(api): Shared, body: Result<Bytes, BytesRejection>) -> Answer {
    let said: Said = read(body)?;
    if said.to_user_id.is_some() {
        return Err(ApiError::invalid("to_user_id does not belong to a broadcast: use /ws/send"));
    }
    publish(&api.hub, Target::All, said).await
}

async fn send(State(api): Shared, body: Result<Bytes, BytesRejection>) -> Answer {
    let said: Said = read(body)?;
    let user = said.to_user_id.clone().filter(|user| is_user(user));
    let user = user.ok_or_else(|| ApiError::invalid("to_user_id names no user"))?;
    publish(&api.hub, Target::User(user), said).await
}

async fn rooms(State(api): Shared, part: Result<Query<Part>, QueryRejection>) -> Answer {
    let Query(part) = part?;
    let rooms = api.hub.presence.rooms_and_users();
    let total = rooms.len();
    let (part, next) = part.of(rooms);
    let rooms: Vec<_> = part.iter().map(|(room, users)| json!({ "room": **room, "users": users })).collect();
    Ok(Json(json!({ "total": total, "rooms": rooms, "next": next.as_deref() })))
}

async fn room(State(api): Shared, room: Result<Path<String>, PathRejection>) -> Answer {
    let Path(room) = room?;
    let (users, total) = api.hub.presence.users(&room, MOST_LISTED);
    if total == 0 {
        return Err(ApiError::not_found("nobody is in a room of this name"));
    }
    let users: Vec<&str> = users.iter().map(|user| &**user).collect();
    Ok(Json(json!({ "room": room, "total": total, "users": users })))
}

async fn say(
    State(api): Shared,
    room: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let Path(room) = room?;
    let said: Said = read(body)?;
    if said.to_user_id.is_some() {
        return Err(ApiError::invalid("to_user_id does not belong to a room: use /ws/send"));
    }
    if !is_room(&room) {
        return Err(ApiError::invalid("no room can have this name"));
    }
    publish(&api.hub, Target::Room(room), said).await
}

async fn disconnect(State(api): Shared, body: Result<Bytes, BytesRejection>) -> Answer {
    let named = read::<Named>(body)?.of_a_user()?;
    let here = api.hub.connections(&named.user_id).len();
    tracing::info!(user = named.user_id, here, "disconnected by the API");
    let reason = named.reason.unwrap_or_else(|| "an operator ended the connection".to_owned());
    let news = News::Disconnect { user: named.user_id, code: close_code::DISCONNECTED, reason };
    api.hub.bus.send(news).await?;
    Ok(Json(json!({ "done": true, "connections_of_this_node": here })))
}

async fn disable(State(api): Shared, body: Result<Bytes, BytesRejection>) -> Answer {
    let named = read::<Named>(body)?.of_a_user()?;
    api.hub.store.set_disabled(named.user_id.clone(), true).await?;
    tracing::info!(user = named.user_id, "barred by the API");
    let reason = named.reason.unwrap_or_else(|| "the user is barred".to_owned());
    tell(&api.hub, News::Disconnect { user: named.user_id, code: close_code::BARRED, reason }).await
}

async fn enable(State(api): Shared, body: Result<Bytes, BytesRejection>) -> Answer {
    let named = read::<Named>(body)?.of_a_user()?;
    api.hub.store.set_disabled(named.user_id.clone(), false).await?;
    tracing::info!(user = named.user_id, "let in again by the API");
    Ok(Json(json!({ "done": true })))
}

async fn revoke(State(api): Shared, body: Result<Bytes, BytesRejection>) -> Answer {
    let revoked: Revoked = read(body)?;
    if !is_id(&revoked.token_id) {
        return Err(ApiError::invalid("token_id is no \"jti\""));
    }
    if !can_expire(revoked.until) {
        return Err(ApiError::invalid(
            "until is the token's \"exp\", in seconds since 1970, and not long past",
        ));
    }
    api.hub.store.revoke(revoked.token_id.clone(), revoked.until).await?;
    tracing::info!(token_id = revoked.token_id, until = revoked.until, "a token was taken back by the API");
    tell(&api.hub, News::Revoked(revoked.token_id)).await
}

async fn revoke_before(State(api): Shared, body: Result<Bytes, BytesRejection>) -> Answer {
    let RevokedBefore { user_id: user, time } = read(body)?;
    check_user(&user)?;
    // Those of this second as well.
    let time = time.unwrap_or_else(|| now() + 1);
    if !can_be_issued(time) {
        return Err(ApiError::invalid("time is in seconds since 1970, and not in the future"));
    }
    api.hub.store.revoke_before(user.clone(), time).await?;
    tracing::info!(user, time, "tokens of a user were taken back by the API");
    tell(&api.hub, News::RevokedBefore { user, time }).await
}

async fn metrics(State(api): Shared) -> impl IntoResponse {
    api.hub.measure();
    ([(header::CONTENT_TYPE, OPENMETRICS)], api.hub.metrics.text())
}

/// Whether clients may be sent here: it does not drain, and what they need can be had.
async fn ready(State(api): Shared) -> Response {
    let status = if !api.ready.load(Ordering::Relaxed) {
        "draining"
    } else if !api.hub.is_delivering() {
        "not delivering"
    } else if !api.has_store().await {
        "store away"
    } else {
        return Json(json!({ "status": "ready" })).into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": status }))).into_response()
}

async fn nothing() -> ApiError {
    ApiError::not_found("there is nothing here: see /openapi.json")
}

async fn wrong_method() -> ApiError {
    ApiError::wrong_method()
}

async fn publish(hub: &Hub, target: Target, said: Said) -> Answer {
    let message_type = said.message_type.unwrap_or_else(|| "text".to_owned());
    if !OF_OPERATORS.contains(&message_type.as_str()) {
        return Err(ApiError::invalid("message_type is one of text, notification, system_message, publish"));
    }
    if said.id.as_deref().is_some_and(|id| !is_id(id)) {
        return Err(ApiError::invalid("id has 1 to 128 bytes, and no control characters"));
    }
    tracing::debug!(?target, message_type, "said by the API");
    let message = Envelope { id: said.id, message_type, data: said.data, ..Envelope::default() };
    let appended = hub.publish(None, target, message).await?;
    Ok(Json(json!({ "seq": appended.seq, "epoch": *appended.epoch, "duplicate": appended.duplicate })))
}

async fn tell(hub: &Hub, news: News) -> Answer {
    hub.bus.send(news).await?;
    Ok(Json(json!({ "done": true })))
}

/// Reads a body of JSON, whatever type it says it is.
fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    serde_json::from_slice(&body?)
        .map_err(|error| ApiError::invalid(&format!("the body is not what it has to be: {error}")))
}

const OPENAPI: &str = include_str!("../schema/openapi.json");

const ENVELOPE: &str = include_str!("../schema/envelope.json");

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What operators may send.
const OF_OPERATORS: [&str; 4] = ["text", "notification", "system_message", "publish"];

/// How connections end, in the order of the statistics.
const ENDS: [&str; 13] = [
    "aborted",
    "application",
    "authentication",
    "handler",
    "heartbeat",
    "idle",
    "other",
    "peer",
    "rate",
    "shutdown",
    "slow_consumer",
    "stalled",
    "transport",
];

/// The largest body in bytes.
const LARGEST_BODY: usize = 1 << 20;

/// How long a request may take, its body included.
const LONGEST_REQUEST: Duration = Duration::from_secs(30);

/// How long the store may take for the answer that makes a node ready.
const PATIENCE: Duration = Duration::from_secs(2);

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most that a list has at once.
const MOST_LISTED: usize = 1000;
