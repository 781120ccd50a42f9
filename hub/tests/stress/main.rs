//! `taut stress`, the program itself, beside servers with known faults: what it says has to be what they did.

mod network;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use servers::{Fault, Server};
use support::Scratch;
use taut::Options;
use taut::proto::Deflate;
use taut::tokio::ServerTls;

/// What came of a run.
struct Run {
    status: i32,
    out: String,
    error: String,
    json: Value,
    csv: String,
    html: String,
}

impl Run {
    /// The one test that ran.
    fn test(&self) -> &Value {
        let tests = self.json["tests"].as_array().expect("a report");
        assert_eq!(tests.len(), 1, "{}", self.error);
        &tests[0]
    }

    fn number(&self, path: &str) -> f64 {
        let value = self.test().pointer(path);
        value.and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {}", self.test()))
    }

    fn has(&self, path: &str) -> bool {
        self.test().pointer(path).is_some()
    }
}

/// Runs the program with these arguments, separated by spaces.
async fn stress(url: &str, arguments: &str) -> Run {
    stress_with(url, arguments, &[]).await
}

async fn stress_with(url: &str, arguments: &str, vars: &[(&str, &str)]) -> Run {
    let files = [(); 3].map(|()| Scratch::new(b""));
    let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
    command.args(["stress", url, "--quiet"]).args(arguments.split_whitespace());
    for (name, file) in ["--json", "--csv", "--html"].iter().zip(&files) {
        command.arg(name).arg(file.path());
    }
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.envs(vars.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    read(&output, &files)
}

fn read(output: &Output, files: &[Scratch; 3]) -> Run {
    let [json, csv, html] = files.each_ref().map(|file| std::fs::read_to_string(file.path()).unwrap());
    Run {
        status: output.status.code().expect("it ends by itself"),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        error: String::from_utf8(output.stderr.clone()).unwrap(),
        json: serde_json::from_str(&json).unwrap_or_default(),
        csv,
        html,
    }
}

#[tokio::test]
async fn the_closed_model_counts_every_message_in_every_output() {
    let server = Server::start(Fault::None).await;
    let run = stress(&server.url(), "--messages 2001 --connections 4 --warm-up 50ms --in-flight 8").await;
    assert_eq!(run.status, 0, "{}", run.error);
    for path in ["/messages/sent", "/messages/received", "/latency/count"] {
        assert_eq!(run.number(path), 2001.0, "{path}");
    }
    assert_eq!(run.number("/messages/bytes_received"), 2001.0 * 128.0);
    assert_eq!(run.number("/error_count"), 0.0);
    assert_eq!(run.number("/connections/connect/count"), 4.0);
    assert_eq!(server.connections(), 4);
    assert_eq!(run.number("/warm_up_seconds"), 0.05);
    assert!(server.messages() > 2001, "the warm-up is apart");
    let points = run.test()["points"].as_array().unwrap();
    let sum = |name: &str| points.iter().map(|point| point[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("sent"), sum("received")), (2001, 2001));
    let rate = run.number("/messages/received") / run.number("/measured_seconds");
    assert!((rate / run.number("/messages/rate") - 1.0).abs() < 1e-6);
    assert!(
        !run.has("/schedule") && !run.has("/service_time") && !run.has("/halves"),
        "not measured, not there"
    );
    assert!(run.out.contains("closed: each connection keeps 8 messages under way"), "{}", run.out);
    assert!(run.out.contains("2 001 sent, 2 001 received"), "{}", run.out);

    let mut lines = run.csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    let rows: Vec<_> = lines.collect();
    assert!(rows.iter().all(|row| row.len() == columns.len()));
    let column = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    let received = |row: &Vec<&str>| row[column("received")].parse::<u64>().unwrap();
    let (whole, intervals): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row[column("span")] == "whole");
    assert_eq!(whole.len(), 1);
    assert_eq!(received(whole[0]), 2001);
    assert_eq!(intervals.into_iter().map(received).sum::<u64>(), 2001);
}

