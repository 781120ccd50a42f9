//! The way to the server that the command line asks for.

#![forbid(unsafe_code)]

use std::fs::read_to_string;
use std::path::Path;

use taut::proto::{Config, Deflate};
use taut::tokio::rustls::pki_types::CertificateDer;
use taut::tokio::rustls::pki_types::pem::PemObject;
use taut::tokio::{Client, Options, Proxy, Tls};

use super::arguments::Arguments;
use super::exit::{Exit, Failure};
use super::form::percent_encoded;
use super::token::minted;

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
        let mut client = Client::new().options(options).max_redirects(arguments.redirects);
        for header in &arguments.headers {
            let header = revealed(header)?;
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| Failure::usage("--header is \"NAME: VALUE\", with a colon"))?;
            client = client.field(name.trim(), value.trim()).map_err(usage)?;
        }
        if let Some(origin) = &arguments.origin {
            client = client.origin(origin).map_err(usage)?;
        }
        for name in &arguments.subprotocols {
            client = client.subprotocol(name).map_err(usage)?;
        }
        let cookies: Result<Vec<_>, _> = arguments.cookies.iter().map(|cookie| revealed(cookie)).collect();
        let cookies = cookies?.join("; ");
        if !cookies.is_empty() {
            client = client.cookie(&cookies).map_err(usage)?;
        }
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
        match (minted(arguments)?, &arguments.username) {
            (Some(token), _) => client = client.bearer(&token).map_err(usage)?,
            (None, Some(user)) => uri = with_query(uri, "user", user),
            (None, None) => {}
        }
        client = match &arguments.proxy {
            Some(proxy) => client.proxy(Proxy::parse(proxy).map_err(usage)?),
            None => client.proxy_from_environment().map_err(usage)?,
        };
        if let Some(tls) = tls(arguments)? {
            client = client.tls(tls)?;
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

fn tls(arguments: &Arguments) -> Result<Option<Tls>, Failure> {
    let mut tls = Tls::new();
    let mut is_set = false;
    if let Some(path) = &arguments.ca {
        tls = tls.roots(certificates(path)?);
        is_set = true;
    }
    if arguments.dangerous_accept_any_certificate {
        tls = tls.dangerous_accept_any_certificate();
        is_set = true;
    }
    if let Some(name) = &arguments.server_name {
        tls = tls.server_name(name);
        is_set = true;
    }
    Ok(is_set.then_some(tls))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found =
        found.map_err(|error| Failure::new(Exit::Failed, format!("--ca {}: {error}", path.display())))?;
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "--ca {}: there is no certificate in it, as PEM",
            path.display()
        )));
    }
    Ok(found)
}

/// What is behind `@FILE`, without the white space around it, or the text itself.
fn revealed(text: &str) -> Result<String, Failure> {
    let Some(path) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    let content =
        read_to_string(path).map_err(|error| Failure::new(Exit::Failed, format!("{path}: {error}")))?;
    Ok(content.trim().to_owned())
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
