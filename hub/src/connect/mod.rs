//! `taut connect`: a client for people, by a prompt, and for scripts, by lines.

#![forbid(unsafe_code)]

mod above;
mod arguments;
mod command;
mod filter;
pub(crate) mod form;
mod input;
mod network;
mod output;
mod pause;
mod prompt;
mod record;
mod session;
mod signals;
mod stats;
mod tap;
mod terminal;

use std::io::{IsTerminal, stdin, stdout};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

pub use crate::exit::Exit;
use crate::exit::Failure;
pub use arguments::{Arguments, Form};
pub use filter::Filter;
use form::Printed;
use input::Input;
use output::Output;
use session::Session;
use terminal::Terminal;

/// Connects, and converses until one of the ends has enough. What went wrong is on the standard error.
///
/// **Cancel safety.** If the future is dropped, the connection ends without a Close, and a terminal with a prompt stays as
/// the prompt has it.
pub async fn run(arguments: Arguments) -> Exit {
    match converse(&arguments).await {
        Ok(exit) => exit,
        Err(Failure { exit, text }) => {
            eprintln!("taut: {}", Printed(&text));
            exit
        }
    }
}

async fn converse(arguments: &Arguments) -> Result<Exit, Failure> {
    let output = Arc::new(Output::new(arguments));
    let session = Session::new(arguments, output.clone())?;
    if arguments.client.dangerous_accept_any_certificate {
        output.note(
            "INSECURE: any certificate is accepted, so that anyone on the way can read and change everything",
        );
    }
    if !has_prompt(arguments) {
        return session.run(&mut Input::new(arguments)?).await;
    }
    let terminal = Terminal::remember();
    let (sender, mut input) = Input::by_hand(prompt::MOST_WAITING);
    output.note("a line is sent as text; /help shows the commands, Ctrl-D closes");
    let history = arguments.history.clone().or_else(prompt::default_history);
    output.set_prompt(prompt::start(history, sender)?);
    let ended = session.run(&mut input).await;
    // A terminal that stands still is not waited for.
    let _ = timeout(LAST_WORDS, output.end_prompt()).await;
    // The last line may be with the prompt's thread.
    sleep(LAST_LINE).await;
    terminal.restore();
    ended
}

fn has_prompt(arguments: &Arguments) -> bool {
    let is_scripted = arguments.lines || arguments.no_input || arguments.replay.is_some();
    !is_scripted && arguments.binary.is_none() && stdin().is_terminal() && stdout().is_terminal()
}

/// How long what was said last may take to be shown.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The same for a line that the prompt has.
const LAST_LINE: Duration = Duration::from_millis(50);