#[tokio::test]
async fn the_open_model_sends_by_its_schedule() {
    let server = Server::start(Fault::None).await;
    let arguments =
        "--test-type sustained --rate 400 --messages 100 --connections 3 --warm-up 100ms --text --size 24";
    let run = stress(&server.url(), arguments).await;
    assert_eq!(run.status, 0, "{}", run.error);
    for path in ["/messages/sent", "/latency/count", "/service_time/count", "/schedule/lateness/count"] {
        assert_eq!(run.number(path), 100.0, "{path}");
    }
    assert_eq!(run.number("/schedule/rate_wanted"), 400.0);
    // A hundred messages of 400 a second cannot be done before this.
    assert!(run.number("/measured_seconds") >= 99.0 / 400.0);
    assert!(run.out.contains("open: 400 messages a second"), "{}", run.out);
}

/// Messages pile up behind a stall. Who sends the next when the answer came sees one slow answer; the schedule has all
/// that were due meanwhile.
#[tokio::test]
async fn a_stall_shows_in_all_messages_that_were_due_meanwhile() {
    let server = Server::start(Fault::Stalls(Duration::from_millis(500))).await;
    for in_flight in [1, 1_000] {
        // Number 50 is due at 250 ms, the last at 495 ms; none of the second half is answered before 750 ms.
        let arguments = format!(
            "--test-type sustained --connections 1 --rate 200 --messages 100 --warm-up 0ms --in-flight {in_flight}"
        );
        let run = stress(&server.url(), &arguments).await;
        assert_eq!(run.number("/messages/received"), 100.0);
        let at = |wanted: f64| {
            let mut all = run.test()["latency"]["percentiles"].as_array().unwrap().iter();
            all.find(|pair| pair[0].as_f64() == Some(wanted)).expect("it is known")[1].as_f64().unwrap()
        };
        assert!(at(60.0) >= 255.0, "in flight {in_flight}: {} ms", at(60.0));
        assert!(run.number("/latency/p99") >= 490.0);
        if in_flight == 1 {
            assert!(run.number("/schedule/lateness/p90") >= 255.0, "it says that it could not send in time");
            assert!(run.number("/schedule/behind") >= 49.0);
            assert!(run.out.contains("the schedule was not kept"), "{}", run.out);
        }
    }
}

#[tokio::test]
async fn what_was_due_and_never_sent_is_counted() {
    let server = Server::start(Fault::Swallows).await;
    let arguments = "--connections 1 --rate 100 --duration 500ms --warm-up 0ms --in-flight 1 --timeout 2s";
    let run = stress(&server.url(), arguments).await;
    assert_eq!((run.number("/messages/sent"), run.number("/messages/lost")), (1.0, 1.0));
    assert_eq!(run.number("/schedule/never_sent"), 49.0);
    assert!(run.out.contains("49 were never made"), "{}", run.out);
    assert!(!run.has("/latency"), "nothing came");
}

#[tokio::test]
async fn what_the_server_does_to_messages_is_counted_exactly() {
    let names = ["lost", "corrupt", "duplicate", "reordered"];
    for (fault, counts) in [
        (Fault::Drops, [10, 0, 0, 0]),
        (Fault::Corrupts, [10, 10, 0, 0]),
        (Fault::Repeats, [0, 0, 10, 0]),
        (Fault::Swaps, [1, 0, 0, 9]),
    ] {
        let server = Server::start(fault).await;
        let arguments =
            "--connections 1 --rate 1000 --messages 100 --warm-up 0ms --timeout 400ms --max-errors 0";
        let run = stress(&server.url(), arguments).await;
        let found = names.map(|name| run.number(&format!("/messages/{name}")));
        // The last of a hundred is a tenth, which the one that swaps holds for ever.
        assert_eq!(found, counts.map(f64::from), "{fault:?}");
        assert_eq!(run.number("/error_count"), f64::from(counts.iter().sum::<i32>()), "{fault:?}");
        assert_eq!(run.number("/messages/received"), f64::from(100 - counts[0]), "{fault:?}");
        assert_eq!(run.status, 1, "{fault:?}: there are errors");
        assert!(run.html.contains("<figcaption>Errors "));
    }
}

