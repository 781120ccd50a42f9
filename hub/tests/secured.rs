//! Redis by TLS and with passwords, PostgreSQL with passwords: a hub comes in as it should, and says why if it cannot.

#![cfg(unix)]

#[path = "support/nodes.rs"]
mod nodes;
mod support;

use std::process::Command;

use nodes::{join, text};
use serde_json::Value;
use support::authority::Authority;
use support::postgres::PostgresServer;
use support::program::{Behind, Program, RedisServer, free_port};
use support::{Peer, Scratch, try_hub};

/// A Redis that speaks TLS at a second port. The hub is a user of its own there, who may do no more than it has to.
struct Secured {
    redis: RedisServer,
    port: u16,
    roots: Scratch,
}

impl Secured {
    /// What a hub is told, with these in the place of the right ones.
    async fn refuse(&self, user: &str, host: &str, roots: Option<&str>) -> String {
        let url = format!("rediss://{user}@{host}:{}", self.port);
        let mut settings = vec![("auth.development", "true"), ("redis.url", &*url)];
        settings.extend(roots.map(|roots| ("redis.ca_file", roots)));
        let refused = try_hub(&settings).await.expect_err(&url);
        let said = format!("{refused} {refused:?}");
        assert!(!said.contains(PASSWORD) && !said.contains("another one"), "{said}");
        refused.to_string()
    }
}

impl Behind for Secured {
    async fn start() -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.issue("localhost");
        let port = free_port().await;
        let (listens, password) = (port.to_string(), format!(">{PASSWORD}"));
        let tls = ["--tls-cert-file", "crt", "--tls-key-file", "key", "--tls-auth-clients", "no"];
        let user = ["--user", "hub", "on", &password, "~taut:*", "+@all", "-@admin", "-@dangerous"];
        let arguments = [&["--tls-port", &*listens], &tls[..], &user[..]].concat();
        let files = [("crt", &*certificate), ("key", &*key)];
        let redis = RedisServer::start_with(true, &arguments, &files).await;
        Self { redis, port, roots: Scratch::new(authority.pem().as_bytes()) }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let url = format!("rediss://{RIGHT}@localhost:{}", self.port);
        vec![("redis.url", url), ("redis.ca_file", self.roots.path().to_owned())]
    }

    fn kill(&mut self) {
        self.redis.kill();
    }

    async fn again(&mut self) {
        self.redis.again().await;
    }
}

nodes::of_many_nodes!(Secured);

#[tokio::test]
#[ignore = "needs redis-server and PostgreSQL: .ci/run tests"]
async fn redis_is_not_believed_without_its_certificate() {
    let secured = Secured::start().await;
    let roots = Some(secured.roots.path());
    let other = Scratch::new(Authority::new().pem().as_bytes());
    let empty = Scratch::new(b"");
    // At once: each tries for seconds.
    let (wrong, unknown, elsewhere, none, nowhere) = tokio::join!(
        secured.refuse(RIGHT, "localhost", Some(other.path())),
        // Whoever issued it is nobody whom the system knows.
        secured.refuse(RIGHT, "localhost", None),
        secured.refuse(RIGHT, "127.0.0.1", roots),
        secured.refuse(RIGHT, "localhost", Some(empty.path())),
        secured.refuse(RIGHT, "localhost", Some("/no/such/file")),
    );
    for refused in [wrong, unknown] {
        assert!(
            refused.contains("invalid peer certificate") && refused.contains("redis.ca_file"),
            "{refused}"
        );
    }
    assert!(elsewhere.contains("not valid for name \"127.0.0.1\""), "{elsewhere}");
    assert!(none.contains("no certificate in it"), "{none}");
    assert!(nowhere.contains("/no/such/file: No such file"), "{nowhere}");
}

#[tokio::test]
#[ignore = "needs redis-server and PostgreSQL: .ci/run tests"]
async fn without_a_file_of_roots_redis_is_believed_as_the_system_says() {
    let secured = Secured::start().await;
    let url = format!("redis.url={}", secured.settings()[0].1);
    // What the system trusts, for this one program.
    let own = |command: &mut Command| {
        command.env("SSL_CERT_FILE", secured.roots.path());
    };
    let program = Program::start_as(own, &["auth.development=true", &url]).await;
    let mut ana = program.connect("?user=ana").await;
    ana.ask(join("j", Value::Null)).await;
    assert_eq!(ana.ask(text("1")).await["message_type"], "ack");
}

