//! nginx and HAProxy in front of nodes, by the files of `deploy/`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::program::Program;
use super::{Peer, Scratch};

/// A proxy, killed with this.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
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

    pub(crate) async fn nginx(nodes: &[Program]) -> Self {
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

    pub(crate) async fn haproxy(nodes: &[Program]) -> Self {
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

    pub(crate) async fn connect(&self, user: &str) -> Option<Peer> {
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
