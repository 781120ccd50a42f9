//! Many nodes by PostgreSQL, alone and beside Redis: one hub for its clients, also while PostgreSQL is away.

#![cfg(unix)]

#[path = "support/nodes.rs"]
mod nodes;
mod support;

use std::time::Duration;

use nodes::{after, join, node, nodes, text, three_of_whom_one_said_five};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use support::postgres::PostgresServer;
use support::program::{Behind, RedisServer};
use support::{Peer, Scratch, data, try_hub};

nodes::of_many_nodes!(PostgresServer);

/// PostgreSQL keeps, Redis tells.
mod beside_redis {
    use super::*;

    struct Both(PostgresServer, RedisServer);

    impl Behind for Both {
        async fn start() -> Self {
            Self(PostgresServer::start().await, RedisServer::start(false).await)
        }

        fn settings(&self) -> Vec<(&'static str, String)> {
            vec![("postgresql.url", self.0.url()), ("redis.url", self.1.url())]
        }

        fn kill(&mut self) {
            self.0.kill();
        }

        async fn again(&mut self) {
            self.0.again().await;
        }
    }

    nodes::of_many_nodes!(Both);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: .ci/run tests"]
async fn a_database_that_knows_less_has_all_recover_and_tells_them() {
    let postgres = PostgresServer::start().await;
    let nodes = nodes(&postgres, &[]).await;
    let (mut peers, mut position) = three_of_whom_one_said_five(&nodes).await;
    for peer in &mut peers {
        while peer.next("text").await["seq"] != 5 {}
    }
    // As a backup would, or a standby that was behind.
    let older = "UPDATE taut.head SET number = 2; DELETE FROM taut.feed WHERE number > 2;
        DELETE FROM taut.message WHERE seq > 2; UPDATE taut.stream SET seq = 2 WHERE name = 'r'";
    postgres.command(older).await;
    for peer in &mut peers {
        assert_eq!(peer.end().await, 1012);
    }
    let mut ana = Peer::guest(&nodes[0], "ana").await;
    for seq in [2, 5] {
        position["after"]["seq"] = json!(seq);
        assert_eq!(ana.ask(join("j", position.clone())).await["data"]["recovered"], false);
    }
    let mut bob = Peer::guest(&nodes[1], "bob").await;
    bob.ask(join("j", Value::Null)).await;
    assert_eq!(ana.ask(text("anew")).await["seq"], 3);
    assert_eq!(bob.next("text").await["id"], "anew");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: .ci/run tests"]
async fn entries_of_the_feed_that_are_gone_make_all_recover() {
    let postgres = PostgresServer::start().await;
    let node = node(&postgres, &[]).await;
    let mut ana = Peer::guest(&node, "ana").await;
    let page = ana.ask(join("j", Value::Null)).await;
    assert_eq!(ana.ask(text("one")).await["message_type"], "ack");
    postgres.command("UPDATE taut.head SET number = number + 5").await;
    assert_eq!(ana.end().await, 1012);
    let mut ana = Peer::guest(&node, "ana").await;
    ana.ask(join("j", Value::Null)).await;
    assert_eq!(ana.ask(text("two")).await["seq"], 2);
    let page = ana.ask(join("j", after(&page))).await;
    assert_eq!(page["data"]["recovered"], true);
    let messages = page["data"]["messages"].as_array().unwrap();
    let ids: Vec<_> = messages.iter().map(|message| message["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["one", "two"]);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: .ci/run tests"]
async fn the_feed_is_bounded_by_entries_and_by_bytes() {
    let postgres = PostgresServer::start().await;
    let bounds = [("postgresql.feed_bytes", "200000"), ("postgresql.feed", "100")];
    let node = node(&postgres, &bounds).await;
    let mut ana = Peer::guest(&node, "ana").await;
    ana.ask(join("j", Value::Null)).await;
    data::say(&mut ana, 60, 10_000).await;
    // What is counted, what there is, and that it is as much as it may be.
    let holds = "DO $$ DECLARE there bigint; entries bigint; BEGIN
        SELECT sum(octet_length(body)), count(*) INTO there, entries FROM taut.feed;
        ASSERT there = (SELECT bytes FROM taut.head) AND there BETWEEN 150000 AND 200000, there;
        ASSERT (SELECT min(number) FROM taut.feed) = (SELECT oldest FROM taut.head);
        ASSERT (SELECT bytes FROM taut.stream WHERE name = 'r') = (SELECT sum(octet_length(body)) FROM taut.message);
    END $$";
    postgres.command(holds).await;
    for number in 0..200 {
        assert_eq!(ana.ask(text(&format!("short {number}"))).await["message_type"], "ack");
    }
    postgres.command("DO $$ BEGIN ASSERT (SELECT count(*) FROM taut.feed) = 100; END $$").await;
    // Counted wrongly, it is trimmed once, and counted anew.
    postgres.command("UPDATE taut.head SET bytes = 1000000").await;
    for number in 0..10 {
        assert_eq!(ana.ask(text(&format!("again {number}"))).await["message_type"], "ack");
    }
    let anew = "DO $$ BEGIN ASSERT (SELECT count(*) FROM taut.feed) BETWEEN 5 AND 15; END $$";
    postgres.command(anew).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: .ci/run tests"]
async fn a_stream_that_nobody_uses_is_forgotten() {
    let postgres = PostgresServer::start().await;
    let node = node(&postgres, &[("history.keep", "1s")]).await;
    let mut ana = Peer::guest(&node, "ana").await;
    let position = after(&ana.ask(join("j", Value::Null)).await);
    assert_eq!(ana.ask(text("one")).await["seq"], 1);
    let mut is_forgotten = false;
    for _ in 0..300 {
        let page = ana.ask(join("j", position.clone())).await;
        is_forgotten = page["data"]["recovered"] == false;
        if is_forgotten {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_forgotten);
    assert_eq!(ana.ask(text("one")).await["seq"], 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: .ci/run tests"]
async fn a_schema_of_a_newer_program_is_left_alone() {
    let postgres = PostgresServer::start().await;
    let url = postgres.url();
    let settings = [("auth.development", "true"), ("postgresql.url", &*url), ("postgresql.schema", "other")];
    try_hub(&settings).await.unwrap().shutdown().await;
    try_hub(&settings).await.unwrap().shutdown().await;
    postgres.command("INSERT INTO other.version VALUES (1000)").await;
    let refused = try_hub(&settings).await.unwrap_err().to_string();
    assert!(refused.contains("version 1000"), "{refused}");
    let wrong = [settings[0], settings[1], ("postgresql.schema", "a\"; DROP")];
    assert!(try_hub(&wrong).await.unwrap_err().to_string().contains("postgresql.schema"));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: .ci/run tests"]
async fn tls_is_had_if_it_is_required_or_nothing_is() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let files = [("server.crt", &*certificate.pem()), ("server.key", &*key.serialize_pem())];
    let with = PostgresServer::start_with(&["ssl=on"], &files).await;
    let roots = Scratch::new(authority.pem().as_bytes());
    let url = |server: &PostgresServer, end: &str| {
        format!("{}?{end}", server.url().replace("127.0.0.1", "localhost"))
    };

    let required = url(&with, "hostaddr=127.0.0.1&sslmode=require");
    let settings = [("auth.development", "true"), ("postgresql.url", &*required)];
    let trusted = [settings[0], settings[1], ("postgresql.ca_file", roots.path())];
    let hub = try_hub(&trusted).await.unwrap();
    let mut ana = Peer::guest(&hub, "ana").await;
    ana.ask(join("j", Value::Null)).await;
    assert_eq!(ana.ask(text("one")).await["message_type"], "ack");

    // Whoever issued it is nobody whom the system knows.
    let refused = try_hub(&settings).await.unwrap_err().to_string();
    assert!(refused.contains("postgresql.ca_file"), "{refused}");

    let without = PostgresServer::start().await;
    let required = url(&without, "hostaddr=127.0.0.1&sslmode=require");
    let refused = try_hub(&[settings[0], ("postgresql.url", &*required)]).await.unwrap_err().to_string();
    assert!(refused.contains("server does not support TLS"), "{refused}");
    let unknown = url(&without, "sslmode=verify-full");
    let refused = try_hub(&[settings[0], ("postgresql.url", &*unknown)]).await.unwrap_err().to_string();
    assert!(refused.contains("which verifies the certificate"), "{refused}");
}
