//! The prompt: lines that are edited, their history, and what could come next.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::mpsc as channel;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::config::CompletionType;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};
use taut::proto::CloseCode;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::above::Printer;
use super::command::{Action, COMMANDS, Line, help};
use crate::exit::{Exit, Failure};

/// Reads lines in a thread of its own until the person ends it, and gives what writes above the prompt.
pub(super) fn start(history: Option<PathBuf>, actions: Sender<Action>) -> Result<Printer, Failure> {
    let (sender, printer) = channel::sync_channel(1);
    std::thread::spawn(move || {
        let made = editor(history.as_deref()).and_then(|mut editor| {
            let printer: Printer = Box::new(editor.create_external_printer()?);
            Ok((editor, printer))
        });
        match made {
            Ok((editor, printer)) => {
                if sender.send(Ok(printer)).is_ok() {
                    read(editor, history.as_deref(), &actions);
                }
            }
            // Whoever waits is gone, or hears why.
            Err(error) => drop(sender.send(Err(error))),
        }
    });
    let failed = |text: String| Failure::new(Exit::Failed, format!("there is no prompt: {text}"));
    let printer = printer.recv().map_err(|_| failed("its thread ended".to_owned()))?;
    printer.map_err(|error| failed(error.to_string()))
}

/// Where the history is, by default.
pub(super) fn default_history() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().map(|home| home.join(".local").join("state"));
    Some(folder.or_else(home)?.join("taut").join("history"))
}

fn editor(history: Option<&Path>) -> rustyline::Result<Editor<Words, FileHistory>> {
    let config = Config::builder()
        .max_history_size(MOST_LINES)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Words(FilenameCompleter::new())));
    if let Some(path) = history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    Ok(editor)
}

fn read(mut editor: Editor<Words, FileHistory>, history: Option<&Path>, actions: &Sender<Action>) {
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => break,
            Err(error) => {
                let failure = Failure::new(Exit::Failed, format!("the prompt: {error}"));
                // If nobody listens, it ends anyway.
                let _ = actions.blocking_send(Action::Fail(failure));
                return;
            }
        };
        // A history that cannot be written is not worth the conversation.
        let _ = editor.add_history_entry(&line);
        if let Some(path) = history {
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = editor.append_history(path);
        }
        match Line::parse(line.trim_end()) {
            // It must not wait for the connection here, which may wait for the prompt to show something.
            Ok(Line::Action(action)) => match actions.try_send(action) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    println!("this was not taken: {MOST_WAITING} lines wait to be sent")
                }
                Err(TrySendError::Closed(_)) => return,
            },
            Ok(Line::Help) => print!("{}", help()),
            Ok(Line::Nothing) => {}
            Err(problem) => println!("{problem}"),
        }
    }
    // Without the prompt, nothing waits to be shown above it.
    drop(editor);
    let _ = actions.blocking_send(Action::Close(CloseCode::NORMAL.into()));
}

/// Knows commands and files.
struct Words(FilenameCompleter);

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..position];
        if typed.starts_with("/file ") {
            return self.0.complete(line, position, context);
        }
        let fits = |name: &&str| typed.starts_with('/') && name.starts_with(typed);
        let names = COMMANDS.iter().map(|command| command.name).filter(fits);
        let pair = |name: &str| Pair { display: name.to_owned(), replacement: format!("{name} ") };
        Ok((0, names.map(pair).collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}

impl Validator for Words {}

impl Helper for Words {}

/// How many lines may wait to be sent.
pub(super) const MOST_WAITING: usize = 1_024;

/// How many lines the history keeps.
const MOST_LINES: usize = 1_000;
