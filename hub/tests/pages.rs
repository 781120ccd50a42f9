//! The pages in Chromium: two who talk, a hub that is killed amid it, and what they have then.

#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::program::{Program, RedisServer};
use support::{API_TOKEN, Scratch};
use taut::proto::Message;
use taut::tokio::{Client, NetworkStream, WebSocket};
use tokio::time::{sleep, timeout};

/// A Chromium without a window, and its tools.
struct Chromium {
    child: Child,
    folder: PathBuf,
    tools: WebSocket<NetworkStream>,
    asked: u64,
}

impl Chromium {
    async fn start() -> Self {
        let folder = Scratch::folder();
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]);
        command.args(["--remote-debugging-port=0", "about:blank"]);
        command.arg(format!("--user-data-dir={}", folder.display()));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("Chromium is installed");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        let url = lines.find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned));
        // Else it fails when it says more.
        std::thread::spawn(move || lines.for_each(drop));
        let tools = Client::new().connect(&url.expect("it listens")).await.unwrap();
        Self { child, folder, tools, asked: 0 }
    }

    async fn ask(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut request = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = session {
            request["sessionId"] = json!(session);
        }
        self.tools.send(request.to_string()).await.unwrap();
        loop {
            let message = timeout(PATIENCE, self.tools.recv()).await.expect(method).unwrap();
            let Some(Message::Text(text)) = message else { panic!("Chromium ended") };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.asked {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// Opens a page, as wide as this; gives what it is known by.
    async fn open(&mut self, url: &str, width: u16) -> String {
        let target =
            self.ask(None, "Target.createTarget", json!({ "url": "about:blank", "newWindow": true })).await;
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let page =
            self.ask(None, "Target.attachToTarget", attached).await["sessionId"].as_str().unwrap().to_owned();
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.ask(Some(&page), "Emulation.setDeviceMetricsOverride", size).await;
        self.ask(Some(&page), "Page.navigate", json!({ "url": url })).await;
        self.until(&page, "document.readyState === 'complete' && !!document.getElementById('state')").await;
        page
    }

    async fn evaluate(&mut self, page: &str, script: &str) -> Value {
        let asked = json!({ "expression": script, "returnByValue": true });
        let mut answer = self.ask(Some(page), "Runtime.evaluate", asked).await;
        assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until this is so.
    async fn until(&mut self, page: &str, script: &str) {
        for _ in 0..400 {
            if self.evaluate(page, script).await == true {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let text = self.evaluate(page, "document.body.innerText").await;
        panic!("never: {script}\n{}", text.as_str().unwrap_or_default());
    }

    async fn say(&mut self, page: &str, text: &str) {
        let script = format!(
            "document.getElementById('text').value = '{text}'; document.querySelector('#say button').click()"
        );
        self.evaluate(page, &script).await;
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The numbers of the messages that a page shows, as they stand there.
const NUMBERS: &str =
    "[...document.querySelectorAll('#messages small')].map((at) => +at.textContent.slice(1)).join()";

#[tokio::test]
#[ignore = "needs Chromium: .ci/run interop"]
async fn two_talk_and_recover_what_was_said_while_the_hub_was_killed() {
    let database = Scratch::new(b"");
    let file = format!("history.database={}", database.path());
    let settings = ["auth.development=true", &file];
    let program = Program::start(&settings).await;
    let (address, api) = (program.address.clone(), program.api.to_string());
    let mut chromium = Chromium::start().await;
    let url = format!("http://{api}/");
    let ana = chromium.open(&url, 1100).await;
    let bob = chromium.open(&url, 390).await;
    for (page, user) in [(&ana, "ana"), (&bob, "bob")] {
        let connect = format!(
            "document.getElementById('user').value = '{user}'; document.querySelector('#connect button').click()"
        );
        chromium.evaluate(page, &connect).await;
        let connected = format!("document.getElementById('state').textContent === 'connected as {user}'");
        chromium.until(page, &connected).await;
        // On a phone, too, nothing stands out to the side.
        chromium.until(page, "document.documentElement.scrollWidth <= innerWidth").await;
    }
    chromium.until(&ana, "document.getElementById('users').textContent === 'anabob'").await;
    for number in 0..5 {
        chromium.say(&ana, &format!("a{number}")).await;
        chromium.say(&bob, &format!("b{number}")).await;
    }
    let all = |last: u64| (1..=last).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    for page in [&ana, &bob] {
        chromium.until(page, &format!("{NUMBERS} === '{}'", all(10))).await;
    }

    let dashboard = chromium.open(&format!("{url}dashboard#token={API_TOKEN}"), 390).await;
    chromium.until(&dashboard, "document.getElementById('state').textContent === 'live'").await;
    chromium.until(&dashboard, "document.querySelector('#tiles strong').textContent === '2'").await;
    assert_eq!(chromium.evaluate(&dashboard, "location.hash").await, "");

    drop(program);
    chromium.until(&ana, "document.getElementById('state').textContent.startsWith('lost')").await;
    for number in 0..3 {
        chromium.say(&ana, &format!("waits{number}")).await;
    }
    chromium.until(&ana, "document.querySelectorAll('#messages .waiting').length === 3").await;
    let program = Program::start_at(&address, &api, &settings).await;
    for page in [&ana, &bob] {
        chromium.until(page, &format!("{NUMBERS} === '{}'", all(13))).await;
    }
    chromium.until(&ana, "document.querySelectorAll('#messages .waiting').length === 0").await;
    chromium.until(&bob, "document.getElementById('users').textContent === 'anabob'").await;
    chromium.say(&bob, "back").await;
    for page in [&ana, &bob] {
        chromium.until(page, &format!("{NUMBERS} === '{}'", all(14))).await;
    }
    chromium.until(&dashboard, "document.getElementById('state').textContent === 'live'").await;
    drop(program);
}

#[tokio::test]
#[ignore = "needs Chromium: .ci/run interop"]
async fn the_dashboard_has_all_nodes() {
    let redis = RedisServer::start(false).await;
    let url = format!("redis.url={}", redis.url());
    let settings = ["auth.development=true", "redis.node_timeout=3s", &url];
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Program::start(&settings).await);
    }
    let mut peers = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        for user in 0..=number {
            let mut peer = node.connect(&format!("?user=u{number}{user}")).await;
            peer.ask(json!({ "id": "j", "message_type": "join", "room": format!("r{number}") })).await;
            peers.push(peer);
        }
    }
    let mut chromium = Chromium::start().await;
    let url = format!("http://{}/dashboard#token={API_TOKEN}", nodes[0].api);
    for width in [1100, 390] {
        let page = chromium.open(&url, width).await;
        // Those of each node, and of all.
        chromium.until(&page, &format!("{CONNECTIONS} === '1,2,3'")).await;
        chromium.until(&page, &format!("{TILES} === '6,6,3'")).await;
        chromium.until(&page, "document.getElementById('charted').textContent.startsWith('Of node ')").await;
        chromium.until(&page, "document.documentElement.scrollWidth <= innerWidth").await;
        chromium.until(&page, "at('nodes').scrollWidth <= at('nodes').clientWidth").await;
    }
    // What it said before is gone with the node, and what is said is seen.
    let phone = chromium.open(&url, 390).await;
    chromium.until(&phone, &format!("{CONNECTIONS} === '1,2,3'")).await;
    drop(nodes.remove(1));
    chromium.until(&phone, &format!("{CONNECTIONS} === '1,3'")).await;
    let rate =
        "Math.max(...[...document.querySelectorAll('#nodes td:nth-child(4)')].map((at) => +at.textContent))";
    let mut said = 0;
    while chromium.evaluate(&phone, &format!("{rate} > 0")).await != true {
        assert!(said < 2000, "never: {rate}");
        peers[3].ask(json!({ "id": said.to_string(), "message_type": "text", "room": "r2" })).await;
        said += 1;
        sleep(Duration::from_millis(10)).await;
    }
    // One that is alone has nothing to tell them apart by.
    drop(nodes.pop());
    chromium.until(&phone, "at('nodes').hidden && at('charted').hidden").await;
    chromium.until(&phone, &format!("{TILES} === '1,1,1'")).await;
}

/// Of each node, in order of their start.
const CONNECTIONS: &str =
    "[...document.querySelectorAll('#nodes td:nth-child(2)')].map((at) => at.textContent).join()";

/// Connections, users and rooms.
const TILES: &str =
    "[...document.querySelectorAll('#tiles strong')].slice(0, 3).map((at) => at.textContent).join()";

const PATIENCE: Duration = Duration::from_secs(20);
