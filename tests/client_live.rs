//! The client that stays connected, beside a server that is killed, frozen, and cut off: `tests/network/run`.
//!
//! The server is this program again, as a process of its own in a network of its own. It writes each message to a file
//! before it acknowledges it, and takes each id once.

#![cfg(all(feature = "client", target_os = "linux"))]

use std::collections::HashSet;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taut::client::{Acknowledge, Backoff, Builder, Loss, Outbox, Update, Updates};
use taut::proto::{CloseCode, Message};
use taut::tokio::{Client, accept};
use taut::{Deadline, Error, Options};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, for a network namespace: tests/network/run"]
async fn killed_frozen_and_cut_off_it_comes_back_and_nothing_is_lost() {
    let network = Namespace::new();
    let store = env::temp_dir().join(format!("{}.messages", network.name));
    let mut server = network.server(&store);
    let options = Options::new()
        .ping_interval(Duration::from_millis(300))
        .pong_timeout(Duration::from_secs(1))
        .handshake_timeout(Duration::from_secs(2))
        .close_timeout(Duration::from_secs(1));
    let backoff = Backoff::new().first(Duration::from_millis(50)).longest(Duration::from_secs(1));
    let (client, mut updates) = Builder::new(format!("ws://{}/", network.address))
        .network(Client::new().options(options).attempt_timeout(Duration::from_secs(1)))
        .backoff(backoff)
        .outbox(Outbox::new().max_messages(64))
        .acknowledge(Plain)
        .start();
    let mut delivering = JoinSet::new();
    for number in 0..MESSAGES {
        let client = client.clone();
        delivering.spawn(async move {
            // Over the whole of the test.
            sleep(Duration::from_millis(u64::from(number) * 5)).await;
            client.deliver(format!("message {number}")).await
        });
    }
    let mut found = Vec::new();
    opened(&mut updates).await;
    for _ in 0..2 {
        server.kill().unwrap();
        server.wait().unwrap();
        found.push(lost(&mut updates).await);
        server = network.server(&store);
        opened(&mut updates).await;

        signal(&server, "STOP");
        found.push(lost(&mut updates).await);
        signal(&server, "CONT");
        opened(&mut updates).await;

        network.link("down");
        found.push(lost(&mut updates).await);
        network.link("up");
        opened(&mut updates).await;
    }
    while let Some(delivered) = in_time(delivering.join_next()).await {
        delivered.unwrap().unwrap();
    }
    let ended = in_time(client.close(CloseCode::NORMAL, "")).await.unwrap();
    assert!(ended.unsent.is_empty());
    server.kill().unwrap();
    server.wait().unwrap();
    // What nobody answers is found by the heartbeat alone.
    assert!(found.iter().filter(|deadline| **deadline == Some(Deadline::Pong)).count() >= 4, "{found:?}");
    let lines = fs::read_to_string(&store).unwrap();
    let mut taken: Vec<&str> = lines.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    taken.sort_unstable();
    let mut expected: Vec<String> = (0..MESSAGES).map(|number| format!("message {number}")).collect();
    expected.sort_unstable();
    assert_eq!(taken, expected);
    fs::remove_file(store).unwrap();
}

/// The server of the test above, which starts it.
#[test]
#[ignore = "a process that the other test starts"]
fn server_process() {
    let (Ok(address), Ok(path)) = (env::var(ADDRESS), env::var(STORE)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serve(&address, Path::new(&path)));
}

async fn serve(address: &str, path: &Path) {
    let store = Arc::new(Mutex::new(Store::open(path)));
    let listener = TcpListener::bind(address).await.unwrap();
    println!("{LISTENS}");
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let store = store.clone();
        tokio::spawn(async move {
            let mut socket = accept(stream).await?;
            while let Some(message) = socket.recv().await? {
                if let Message::Text(text) = message {
                    let id = store.lock().unwrap().take(&text);
                    socket.send(format!("ack {id}")).await?;
                }
            }
            Ok::<_, Error>(())
        });
    }
}

/// The messages that were taken, in a file.
struct Store {
    file: File,
    seen: HashSet<String>,
}

impl Store {
    fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let seen = text.lines().filter_map(|line| line.split_once(' ')).map(|(id, _)| id.into()).collect();
        Self { file, seen }
    }

    fn take(&mut self, message: &str) -> String {
        let (id, _) = message.split_once(' ').expect("an id and a text");
        if self.seen.insert(id.into()) {
            // In one write: a process that is killed leaves no half of a line.
            self.file.write_all(format!("{message}\n").as_bytes()).unwrap();
        }
        id.into()
    }
}

/// `id text`, and `ack id`.
struct Plain;

impl Acknowledge for Plain {
    fn wrap(&self, id: &str, message: Message) -> Message {
        format!("{id} {}", message.as_text().expect("a text")).into()
    }

    fn acknowledged(&self, message: &Message) -> Option<String> {
        Some(message.as_text()?.strip_prefix("ack ")?.into())
    }
}

/// A network of its own, at the end of a cable.
struct Namespace {
    name: String,
    cable: String,
    address: SocketAddr,
}

impl Namespace {
    fn new() -> Self {
        let process = std::process::id();
        let network = Self {
            name: format!("taut-{process}"),
            cable: format!("taut{process}"),
            address: SocketAddr::from(([10, 213, 7, 2], 9_001)),
        };
        let (name, near, far) = (&network.name, &network.cable, format!("{}f", network.cable));
        ip(&["netns", "add", name]);
        ip(&["link", "add", near, "type", "veth", "peer", "name", &far, "netns", name]);
        ip(&["addr", "add", "10.213.7.1/24", "dev", near]);
        ip(&["link", "set", near, "up"]);
        ip(&["-n", name, "addr", "add", "10.213.7.2/24", "dev", &far]);
        network.link("up");
        network
    }

    /// Plugs the far end of the cable in, or pulls it: nobody is told.
    fn link(&self, to: &str) {
        ip(&["-n", &self.name, "link", "set", &format!("{}f", self.cable), to]);
    }

    fn server(&self, store: &PathBuf) -> Child {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "server_process"]);
        command.env(ADDRESS, self.address.to_string()).env(STORE, store);
        let mut server = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
        let listens = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(LISTENS)));
        assert!(listens.is_some(), "the server ended");
        server
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // With it go its end of the cable, and the cable.
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments:?}");
}

fn signal(process: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status();
    assert!(status.expect("a shell's kill").success());
}

async fn opened(updates: &mut Updates) {
    while !matches!(next(updates).await, Update::Open { .. }) {}
}

/// How the loss of an open connection was found.
async fn lost(updates: &mut Updates) -> Option<Deadline> {
    loop {
        if let Update::Lost { loss, .. } = next(updates).await {
            return match &*loss {
                Loss::Broken(Error::Timeout(deadline)) => Some(*deadline),
                _ => None,
            };
        }
    }
}

async fn next(updates: &mut Updates) -> Update {
    in_time(updates.recv()).await.expect("the client goes on")
}

/// For what hangs; a busy machine may take its time.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(120), future).await.expect("it hangs")
}

const MESSAGES: u32 = 2_000;
const ADDRESS: &str = "TAUT_TEST_ADDRESS";
const STORE: &str = "TAUT_TEST_STORE";
const LISTENS: &str = "listens";
