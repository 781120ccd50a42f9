//! Where a redirect leads (RFC 9110 §10.2.2, §15.4).

#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::target::Target;
use crate::error::Error;
use crate::network_error::RedirectError;
use crate::proto::handshake::{Response, WebSocketUri};

/// Whether the answer says that the resource is elsewhere.
pub(super) fn is_redirect(answer: &Response) -> bool {
    matches!(answer.status(), 301 | 302 | 303 | 307 | 308)
}

/// The place that the answer of `from` points to. Never one out of TLS, nor one in the file system.
pub(super) fn follow(from: &Target, answer: &Response) -> Result<Target, Error> {
    let location = answer.fields().text("Location").ok_or(RedirectError::Location)?;
    let uri = resolve(&from.uri, location).ok_or(RedirectError::Location)?;
    // Within the socket that it came by.
    let stays = uri.authority() == from.uri.authority();
    let socket = match &from.socket {
        Some(socket) if stays => Some(socket.clone()),
        Some(_) => return Err(RedirectError::Location.into()),
        None => None,
    };
    if from.uri.is_secure() && !uri.is_secure() {
        return Err(RedirectError::Downgrade.into());
    }
    Ok(Target { uri, socket, credentials: None })
}

/// RFC 3986 §5.2, for the references that servers write.
fn resolve(base: &WebSocketUri, location: &str) -> Option<WebSocketUri> {
    // The fragment is for those who show pages.
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, rest) = match location.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            (scheme.to_ascii_lowercase(), rest)
        }
        _ => {
            let scheme = if base.is_secure() { "wss" } else { "ws" };
            return match location.strip_prefix("//") {
                Some(rest) => parse(scheme, rest),
                None => parse(scheme, &(base.authority() + &on_server(base.resource(), location))),
            };
        }
    };
    match &*scheme {
        "ws" | "http" => parse("ws", rest),
        "wss" | "https" => parse("wss", rest),
        _ => None,
    }
}

fn parse(scheme: &str, rest: &str) -> Option<WebSocketUri> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, resource) = rest.split_at(end);
    let resource = if resource.starts_with('/') { without_dots(resource) } else { format!("/{resource}") };
    WebSocketUri::parse(&format!("{scheme}://{authority}{resource}")).ok()
}

/// The resource that a reference without a host means.
fn on_server(base: &str, location: &str) -> String {
    let path = base.split('?').next().unwrap_or_default();
    match location.chars().next() {
        None => base.into(),
        Some('/') => location.into(),
        Some('?') => format!("{path}{location}"),
        Some(_) => {
            let folder = path.rfind('/').map_or("/", |last| &path[..=last]);
            format!("{folder}{location}")
        }
    }
}

/// RFC 3986 §5.2.4.
fn without_dots(resource: &str) -> String {
    let (path, query) = resource.find('?').map_or((resource, ""), |at| resource.split_at(at));
    let mut segments = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            ".." => {
                segments.pop();
            }
            "." => {}
            part => segments.push(part),
        }
        if is_last && matches!(part, "." | "..") {
            segments.push("");
        }
    }
    "/".to_string() + &segments.join("/") + query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        for (base, location, expected) in [
            ("ws://a/b/c?d", "ws://e:1/f?g", Some("ws://e:1/f?g")),
            ("ws://a/b/c?d", "HTTP://e/f#g", Some("ws://e/f")),
            ("ws://a/b/c?d", "https://e", Some("wss://e/")),
            ("wss://a/b/c?d", "//e/f", Some("wss://e/f")),
            ("ws://a:1/b/c?d", "/f", Some("ws://a:1/f")),
            ("ws://a/b/c?d", "f?g=http://h/", Some("ws://a/b/f?g=http://h/")),
            ("ws://a/b/c?d", "?g", Some("ws://a/b/c?g")),
            ("ws://a/b/c?d", "../../../f/./g/..", Some("ws://a/f/")),
            ("ws://a/b/c?d", "", Some("ws://a/b/c?d")),
            ("ws://a/b", "ftp://e/f", None),
            ("ws://a/b", "http://u:p@e/f", None),
            ("ws://a/b", "http://", None),
            ("ws://a/b", "/a b", None),
        ] {
            let base = WebSocketUri::parse(base).unwrap();
            let got = resolve(&base, location).map(|uri| uri.to_string());
            assert_eq!(got.as_deref(), expected, "{location}");
        }
    }
}
