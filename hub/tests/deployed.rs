//! The files of `deploy/`, with the real nginx and HAProxy in front of three nodes, and their settings.

#![cfg(unix)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::program::{Program, RedisServer};
use support::{API_TOKEN, Peer, Scratch, request};
use taut::proto::Message;
use taut_hub::config::Config;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// A proxy, killed with this.
struct Proxy {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Proxy {
    /// Starts it by a file of `deploy/`, of which `edited` makes one for this machine.
    async fn start(file: &str, edited: impl FnOnce(&str, u16, &Path) -> String, command: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
        let (text, folder) = (fs::read_to_string(path).unwrap(), Scratch::folder());
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let written = folder.join(file);
        fs::write(&written, edited(&text, address.port(), &folder)).unwrap();
        let search = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        let mut child = Command::new(command[0]);
        child.args(&command[1..]).arg(written).env("PATH", search);
        let child = child.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it is installed");
        let proxy = Self { child, address, folder };
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), listening).await.expect("it listens");
        proxy
    }

    async fn nginx(nodes: &[Program]) -> Self {
        let edited = |text: &str, port: u16, folder: &Path| {
            let folder = folder.display();
            let lines = addressed(text, nodes).replace("listen 443 ssl", &format!("listen 127.0.0.1:{port}"));
            let lines: Vec<_> = lines.lines().filter(|line| !line.contains("ssl_certificate")).collect();
            format!(
                "daemon off; master_process off; pid {folder}/pid; error_log stderr crit; events {{}} http {{
                 access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
                 fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
                 {} }}",
                lines.join("\n")
            )
        };
        Self::start("nginx.conf", edited, &["nginx", "-e", "stderr", "-c"]).await
    }

    async fn haproxy(nodes: &[Program]) -> Self {
        let edited = |text: &str, port: u16, _: &Path| {
            let bind = format!("bind 127.0.0.1:{port}");
            let text = addressed(text, nodes).replace("bind :443 ssl crt /etc/ssl/hub-with-key.pem", &bind);
            // All nodes have one address here: each is asked at its own port.
            let text = text.replace("check port 9002", "check");
            nodes.iter().fold(text, |text, node| {
                let server = node.address.clone();
                text.replace(&server, &format!("{server} port {}", node.api.port()))
            })
        };
        Self::start("haproxy.cfg", edited, &["haproxy", "-db", "-f"]).await
    }

    async fn connect(&self, user: &str) -> Option<Peer> {
        let query = format!("?user={user}");
        let mut peer = Peer::connect_to(&self.address.to_string(), &query, &[]).await.ok()?;
        (peer.recv().await?["message_type"] == "system_message").then_some(peer)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The nodes of this machine in the place of those of the file.
fn addressed(text: &str, nodes: &[Program]) -> String {
    nodes.iter().zip(1..).fold(text.to_owned(), |text, (node, number)| {
        let text = text.replace(&format!("10.0.0.{number}:9001"), &node.address);
        text.replace(&format!("10.0.0.{number}:9002"), &node.api.to_string())
    })
}

async fn nodes(redis: &RedisServer) -> Vec<Program> {
    let url = format!("redis.url={}", redis.url());
    let settings = ["auth.development=true", &url, "server.trusted_proxies=127.0.0.1"];
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Program::start(&settings).await);
    }
    nodes
}

fn join(data: Value) -> Value {
    json!({ "id": "j", "message_type": "join", "room": "r", "data": data })
}

/// Clients are spread over the nodes; those of a node that dies come back by another, and recover.
async fn clients_recover_by(proxy: Proxy, mut nodes: Vec<Program>) {
    assert_eq!(request(proxy.address, "GET", "/ready", None, "").await.0, 200);
    let (_, _, page) = request(proxy.address, "GET", "/", None, "").await;
    assert!(page.contains("taut hub"));
    let mut peers = Vec::new();
    let mut positions = Vec::new();
    for user in USERS {
        let mut peer = proxy.connect(user).await.expect("a node takes it");
        let page = peer.ask(join(Value::Null)).await;
        positions.push(json!({ "after": { "epoch": page["data"]["epoch"], "seq": 0 } }));
        peers.push(peer);
    }
    for node in &nodes {
        let (_, _, online) = request(node.api, "GET", "/ws/online", Some(API_TOKEN), "").await;
        let online: Value = serde_json::from_str(&online).unwrap();
        assert_eq!(online["connections"], 2, "{online}");
    }
    drop(nodes.remove(0));
    let (mut said, mut came_back) = (0, 0);
    for ((mut peer, position), user) in peers.into_iter().zip(positions).zip(USERS) {
        if say(&mut peer, user).await.is_none() {
            peer = loop {
                if let Some(peer) = proxy.connect(user).await {
                    break peer;
                }
                sleep(Duration::from_millis(50)).await;
            };
            let page = peer.ask(join(position)).await;
            assert_eq!((&page["data"]["recovered"], &page["data"]["joined"]), (&json!(true), &json!(true)));
            assert_eq!(page["data"]["messages"].as_array().unwrap().len(), said);
            came_back += 1;
            say(&mut peer, user).await.expect("it is acknowledged");
        }
        said += 1;
    }
    assert_eq!((said, came_back), (6, 2));
}

/// Says its name; `None` if the connection ended.
async fn say(peer: &mut Peer, user: &str) -> Option<()> {
    let text = json!({ "id": user, "message_type": "text", "room": "r", "data": user });
    peer.0.send(Message::text(text.to_string())).await.ok()?;
    loop {
        let Ok(Some(message)) = peer.0.recv().await else { return None };
        let Message::Text(text) = message else { continue };
        let answer: Value = serde_json::from_str(&text).unwrap();
        if answer["message_type"] == "ack" && answer["id"] == user {
            return Some(());
        }
    }
}

const USERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[tokio::test]
async fn nginx_is_in_front_of_three_nodes() {
    let redis = RedisServer::start(true).await;
    let nodes = nodes(&redis).await;
    clients_recover_by(Proxy::nginx(&nodes).await, nodes).await;
}

#[tokio::test]
async fn haproxy_is_in_front_of_three_nodes() {
    let redis = RedisServer::start(true).await;
    let nodes = nodes(&redis).await;
    clients_recover_by(Proxy::haproxy(&nodes).await, nodes).await;
}

#[test]
fn the_file_of_settings_has_settings_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/hub.toml");
    let config = Config::load(Some(&path), [], []).unwrap();
    assert!(config.rules().is_some() && config.has_origins);
}
