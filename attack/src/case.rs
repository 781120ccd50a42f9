//! What a case is: its name, its rule, what it does, and who judges it.

use std::future::Future;
use std::pin::Pin;

use crate::attack::Attack;
use crate::peer::{Answer, Peer};
use crate::request::Request;

/// A named attack with its rule.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Case {
    /// Unique, in lower case, with underscores.
    pub name: &'static str,
    /// What a failure means.
    pub kind: Kind,
    /// Where the rule stands: the section of an RFC, an advisory, or "hardening".
    pub source: &'static str,
    /// What the rule says: an RFC in its words, others in short.
    pub words: &'static str,
    /// What the attacker does.
    pub does: &'static str,
    /// Whether it waits for a deadline of the server. Such cases run beside each other, behind all others.
    pub waits: bool,
    /// How many MiB the server's memory may grow meanwhile.
    pub memory: Option<u64>,
    /// Whether there is nothing to be judged but what the system tells of the server's process.
    pub needs_process: bool,
    pub(crate) script: Script,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// The server breaks a MUST of an RFC, or stops serving others.
    Must,
    /// The server has no limit, or a wide one, where a careful server has one. No RFC asks for it.
    Hardening,
}

/// What a case found: in short what the server did, or why it did not pass.
pub(crate) type Judged = Result<String, Miss>;

/// A case that did not pass.
#[derive(Clone, Debug)]
pub(crate) enum Miss {
    Failed(String),
    Skipped(String),
}

pub(crate) type Task = Pin<Box<dyn Future<Output = Judged>>>;

/// How a case runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Script {
    /// A connection has to fail over these bytes; nothing behind them may be answered.
    Fails(fn() -> Vec<u8>),
    /// A connection has to fail over these bytes, although they are no whole frame.
    FailsEarly(fn() -> Vec<u8>),
    /// These bytes are right. They are echoed as this message, and the connection goes on.
    Echoes(fn() -> Vec<u8>, fn() -> (u8, Vec<u8>)),
    /// A handshake that must not succeed.
    Refused(fn(Request) -> Request),
    /// A handshake that may succeed or not, and has to be answered, or dropped.
    Answered(fn(Request) -> Request),
    /// A handshake that must succeed.
    Accepted(fn(Request) -> Request),
    /// Anything else.
    Run(fn(Attack) -> Task),
}

impl Case {
    pub(crate) const fn must(
        name: &'static str,
        source: &'static str,
        words: &'static str,
        does: &'static str,
        script: Script,
    ) -> Self {
        let (kind, waits, memory) = (Kind::Must, false, None);
        Self { name, kind, source, words, does, waits, memory, needs_process: false, script }
    }

    pub(crate) const fn hardening(
        name: &'static str,
        source: &'static str,
        words: &'static str,
        does: &'static str,
        script: Script,
    ) -> Self {
        Self { kind: Kind::Hardening, ..Self::must(name, source, words, does, script) }
    }

    pub(crate) const fn waits(self) -> Self {
        Self { waits: true, ..self }
    }

    /// Besides, the server's memory may grow by so many MiB.
    pub(crate) const fn memory(self, mebibytes: u64) -> Self {
        Self { memory: Some(mebibytes), ..self }
    }

    pub(crate) const fn needs_process(self) -> Self {
        Self { needs_process: true, ..self }
    }

    /// The rule with its source.
    #[must_use]
    pub fn rule(&self) -> String {
        format!("{}: {}", self.source, self.words)
    }

    pub(crate) async fn run(&self, attack: &Attack) -> Judged {
        match self.script {
            Script::Fails(bytes) => attack.open().await?.fails(&bytes()).await,
            Script::FailsEarly(bytes) => {
                let mut peer = attack.open().await?;
                peer.send(&bytes()).await;
                peer.failed().await
            }
            Script::Echoes(bytes, message) => {
                let mut peer = attack.open().await?;
                peer.send(&bytes()).await;
                let (opcode, payload) = message();
                peer.expect(opcode, &payload).await?;
                peer.goes_on().await.map(|_| "echoed".to_owned())
            }
            Script::Refused(wrong) => refused(&mut attack.ask(&wrong(attack.request())).await?).await,
            Script::Answered(strange) => answered(&mut attack.ask(&strange(attack.request())).await?).await,
            Script::Accepted(right) => {
                let mut peer = attack.ask(&right(attack.request())).await?;
                peer.accepted().await?;
                peer.goes_on().await.map(|_| "accepted".to_owned())
            }
            Script::Run(run) => run(attack.clone()).await,
        }
    }
}

impl Kind {
    /// In lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Hardening => "hardening",
        }
    }
}

impl Miss {
    pub(crate) fn failed(why: &str) -> Self {
        Self::Failed(why.to_owned())
    }

    pub(crate) fn skipped(why: &str) -> Self {
        Self::Skipped(why.to_owned())
    }
}

impl From<std::io::Error> for Miss {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Judges that the request that was sent is refused.
pub(crate) async fn refused(peer: &mut Peer) -> Judged {
    match peer.answer().await {
        Answer::Response(response) if response.status == 101 => Err(Miss::failed("it is accepted")),
        Answer::Response(response) => Ok(format!("status {}", response.status)),
        Answer::End(ending) => Ok(ending.to_string()),
        Answer::Silence => Err(Miss::failed("no answer, and no end")),
    }
}

/// Judges that the request that was sent is answered or dropped.
pub(crate) async fn answered(peer: &mut Peer) -> Judged {
    match peer.answer().await {
        Answer::Response(response) if response.status == 101 => match response.fault() {
            Some(fault) => Err(Miss::Failed(fault)),
            None => peer.goes_on().await.map(|_| "accepted".to_owned()),
        },
        Answer::Response(response) => Ok(format!("status {}", response.status)),
        Answer::End(ending) => Ok(ending.to_string()),
        Answer::Silence => Err(Miss::failed("no answer, and no end")),
    }
}