#[tokio::test]
async fn what_is_lost_and_comes_after_all_is_no_second_error() {
    let server = Server::start(Fault::Delays(Duration::from_millis(1_500))).await;
    let run =
        stress(&server.url(), "--connections 1 --messages 11 --warm-up 0ms --timeout 200ms --in-flight 1")
            .await;
    assert_eq!(run.number("/messages/lost"), 2.0, "the tenth, and the one that waits behind it");
    assert_eq!(run.number("/messages/late"), 2.0, "both came while the connection was closed");
    assert_eq!(run.number("/error_count"), 2.0);
}

#[tokio::test]
async fn compression_is_on_or_it_says_so() {
    for (options, count) in [(Options::new().deflate(Deflate::new()), 0), (Options::new(), 2)] {
        let server = Server::with(Fault::None, options, None).await;
        let run =
            stress(&server.url(), "--connections 2 --messages 40 --size 2000 --warm-up 0ms --deflate").await;
        assert_eq!((run.number("/messages/received"), run.number("/error_count")), (40.0, 0.0));
        let note = format!("did not agree to compression on {count} connections");
        assert_eq!(run.out.contains(&note), count > 0, "{}", run.out);
        assert_eq!(server.compressed(), 2 - count);
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_opened_again() {
    let server = Server::start(Fault::Closes).await;
    let run = stress(&server.url(), "--connections 1 --messages 30 --warm-up 0ms --in-flight 1").await;
    let (lost, came) = (run.number("/messages/lost"), run.number("/messages/received"));
    assert_eq!((lost, came), (3.0, 27.0));
    let closed = run.test()["errors"]["closed by the server with 1001"].clone();
    assert_eq!(closed["count"], 3, "{}", run.test()["errors"]);
    assert_eq!(closed["example"], "the reason it gave: \"<as told>\"");
    assert!(run.html.contains("&lt;as told&gt;"), "what others said is no markup");
    is_well_formed(&run.html);
    assert_eq!(run.number("/connections/reconnected"), 2.0);
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_storm_counts_connections_and_nothing_else() {
    for rate in ["", "--rate 500"] {
        let server = Server::start(Fault::None).await;
        let run = stress(&server.url(), &format!("--test-type storm --connections 60 {rate}")).await;
        assert_eq!(run.status, 0, "{}", run.error);
        assert_eq!((run.number("/connections/opened"), server.connections()), (60.0, 60));
        assert_eq!(run.number("/connections/connect/count"), 60.0);
        let points = run.test()["points"].as_array().unwrap();
        assert_eq!(
            points.iter().map(|point| point["open"].as_u64().unwrap()).max(),
            Some(60),
            "all at a time"
        );
        assert!(!run.has("/messages") && !run.has("/latency"), "not measured, not there");
        assert!(!run.out.contains("messages"), "{}", run.out);
        assert_eq!(run.has("/schedule"), !rate.is_empty());
    }
}

#[tokio::test]
async fn a_storm_says_for_how_many_there_was_no_time() {
    let server = Server::start(Fault::None).await;
    let run = stress(&server.url(), "--test-type storm --connections 200 --rate 100 --duration 200ms").await;
    assert_eq!((run.number("/connections/opened"), run.number("/connections/not_tried")), (20.0, 180.0));
    assert!(run.out.contains("the time was over before 180 connections were tried"), "{}", run.out);
}

#[tokio::test]
async fn handshakes_that_are_refused_are_errors_of_their_kind() {
    let server = Server::start(Fault::RefusesHalf).await;
    let arguments = "--test-type storm --connections 60 --max-errors";
    let run = stress(&server.url(), &format!("{arguments} 30")).await;
    assert_eq!(run.status, 0, "{}", run.out);
    assert_eq!(run.number("/connections/opened"), 30.0);
    assert_eq!(run.test()["errors"]["refused with HTTP 503"]["count"], 30);
    assert_eq!(stress(&server.url(), &format!("{arguments} 29")).await.status, 1);
}

#[tokio::test]
async fn a_test_that_could_not_run_has_its_own_status() {
    let refusing = Server::start(Fault::RefusesAll).await;
    let run = stress(&refusing.url(), "--duration 1s").await;
    assert_eq!(run.status, 2);
    assert!(run.error.contains("refused with HTTP 503"), "{}", run.error);
    let echo = Server::start(Fault::None).await;
    for (url, arguments, says) in [
        (echo.url().as_str(), "--test-type fanout", "--broadcast"),
        (echo.url().as_str(), "--size 23", "24"),
        (echo.url().as_str(), "--ca /nowhere", "/nowhere"),
        (echo.url().as_str(), "--token-file /nowhere", "/nowhere"),
        ("http//x", "", "URI"),
    ] {
        let run = stress(url, arguments).await;
        assert_eq!(run.status, 2, "{arguments}");
        assert!(run.error.contains(says), "{arguments}: {}", run.error);
    }
}

#[tokio::test]
async fn thresholds_set_the_status() {
    let server = Server::start(Fault::None).await;
    for (thresholds, status) in [
        ("--max-p99 600000 --min-rate 0.001 --max-errors 0", 0),
        ("--max-p99 0.000001", 1),
        ("--min-rate 1e12", 1),
        ("--min-rate 0.001 --min-rate 0.002", 2),
    ] {
        let run = stress(&server.url(), &format!("--messages 50 --warm-up 0ms {thresholds}")).await;
        assert_eq!(run.status, status, "{thresholds}: {}{}", run.out, run.error);
        assert_eq!(run.out.contains("MISSED"), status == 1);
        assert_eq!(run.html.contains("class=\"bad\"><b>missed"), status == 1);
    }
    // What was not measured meets nothing.
    let mute = Server::start(Fault::Swallows).await;
    let run = stress(&mute.url(), "--messages 5 --warm-up 0ms --timeout 200ms --max-p99 600000").await;
    assert!(!run.has("/latency") && run.status == 1, "{}", run.out);
    assert!(run.out.contains("not measured"), "{}", run.out);
}

#[tokio::test]
async fn a_fan_out_counts_what_each_receiver_got() {
    let arguments =
        "--test-type fanout --broadcast --connections 5 --rate 200 --messages 50 --timeout 1s --warm-up";
    let server = Server::start(Fault::Broadcasts).await;
    let run = stress(&server.url(), &format!("{arguments} 50ms")).await;
    assert_eq!((run.number("/messages/sent"), run.number("/messages/received")), (50.0, 250.0));
    assert_eq!((run.number("/error_count"), server.connections()), (0.0, 6));
    assert_eq!(run.number("/connections/opened"), 6.0);

    let server = Server::start(Fault::BroadcastsWithGaps).await;
    let run = stress(&server.url(), &format!("{arguments} 0ms")).await;
    assert_eq!((run.number("/messages/lost"), run.number("/messages/received")), (25.0, 225.0));
}

#[tokio::test]
async fn a_hub_echoes_by_ping_and_fans_out_by_a_room() {
    let hub = support::hub(&[("auth.development", "true")]).await;
    let url = format!("ws://{}/ws?user=load-{{n}}", hub.address().unwrap());
    let run = stress(&url, "--hub --messages 300 --connections 3 --warm-up 0ms --deflate").await;
    assert_eq!(run.status, 0, "{}", run.error);
    assert_eq!((run.number("/messages/received"), run.number("/error_count")), (300.0, 0.0));

    let arguments = "--hub --test-type fanout --connections 4 --rate 100 --messages 20 --warm-up 100ms";
    let run = stress(&url, arguments).await;
    assert_eq!((run.number("/messages/sent"), run.number("/messages/received")), (20.0, 80.0), "{}", run.out);
    assert_eq!(run.number("/error_count"), 0.0, "{}", run.out);
}

#[tokio::test]
async fn halves_are_held_against_each_other() {
    let server = Server::start(Fault::None).await;
    let run =
        stress(&server.url(), "--test-type soak --connections 2 --rate 100 --duration 1s --warm-up 0ms")
            .await;
    let halves = run.number("/halves/first/count") + run.number("/halves/second/count");
    assert_eq!((halves, run.number("/latency/count")), (100.0, 100.0));
    assert_eq!(run.number("/halves/first/count"), 50.0, "by when they were due");
    assert!(!run.has("/slow_readers"));
}

#[tokio::test]
async fn slow_readers_are_held_or_let_go_as_the_server_does() {
    let arguments =
        "--test-type slow-reader --connections 2 --rate 40 --warm-up 0ms --slow-readers 2 --size 65536";
    let patient = Options::new().write_timeout(Duration::MAX).message_timeout(Duration::MAX);
    let server = Server::with(Fault::None, patient, None).await;
    let run = stress(&server.url(), &format!("{arguments} --duration 1s")).await;
    assert_eq!((run.number("/slow_readers/connected"), run.number("/slow_readers/held")), (2.0, 2.0));
    assert!(run.number("/slow_readers/bytes_taken") > 0.0);
    assert_eq!(run.number("/messages/received"), 40.0, "the others go on");

    let strict = Options::new().write_timeout(Duration::from_millis(100)).min_rate(0);
    let server = Server::with(Fault::None, strict, None).await;
    let run = stress(&server.url(), &format!("{arguments} --duration 8s")).await;
    assert_eq!(run.number("/slow_readers/held"), 0.0, "{}", run.out);
    let ended = run.test()["slow_readers"]["ended"].as_object().unwrap();
    assert_eq!(ended.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 2);
}

#[tokio::test]
async fn all_runs_one_after_the_other_and_says_what_it_leaves_out() {
    let server = Server::start(Fault::None).await;
    let arguments = "--test-type all --duration 300ms --connections 4 --rate 100 --warm-up 0ms";
    let run = stress(&server.url(), arguments).await;
    assert_eq!(run.status, 0, "{}", run.error);
    let tests: Vec<_> =
        run.json["tests"].as_array().unwrap().iter().map(|test| test["test"].clone()).collect();
    assert_eq!(tests, ["throughput", "storm", "sustained", "slow-reader"]);
    for left_out in ["soak", "fanout"] {
        assert!(run.out.contains(&format!("{left_out} is left out")), "{}", run.out);
    }
    assert_eq!(run.csv.lines().filter(|line| line.contains(",whole,")).count(), 4);
}

#[tokio::test]
async fn sigint_ends_early_with_the_results_so_far() {
    let server = Server::start(Fault::None).await;
    let files = [(); 3].map(|()| Scratch::new(b""));
    let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
    command.args([
        "stress",
        &server.url(),
        "--connections=2",
        "--rate=200",
        "--duration=10m",
        "--warm-up=0ms",
    ]);
    command.args(["--quiet", "--json", files[0].path()]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    while server.messages() < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let run = read(&output, &files);
    assert_eq!(run.status, 0, "{}", run.error);
    assert_eq!(run.test()["ended_early"], true);
    let (sent, received) = (run.number("/messages/sent"), run.number("/messages/received"));
    assert!(received >= 20.0 && sent == received + run.number("/messages/unanswered"));
    assert_eq!(run.number("/messages/lost"), 0.0, "nothing is lost of what nobody waited for");
    assert!(run.out.contains("ended early"), "{}", run.out);
}

#[tokio::test]
async fn tokens_get_to_the_server_and_nowhere_else() {
    let server = Server::start(Fault::None).await;
    let url = format!("{}?token=hidden-{{n}}", server.url());
    let arguments = "--messages 10 --connections 2 --warm-up 0ms --header X-Also:yes";
    let run = stress_with(&url, arguments, &[("TAUT_STRESS_TOKEN", "hunter2hunter2")]).await;
    assert_eq!(run.status, 0, "{}", run.error);
    let mut requests = server.requests();
    requests.sort();
    let bearer = Some("Bearer hunter2hunter2".to_owned());
    assert_eq!(requests, [0, 1].map(|number| (bearer.clone(), format!("/?token=hidden-{number}"))));
    for shown in [&run.out, &run.error, &run.json.to_string(), &run.csv, &run.html] {
        assert!(!shown.contains("hunter2") && !shown.contains("hidden"), "{shown}");
    }
    let file = Scratch::new(b"first\n\nsecond\n");
    let server = Server::start(Fault::None).await;
    let arguments = format!("--messages 10 --connections 2 --warm-up 0ms --token-file {}", file.path());
    stress(&server.url(), &arguments).await;
    let mut tokens: Vec<_> = server.requests().into_iter().map(|request| request.0.unwrap()).collect();
    tokens.sort();
    assert_eq!(tokens, ["Bearer first", "Bearer second"]);
}

#[tokio::test]
async fn tls_is_checked_unless_told_otherwise() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let (chain, key) = (Scratch::new(chain.as_bytes()), Scratch::new(key.as_bytes()));
    let tls = ServerTls::from_pem_files(chain.path(), key.path());
    let server = Server::with(Fault::None, Options::new(), Some(tls)).await;
    let url = format!("wss://localhost:{}/", server.address.port());
    let arguments = "--messages 10 --connections 2 --warm-up 0ms";
    let run = stress(&url, arguments).await;
    assert_eq!(run.status, 2);
    assert!(run.error.contains("no TLS"), "{}", run.error);
    for trusting in ["--dangerous-accept-any-certificate", &format!("--ca {}", chain.path())] {
        let run = stress(&url, &format!("{arguments} {trusting}")).await;
        assert_eq!((run.status, run.number("/messages/received")), (0, 10.0), "{trusting}: {}", run.error);
    }
}

#[tokio::test]
async fn the_page_is_whole_and_asks_for_nothing() {
    let server = Server::start(Fault::None).await;
    let arguments =
        "--test-type sustained --messages 200 --rate 400 --connections 2 --warm-up 0ms --max-p99 60000";
    let run = stress(&server.url(), arguments).await;
    assert_eq!(run.status, 0, "{}", run.error);
    let html = &run.html;
    is_well_formed(html);
    assert!(!html.contains("<script"));
    for asked in ["src=", "href=", "url(", "@import", "http:", "https:"] {
        assert!(!html.contains(asked), "{asked}");
    }
    assert_eq!(html.matches("<svg").count(), 3);
    assert!(html.contains("prefers-color-scheme:dark") && html.contains("width=device-width"));
    for polyline in html.split("points=\"").skip(1) {
        let points = polyline.split('"').next().unwrap();
        for number in points.split([' ', ',']) {
            assert!(number.parse::<f64>().is_ok_and(f64::is_finite), "{points}");
        }
    }
}

/// Each element ends, in order, and no letter of markup stands in text.
fn is_well_formed(html: &str) {
    let mut open = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a document of HTML");
    while let Some((text, tag)) = rest.split_once('<') {
        assert!(open.last() == Some(&"style") || !text.contains('>'), "{text}");
        let (tag, behind) = tag.split_once('>').expect("a tag ends");
        rest = behind;
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?}");
}
