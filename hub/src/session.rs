//! One connection: who it is, what it asks, and when its token ends.

#![forbid(unsafe_code)]

mod page;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::json;
use taut::proto::CloseCode;
use taut::proto::handshake::Reject;
use taut::server::{BoxError, Connection, Grant, Handle, Upgrade, unauthorized};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use self::page::page_of;
use crate::auth::{Identity, TokenError};
use crate::envelope::{Envelope, TO_ALL, inbox, is_room, is_user, object};
use crate::hub::{Hub, Target, User, close, close_code};
use crate::quota::Quota;
use crate::store::{Page, Position, Since};

/// Why a message was refused: a word for programs, and a sentence for people.
struct Refused(&'static str, String);

/// What a client wants of a stream.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    #[serde(deserialize_with = "object")]
    after: Option<Position>,
    last: Option<usize>,
}

#[derive(Deserialize)]
struct Credentials {
    token: String,
}

/// Decides on a request: by the token that it has. Without one, the first message has to bring it.
pub(crate) async fn authenticate(hub: Arc<Hub>, upgrade: Upgrade) -> Result<Grant, Reject> {
    let Some(verifier) = &hub.verifier else {
        let user =
            upgrade.query("user").unwrap_or_else(|| format!("guest-{}", &crate::envelope::new_id()[24..]));
        let is_named = is_user(&user);
        return if is_named {
            Ok(Grant::new().insert(Identity::guest(user)))
        } else {
            Err(refusal(&hub, TokenError::Claim))
        };
    };
    let shown =
        upgrade.bearer().or_else(|| upgrade.cookie(&hub.rules.cookie)).or_else(|| upgrade.offered(OFFERED));
    let Some(token) = shown.map(str::to_owned).or_else(|| upgrade.query("token")) else {
        return Ok(Grant::new());
    };
    match verifier.verify(&token) {
        Ok(identity) => Ok(Grant::new().insert(identity)),
        Err(error) => {
            tracing::info!(address = %upgrade.address(), %error, "refused");
            Err(refusal(&hub, error))
        }
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(hub: Arc<Hub>, mut connection: Connection) -> Result<(), BoxError> {
    let identity = match connection.get::<Identity>() {
        Some(identity) => identity,
        None => match introduce(&hub, &mut connection).await? {
            Ok(identity) => identity,
            Err(error) => {
                hub.metrics.refuse(error.code());
                tracing::info!(address = %connection.handle().address(), %error, "refused");
                let code = if error == TokenError::Expired { close_code::EXPIRED } else { close_code::TOKEN };
                close(&connection, code, &error.to_string());
                return Ok(());
            }
        },
    };
    let quota = hub.quotas.of(&identity.user);
    let mut session = Session { hub, handle: connection.handle().clone(), identity, quota, warned: false };
    match session.enter().await {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(error) => {
            tracing::debug!(%error, "nobody can be let in");
            close(&session.handle, CloseCode::TRY_AGAIN.get(), "the store is away: come back later");
            return Ok(());
        }
    }
    loop {
        let deadline = session.deadline();
        tokio::select! {
            message = connection.recv() => match message? {
                Some(message) => session.take(message.as_text()).await,
                None => return Ok(()),
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                if session.expire() {
                    return Ok(());
                }
            }
        }
    }
}

/// Waits for the first message, which has to bring the token.
async fn introduce(
    hub: &Hub,
    connection: &mut Connection,
) -> Result<Result<Arc<Identity>, TokenError>, BoxError> {
    let Ok(message) = timeout(hub.rules.auth_timeout, connection.recv()).await else {
        return Ok(Err(TokenError::Missing));
    };
    let Some(message) = message? else { return Ok(Err(TokenError::Missing)) };
    let envelope = message.as_text().and_then(|text| Envelope::read(text).ok());
    let envelope = envelope.filter(|envelope| envelope.message_type == "auth");
    let token = envelope.and_then(|envelope| envelope.read_members::<Credentials>().ok());
    let verified = match (&hub.verifier, token) {
        (Some(verifier), Some(Credentials { token })) => verifier.verify(&token),
        _ => Err(TokenError::Malformed),
    };
    Ok(verified.map(|identity| {
        connection.insert(identity.clone());
        Arc::new(identity)
    }))
}

struct Session {
    hub: Arc<Hub>,
    handle: Handle,
    identity: Arc<Identity>,
    /// For what makes the store or the hub look through what it has.
    quota: Arc<Quota>,
    warned: bool,
}

impl Session {
    /// Takes the user in, and says so. Whether that was possible.
    async fn enter(&self) -> Result<bool, BoxError> {
        let user = &self.identity.user;
        if has_enough(&self.hub, user) {
            close_one_too_many(&self.handle);
            return Ok(false);
        }
        self.quota.take().await;
        self.handle.insert(User(user.as_str().into()));
        let own = inbox(user);
        let (hub, handle, user_id, stream) =
            (self.hub.clone(), self.handle.clone(), user.clone(), own.clone());
        let (sent, position) = oneshot::channel();
        let open = move |page: Page| {
            // Again, where one connection comes in after the other: before, many may have been counted at once.
            if has_enough(&hub, &user_id) {
                close_one_too_many(&handle);
            } else if handle.join(&stream).is_ok() {
                let _ = sent.send((page.epoch, page.seq));
            }
        };
        self.hub.store.open(own.clone(), Since::Last(0), Box::new(open)).await?;
        let Ok((epoch, seq)) = position.await else { return Ok(false) };
        // From here on the connection is found among the user's, so that who is barred after this question is closed.
        if self.hub.is_barred(&self.identity).await? {
            self.hub.metrics.refuse(TokenError::Barred.code());
            tracing::info!(address = %self.handle.address(), error = %TokenError::Barred, "refused");
            close(&self.handle, close_code::BARRED, &TokenError::Barred.to_string());
            return Ok(false);
        }
        let own_position = json!({ "epoch": *epoch, "seq": seq });
        let handle = self.handle.clone();
        let (user, expires, durability) =
            (user.clone(), self.identity.expires, self.hub.store.durability().to_owned());
        let welcome = move |page: Page| {
            if handle.join(TO_ALL).is_err() {
                return;
            }
            let all = json!({ "epoch": *page.epoch, "seq": page.seq });
            let data = json!({
                "code": "welcome",
                "user_id": user,
                "connection": handle.id().get(),
                "expires": expires,
                "durability": durability,
                "streams": { own: own_position, TO_ALL: all },
            });
            let _ = handle.send_text(Envelope::new("system_message").data(&data).to_json());
        };
        self.hub.store.open(TO_ALL.to_owned(), Since::Last(0), Box::new(welcome)).await?;
        self.hub.metrics.opened.inc();
        tracing::debug!(connection = self.handle.id().get(), "entered");
        Ok(true)
    }

    /// Does what a message asks. Whatever it is, the connection lives.
    async fn take(&mut self, text: Option<&str>) {
        self.hub.metrics.received.inc();
        let Some(text) = text else {
            return self.refuse(None, &Refused("binary", "messages are JSON, as text".into()));
        };
        let envelope = match Envelope::read(text) {
            Ok(envelope) => envelope,
            Err(malformed) => {
                return self.refuse(malformed.id.as_deref(), &Refused("malformed", malformed.sentence));
            }
        };
        let id = envelope.id.clone();
        if ["join", "history", "presence", "refresh"].contains(&envelope.message_type.as_str()) {
            self.quota.take().await;
        }
        let done = match envelope.message_type.as_str() {
            "text" | "notification" | "publish" => self.publish(envelope).await,
            "join" => self.open(&envelope, true).await,
            "history" => self.open(&envelope, false).await,
            "leave" => self.leave(&envelope),
            "presence" => self.presence(&envelope),
            "refresh" => self.refresh(&envelope).await,
            "ping" => {
                self.answer(
                    Envelope { data: envelope.data, ..Envelope::new("pong") }.answering(id.as_deref()),
                );
                Ok(())
            }
            "pong" | "ack" => Ok(()),
            "auth" => {
                Err(Refused("authenticated", "the connection is authenticated: use \"refresh\"".into()))
            }
            _ => Err(Refused("unknown_type", "there is no such message_type for clients".into())),
        };
        if let Err(refused) = done {
            self.refuse(id.as_deref(), &refused);
        }
    }

    async fn publish(&self, envelope: Envelope) -> Result<(), Refused> {
        let target = match (envelope.room.clone(), envelope.to_user_id.clone()) {
            (Some(room), None) => {
                if !self.handle.rooms().iter().any(|joined| **joined == *room) || !is_room(&room) {
                    return Err(Refused("not_in_room", "join the room before you speak in it".into()));
                }
                if !self.identity.may_join(&room) {
                    return Err(not_allowed());
                }
                Target::Room(room)
            }
            (None, Some(user)) if is_user(&user) => Target::User(user),
            (None, Some(_)) => return Err(Refused("bad_name", "to_user_id names no user".into())),
            (None, None) if self.identity.may_broadcast => Target::All,
            (None, None) => {
                return Err(Refused(
                    "not_allowed",
                    "name a room or a to_user_id: you may not speak to all".into(),
                ));
            }
            (Some(_), Some(_)) => {
                return Err(Refused("two_targets", "name a room or a to_user_id, not both".into()));
            }
        };
        let id = envelope.id.clone();
        let room = envelope.room.clone();
        let appended =
            self.hub.publish(Some(&self.identity.user), target, envelope).await.map_err(|error| {
                tracing::debug!(%error, "not stored");
                Refused(
                    "not_stored",
                    "it is not known whether the message was stored: send it again by its id".into(),
                )
            })?;
        let data = json!({ "epoch": *appended.epoch, "duplicate": appended.duplicate });
        let ack = Envelope::new("ack").answering(id.as_deref()).data(&data);
        self.answer(Envelope { seq: Some(appended.seq), room, ..ack });
        Ok(())
    }

    /// Reads a stream, and joins it there.
    async fn open(&self, envelope: &Envelope, join: bool) -> Result<(), Refused> {
        let room = self.readable(envelope)?;
        let wanted = envelope.data.as_ref().map(|_| envelope.read_members::<Wanted>()).transpose();
        let wanted = wanted
            .map_err(|error| Refused("malformed", format!("the data is none: {error}")))?
            .unwrap_or_default();
        let from = match wanted {
            Wanted { after: Some(position), .. } => Since::After(position),
            Wanted { last, .. } => Since::Last(last.unwrap_or(0)),
        };
        let (hub, handle, id, stream) =
            (self.hub.clone(), self.handle.clone(), envelope.id.clone(), room.clone());
        let (sent, answered) = oneshot::channel();
        let then = move |page: Page| {
            let _ = sent.send(if join && !page.more {
                // Where the page ends, for what comes behind it has higher numbers.
                joined(&hub, &handle, id.as_deref(), &stream, &page);
                None
            } else {
                Some(page)
            });
        };
        self.hub.store.open(room.clone(), from, Box::new(then)).await.map_err(not_read)?;
        // So nobody has more than one page on its way.
        if let Some(page) = answered.await.map_err(not_read)? {
            // Not where the messages of others would wait for it.
            let (name, id) = (if join { "join" } else { "history" }, envelope.id.as_deref());
            self.answer(page_of(&self.hub, name, id, &room, &page, false));
        }
        Ok(())
    }

    fn leave(&self, envelope: &Envelope) -> Result<(), Refused> {
        let room = self.readable(envelope)?;
        if !is_room(&room) || !self.handle.leave(&room) {
            return Err(Refused("not_in_room", "you are not in this room".into()));
        }
        self.answer(Envelope::new("leave").answering(envelope.id.as_deref()).room(&room));
        Ok(())
    }

    fn presence(&self, envelope: &Envelope) -> Result<(), Refused> {
        let room = self.readable(envelope)?;
        let (users, number) = self.hub.users_of(&room, MOST_LISTED);
        let data = json!({ "users": users.iter().map(|user| &**user).collect::<Vec<_>>(), "total": number });
        self.answer(Envelope::new("presence").answering(envelope.id.as_deref()).room(&room).data(&data));
        Ok(())
    }

    async fn refresh(&mut self, envelope: &Envelope) -> Result<(), Refused> {
        let missing = || Refused("malformed", "a refresh has the token in its data: {\"token\": …}".into());
        let Credentials { token } = envelope.read_members().map_err(|_| missing())?;
        let verifier = self.hub.verifier.as_ref();
        let verifier = verifier.ok_or_else(|| Refused("no_tokens", "this hub runs without tokens".into()))?;
        let verified = verifier.verify(&token).and_then(|identity| {
            if identity.user == self.identity.user { Ok(identity) } else { Err(TokenError::OtherUser) }
        });
        let identity = verified.map_err(|error| {
            tracing::info!(address = %self.handle.address(), %error, "refused");
            Refused(error.code(), error.to_string())
        })?;
        let expires = identity.expires;
        self.handle.insert(identity.clone());
        let barred = self.hub.is_barred(&identity).await;
        if !matches!(barred, Ok(false)) {
            self.handle.insert((*self.identity).clone());
            return Err(match barred {
                Ok(_) => Refused(TokenError::Barred.code(), TokenError::Barred.to_string()),
                Err(_) => {
                    Refused("not_read", "it cannot be looked up whether you are barred: try again".into())
                }
            });
        }
        self.identity = Arc::new(identity);
        self.warned = false;
        // Rooms that the new token does not name. Whoever is joining one finds the new token, or is found here.
        let mut left = self.handle.rooms();
        left.retain(|room| is_room(room) && !self.identity.may_join(room) && self.handle.leave(room));
        let data = json!({ "expires": expires, "left": left.iter().map(|room| &**room).collect::<Vec<_>>() });
        self.answer(Envelope::new("ack").answering(envelope.id.as_deref()).data(&data));
        Ok(())
    }

    /// The stream that is named, if the user may read it: a room, the own inbox, or what is said to all.
    fn readable(&self, envelope: &Envelope) -> Result<String, Refused> {
        let room = envelope.room.as_deref().unwrap_or_default();
        if room == TO_ALL || room == inbox(&self.identity.user) {
            return Ok(room.to_owned());
        }
        if !is_room(room) {
            return Err(Refused("bad_name", "the room has no name, or one that no room can have".into()));
        }
        if !self.identity.may_join(room) {
            return Err(not_allowed());
        }
        Ok(room.to_owned())
    }

    /// When the token's end, or the warning of it, is due.
    fn deadline(&self) -> Option<Instant> {
        let left = left(self.identity.expires?);
        let until = if self.warned { left } else { left.saturating_sub(self.hub.rules.expiry_warning) };
        Instant::now().checked_add(until)
    }

    /// Warns, or ends the connection. Whether that is the end.
    fn expire(&mut self) -> bool {
        let Some(expires) = self.identity.expires else { return false };
        if left(expires).is_zero() {
            close(&self.handle, close_code::EXPIRED, &TokenError::Expired.to_string());
            return true;
        }
        if !self.warned {
            self.warned = true;
            let data = json!({ "code": "token_expiring", "expires": expires });
            self.answer(Envelope::new("system_message").data(&data));
        }
        false
    }

    fn refuse(&self, id: Option<&str>, refused: &Refused) {
        self.hub.metrics.refuse(refused.0);
        self.answer(error(id, refused));
    }

    /// Who does not take its answers is disconnected by the queue's policy.
    fn answer(&self, envelope: Envelope) {
        let _ = self.handle.send_text(envelope.to_json());
    }
}

/// Joins, and sends what was before.
fn joined(hub: &Hub, handle: &Handle, id: Option<&str>, stream: &str, page: &Page) {
    let refused = match handle.join(stream) {
        Err(problem) => Some(Refused("not_joined", problem.to_string())),
        // The token may be another one meanwhile.
        Ok(_)
            if is_room(stream)
                && !handle.get::<Identity>().is_some_and(|identity| identity.may_join(stream)) =>
        {
            handle.leave(stream);
            Some(not_allowed())
        }
        Ok(_) => None,
    };
    let answer = match refused {
        Some(refused) => error(id, &refused),
        None => page_of(hub, "join", id, stream, page, true),
    };
    let _ = handle.send_text(answer.to_json());
}

/// Whether a user has as many connections as one may have.
fn has_enough(hub: &Hub, user: &str) -> bool {
    hub.connections(user).len() >= hub.rules.connections_of_one
}

fn close_one_too_many(connection: &Handle) {
    close(connection, close_code::TOO_MANY, "the user has as many connections as one may have");
}

fn not_allowed() -> Refused {
    Refused("not_allowed", "your token does not name this room".into())
}

fn not_read(error: impl std::fmt::Display) -> Refused {
    tracing::debug!(%error, "not read");
    Refused("not_read", "the history cannot be read: try again".into())
}

fn error(id: Option<&str>, Refused(code, sentence): &Refused) -> Envelope {
    Envelope::new("error").answering(id).data(&json!({ "code": code, "message": sentence }))
}

fn refusal(hub: &Hub, error: TokenError) -> Reject {
    hub.metrics.refuse(error.code());
    unauthorized("Bearer error=\"invalid_token\"")
}

/// How long until this second.
fn left(expires: u64) -> Duration {
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(expires));
    end.and_then(|end| end.duration_since(SystemTime::now()).ok()).unwrap_or_default()
}

/// What begins an offered subprotocol that is a token.
const OFFERED: &str = "token.";

/// The most users that an answer lists.
const MOST_LISTED: usize = 200;
