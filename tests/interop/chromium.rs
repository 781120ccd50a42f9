//! Chromium: a page that speaks with our server, and our client that speaks with Chromium's own (the one of its
//! DevTools), by which the page is opened, asked for its verdict, and photographed.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine;
use taut::proto::handshake::{Accept, ClientRequest, WebSocketUri};
use taut::proto::{Config, Deflate, Kind, Message, Role};
use taut::tokio::{Options, accept_with, connect_over};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::exchange::{Counted, Effect, Exchange, PIECES, in_time, judge};
use super::parameters::Parameters;
use super::{CLOSE_TIMEOUT, folder, source, spawn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: tests/interop/run"]
async fn a_page_in_chromium() {
    let (page, mut ends) = serve_page().await;
    if std::env::var_os("TAUT_INTEROP_PAGE").is_some() {
        println!("Open {page} in a browser on this machine. Ctrl-C ends this.");
        while let Some(end) = ends.recv().await {
            println!("a connection ended: {end:?}");
        }
    }
    let (chromium, uri) = Chromium::start("page").await;
    let mut tools = Tools::connect(&uri).await;
    tools.open(&page).await;
    let verdict = in_time("the page", tools.evaluate("finished")).await.unwrap();
    let picture = tools.screenshot().await;
    assert!(verdict.contains(&format!(r#""value":"{VERDICT}""#)), "{verdict}; see {}", picture.display());
    for _ in 0..CONNECTIONS {
        in_time("the end of a connection", ends.recv()).await.unwrap().expect("the server runs").unwrap();
    }
    in_time("two large messages", tools.large_messages()).await.unwrap();
    chromium.end().await;
}

/// Listens for the page; gives its URL, and how each of its connections ended.
async fn serve_page() -> (String, UnboundedReceiver<Result<(), String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let port = listener.local_addr().expect("a listener has an address").port();
    let (sender, ends) = unbounded_channel();
    tokio::spawn(accept_all(listener, sender));
    (format!("file://{}?port={port}", source("page.html").display()), ends)
}

async fn accept_all(listener: TcpListener, ends: UnboundedSender<Result<(), String>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let ends = ends.clone();
        tokio::spawn(async move {
            // Nobody asks any more once the test has ended.
            let _ = ends.send(echo(stream).await);
        });
    }
}

/// Sends every message back, every third in pieces with pings between them. The query of the request names the
/// most that is agreed to; without a query that is nothing.
async fn echo(stream: TcpStream) -> Result<(), String> {
    let mut wish = None;
    let options = Options::new().config(Config::new().fragment_above(100_000)).close_timeout(CLOSE_TIMEOUT);
    let accepted = accept_with(Counted::new(stream), options, |request| {
        let query = request.resource().split_once('?').map(|(_, query)| query);
        wish = query.and_then(|query| match query {
            "" => Some(Parameters::default()),
            words => Parameters::from_words(&words.split('&').collect::<Vec<_>>()),
        });
        Ok(wish.map_or_else(Accept::new, |wish| Accept::new().deflate(wish.deflate())))
    });
    let socket = accepted.await.map_err(|error| error.to_string())?;
    // Chromium can follow every wish, and has none itself.
    let [ours, others] = [Role::Server, Role::Client].map(|role| wish.map(|wish| wish.end(role)));
    let mut exchange = Exchange { socket, ours, others, close_timeout: CLOSE_TIMEOUT };
    let (mut previous, mut pongs) = (None, 0);
    for number in 0.. {
        let before = exchange.counts();
        let Some(message) = exchange.next(&mut pongs).await? else { break };
        let received = exchange.counts();
        if number % 3 == 2 {
            pongs += PIECES - 1;
            exchange = match &message {
                Message::Text(text) => exchange.feed_pieces(Kind::Text, text.as_bytes()),
                Message::Binary(bytes) => exchange.feed_pieces(Kind::Binary, bytes),
                _ => unreachable!("`next` gives data"),
            };
        } else {
            exchange.socket.feed(message.clone()).map_err(|error| error.to_string())?;
        }
        exchange.socket.flush().await.map_err(|error| error.to_string())?;
        let sent = exchange.counts();
        // What the page says twice in a row is random.
        if previous.as_ref() == Some(&message) {
            judge(&message, Effect::Again, received.1 - before.1, others)?;
            judge(&message, Effect::Again, sent.0 - received.0, ours)?;
        }
        previous = Some(message);
    }
    if pongs == 0 { Ok(()) } else { Err(format!("{pongs} pongs are missing")) }
}

/// A headless Chromium that ends with the test.
pub(super) struct Chromium {
    process: Child,
    profile: PathBuf,
}

impl Chromium {
    /// Starts it; gives the URI of its DevTools, too.
    pub(super) async fn start(name: &str) -> (Self, String) {
        let profile = folder().join(format!("chromium-{}-{name}", std::process::id()));
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]);
        // Tests make their certificates themselves.
        command.args([
            "--ignore-certificate-errors",
            "--no-first-run",
            "--window-size=1280,720",
            "about:blank",
        ]);
        command.arg(format!("--user-data-dir={}", profile.display())).stderr(Stdio::piped());
        let mut process = spawn(command);
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let mut said = String::new();
        while let Ok(Some(line)) = in_time("the start of Chromium", lines.next_line()).await.unwrap() {
            if let Some(uri) = line.strip_prefix("DevTools listening on ") {
                // It has more to say, and must not wait for a full pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return (Self { process, profile }, uri.into());
            }
            said += &line;
        }
        panic!("Chromium does not tell where its DevTools listen: {said}");
    }

    pub(super) async fn end(mut self) {
        self.process.kill().await.expect("it runs");
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It may have ended. Processes of it that end a little later may still write: what they leave is small.
        let _ = self.process.start_kill();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// Our client on Chromium's server: commands and answers are texts of JSON.
pub(super) struct Tools {
    exchange: Exchange,
    commands: usize,
    session: String,
    /// The page is there.
    loaded: bool,
}

impl Tools {
    pub(super) async fn connect(uri: &str) -> Self {
        let uri = WebSocketUri::parse(uri).expect("Chromium prints a URI");
        let stream = TcpStream::connect((uri.host(), uri.port())).await.expect("Chromium listens");
        let options = Options::new().close_timeout(CLOSE_TIMEOUT);
        let request = ClientRequest::from_uri(&uri);
        let socket = connect_over(Counted::new(stream), &request, options).await.expect("Chromium accepts");
        let agreed = socket.with_connection(|connection| connection.agreement().deflate());
        assert_eq!(agreed, Some(Deflate::new()), "Chromium's server compresses");
        let exchange = Exchange { socket, ours: None, others: None, close_timeout: CLOSE_TIMEOUT };
        Self { exchange, commands: 0, session: String::new(), loaded: false }
    }

    /// Opens a page, and waits until it is there.
    pub(super) async fn open(&mut self, url: &str) {
        let created = self.call("Target.createTarget", r#"{"url":"about:blank"}"#).await;
        let target = format!(r#"{{"targetId":"{}","flatten":true}}"#, value(&created, "targetId"));
        let attached = self.call("Target.attachToTarget", &target).await;
        self.session = format!(r#","sessionId":"{}""#, value(&attached, "sessionId"));
        self.call("Page.enable", "{}").await;
        self.call("Page.navigate", &format!(r#"{{"url":"{url}"}}"#)).await;
        while !self.loaded {
            self.next("Page.loadEventFired").await;
        }
    }

    pub(super) async fn evaluate(&mut self, expression: &str) -> String {
        let parameters = r#""awaitPromise":true,"returnByValue":true"#;
        self.call("Runtime.evaluate", &format!(r#"{{"expression":"{expression}",{parameters}}}"#)).await
    }

    async fn screenshot(&mut self) -> PathBuf {
        let shot = self.call("Page.captureScreenshot", r#"{"captureBeyondViewport":true}"#).await;
        let picture = base64::engine::general_purpose::STANDARD.decode(value(&shot, "data"));
        let path = folder().join("page.png");
        fs::write(&path, picture.expect("a picture in base64")).expect("the target directory can be written");
        path
    }

    /// Messages of 1 MiB and more, one each way, of which little is left on the wire.
    async fn large_messages(&mut self) {
        let text = "窓😀".repeat(150_000);
        let before = self.exchange.counts();
        let counted = self.evaluate(&format!("'{text}'.length")).await;
        assert!(counted.contains(r#""value":450000"#), "{counted}");
        let between = self.exchange.counts();
        let repeated = self.evaluate("'窓😀'.repeat(150000)").await;
        // Chromium writes JSON in ASCII.
        let escaped: String = text.encode_utf16().map(|unit| format!(r"\u{unit:04x}")).collect();
        let echoed = value(&repeated, "value");
        assert!(echoed.eq_ignore_ascii_case(&escaped), "{} bytes of another text", echoed.len());
        let after = self.exchange.counts();
        assert!(between.0 - before.0 < text.len() / 10 && after.1 - between.1 < text.len() / 10);
    }

    /// Sends a command, and waits for its answer.
    async fn call(&mut self, method: &str, parameters: &str) -> String {
        self.commands += 1;
        let id = self.commands;
        let command = format!(r#"{{"id":{id},"method":"{method}","params":{parameters}{}}}"#, self.session);
        self.exchange.socket.send(command).await.expect("Chromium reads");
        let start = format!(r#"{{"id":{id},"#);
        loop {
            let text = self.next(method).await;
            if text.starts_with(&start) {
                assert!(text.starts_with(&format!(r#"{start}"result":"#)), "{method}: {text}");
                return text;
            }
        }
    }

    /// The next text, an answer or an event.
    async fn next(&mut self, what: &str) -> String {
        let message = in_time(what, self.exchange.receive(&mut 0)).await.unwrap().unwrap();
        let text = message.as_text().expect("JSON is text");
        self.loaded |= text.starts_with(r#"{"method":"Page.loadEventFired""#);
        text.into()
    }
}

/// The value of a field that is a string without escapes.
fn value<'a>(json: &'a str, field: &str) -> &'a str {
    let (_, rest) =
        json.split_once(&format!(r#""{field}":""#)).unwrap_or_else(|| panic!("no {field} in {json}"));
    rest.split('"').next().expect("split gives a first piece")
}

/// What page.html opens, and what it finds if all is well.
const CONNECTIONS: usize = 9;
const VERDICT: &str = "99 of 99 checks passed";
