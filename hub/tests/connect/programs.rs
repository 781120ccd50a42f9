//! Programs that run, and servers of the test's own.

use std::process::Stdio;
use std::time::Duration;

use taut::proto::handshake::{Accept, Request};
use taut::proto::{CloseCode, CloseFrame};
use taut::tokio::{Options, WebSocket, accept_with};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn out(&self) -> &str {
        str::from_utf8(&self.out).unwrap()
    }
}

/// `taut`, with nothing of the environment that it looks at.
pub(crate) fn taut(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
    command.args(arguments).kill_on_drop(true).stdin(Stdio::piped());
    for name in
        ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "TAUT_TOKEN"]
    {
        command.env_remove(name);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `taut connect` to its end, with this input.
pub(crate) async fn connect(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = taut(&[&["connect"], arguments].concat()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it read all.
    let writing = tokio::spawn(async move { stdin.write_all(&input).await });
    let ran = output(child).await;
    let _ = writing.await.unwrap();
    ran
}

pub(crate) async fn output(child: Child) -> Ran {
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    Ran { code: output.status.code(), out: output.stdout, err }
}

/// A program that serves, killed with this.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) input: ChildStdin,
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
}

impl Serving {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut child = taut(arguments).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("an address");
        let input = child.stdin.take().unwrap();
        Self { child, url, input, lines }
    }

    pub(crate) async fn echo(arguments: &[&str]) -> Self {
        Self::start(&[&["echo", "127.0.0.1:0"], arguments].concat()).await
    }
}

/// Serves one connection after the other, each by the next of these.
pub(crate) async fn scripted<const N: usize>(ends: [End; N]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for end in ends {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(end.serve(stream));
        }
    });
    url
}

/// What a server does.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// Says this and closes.
    Close(&'static str, u16, &'static str),
    /// Goes without a Close.
    Vanish,
    /// Answers the request with this.
    Raw(&'static str),
    /// Says nothing at all.
    Silent,
    /// Opens, and does not answer a Close.
    Deaf,
    /// Closes with 1012 after a message, and keeps the transport.
    Linger,
    /// Says again what comes.
    Echo,
}

impl End {
    async fn serve(self, mut stream: TcpStream) {
        match self {
            Self::Raw(answer) => {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                // Gone only when the client is, so that nothing is cut off.
                let _ = stream.read(&mut request).await;
            }
            Self::Silent => tokio::time::sleep(PATIENCE).await,
            Self::Vanish => drop(open(stream).await),
            Self::Deaf => {
                let socket = open(stream).await;
                tokio::time::sleep(PATIENCE).await;
                drop(socket);
            }
            Self::Linger => {
                let mut socket = open(stream).await;
                socket.recv().await.unwrap().expect("a message");
                socket.start_close(CloseFrame::from(CloseCode::RESTART));
                socket.flush().await.unwrap();
                tokio::time::sleep(PATIENCE).await;
                drop(socket);
            }
            Self::Echo => {
                let mut socket = open(stream).await;
                while let Some(message) = socket.recv().await.unwrap() {
                    if message.is_data() {
                        socket.send(message).await.unwrap();
                    }
                }
            }
            Self::Close(text, code, reason) => {
                let mut socket = open(stream).await;
                if !text.is_empty() {
                    socket.send(text).await.unwrap();
                }
                socket.close(CloseCode::new(code).unwrap(), reason).await.unwrap();
            }
        }
    }
}

async fn open(stream: TcpStream) -> WebSocket<TcpStream> {
    taut::tokio::accept(stream).await.unwrap()
}

/// A server that takes one connection, closes it, and gives its request.
pub(crate) async fn asked() -> (String, oneshot::Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut seen = None;
        let socket = accept_with(stream, Options::new(), |request| {
            seen = Some(request.clone());
            let first = request.subprotocols().next();
            Ok(first.map_or_else(Accept::new, |name| Accept::new().subprotocol(name)))
        });
        let mut socket = socket.await.unwrap();
        sender.send(seen.unwrap()).unwrap();
        socket.close(CloseCode::NORMAL, "").await.unwrap();
    });
    (url, receiver)
}

/// After which a test fails instead of waiting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