#[tokio::test]
#[ignore = "needs redis-server and PostgreSQL: .ci/run tests"]
async fn redis_lets_in_by_the_right_password_alone() {
    let secured = Secured::start().await;
    let roots = Some(secured.roots.path());
    let refused = tokio::join!(
        secured.refuse("hub:another%20one", "localhost", roots),
        secured.refuse("nobody:another%20one", "localhost", roots),
    );
    for refused in [refused.0, refused.1] {
        assert!(refused.contains("Password authentication failed"), "{refused}");
    }

    // As `requirepass` has it: a password, and no name.
    let redis = RedisServer::start(false).await;
    redis.command(redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(PASSWORD)).await;
    let place = redis.url().replace("redis://", "");
    let by = async |user: &str| {
        let url = format!("redis://{user}{place}");
        try_hub(&[("auth.development", "true"), ("redis.url", &url)]).await
    };
    Peer::guest(&by(&format!(":{ENCODED}@")).await.unwrap(), "ana").await.ask(join("j", Value::Null)).await;
    for (wrong, said) in [(":another%20one@", "Password authentication failed"), ("", "NOAUTH")] {
        let refused = by(wrong).await.unwrap_err().to_string();
        assert!(refused.contains(said) && !refused.contains("another one"), "{refused}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server and PostgreSQL: .ci/run tests"]
async fn postgresql_lets_in_by_the_right_password_alone() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("localhost");
    // The test's own user needs none.
    let users = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    let files = [("pg_hba.conf", users), ("server.crt", &*certificate), ("server.key", &*key)];
    let settings = ["ssl=on", "password_encryption=scram-sha-256"];
    let postgres = PostgresServer::start_with(&settings, &files).await;
    let made = format!("CREATE USER hub PASSWORD '{PASSWORD}'; GRANT CREATE ON DATABASE postgres TO hub");
    postgres.command(&made).await;
    let roots = Scratch::new(authority.pem().as_bytes());
    let by = async |user: &str, end: &str| {
        let url = postgres.url().replace("postgres@127.0.0.1", &format!("{user}@localhost"));
        let url = format!("{url}?hostaddr=127.0.0.1&{end}");
        let settings =
            [("auth.development", "true"), ("postgresql.url", &*url), ("postgresql.ca_file", roots.path())];
        try_hub(&settings).await
    };
    // With TLS, the password is bound to the connection: nobody in between can use what it shows.
    for end in ["sslmode=disable", "sslmode=require&channel_binding=require"] {
        let hub = by(&format!("hub:{ENCODED}"), end).await.unwrap();
        let mut ana = Peer::guest(&hub, "ana").await;
        ana.ask(join("j", Value::Null)).await;
        assert_eq!(ana.ask(text(end)).await["message_type"], "ack");
        for (wrong, said) in [
            ("hub:another%20one", "password authentication failed for user \"hub\""),
            ("nobody:another%20one", "password authentication failed for user \"nobody\""),
            ("hub", "password missing"),
        ] {
            let refused = by(wrong, end).await.unwrap_err();
            assert!(refused.to_string().contains(said), "{refused}");
            let shown = format!("{refused} {refused:?}");
            assert!(!shown.contains("another one") && !shown.contains("another%20one"), "{shown}");
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server and PostgreSQL: .ci/run tests"]
async fn what_of_a_password_was_taken_for_something_else_is_not_shown() {
    let url = "postgresql://hub:a@se?cret@localhost/postgres?sslmode=require";
    let refused = try_hub(&[("auth.development", "true"), ("postgresql.url", url)]).await.unwrap_err();
    assert!(refused.to_string().contains("postgresql.url cannot be read (sslmode is"), "{refused}");
    assert!(refused.to_string().contains("%40") && !refused.to_string().contains("cret"), "{refused}");
}

/// With what an address has to write in another way.
const PASSWORD: &str = "a secret/of@the:hub";
const ENCODED: &str = "a%20secret%2Fof%40the%3Ahub";
const RIGHT: &str = "hub:a%20secret%2Fof%40the%3Ahub";
