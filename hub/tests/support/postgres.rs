//! A PostgreSQL of Debian's that runs beside a test.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_postgres::NoTls;

use super::Scratch;
use super::program::Behind;

/// A PostgreSQL of this test's own, killed with this.
pub(crate) struct PostgresServer {
    child: Child,
    port: u16,
    folder: PathBuf,
    settings: Vec<String>,
}

impl PostgresServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// With these settings, and these files in its folder, which only it can read.
    pub(crate) async fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Self {
        let folder = Scratch::folder();
        give(&folder);
        let data = folder.join("data");
        let mut initdb = command("initdb");
        initdb.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username=postgres"]);
        let made = initdb.arg("--pgdata").arg(&data).stdout(Stdio::null()).status();
        assert!(made.expect("postgresql is installed").success());
        for (name, content) in files {
            let path = data.join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            give(&path);
        }
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let child = spawn(port, &folder, &settings);
        let mut server = Self { child, port, folder, settings };
        server.wait().await;
        server
    }

    /// SIGKILL of all of its processes: what they had in memory is gone.
    pub(crate) fn kill(&mut self) {
        let number = self.child.id();
        let others = std::fs::read_to_string(format!("/proc/{number}/task/{number}/children")).unwrap();
        let all = [number.to_string()].into_iter().chain(others.split_whitespace().map(str::to_owned));
        assert!(Command::new("kill").args(["-s", "KILL"]).args(all).stderr(Stdio::null()).status().is_ok());
        let _ = self.child.wait();
    }

    pub(crate) async fn again(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.settings);
        self.wait().await;
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) async fn command(&self, sql: &str) {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::select! {
            done = client.batch_execute(sql) => done.unwrap(),
            ended = connection => panic!("{ended:?}"),
        }
    }

    async fn wait(&mut self) {
        for _ in 0..800 {
            if tokio_postgres::connect(&self.url(), NoTls).await.is_ok() {
                return;
            }
            // Processes of the one before are still there.
            if self.child.try_wait().unwrap().is_some() {
                self.child = spawn(self.port, &self.folder, &self.settings);
            }
            sleep(Duration::from_millis(25)).await;
        }
        panic!("PostgreSQL does not answer");
    }
}

impl Behind for PostgresServer {
    async fn start() -> Self {
        Self::start().await
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("postgresql.url", self.url())]
    }

    fn kill(&mut self) {
        self.kill();
    }

    async fn again(&mut self) {
        self.again().await;
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Its other processes end with it: by SIGQUIT at once.
        let number = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "QUIT", &number]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(port: u16, folder: &Path, settings: &[String]) -> Child {
    let mut server = command("postgres");
    server.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"]);
    server.arg(folder);
    for setting in
        ["shared_buffers=16MB", "max_connections=60"].into_iter().chain(settings.iter().map(|it| &**it))
    {
        server.args(["-c", setting]);
    }
    server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A program of PostgreSQL, by a user that is not root, which it refuses.
fn command(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed");
    let newest = versions.map(|version| version.unwrap().path()).max().expect("postgresql is installed");
    let program = newest.join("bin").join(name);
    let mut command = match user() {
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
    command.current_dir("/");
    command
}

fn give(path: &Path) {
    if let Some((user, group)) = user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Debian's user for PostgreSQL, if this is root.
fn user() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("postgresql is installed");
    let mut numbers = line.split(':').skip(2).map(|number| number.parse().unwrap());
    Some((numbers.next()?, numbers.next()?))
}
