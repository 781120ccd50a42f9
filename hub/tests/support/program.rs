//! Programs that run beside the tests: the hub itself, and Redis; and what they have in common who keep for it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;

use super::{API_TOKEN, Peer, Scratch, request};

/// A hub in a process of its own, killed with this.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: String,
    pub(crate) api: SocketAddr,
}

impl Program {
    /// Starts it on free ports, and waits until it takes connections.
    pub(crate) async fn start(settings: &[impl AsRef<str>]) -> Self {
        Self::start_at("127.0.0.1:0", "127.0.0.1:0", settings).await
    }

    /// Starts it at these addresses.
    pub(crate) async fn start_at(address: &str, api: &str, settings: &[impl AsRef<str>]) -> Self {
        Self::run(&["--address", address, "--api-address", api], |_| {}, settings).await
    }

    /// Starts it on free ports, with what is done to its environment or output.
    pub(crate) async fn start_as(own: impl FnOnce(&mut Command), settings: &[impl AsRef<str>]) -> Self {
        Self::run(&["--address", "127.0.0.1:0", "--api-address", "127.0.0.1:0"], own, settings).await
    }

    /// Starts it, with what it logs in a file.
    pub(crate) async fn start_logging(log: &Scratch, settings: &[impl AsRef<str>]) -> Self {
        let file = std::fs::File::create(log.path()).unwrap();
        let logging = |command: &mut Command| {
            command.env("RUST_LOG", "info").stderr(file);
        };
        Self::start_as(logging, settings).await
    }

    async fn run(arguments: &[&str], own: impl FnOnce(&mut Command), settings: &[impl AsRef<str>]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
        command.arg("serve").args(arguments);
        for setting in settings {
            command.arg("--set").arg(setting.as_ref());
        }
        command.env("TAUT_HUB_API_TOKEN", API_TOKEN).env("RUST_LOG", "error").stdout(Stdio::piped());
        own(&mut command);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said: Vec<_> = lines.take(2).map(Result::unwrap).collect();
        let program = Self::of(child, &said[0], &said[1]);
        assert_eq!(request(program.api, "GET", "/ready", None, "").await.0, 200);
        program
    }

    /// One that runs, and said these lines.
    pub(crate) fn of(child: Child, address: &str, api: &str) -> Self {
        let [address, api] = [address, api].map(|line| line.split("://").nth(1).unwrap());
        Self { child, address: address.replace("/ws", ""), api: api.parse().unwrap() }
    }

    pub(crate) fn signal(&self, name: &str) {
        let number = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &number]).status().unwrap().success());
    }

    /// How it ended by itself.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn connect(&self, query: &str) -> Peer {
        Peer::connect_to(&self.address, query, &[]).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, _, answer) = request(self.api, "POST", path, Some(API_TOKEN), &body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// What keeps for many nodes.
pub(crate) trait Behind: Sized {
    async fn start() -> Self;
    /// By which a hub finds it.
    fn settings(&self) -> Vec<(&'static str, String)>;
    /// The same for a program, behind these.
    fn program_settings(&self, own: &[&str]) -> Vec<String> {
        let place = self.settings();
        let place = place.iter().map(|(name, value)| format!("{name}={value}"));
        own.iter().map(|&setting| setting.to_owned()).chain(place).collect()
    }
    /// SIGKILL.
    fn kill(&mut self);
    async fn again(&mut self);
}

/// A Redis of this test's own, killed with this. What it acknowledged is on the disk, if it keeps anything.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    keeps: bool,
    arguments: Vec<String>,
    folder: PathBuf,
}

impl RedisServer {
    pub(crate) async fn start(keeps: bool) -> Self {
        Self::start_with(keeps, &[], &[]).await
    }

    /// With these arguments more, and these files in its folder, which is where it runs.
    pub(crate) async fn start_with(keeps: bool, arguments: &[&str], files: &[(&str, &str)]) -> Self {
        let port = free_port().await;
        let folder = Scratch::folder();
        for (name, content) in files {
            std::fs::write(folder.join(name), content).unwrap();
        }
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let child = Self::spawn(port, keeps, &arguments, &folder);
        let server = Self { child, port, keeps, arguments, folder };
        server.wait().await;
        server
    }

    fn spawn(port: u16, keeps: bool, arguments: &[String], folder: &PathBuf) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendfsync", "always", "--dir"]).arg(folder);
        command.args(["--port", &port.to_string(), "--appendonly", if keeps { "yes" } else { "no" }]);
        command.args(arguments).current_dir(folder);
        command.stdout(Stdio::null()).spawn().expect("redis-server is installed")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        end(&mut self.child);
    }

    pub(crate) async fn again(&mut self) {
        self.child = Self::spawn(self.port, self.keeps, &self.arguments, &self.folder);
        self.wait().await;
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn command(&self, command: &redis::Cmd) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        command.query_async(&mut client.get_multiplexed_async_connection().await.unwrap()).await.unwrap()
    }

    async fn wait(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        for _ in 0..800 {
            // It takes connections before it has read what it kept.
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("redis-server does not answer");
    }
}

impl Behind for RedisServer {
    async fn start() -> Self {
        Self::start(true).await
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("redis.url", self.url())]
    }

    fn kill(&mut self) {
        self.kill();
    }

    async fn again(&mut self) {
        self.again().await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// At which nobody listens, just before.
pub(crate) async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// SIGKILL: nothing of it runs any more.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
