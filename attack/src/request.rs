//! The opening handshake, right or wrong, written and read by hand.

use crate::target::Target;

/// The nonce of RFC 6455 §1.3 …
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// … and what a server makes of it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request. As made it is right; its methods make it wrong.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    path: String,
    version: String,
    lines: Vec<Vec<u8>>,
    line_end: &'static str,
    behind: Vec<u8>,
}

impl Request {
    pub(crate) fn new(target: &Target) -> Self {
        Self {
            method: "GET".to_owned(),
            path: target.path.clone(),
            version: "HTTP/1.1".to_owned(),
            lines: Vec::new(),
            line_end: "\r\n",
            behind: Vec::new(),
        }
        .add("Host", &target.host)
        .add("Upgrade", "websocket")
        .add("Connection", "Upgrade")
        .add("Sec-WebSocket-Key", KEY)
        .add("Sec-WebSocket-Version", "13")
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// One more field, at the end.
    pub(crate) fn add(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.line([name.as_bytes(), b": ", value.as_ref()].concat())
    }

    /// Another value for a field that is there.
    pub(crate) fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).add(name, value)
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        let is_it = |line: &[u8]| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
                && line.get(name.len()) == Some(&b':')
        };
        self.lines.retain(|line| !is_it(line));
        self
    }

    /// A line as it is, at the end of the fields.
    pub(crate) fn line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.lines.push(line.as_ref().to_vec());
        self
    }

    /// A line as it is, before all fields.
    pub(crate) fn first(mut self, line: impl AsRef<[u8]>) -> Self {
        self.lines.insert(0, line.as_ref().to_vec());
        self
    }

    pub(crate) fn line_end(mut self, end: &'static str) -> Self {
        self.line_end = end;
        self
    }

    /// Bytes behind the head.
    pub(crate) fn behind(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.behind.extend(bytes.as_ref());
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let end = self.line_end.as_bytes();
        let mut bytes = format!("{} {} {}", self.method, self.path, self.version).into_bytes();
        bytes.extend(end);
        for line in &self.lines {
            bytes.extend(line);
            bytes.extend(end);
        }
        bytes.extend(end);
        bytes.extend(&self.behind);
        bytes
    }
}

/// The head of a response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
}

impl Response {
    /// The head in these bytes and its length, once it is whole. One that makes no sense has the status 0.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]);
        // A bare LF ends a line for many a reader, and so here.
        let mut lines = head.split('\n').map(|line| line.trim_end_matches('\r'));
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some((Self { status: status.unwrap_or_default(), fields: fields.collect() }, end + 4))
    }

    /// The values of a field, whose name is given in lower case.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |field| field.0 == name).map(|field| &*field.1)
    }

    /// What is wrong with it, for a response that says 101 to a request with [`KEY`].
    pub(crate) fn fault(&self) -> Option<String> {
        let accepts: Vec<_> = self.values("sec-websocket-accept").collect();
        (accepts != [ACCEPT]).then(|| format!("Sec-WebSocket-Accept is {accepts:?} and not {ACCEPT}"))
    }
}
