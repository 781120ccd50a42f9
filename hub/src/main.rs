//! `taut`: the hub, by the command line.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use taut_hub::auth::{KeySource, own_token};
use taut_hub::config::{Config, Secret};
use taut_hub::serve::{self, Running};
use tracing_subscriber::EnvFilter;

/// Messages in real time.
#[derive(Parser)]
#[command(name = "taut", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a hub: WebSockets at /ws, and an HTTP API.
    Serve(Serve),
    /// Connects to a WebSocket server: with a prompt, or by lines.
    Connect(Box<taut_hub::connect::Arguments>),
    /// Shows what connections say, and sends what is typed to all of them.
    Listen(taut_hub::listen::Arguments),
    /// Sends back what comes.
    Echo(taut_hub::options::EndOptions),
    /// Makes a token, for development and scripts.
    Token(taut_hub::token::Arguments),
    /// Puts load on a WebSocket server, and measures it.
    Stress(Box<taut_hub::stress::Arguments>),
}

#[derive(Args)]
struct Serve {
    /// A file of settings, TOML.
    #[arg(long, env = "TAUT_HUB_FILE", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, such as auth.key_file=keys.pem. Counts more than file and environment.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
    /// Where WebSockets are accepted: server.address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<String>,
    /// Where the HTTP API listens: api.address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    api_address: Option<String>,
    /// The file of SQLite that keeps messages: history.database.
    #[arg(long, value_name = "FILE")]
    database: Option<String>,
    /// Asks nobody for a token, to try the hub out: auth.development=true.
    #[arg(long)]
    insecure_development: bool,
    /// Reads the settings, says what is wrong with them, and ends.
    #[arg(long)]
    check_config: bool,
    /// Logs as lines of JSON. RUST_LOG says what is logged.
    #[arg(long)]
    log_json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse().command {
        Command::Serve(arguments) => arguments,
        Command::Connect(arguments) => return taut_hub::connect::run(*arguments).await.into(),
        Command::Listen(arguments) => return taut_hub::listen::run(arguments).await,
        Command::Echo(arguments) => return taut_hub::echo::run(arguments).await,
        Command::Token(arguments) => return taut_hub::token::run(&arguments).into(),
        Command::Stress(arguments) => return taut_hub::stress::run(*arguments).await,
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("taut: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Serve) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (check, log_json) = (arguments.check_config, arguments.log_json);
    let mut config = load(arguments)?;
    if check {
        config.check_files()?;
        println!("the settings are good");
        return Ok(());
    }
    log(log_json);
    if config.development {
        let warning =
            "INSECURE: nobody is asked for a token, and everybody is who they say (--insecure-development)";
        if tracing::enabled!(tracing::Level::WARN) {
            tracing::warn!("{warning}");
        } else {
            eprintln!("taut: {warning}");
        }
    }
    let is_trial = config.development || config.has_own_keys;
    // Of this run alone, and for whoever started it.
    let api_token = (is_trial && config.api_token.is_none()).then(Secret::random);
    config.api_token = config.api_token.or_else(|| api_token.clone());
    let (keys, has_tls) = (config.keys.clone(), config.server_tls[0].is_some());
    let running = serve::start(config).await?;
    // Who started it may have closed the output.
    let _ = greet(&mut std::io::stdout().lock(), &running, has_tls, keys.as_ref(), api_token.as_ref());
    let drained = running.run().await?;
    tracing::info!(?drained, "ended");
    Ok(())
}

/// Says where it listens, and how to come in if nobody else could say.
fn greet(
    out: &mut impl Write,
    running: &Running,
    has_tls: bool,
    keys: Option<&KeySource>,
    api_token: Option<&Secret>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    if let Some(address) = running.address() {
        let scheme = if has_tls { "wss" } else { "ws" };
        writeln!(out, "WebSockets: {scheme}://{address}/ws")?;
    }
    let Some(address) = running.api_address() else {
        return Ok(writeln!(out, "There is no HTTP API: set api.token_file for one.")?);
    };
    writeln!(out, "HTTP API, demo and dashboard: http://{address}")?;
    if let Some(KeySource::Own(secret)) = keys {
        writeln!(out, "No keys are set (auth.key_file), so this run has its own. For a day these let in:")?;
        for user in ["ana", "bob"] {
            writeln!(out, "  {user}: http://{address}/#token={}", own_token(secret, user, DAY)?)?;
        }
    }
    if let Some(token) = api_token {
        let token = token.reveal();
        writeln!(
            out,
            "The dashboard, with the token of the HTTP API: http://{address}/dashboard#token={token}"
        )?;
    }
    Ok(())
}

fn load(arguments: Serve) -> Result<Config, Box<dyn Error + Send + Sync>> {
    let development = arguments.insecure_development.then(|| "true".to_owned());
    let named = [
        ("server.address", arguments.address),
        ("api.address", arguments.api_address),
        ("history.database", arguments.database),
        ("auth.development", development),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let flags = arguments.settings.into_iter().chain(named);
    let vars = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let vars = vars.filter(|(name, _)| name != "TAUT_HUB_FILE");
    Ok(Config::load(arguments.config.as_deref(), vars, flags)?)
}

fn log(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if json { lines.json().init() } else { lines.init() }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a setting is NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}
