//! Runs cases one after the other, those that wait for deadlines beside each other, and looks after each whether
//! the server still serves.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use crate::Case;
use crate::attack::Attack;
use crate::case::{Judged, Miss};
use crate::cases::{GROUPS, cases};
use crate::process::{Process, raise_files_limit};
use crate::report::{Outcome, Report, Verdict};
use crate::settings::Settings;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// How many cases are done.
    pub done: usize,
    /// How many there are.
    pub total: usize,
    /// What runs.
    pub name: &'static str,
}

/// Attacks the server of the settings, and tells how far it is.
///
/// # Errors
/// Says why there is nothing to attack: no server, one that echoes nothing, no such case.
pub fn attack(settings: &Settings, progress: impl FnMut(Progress)) -> Result<Report, String> {
    let selected = selected(settings)?;
    let attack = prepared(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let run = Run { attack, ended_in: None, progress, done: 0, total: selected.len() };
    LocalSet::new().block_on(&runtime, run.all(&selected))
}

fn selected(settings: &Settings) -> Result<Vec<(&'static str, &'static Case)>, String> {
    let begins = |names: &[String], case: &Case| names.iter().any(|name| case.name.starts_with(&**name));
    let of_group = |names: &[String], group: &str| names.iter().any(|name| name == group);
    if let Some(unknown) = settings.group.iter().find(|name| !GROUPS.iter().any(|group| group.name == **name))
    {
        return Err(format!("there is no group {unknown}; --list shows them"));
    }
    let mut behind = settings.after.is_none();
    let mut selected = Vec::new();
    // In the order in which they run.
    for waits in [false, true] {
        for (group, case) in cases().filter(|(_, case)| case.waits == waits) {
            let wanted = behind
                && !(waits && settings.quick)
                && (settings.only.is_empty() || begins(&settings.only, case))
                && (settings.group.is_empty() || of_group(&settings.group, group))
                && !begins(&settings.without, case)
                && !of_group(&settings.without, group);
            behind = behind || settings.after.as_deref() == Some(case.name);
            if wanted {
                selected.push((group, case));
            }
        }
    }
    if selected.is_empty() { Err("no case is selected; --list shows them".to_owned()) } else { Ok(selected) }
}

fn prepared(settings: &Settings) -> Result<Attack, String> {
    let process = settings.pid.map(Process::new).transpose()?;
    let seconds = |value: f64, name: &str| {
        Duration::try_from_secs_f64(value).map_err(|_| format!("{name} {value} is no time"))
    };
    let ours = raise_files_limit();
    let theirs = process.as_ref().and_then(Process::files_limit).unwrap_or(usize::MAX);
    Ok(Attack {
        target: Rc::new(settings.target.clone().ok_or("no server to attack")?),
        patience: seconds(settings.patience, "--patience")?,
        timeout: seconds(settings.timeout, "--timeout")?,
        deadline: seconds(settings.deadline, "--deadline")?,
        connections: settings.connections.min(ours.min(theirs).saturating_sub(FILES_BESIDE)),
        ours,
        process,
    })
}

struct Run<P> {
    attack: Attack,
    ended_in: Option<&'static str>,
    progress: P,
    done: usize,
    total: usize,
}

impl<P: FnMut(Progress)> Run<P> {
    async fn all(mut self, selected: &[(&'static str, &'static Case)]) -> Result<Report, String> {
        let began = Instant::now();
        self.attack.healthy().await.map_err(|miss| match miss {
            Miss::Failed(why) | Miss::Skipped(why) => format!("{} does not echo: {why}", self.attack.target),
        })?;
        let mut outcomes = Vec::new();
        for (group, case) in selected.iter().filter(|(_, case)| !case.waits) {
            self.tell(case.name);
            let outcome = match self.ended_in {
                None => alone(&self.attack, group, case).await,
                Some(name) => outcome(group, case, Err(Miss::Skipped(format!("the server ended in {name}")))),
            };
            self.note(&outcome);
            outcomes.push(outcome);
        }
        outcomes.extend(self.beside(selected.iter().filter(|(_, case)| case.waits)).await);
        let order = |outcome: &Outcome| cases().position(|(_, case)| case.name == outcome.name);
        outcomes.sort_by_key(order);
        Ok(Report {
            target: self.attack.target.to_string(),
            watched: self.attack.process.is_some(),
            seconds: began.elapsed().as_secs_f64(),
            ended_in: self.ended_in,
            outcomes,
        })
    }

    /// Runs these at the same time.
    async fn beside(
        &mut self,
        selected: impl Iterator<Item = &(&'static str, &'static Case)>,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut running = JoinSet::new();
        for &(group, case) in selected {
            if let Some(name) = self.ended_in {
                let miss = Miss::Skipped(format!("the server ended in {name}"));
                outcomes.push(outcome(group, case, Err(miss)));
                continue;
            }
            let attack = self.attack.clone();
            running.spawn_local(async move {
                let began = Instant::now();
                let judged = needs(&attack, case).and(Ok(()));
                let judged = match judged {
                    Ok(()) => case.run(&attack).await,
                    Err(miss) => Err(miss),
                };
                let judged = still_serves(&attack, judged).await;
                let milliseconds = began.elapsed().as_millis() as u64;
                Outcome { milliseconds, ..outcome(group, case, judged) }
            });
        }
        self.tell("deadlines");
        while let Some(done) = running.join_next().await {
            // A case that panics is a defect of the suite, and not to be hidden.
            let outcome = done.expect("cases do not panic");
            self.note(&outcome);
            outcomes.push(outcome);
            self.tell("deadlines");
        }
        outcomes
    }

    fn tell(&mut self, name: &'static str) {
        (self.progress)(Progress { done: self.done, total: self.total, name });
    }

    fn note(&mut self, outcome: &Outcome) {
        self.done += 1;
        if self.ended_in.is_none() && self.attack.process.as_ref().is_some_and(|process| !process.lives()) {
            self.ended_in = Some(outcome.name);
        }
    }
}

/// Runs a case with the server to itself, and measures it.
async fn alone(attack: &Attack, group: &'static str, case: &'static Case) -> Outcome {
    let measure = attack.process.as_ref();
    let exact = measure.is_some_and(Process::forget_peak);
    let resident = measure.and_then(Process::resident);
    let time = measure.and_then(Process::time);
    let began = Instant::now();
    let judged = match needs(attack, case) {
        Ok(()) => case.run(attack).await,
        Err(miss) => Err(miss),
    };
    let milliseconds = began.elapsed().as_millis() as u64;
    let peak = measure.and_then(|process| if exact { process.peak() } else { process.resident() });
    let memory = peak.zip(resident).map(|(peak, resident)| peak.saturating_sub(resident));
    let spent = measure.and_then(Process::time).zip(time).map(|(after, before)| after.saturating_sub(before));
    let judged = judged.and_then(|detail| match (case.memory, memory) {
        (Some(most), Some(grown)) if grown > most << 20 => {
            Err(Miss::Failed(format!("{detail}, but memory grows by {} MiB, over {most}", grown >> 20)))
        }
        (Some(most), Some(_)) => Ok(format!("{detail}, and memory stays within {most} MiB")),
        _ => Ok(detail),
    });
    let judged = still_serves(attack, judged).await;
    let processor_milliseconds = spent.map(|spent| spent.as_millis() as u64);
    Outcome { milliseconds, memory, processor_milliseconds, ..outcome(group, case, judged) }
}

fn needs(attack: &Attack, case: &Case) -> Result<(), Miss> {
    if case.needs_process { attack.process().map(|_| ()) } else { Ok(()) }
}

/// What was judged, unless the server serves nobody any more.
async fn still_serves(attack: &Attack, judged: Judged) -> Judged {
    let Err(Miss::Failed(why)) = attack.healthy().await else { return judged };
    if attack.process.as_ref().is_some_and(|process| !process.lives()) {
        return Err(Miss::failed("the server's process ended"));
    }
    let before = match judged {
        Ok(detail) | Err(Miss::Failed(detail) | Miss::Skipped(detail)) => detail,
    };
    Err(Miss::Failed(format!("{before}; afterwards a healthy client: {why}")))
}

fn outcome(group: &'static str, case: &'static Case, judged: Judged) -> Outcome {
    let (verdict, detail) = match judged {
        Ok(detail) => (Verdict::Passed, detail),
        Err(Miss::Failed(why)) => (Verdict::Failed, why),
        Err(Miss::Skipped(why)) => (Verdict::Skipped, why),
    };
    let Case { name, kind, .. } = *case;
    let rule = case.rule();
    let (memory, processor_milliseconds) = (None, None);
    Outcome { name, group, kind, rule, verdict, detail, milliseconds: 0, memory, processor_milliseconds }
}

/// What a process has open beside the connections of a flood.
const FILES_BESIDE: usize = 200;
