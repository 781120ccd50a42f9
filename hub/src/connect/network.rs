//! The way to the server that the command line asks for.

#![forbid(unsafe_code)]

use std::time::Duration;

use taut::proto::{Config, Deflate};
use taut::tokio::{Client, Options};

use super::arguments::Arguments;
use super::form::percent_encoded;
use crate::exit::Failure;
use crate::options::revealed;

/// Where to, and how.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) client: Client,
    pub(super) options: Options,
    /// It may have a password in it.
    pub(super) uri: String,
}

impl Way {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let options = options(arguments);
        let client = Client::new().options(options).max_redirects(arguments.redirects);
        let mut client = arguments.client.applied(client)?;
        if let Some(token) = &arguments.bearer {
            client = client.bearer(&revealed(token)?).map_err(usage)?;
        }
        if let Some(basic) = &arguments.basic {
            let basic = revealed(basic)?;
            let (user, password) =
                basic.split_once(':').ok_or_else(|| Failure::usage("--basic is USER:PASSWORD"))?;
            client = client.basic(user, password).map_err(usage)?;
        }
        let mut uri = with_scheme(&arguments.url);
        if let Some(token) = &arguments.token {
            uri = with_query(uri, "token", &revealed(token)?);
        }
        match (arguments.signing.token(HOUR)?, &arguments.signing.username) {
            (Some(token), _) => client = client.bearer(&token).map_err(usage)?,
            (None, Some(user)) => uri = with_query(uri, "user", user),
            (None, None) => {}
        }
        // Nobody waits for a server to learn that the command line is wrong.
        client.request(&uri).map_err(usage)?;
        Ok(Self { client, options, uri })
    }
}

fn options(arguments: &Arguments) -> Options {
    let deflate = arguments.deflate.then(Deflate::new);
    let mut options = Options::new().handshake_timeout(arguments.connect_timeout);
    options = options.close_timeout(arguments.close_timeout).deflate(deflate);
    if let Some(bytes) = arguments.max_message {
        options = options.config(Config::new().max_message(bytes).max_frame(bytes));
    }
    if let Some(interval) = arguments.ping {
        options = options.ping_interval(interval);
    }
    options
}

fn with_scheme(url: &str) -> String {
    match url.split_once("://") {
        None => format!("ws://{url}"),
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        Some(_) => url.to_owned(),
    }
}

fn with_query(uri: String, name: &str, value: &str) -> String {
    let value = percent_encoded(value);
    let authority = uri.find("://").map_or(0, |at| at + "://".len());
    let rest = &uri[authority..];
    if rest.contains('?') {
        format!("{uri}&{name}={value}")
    } else if uri.starts_with("ws+unix:") && !rest.contains(':') {
        // Behind the path of the socket comes the resource.
        format!("{uri}:/?{name}={value}")
    } else if rest.contains('/') {
        format!("{uri}?{name}={value}")
    } else {
        format!("{uri}/?{name}={value}")
    }
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::usage(error.to_string())
}

/// How long an own token is good.
const HOUR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_people() {
        for (url, uri) in [
            ("localhost:9001", "ws://localhost:9001/?token=a%26b"),
            ("http://a/b", "ws://a/b?token=a%26b"),
            ("https://a/?x=1", "wss://a/?x=1&token=a%26b"),
            ("wss://a", "wss://a/?token=a%26b"),
            ("ws+unix:///s", "ws+unix:///s:/?token=a%26b"),
            ("ws+unix:///s:/p", "ws+unix:///s:/p?token=a%26b"),
        ] {
            assert_eq!(with_query(with_scheme(url), "token", "a&b"), uri);
        }
    }
}
