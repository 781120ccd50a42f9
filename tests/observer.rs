//! What an observer hears of connections, and what `tracing` collects, by both adapters.
#![cfg(feature = "tokio")]

use std::io::Cursor;
use std::sync::Mutex;
use std::time::Duration;

use taut::proto::frame::OpCode;
use taut::proto::handshake::{Accept, ClientRequest, Reject};
use taut::proto::{Agreement, CloseCode, Config, Connection, Message, Role};
use taut::tokio::frames::{Frame, FrameWriter};
use taut::tokio::{Incoming, WebSocket, accept, accept_with, connect, connect_over, connect_with};
use taut::{Deadline, Ended, Error, Observer, Options, RandomMasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// What was heard, in order; reads and writes as sums.
#[derive(Default)]
struct Heard {
    lines: Mutex<Vec<String>>,
    moved: Mutex<(u64, u64)>,
}

impl Observer for Heard {
    fn refused(&self, role: Role, error: &Error) {
        self.lines.lock().unwrap().push(format!("{role:?} refused: {error}"));
    }

    fn opened(&self, role: Role, agreement: &Agreement) {
        self.lines.lock().unwrap().push(format!("{role:?} opened: {:?}", agreement.subprotocol()));
    }

    fn received(&self, bytes: usize) {
        self.moved.lock().unwrap().0 += bytes as u64;
    }

    fn sent(&self, bytes: usize) {
        self.moved.lock().unwrap().1 += bytes as u64;
    }

    fn ended(&self, end: &Ended<'_>) {
        let code = end.status.map(|status| status.code);
        let error = end.error.map(ToString::to_string).unwrap_or_default();
        let (role, clean) = (end.role, end.is_clean());
        self.lines.lock().unwrap().push(format!("{role:?} ended: {code:?}, clean: {clean}, {error}"));
        assert_eq!((end.received, end.sent), *self.moved.lock().unwrap());
    }
}

impl Heard {
    fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    fn options(&'static self) -> Options {
        Options::new().observer(self)
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn moved(&self) -> (u64, u64) {
        *self.moved.lock().unwrap()
    }
}

fn request() -> ClientRequest {
    ClientRequest::new("localhost", "/").unwrap().subprotocol("chat").unwrap()
}

type Pair = (WebSocket<DuplexStream>, WebSocket<DuplexStream>);

async fn opened(server: &'static Heard, client: &'static Heard) -> Pair {
    let (here, there) = duplex(1 << 16);
    let request = request();
    let (served, connected) = tokio::join!(
        accept_with(here, server.options(), |_| Ok(Accept::new().subprotocol("chat"))),
        connect_over(there, &request, client.options()),
    );
    (served.unwrap(), connected.unwrap())
}

#[tokio::test(start_paused = true)]
async fn both_ends_of_a_connection_are_heard_from_its_opening_to_its_end() {
    let (server, client) = (Heard::new(), Heard::new());
    let (mut served, mut connected) = opened(server, client).await;
    assert_eq!(server.lines(), ["Server opened: Some(\"chat\")"]);
    assert_eq!(client.lines(), ["Client opened: Some(\"chat\")"]);
    let answer = server.moved().1;
    assert!(answer > 100, "the answer to the handshake");
    connected.send("hello").await.unwrap();
    assert_eq!(served.recv().await.unwrap(), Some(Message::text("hello")));
    // Two bytes of a header, four of a key, five of a payload.
    assert_eq!((client.moved(), server.moved()), ((0, 11), (11, answer)));
    let rest = async { while served.recv().await.unwrap().is_some() {} };
    let (closed, ()) = tokio::join!(connected.close(CloseCode::NORMAL, "bye"), rest);
    assert!(closed.unwrap().clean);
    drop((served, connected));
    assert_eq!(server.lines()[1..], ["Server ended: Some(1000), clean: true, "]);
    assert_eq!(client.lines()[1..], ["Client ended: Some(1000), clean: true, "]);
    // The Close: its code, a reason of three bytes, and a header.
    assert_eq!(client.moved().1, 11 + 11);
    assert_eq!(server.moved(), (22, answer + client.moved().0));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_waited_for_is_heard_once() {
    let (server, client) = (Heard::new(), Heard::new());
    let (served, connected) = opened(server, client).await;
    drop(served);
    assert_eq!(server.lines()[1..], ["Server ended: None, clean: false, "]);
    // Taken apart it is the application's.
    let parts = connected.into_parts();
    assert_eq!(client.lines()[1..], ["Client ended: None, clean: false, "]);
    drop(parts);
    assert_eq!(client.lines().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_and_a_broken_protocol_are_told_apart() {
    let (server, client) = (Heard::new(), Heard::new());
    let (mut served, connected) = opened(server, client).await;
    drop(connected);
    assert!(matches!(served.recv().await, Err(Error::Lost)));
    let lost = format!("Server ended: Some(1006), clean: false, {}", Error::Lost);
    assert_eq!(server.lines()[1..], [lost]);

    let (server, client) = (Heard::new(), Heard::new());
    let (mut served, connected) = opened(server, client).await;
    let (stream, _) = connected.into_parts();
    let mut writer = FrameWriter::new(stream, Role::Client);
    writer.write(&Frame::new(OpCode::Continuation, "x")).await.unwrap();
    drop(writer);
    let Err(Error::Protocol(error)) = served.recv().await else { panic!("a continuation of nothing") };
    let broken = format!("Server ended: Some(1006), clean: false, {}", Error::Protocol(error));
    assert_eq!(server.lines()[1..], [broken]);
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_fail_are_heard_once_at_each_end() {
    let (server, client) = (Heard::new(), Heard::new());
    let (here, there) = duplex(1 << 16);
    let request = request();
    let (served, connected) = tokio::join!(
        accept_with(here, server.options(), |_| Err(Reject::new(403).unwrap())),
        connect_over(there, &request, client.options()),
    );
    assert!(matches!(served, Err(Error::Rejected(403))));
    assert_eq!(server.lines(), [format!("Server refused: {}", Error::Rejected(403))]);
    assert_eq!(client.lines(), [format!("Client refused: {}", connected.unwrap_err())]);

    let server = Heard::new();
    let (here, mut there) = duplex(1 << 16);
    there.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    there.shutdown().await.unwrap();
    let error = Incoming::read(here, server.options()).await.unwrap_err();
    assert_eq!(server.lines(), [format!("Server refused: {error}")]);

    let server = Heard::new();
    let (here, _there) = duplex(1 << 16);
    let late = Incoming::read(here, server.options()).await;
    assert!(matches!(late, Err(Error::Timeout(Deadline::Handshake))));
    assert_eq!(server.lines().len(), 1);

    let client = Heard::new();
    let error = connect_with("https://localhost", client.options(), Ok).await.unwrap_err();
    assert_eq!(client.lines(), [format!("Client refused: {error}")]);
}

#[tokio::test(start_paused = true)]
async fn nobody_has_to_listen() {
    let (here, there) = duplex(1 << 16);
    let request = ClientRequest::new("localhost", "/").unwrap();
    let (served, connected) = tokio::join!(accept(here), connect_over(there, &request, Options::new()));
    let (mut served, mut connected) = (served.unwrap(), connected.unwrap());
    connected.send("hello").await.unwrap();
    assert_eq!(served.recv().await.unwrap(), Some(Message::text("hello")));
    assert!(connect("http://localhost").await.is_err());
}

/// A stream whose reads and writes are apart.
struct Apart(Cursor<Vec<u8>>, Vec<u8>);

impl std::io::Read for Apart {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        std::io::Read::read(&mut self.0, to)
    }
}

impl std::io::Write for Apart {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut self.1, from)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn blocking_sockets_are_heard_as_well() {
    let mut peer = Connection::client(Config::new(), RandomMasks::new());
    peer.send_text("hello").unwrap();
    peer.close(Some(CloseCode::NORMAL.into()));
    let mut wire = Vec::new();
    while peer.wants_output() {
        peer.write_to(&mut wire).unwrap();
    }
    let came = wire.len() as u64;
    let head = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let server = Heard::new();
    let connection = Connection::server(Config::new());
    let mut socket =
        taut::blocking::WebSocket::new(Apart(Cursor::new(wire), Vec::new()), connection, &server.options());
    assert_eq!(socket.recv().unwrap(), Some(Message::text("hello")));
    while socket.recv().unwrap().is_some() {}
    assert_eq!(server.lines(), ["Server opened: None", "Server ended: Some(1000), clean: true, "]);
    assert_eq!(server.moved(), (came, 4));

    let server = Heard::new();
    let reject = |_: &_| Err(Reject::new(403).unwrap());
    let stream = Apart(Cursor::new(head.to_vec()), Vec::new());
    let rejected = taut::blocking::accept_with(stream, server.options(), reject).map(drop);
    assert!(matches!(rejected, Err(Error::Rejected(403))));
    assert_eq!(server.lines(), [format!("Server refused: {}", Error::Rejected(403))]);

    let client = Heard::new();
    let stream = Apart(Cursor::new(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), Vec::new());
    let refused = taut::blocking::connect_over(stream, &request(), client.options()).map(drop);
    assert_eq!(client.lines(), [format!("Client refused: {}", refused.unwrap_err())]);
}

/// Requests that others have parsed: each that comes to nothing is heard once.
#[cfg(feature = "axum")]
mod parsed {
    use axum::extract::FromRequestParts;
    use http::Request;
    use hyper_util::rt::TokioIo;
    use taut::axum::WebSocketUpgrade;
    use taut::http::Upgrade;

    use super::*;

    fn request(version: &str) -> Request<()> {
        let mut request = Request::get("/").header("host", "localhost").header("upgrade", "websocket");
        request = request.header("connection", "upgrade").header("sec-websocket-version", version);
        request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").body(()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn on_http() {
        let server = Heard::new();
        let error = Upgrade::new(&request("12"), None, &server.options()).unwrap_err();
        assert_eq!(server.lines(), [format!("Server refused: {}", Error::from(error))]);
        let server = Heard::new();
        let parts = request("12").into_parts().0;
        let error = Upgrade::from_parts(&parts, None, &server.options()).unwrap_err();
        assert_eq!(server.lines(), [format!("Server refused: {}", Error::from(error))]);
        let server = Heard::new();
        let upgrade = Upgrade::new(&request("13"), None, &server.options()).unwrap();
        drop(upgrade.reject(Reject::new(403).unwrap()));
        let error = upgrade.accept(Accept::new().subprotocol("chat")).unwrap_err();
        let lines = [Error::Rejected(403), error.into()].map(|error| format!("Server refused: {error}"));
        assert_eq!(server.lines(), lines);
        // Others hear of it once there are other options.
        let other = Heard::new();
        drop(upgrade.options(other.options()).reject(Reject::new(403).unwrap()));
        assert_eq!((server.lines().len(), other.lines().len()), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn on_hyper() {
        for (version, sentence) in [("12", "version"), ("13", "gives no upgrade")] {
            let server = Heard::new();
            let error = taut::hyper::Upgrade::new(&mut request(version), &server.options()).unwrap_err();
            let mut parts = request(version).into_parts().0;
            taut::hyper::Upgrade::from_parts(&mut parts, &server.options()).unwrap_err();
            assert_eq!(server.lines(), vec![format!("Server refused: {error}"); 2]);
            assert!(server.lines()[0].contains(sentence), "{error}");
        }

        // A response that never is sent, and a client that goes away before it.
        for leaves in [false, true] {
            let server = Heard::new();
            let (mut here, there) = duplex(1 << 16);
            let (told, mut upgrades) = tokio::sync::mpsc::unbounded_channel();
            let service = hyper::service::service_fn(move |mut request| {
                let upgrade = taut::hyper::Upgrade::new(&mut request, &server.options()).unwrap();
                told.send(upgrade.accept(Accept::new()).unwrap().1).unwrap();
                std::future::pending::<Result<http::Response<String>, Error>>()
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(there), service).with_upgrades());
            let head = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
            here.write_all(head.as_bytes()).await.unwrap();
            let upgrading = upgrades.recv().await.unwrap();
            let _stays = if leaves {
                drop(here);
                None
            } else {
                Some(here)
            };
            let error = upgrading.await.unwrap_err();
            assert_eq!(matches!(error, Error::Timeout(Deadline::Handshake)), !leaves, "{error:?}");
            assert_eq!(server.lines(), [format!("Server refused: {error}")]);
        }
    }

    /// The options that the router has beside the handler.
    #[tokio::test]
    async fn on_axum() {
        let server = Heard::new();
        let mut parts = request("12").into_parts().0;
        parts.extensions.insert(server.options());
        let rejection = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.unwrap_err();
        assert_eq!(server.lines(), [format!("Server refused: {}", rejection.error())]);
    }
}

#[cfg(feature = "tracing")]
mod traced {
    use std::cell::RefCell;
    use std::fmt::Write as _;
    use std::sync::Once;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber, subscriber};

    use super::*;

    thread_local! {
        static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// Collects spans and events as lines of the thread, which is that of a test. It is one for the process: whether
    /// somebody listens is kept for each place in the sources, whatever thread came there first.
    struct Collected;

    impl Collected {
        fn begin() {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| subscriber::set_global_default(Self).unwrap());
            LINES.take();
        }

        fn push(line: String) -> u64 {
            LINES.with_borrow_mut(|lines| {
                lines.push(line);
                lines.len() as u64
            })
        }

        fn lines() -> Vec<String> {
            LINES.with_borrow(Clone::clone)
        }
    }

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Collected {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            assert_eq!(*metadata.level(), Level::DEBUG);
            metadata.target().starts_with("taut")
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            let mut line = Line(format!("span {}:", span.metadata().name()));
            span.record(&mut line);
            Id::from_u64(Self::push(line.0))
        }

        fn event(&self, event: &Event<'_>) {
            let parent = event.parent().map_or(0, Id::into_u64);
            let mut line = Line(format!("event in {parent}:"));
            event.record(&mut line);
            Self::push(line.0);
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_a_span_with_its_end_in_it() {
        Collected::begin();
        let (here, there) = duplex(1 << 16);
        let request = ClientRequest::new("localhost", "/?token=secret").unwrap();
        let request = request.field("Authorization", "Bearer secret").unwrap();
        let request = request.subprotocol("chat").unwrap().subprotocol("secret").unwrap();
        let served = accept_with(here, Options::new(), |_| Ok(Accept::new().subprotocol("chat")));
        let (served, connected) = tokio::join!(served, connect_over(there, &request, Options::new()));
        let (mut served, mut connected) = (served.unwrap(), connected.unwrap());
        assert_eq!(
            Collected::lines(),
            [
                "span websocket: role=\"server\" subprotocol=\"chat\" compressed=false",
                "span websocket: role=\"client\" subprotocol=\"chat\" compressed=false",
            ]
        );
        assert_eq!(served.span().id(), Some(Id::from_u64(1)));
        connected.send("secret").await.unwrap();
        let rest = async { while served.recv().await.unwrap().is_some() {} };
        let (closed, ()) = tokio::join!(connected.close(CloseCode::AWAY, "secret"), rest);
        closed.unwrap();
        assert!(served.span().is_none());
        let mut ends = Collected::lines().split_off(2);
        ends.sort();
        assert_eq!(ends.len(), 2, "{ends:?}");
        assert!(ends[0].starts_with("event in 1: message=closed code=1001 clean=true received="), "{ends:?}");
        assert!(ends[1].starts_with("event in 2: message=closed code=1001 clean=true received="), "{ends:?}");
        assert!(!format!("{:?}", Collected::lines()).contains("secret"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_went_wrong_is_an_event() {
        Collected::begin();
        let (here, there) = duplex(1 << 16);
        let request = request();
        let reject = |_: &_| Err(Reject::new(403).unwrap());
        let _ = tokio::join!(
            accept_with(here, Options::new(), reject),
            connect_over(there, &request, Options::new()),
        );
        let expected = [
            "event in 0: role=\"server\" error=\"rejected\" status=403 message=handshake refused",
            "event in 0: role=\"client\" error=\"refused\" status=403 message=handshake refused",
        ];
        let normal = |line: &str| {
            let mut words: Vec<String> = line.split(' ').map(Into::into).collect();
            words.sort();
            words
        };
        let lines = Collected::lines();
        assert_eq!(lines.iter().map(|line| normal(line)).collect::<Vec<_>>(), expected.map(normal));

        // A peer that breaks the protocol, and one that does not answer a Close.
        for (wire, sentence) in
            [(&b"\xf3"[..], "a reserved bit is set"), (b"", "deadline=the closing handshake took too long")]
        {
            Collected::begin();
            let (here, mut there) = duplex(1 << 16);
            let mut socket = WebSocket::new(here, Connection::server(Config::new()), &Options::new());
            there.write_all(wire).await.unwrap();
            if wire.is_empty() {
                socket.start_close(None);
            }
            let read = tokio::spawn(async move {
                let _ =
                    tokio::time::timeout(Duration::from_secs(1), there.read_to_end(&mut Vec::new())).await;
                there
            });
            let _ = socket.recv().await.unwrap_err();
            let lines = Collected::lines();
            assert_eq!(lines.len(), 3, "{lines:?}");
            assert!(lines[1].starts_with("event in 1:") && lines[1].contains(sentence), "{lines:?}");
            assert!(lines[2].contains("clean=false"), "{lines:?}");
            drop(read.await);
        }
    }
}
