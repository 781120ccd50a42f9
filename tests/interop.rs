//! Live conversations with WebSockets of others over loopback: `ws` on node, `websockets` on Python, Chromium.
//!
//! `tests/interop/run` installs what is missing and runs them; tests/interop/README.md tells what they show.

#![cfg(all(feature = "tokio", feature = "deflate"))]

#[path = "interop/chromium.rs"]
mod chromium;
#[path = "interop/exchange.rs"]
mod exchange;
#[cfg(feature = "axum")]
#[path = "interop/http2.rs"]
mod http2;
#[path = "interop/parameters.rs"]
mod parameters;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use exchange::{Counted, Exchange, in_time};
use parameters::{ClientBits, Parameters, from_ends};
use taut::Error;
use taut::proto::handshake::{Accept, ClientRequest, WebSocketUri};
use taut::proto::{Config, Role};
use taut::tokio::{Options, WebSocket, accept_with, connect_over};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs node and ws: tests/interop/run"]
async fn ws_on_node() {
    let mut node = Command::new("node");
    node.arg(source("peer.cjs")).env("NODE_PATH", installed("node/node_modules/ws").with_file_name(""));
    let all: Vec<u8> = (8..=15).collect();
    let cases = cases(&all, &all, WISHES, |_| true);
    converse(Library::Ws, Peer::start(node).await, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Python and websockets: tests/interop/run"]
async fn websockets_on_python() {
    let mut python = Command::new(installed("python/bin/python"));
    python.arg(source("peer.py"));
    // It knows that zlib has no window of 8 bits, and takes none for itself.
    let can = |case: &Case| match case.ours {
        Role::Client => case.theirs.server_max_window_bits != Some(8),
        Role::Server => ![case.theirs, case.wish]
            .map(|parameters| parameters.client_max_window_bits)
            .contains(&ClientBits::Bits(8)),
    };
    let cases = cases(&[8, 9, 12, 15], &[8, 10, 15], WISHES, can);
    converse(Library::Websockets, Peer::start(python).await, cases).await;
}

/// A conversation to be had.
#[derive(Clone, Copy, Debug)]
struct Case {
    ours: Role,
    /// What we offer, or the most that we agree to.
    wish: Parameters,
    /// The same of the peer.
    theirs: Parameters,
    number: usize,
}

/// Our wishes.
const WISHES: &[&[&str]] = &[
    &[],
    &["server_no_context_takeover", "client_no_context_takeover"],
    &["server_no_context_takeover", "client_max_window_bits=10"],
    &["client_no_context_takeover", "server_max_window_bits=9"],
    &["server_max_window_bits=13", "client_max_window_bits=12"],
    &["server_max_window_bits=8", "client_max_window_bits=8"],
];

/// Every combination, as both ends; of the windows these, and none.
fn cases(server: &[u8], client: &[u8], wishes: &[&[&str]], can: impl Fn(&Case) -> bool) -> Vec<Case> {
    let server = || server.iter().map(|&bits| Some(bits)).chain([None]);
    let client =
        || client.iter().map(|&bits| ClientBits::Bits(bits)).chain([ClientBits::Absent, ClientBits::Any]);
    let mut cases = Vec::new();
    for wish in wishes {
        let wish = Parameters::from_words(wish).expect("a wish by RFC 7692 §7.1");
        for ours in [Role::Server, Role::Client] {
            for takeover in 0..4 {
                for server_max_window_bits in server() {
                    for client_max_window_bits in client() {
                        let theirs = Parameters {
                            server_no_context_takeover: takeover & 1 != 0,
                            client_no_context_takeover: takeover & 2 != 0,
                            server_max_window_bits,
                            client_max_window_bits,
                        };
                        cases.push(Case { ours, wish, theirs, number: cases.len() });
                    }
                }
            }
        }
    }
    cases.retain(can);
    cases
}

impl Case {
    /// Settings of ours that go round from case to case: by primes, which what goes round in [`cases`] is no
    /// multiple of.
    fn options(&self) -> Options {
        let mut config = Config::new().deflate_level([1, 3, 6, 9][self.number % 13 % 4]);
        if self.number % 7 < 3 {
            config = config.fragment_above(1000);
        }
        if self.number % 11 < 5 {
            config = config.deflate_above(0);
        }
        Options::new().config(config).close_timeout(CLOSE_TIMEOUT).deflate(self.wish.deflate())
    }

    /// The large messages take most of the time.
    fn is_large(&self) -> bool {
        self.number.is_multiple_of(31)
    }

    /// Where the peer's server listens, or it may find ours, with what it is to wish.
    fn url(&self, port: u16) -> String {
        let mut words = self.theirs.words();
        if self.number % 17 < 8 {
            words.push("threshold=0".into());
        }
        format!("ws://127.0.0.1:{port}/?{}", words.join("&"))
    }

    /// Holds the conversation.
    async fn hold(&self, library: Library, peer: &Peer, listener: &TcpListener) -> Result<(), String> {
        let (socket, seen) = match self.ours {
            Role::Server => self.accept(peer, listener).await?,
            Role::Client => match (self.connect(peer).await, library.refuses(self)) {
                (Ok(socket), false) => (socket, None),
                (Err(Error::Refused(answer)), true) if answer.status() == 400 => return Ok(()),
                (Ok(_), true) => return Err("this should have been refused".into()),
                (Err(error), _) => return Err(error.to_string()),
            },
        };
        let mut exchange = Exchange { socket, ours: None, others: None, close_timeout: CLOSE_TIMEOUT };
        let report = exchange.receive(&mut 0).await?;
        let report = report.as_text().unwrap_or_default();
        self.judge(library, report, seen, &mut exchange)
            .map_err(|problem| format!("{problem}: {report:?}"))?;
        exchange.run(self.is_large()).await
    }

    /// Has the peer connect; gives the offer that arrived, too.
    async fn accept(&self, peer: &Peer, listener: &TcpListener) -> Result<(Socket, Option<String>), String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let port = listener.local_addr().map_err(|error| told(&error))?.port();
        peer.say(&self.url(port)).await;
        let (stream, _) = listener.accept().await.map_err(|error| told(&error))?;
        let mut seen = None;
        let accepted = accept_with(Counted::new(stream), self.options(), |request| {
            seen = request.fields().text(FIELD).map(String::from);
            Ok(Accept::new())
        });
        Ok((accepted.await.map_err(|error| told(&error))?, seen))
    }

    async fn connect(&self, peer: &Peer) -> Result<Socket, Error> {
        let uri = WebSocketUri::parse(&self.url(peer.port))?;
        let stream = Counted::new(TcpStream::connect((uri.host(), uri.port())).await?);
        connect_over(stream, &ClientRequest::from_uri(&uri), self.options()).await
    }

    /// RFC 7692 §7.1: the offer, the answer, and what both ends make of it.
    fn judge(
        &self,
        library: Library,
        report: &str,
        seen: Option<String>,
        exchange: &mut Exchange,
    ) -> Result<(), String> {
        let lines: Vec<&str> = report.split('\n').collect();
        let &[offered, answered, believed] = &lines[..] else { return Err("no report".into()) };
        let offer = Parameters::parse(offered)?.ok_or("nothing was offered")?;
        let (answer, belief) = (Parameters::parse(answered)?, Parameters::parse(believed)?);
        let check = |holds: bool, problem: &str| if holds { Ok(()) } else { Err(problem.to_string()) };
        match self.ours {
            Role::Server => {
                check(offer == self.theirs && seen.as_deref() == Some(offered), "this is not their offer")?;
                check(answer == self.wish.answer(&offer), "this is not our answer")?;
            }
            Role::Client => {
                check(offer == self.wish.offered(), "this is not our offer")?;
                check(answer.is_none() == library.declines(self), "this is not their answer")?;
            }
        }
        check(answer.is_none_or(|answer| answer.fits(&offer)), "the answer does not fit the offer")?;
        let ours = answer.map(|answer| answer.own_end(&self.wish, self.ours));
        let others = answer.map(|answer| answer.end(self.ours.peer()));
        let agreed = ours.zip(others).map(|(ours, others)| match self.ours {
            Role::Server => from_ends(ours, others),
            Role::Client => from_ends(others, ours),
        });
        let agreement = exchange.socket.with_connection(|connection| connection.agreement().deflate());
        check(agreement == agreed, &format!("we believe {agreement:?}"))?;
        let ends = |parameters: Parameters| (parameters.end(Role::Server), parameters.end(Role::Client));
        check(belief.map(ends) == answer.map(ends), "the peer believes something else")?;
        // We leave messages as they are for a window that zlib does not have.
        exchange.ours = ours.filter(|end| end.bits > 8);
        exchange.others = others;
        Ok(())
    }
}

type Socket = WebSocket<Counted>;

/// How a library declines as a server.
#[derive(Clone, Copy)]
enum Library {
    Ws,
    Websockets,
}

impl Library {
    /// `ws` refuses the whole request with status 400 if the windows offered are smaller than its own.
    fn refuses(self, case: &Case) -> bool {
        let offer = case.wish.offered();
        let client = match (case.theirs.client_max_window_bits, offer.client_max_window_bits) {
            (ClientBits::Bits(own), ClientBits::Bits(offer)) => own > offer,
            _ => false,
        };
        let server = match (case.theirs.server_max_window_bits, offer.server_max_window_bits) {
            (Some(own), Some(offer)) => own > offer,
            _ => false,
        };
        matches!(self, Self::Ws) && (client || server)
    }

    /// `websockets` declines the one window that zlib does not have.
    fn declines(self, case: &Case) -> bool {
        matches!(self, Self::Websockets) && case.wish.server_max_window_bits == Some(8)
    }
}

/// Holds all conversations, some at a time, and fails with those that went wrong.
async fn converse(library: Library, peer: Peer, cases: Vec<Case>) {
    let peer = Arc::new(peer);
    let cases = Arc::new(cases);
    let workers = (0..WORKERS).map(|worker| {
        let (peer, cases) = (peer.clone(), cases.clone());
        tokio::spawn(async move {
            // A listener of its own: whoever comes has the URL of this case.
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
            let mut wrong = Vec::new();
            for case in cases.iter().skip(worker).step_by(WORKERS) {
                let held = in_time("the conversation", case.hold(library, &peer, &listener)).await;
                if let Err(problem) | Ok(Err(problem)) = held {
                    wrong.push(format!("{case:?}: {problem}"));
                    // A connection that came late is not to be taken for that of the next case.
                    break;
                }
            }
            wrong
        })
    });
    let mut wrong = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        wrong.extend(worker.await.expect("a conversation panicked"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} conversations", cases.len());
}

/// A process with a server, and with clients: it connects to each URL that it is given.
struct Peer {
    input: Mutex<ChildStdin>,
    port: u16,
    _process: Child,
}

impl Peer {
    async fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = spawn(command);
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let mut lines = BufReader::new(output.expect("it is piped")).lines();
        let line = in_time("the start of the peer", lines.next_line()).await.unwrap();
        let port = line.ok().flatten().and_then(|line| line.parse().ok());
        Self {
            input: Mutex::new(input.expect("it is piped")),
            port: port.expect("a peer prints the port of its server"),
            _process: process,
        }
    }

    async fn say(&self, url: &str) {
        let line = format!("{url}\n");
        self.input.lock().await.write_all(line.as_bytes()).await.expect("the peer reads");
    }
}

/// Starts a child that does not outlive the test.
fn spawn(mut command: Command) -> Child {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    command.kill_on_drop(true).spawn().unwrap_or_else(|error| panic!("{name}: {error}. {INSTALL}"))
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(file)
}

/// What `tests/interop/run` installs.
fn installed(path: &str) -> PathBuf {
    let path = folder().join(path);
    assert!(path.exists(), "there is no {}. {INSTALL}", path.display());
    path
}

/// Where all that goes which the tests need beside the sources.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop")
}

const INSTALL: &str = "tests/interop/run installs what these tests need, and runs them";
const FIELD: &str = "sec-websocket-extensions";
/// How many conversations are held at a time.
const WORKERS: usize = 6;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
