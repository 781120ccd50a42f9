//! The programs of others, each started for one test, on ports of loopback, and ended with it.

use std::fs;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use taut::proto::handshake::accept_key;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A program that serves a port until it is dropped.
pub(crate) struct Program {
    pub(crate) port: u16,
    _child: Child,
    _answering: Option<Answering>,
}

impl Program {
    /// A proxy for CONNECT to these ports, for this user alone.
    pub(crate) async fn tinyproxy(folder: &Folder, (user, password): (&str, &str), ports: &[u16]) -> Self {
        let port = free_port();
        let mut lines = vec![
            format!("Port {port}"),
            "Listen 127.0.0.1".into(),
            "Allow 127.0.0.1".into(),
            "MaxClients 20".into(),
            format!("BasicAuth {user} {password}"),
            format!("LogFile \"{}\"", folder.path("tinyproxy.log").display()),
        ];
        lines.extend(ports.iter().map(|port| format!("ConnectPort {port}")));
        let settings = folder.write("tinyproxy.conf", &(lines.join("\n") + "\n"));
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(settings).stdout(Stdio::null());
        Self::on(port, command).await
    }

    /// A proxy of SOCKS 5 for this user alone.
    pub(crate) async fn microsocks((user, password): (&str, &str)) -> Self {
        let port = free_port();
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-u", user, "-P", password]);
        // It tells of each connection.
        command.stderr(Stdio::null());
        Self::on(port, command).await
    }

    /// `openssl s_server` with the certificate and key of these files, and more arguments. It is TLS and nothing
    /// else: what it takes and gives in the open is a server's part of the opening handshake, and the text "hi".
    pub(crate) async fn openssl([certificate, key]: &[PathBuf; 2], arguments: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
        command.arg("-cert").arg(certificate).arg("-key").arg(key).args(arguments);
        // It tells of connections that fail, as many do here.
        let told = fs::File::create(certificate.with_extension("log")).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(told);
        let mut child = spawn(command);
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let answering = Answering(tokio::spawn(answer(input, output)));
        listens(port, &mut child).await;
        Self { port, _child: child, _answering: Some(answering) }
    }

    /// A program that prints its port.
    pub(crate) async fn printing(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(command);
        let output = child.stdout.take().expect("piped");
        let line = in_time(BufReader::new(output).lines().next_line()).await.expect("text");
        let port = line.and_then(|line| line.parse().ok()).expect("it prints its port");
        Self { port, _child: child, _answering: None }
    }

    async fn on(port: u16, command: Command) -> Self {
        let mut child = spawn(command);
        listens(port, &mut child).await;
        Self { port, _child: child, _answering: None }
    }
}

/// A task that ends with the test.
struct Answering(JoinHandle<()>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Agrees to each request that comes, whatever came between them.
async fn answer(mut input: ChildStdin, mut output: ChildStdout) {
    let mut got = Vec::new();
    while let Ok(1..) = output.read_buf(&mut got).await {
        let Some(end) = got.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&got[..end]).into_owned();
        got.clear();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = accept_key(key.expect("a key").as_bytes());
        let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                           Sec-WebSocket-Accept: "
            .to_vec();
        answer.extend(accept);
        answer.extend(b"\r\n\r\n\x81\x02hi");
        input.write_all(&answer).await.expect("it reads its input");
    }
}

/// An example of ours, run to its end.
pub(crate) async fn example(name: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    // Cargo puts tests into `deps`, and examples beside it.
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().and_then(Path::parent).expect("a directory of the profile");
    let mut command = Command::new(directory.join("examples").join(name));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    in_time(spawn(command).wait_with_output()).await.expect("its output")
}

/// What `tests/interop/run --install` installs.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop").join(path);
    assert!(path.exists(), "there is no {}. {INSTALL}", path.display());
    path
}

/// A file beside this one.
pub(crate) fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network").join(file)
}

/// A directory for the files of one test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("network").join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

/// Fails instead of waiting for ever.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Starts a child that does not outlive the test.
fn spawn(mut command: Command) -> Child {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    command.kill_on_drop(true).spawn().unwrap_or_else(|error| panic!("{name}: {error}. {INSTALL}"))
}

/// A port that refuses connections as long as this lasts, since nobody listens.
pub(crate) struct Refusing {
    pub(crate) port: u16,
    _socket: TcpSocket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("loopback has free ports");
        Self { port: socket.local_addr().unwrap().port(), _socket: socket }
    }
}

/// A port that nobody had a moment ago, for programs that cannot choose one.
fn free_port() -> u16 {
    Refusing::new().port
}

/// Waits until the child serves the port.
async fn listens(port: u16, child: &mut Child) {
    in_time(async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(child.try_wait().unwrap().is_none(), "the program ended");
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

const INSTALL: &str = "tests/network/run installs what these tests need, and runs them";

/// How long something may take that takes no time, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(60);
