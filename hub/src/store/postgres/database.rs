//! The database itself: connections that are few and know how to behave, TLS, and the schema.

#![forbid(unsafe_code)]

use std::error::Error;
use std::future::{pending, poll_fn};
use std::path::Path;
use std::time::Duration;
use std::{fmt, io};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use taut::tokio::rustls::{self, ClientConfig, crypto::aws_lc_rs};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Place;
use crate::outage::Outage;
use crate::store::trust;

/// A database that is ready.
pub(super) struct Database {
    pool: Pool,
    settings: Config,
    tls: MakeRustlsConnect,
    schema: String,
}

/// Why PostgreSQL did not do it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It says no, or cannot be reached.
    Database(tokio_postgres::Error),
    /// It did not answer in time, or no connection was free.
    Silent,
    /// The address cannot be read.
    Url(tokio_postgres::Error),
    /// The name of the schema cannot be one.
    Name,
    /// The certificates to trust cannot be had.
    Roots(String),
    /// The schema is of another version: the one that was found, and the one that is known.
    Version(i32, i32),
    /// The texts of the database are not UTF-8, but this.
    Encoding(String),
    /// It answered something else than was asked.
    Answer,
}

impl Database {
    /// Connects, and makes the schema or brings it up to date.
    pub(super) async fn connect(place: &Place) -> Result<Self, Fault> {
        if !is_name(&place.schema) {
            return Err(Fault::Name);
        }
        let mut settings: Config = place.url.reveal().parse().map_err(Fault::Url)?;
        if settings.get_application_name().is_none() {
            settings.application_name("taut-hub");
        }
        settings.connect_timeout(PATIENCE).keepalives_idle(KEEPALIVE).tcp_user_timeout(PATIENCE);
        let tls = MakeRustlsConnect::new(tls(place.ca_file.as_deref())?);
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(settings.clone(), tls.clone(), manager);
        let begin = format!("SET search_path = \"{}\"; {SESSION}", place.schema);
        let begin = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let begin = begin.clone();
            Box::pin(async move { client.batch_execute(&begin).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(place.connections)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(PATIENCE), create: Some(PATIENCE), recycle: Some(PATIENCE) })
            .post_create(begin)
            .build()
            .map_err(|_| Fault::Silent)?;
        let this = Self { pool, settings, tls, schema: place.schema.clone() };
        this.migrate().await?;
        Ok(this)
    }

    /// One statement. A connection on which it failed, or took too long, is not used again.
    pub(super) async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Fault> {
        let client = self.pool.get().await?;
        let asked = timeout(LONGEST, async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, values).await
        });
        let answer = asked.await.map_err(|_| Fault::Silent).and_then(|rows| rows.map_err(Fault::Database));
        if answer.is_err() {
            drop(Object::take(client));
        }
        answer
    }

    /// Rings whenever a node wrote to the feed, on a connection of its own, until that ends. With it the outage is over.
    pub(super) async fn listen(&self, bell: &Notify, outage: &Outage) -> Result<(), Fault> {
        let (client, mut connection) = self.settings.connect(self.tls.clone()).await?;
        let ringing = async {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(_))) => bell.notify_one(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Fault::Database(error)),
                    None => return Ok(()),
                }
            }
        };
        let listening = async {
            client.batch_execute(&format!("LISTEN \"{}\"", self.schema)).await?;
            outage.over();
            // What came before is not told.
            bell.notify_one();
            pending::<Result<(), Fault>>().await
        };
        tokio::select! {
            ended = ringing => ended,
            failed = listening => failed,
        }
    }

    /// What a write survives, as the database is configured.
    pub(super) async fn durability(&self) -> Result<String, Fault> {
        let rows = self.query(DURABILITY, &[]).await?;
        Ok(rows.first().ok_or(Fault::Answer)?.try_get(0)?)
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// In one transaction, and by one node at a time.
    async fn migrate(&self) -> Result<(), Fault> {
        let mut client = self.pool.get().await?;
        let schema = &self.schema;
        let transaction = client.transaction().await?;
        // Another node may be at it.
        transaction.batch_execute("SET LOCAL statement_timeout = '60s'").await?;
        transaction
            .execute("SELECT pg_advisory_xact_lock(hashtext('taut-hub'), hashtext($1))", &[schema])
            .await?;
        let row = transaction
            .query_one("SELECT current_setting('server_encoding'), to_regnamespace($1) IS NULL", &[schema])
            .await?;
        let encoding: String = row.try_get(0)?;
        if encoding != "UTF8" {
            return Err(Fault::Encoding(encoding));
        }
        // Not `IF NOT EXISTS`, which wants the right to make schemas although there is one.
        if row.try_get(1)? {
            transaction.batch_execute(&format!("CREATE SCHEMA \"{schema}\"")).await?;
        }
        transaction.batch_execute("CREATE TABLE IF NOT EXISTS version (number integer PRIMARY KEY)").await?;
        let found = transaction.query_one("SELECT coalesce(max(number), 0) FROM version", &[]).await?;
        let (found, known): (i32, i32) =
            (found.try_get(0)?, i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX));
        if found > known {
            return Err(Fault::Version(found, known));
        }
        for (number, change) in (1..).zip(VERSIONS) {
            if number > found {
                transaction.batch_execute(change).await?;
                transaction.execute("INSERT INTO version (number) VALUES ($1)", &[&number]).await?;
            }
        }
        Ok(transaction.commit().await?)
    }
}

