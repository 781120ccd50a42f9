//! The server: how to connect to it, and what its errors are called.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use taut::proto::handshake::HandshakeError;
use taut::proto::{Config, Deflate, Message};
use taut::tokio::{Client, NetworkStream, WebSocket};
use taut::{Error, Options};

use super::plan::Plan;
use super::settings::Arguments;

/// A connection to the server.
pub(super) type Socket = WebSocket<NetworkStream>;

/// The server, and who we say we are.
#[derive(Debug)]
pub(super) struct Target {
    url: String,
    /// One for each token.
    clients: Vec<Client>,
}

impl Target {
    /// # Errors
    /// What cannot be meant, with what to do.
    pub(super) fn new(arguments: &Arguments, plan: &Plan) -> Result<Self, String> {
        let held = plan.in_flight.saturating_mul(2 * plan.size + ENVELOPE);
        let longest = (16 << 20) + 4 * plan.size;
        let config = Config::new().max_queued(held + (1 << 20)).max_message(longest).max_frame(longest);
        let options = Options::new().config(config).handshake_timeout(plan.timeout);
        let options = options.deflate(arguments.deflate.then(Deflate::new));
        let client = Client::new().options(options).allow_simultaneous(true).attempt_timeout(plan.timeout);
        let client = arguments.client.applied(client).map_err(|failure| failure.text)?;
        let url = arguments.url.clone();
        client.request(&url.replace(NUMBER, "0")).map_err(|error| format!("{url}: {error}"))?;
        let tokens = tokens(arguments.token_file.as_deref())?;
        let clients = if tokens.is_empty() {
            vec![client]
        } else {
            let with = |token: &String| client.clone().bearer(token.trim());
            let clients: Result<_, _> = tokens.iter().map(with).collect();
            clients.map_err(|_| "a token has characters that no header field takes".to_owned())?
        };
        Ok(Self { url, clients })
    }

    /// Connects; `number` chooses the token, and stands in the URL.
    pub(super) async fn connect(&self, number: u32) -> Result<Socket, Error> {
        let client = &self.clients[number as usize % self.clients.len()];
        client.connect(&self.url.replace(NUMBER, &number.to_string())).await
    }
}

/// What an error is counted as: few words, the same for the same cause.
pub(super) fn kind(error: &Error) -> String {
    match error {
        Error::Refused(answer) => format!("refused with HTTP {}", answer.status()),
        Error::Connect(_) => "not reachable".into(),
        Error::Proxy(_) | Error::Redirect(_) => "proxy or redirect".into(),
        Error::Tls(_) => "no TLS".into(),
        Error::Timeout(deadline) => format!("{deadline}"),
        Error::Lost => "lost: ended without a Close".into(),
        Error::Io(error) => format!("lost: {}", error.kind()),
        Error::Protocol(_) => "the server broke the protocol".into(),
        Error::Handshake(HandshakeError::UnexpectedEof { .. }) => "lost amid the handshake".into(),
        Error::Handshake(_) => "a wrong handshake".into(),
        Error::Send(_) => "not taken for sending".into(),
        _ => "other".into(),
    }
}

/// The same for a connection that the server closed.
pub(super) fn closed(socket: &Socket) -> (String, String) {
    let Some(status) = socket.close_status() else {
        return ("lost: ended without a Close".into(), String::new());
    };
    let reason = &status.reason;
    (format!("closed by the server with {}", status.code), format!("the reason it gave: {reason:?}"))
}

/// Whether this is the Close of the server.
pub(super) const fn is_close(message: &Message) -> bool {
    matches!(message, Message::Close(_))
}

fn tokens(file: Option<&Path>) -> Result<Vec<String>, String> {
    let Some(file) = file else { return Ok(std::env::var(TOKEN).into_iter().collect()) };
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| format!("--token-file {}: {error}", file.display()))?;
    let tokens: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if tokens.is_empty() { Err(format!("--token-file {}: it is empty", file.display())) } else { Ok(tokens) }
}

/// What stands for the number of a connection in a URL.
const NUMBER: &str = "{n}";

const TOKEN: &str = "TAUT_STRESS_TOKEN";

/// What a hub's envelope has around a payload, at most.
const ENVELOPE: usize = 512;
