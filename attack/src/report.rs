//! What was found, as a table for people, as Markdown and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cases::{GROUPS, cases};
use crate::{Case, Kind};

/// What a run found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Who was attacked.
    pub target: String,
    /// Whether the server's process was watched.
    pub watched: bool,
    /// How long it took.
    pub seconds: f64,
    /// The case during which the server's process ended, if it did.
    pub ended_in: Option<&'static str>,
    /// A result for each case, in the order of [`cases`](crate::cases()).
    pub outcomes: Vec<Outcome>,
}

/// The result of a case.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The case's.
    pub name: &'static str,
    /// The group that it is in.
    pub group: &'static str,
    /// What a failure means.
    pub kind: Kind,
    /// The rule with its source.
    pub rule: String,
    /// The judgement.
    pub verdict: Verdict,
    /// What the server did, or why the case failed or was skipped.
    pub detail: String,
    /// How long it took.
    pub milliseconds: u64,
    /// How far the server's memory grew meanwhile, at its peak, in bytes.
    pub memory: Option<u64>,
    /// How long processors worked for the server meanwhile.
    pub processor_milliseconds: Option<u64>,
}

/// The judgement of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// The server does what it must, or is as hard as it should be.
    Passed,
    /// It does not.
    Failed,
    /// It could not be told.
    Skipped,
}

impl Report {
    /// How many outcomes there are with this verdict, of this kind or of both.
    #[must_use]
    pub fn count(&self, verdict: Verdict, kind: Option<Kind>) -> usize {
        let counted =
            |outcome: &&Outcome| outcome.verdict == verdict && kind.is_none_or(|kind| outcome.kind == kind);
        self.outcomes.iter().filter(counted).count()
    }

    /// The result of the case of this name, if it was run.
    #[must_use]
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.name == name)
    }

    /// The table for a terminal, ending with the counts.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        for group in GROUPS {
            let mut outcomes = self.outcomes.iter().filter(|outcome| outcome.group == group.name).peekable();
            if outcomes.peek().is_some() {
                let _ = writeln!(table, "\n{}: {}", group.name, group.title);
            }
            for outcome in outcomes {
                let memory = outcome.memory.map_or(String::new(), |bytes| format!("{} MiB", bytes >> 20));
                let _ = writeln!(
                    table,
                    "  {:<7} {:<10} {:<50} {:>6} ms {:>9}  {}",
                    outcome.verdict.name(),
                    outcome.kind.name(),
                    outcome.name,
                    outcome.milliseconds,
                    memory,
                    outcome.detail,
                );
            }
        }
        let failed: Vec<_> =
            self.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Failed).collect();
        if !failed.is_empty() {
            table.push_str("\nfailed\n");
        }
        for outcome in failed {
            let (kind, name) = (outcome.kind.name(), outcome.name);
            let _ = writeln!(table, "  {kind:<10} {name}: {}\n             {}", outcome.detail, outcome.rule);
        }
        table.push('\n');
        for kind in [Kind::Must, Kind::Hardening] {
            let _ = writeln!(table, "{:<10} {}", kind.name(), self.counts(Some(kind)));
        }
        let _ = writeln!(table, "{}", self.counts(None));
        table
    }

    /// The same as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# {}\n\n{}, in {:.0} s. Must: {}. Hardening: {}.\n\n\
             | case | kind | verdict | what the server did | rule |\n|---|---|---|---|---|\n",
            self.target,
            self.counts(None),
            self.seconds,
            self.counts(Some(Kind::Must)),
            self.counts(Some(Kind::Hardening)),
        );
        for outcome in &self.outcomes {
            let verdict = outcome.verdict.name();
            let cells = [outcome.name, outcome.kind.name(), verdict, &outcome.detail, &outcome.rule];
            let _ = writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
        }
        text
    }

    fn counts(&self, kind: Option<Kind>) -> String {
        let [passed, failed, skipped] =
            [Verdict::Passed, Verdict::Failed, Verdict::Skipped].map(|verdict| self.count(verdict, kind));
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// The table of the cases with what they do and their rules.
#[must_use]
pub fn list() -> String {
    let mut table = String::new();
    for group in GROUPS {
        let _ = writeln!(table, "{}: {}", group.name, group.title);
        for case in group.cases() {
            let Case { name, does, kind, .. } = case;
            let kind = kind.name();
            let _ = writeln!(table, "  {name:<50} {kind:<10} {does}\n{:<64}{}", "", case.rule());
        }
    }
    let _ = writeln!(table, "{} cases", cases().count());
    table
}