/// Certificates are verified, against these roots or those of the system.
fn tls(roots: Option<&Path>) -> Result<ClientConfig, Fault> {
    use rustls_platform_verifier::BuilderVerifierExt;
    let wrong = |error: &dyn fmt::Display| Fault::Roots(error.to_string());
    let provider = std::sync::Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?;
    let Some(path) = roots else {
        let builder = builder.with_platform_verifier().map_err(|error| wrong(&error))?;
        return Ok(builder.with_no_client_auth());
    };
    let (_, roots) = trust::read(path).map_err(Fault::Roots)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whether it needs no care within quotes, and names a channel as well.
fn is_name(schema: &str) -> bool {
    let is_plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_';
    (1..=LONGEST_NAME).contains(&schema.len()) && schema.bytes().all(is_plain) && !schema.starts_with("pg_")
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::Database(error)
            }
            _ => Self::Silent,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => {
                write_all(f, error)?;
                if is_tls(error) {
                    f.write_str(
                        ": postgresql.ca_file names the roots to trust; sslmode=disable does without TLS",
                    )?;
                }
                Ok(())
            }
            Self::Silent => f.write_str("it does not answer, or no connection is free"),
            Self::Url(error) => {
                f.write_str("postgresql.url cannot be read")?;
                // With an `@`, it is of a password that has one.
                let cause = error.source().map(ToString::to_string).filter(|cause| !cause.contains('@'));
                if let Some(cause) = cause {
                    write!(f, ": {cause}")?;
                }
                f.write_str(
                    " (sslmode is disable, prefer or require, which verifies the certificate; @, / and ? of a \
                     password are written %40, %2F and %3F)",
                )
            }
            Self::Name => write!(
                f,
                "postgresql.schema wants 1 to {LONGEST_NAME} of a-z, 0-9 and _, and does not begin with pg_"
            ),
            Self::Roots(error) => write!(f, "the roots for TLS cannot be had: {error}"),
            Self::Version(found, known) => {
                write!(f, "the schema is of version {found}, and this program knows {known}: run a newer one")
            }
            Self::Encoding(found) => write!(f, "the database has the encoding {found}: make one with UTF8"),
            Self::Answer => f.write_str("it answered something else than was asked"),
        }
    }
}

impl Error for Fault {}

/// With its causes. What the database adds as detail may be of messages, and is left out.
fn write_all(f: &mut fmt::Formatter<'_>, error: &tokio_postgres::Error) -> fmt::Result {
    if let Some(error) = error.as_db_error() {
        return write!(f, "{} ({})", error.message(), error.code().code());
    }
    write!(f, "{error}")?;
    let mut source = error.source();
    while let Some(error) = source {
        write!(f, ": {error}")?;
        source = error.source();
    }
    Ok(())
}

fn is_tls(error: &tokio_postgres::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}

/// How each connection begins. What a write waits for is raised, if it was less than the disk.
const SESSION: &str = "
    SET statement_timeout = '5s';
    SET idle_in_transaction_session_timeout = '10s';
    SET default_transaction_isolation = 'read committed';
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
";

const DURABILITY: &str = "
    SELECT format(
        'PostgreSQL %s: synchronous_commit %s, fsync %s, full_page_writes %s, %s',
        current_setting('server_version_num')::integer / 10000, current_setting('synchronous_commit'),
        current_setting('fsync'), current_setting('full_page_writes'),
        CASE current_setting('synchronous_standby_names')
            WHEN '' THEN 'no synchronous standby' ELSE 'synchronous standbys' END
    )
";

/// What makes each version of the schema from the one before.
const VERSIONS: [&str; 2] = [include_str!("schema.sql"), include_str!("schema_2.sql")];

/// How long is waited for a connection, and for what was sent to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long is waited for an answer: the database gives up before, by `statement_timeout`.
const LONGEST: Duration = Duration::from_secs(7);

/// After which silence the system asks whether the database is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Names of PostgreSQL have 63 bytes.
const LONGEST_NAME: usize = 63;
