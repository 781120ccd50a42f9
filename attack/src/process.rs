//! What Linux tells of the server's process: memory, files, time of its processors.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A process that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Result<Self, String> {
        let process = Self { folder: PathBuf::from(format!("/proc/{pid}")) };
        let told = process.resident().is_some() && process.files().is_some();
        told.then_some(process)
            .ok_or_else(|| format!("process {pid} cannot be watched: is it there, and yours?"))
    }

    pub(crate) fn lives(&self) -> bool {
        // One that nobody waited for has no memory.
        self.resident().is_some()
    }

    /// Resident memory in bytes: exactly, or as the kernel's counters of each thread have it.
    pub(crate) fn resident(&self) -> Option<u64> {
        self.kibibytes("smaps_rollup", "Rss:").or_else(|| self.kibibytes("status", "VmRSS:"))
    }

    /// The most resident memory since [`forget_peak`](Self::forget_peak), in bytes.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.kibibytes("status", "VmHWM:")
    }

    /// Memory that was asked for, used or not, in bytes.
    pub(crate) fn reserved(&self) -> Option<u64> {
        self.kibibytes("status", "VmSize:")
    }

    /// Makes the present memory the peak. Tells whether the kernel lets us.
    pub(crate) fn forget_peak(&self) -> bool {
        fs::write(self.folder.join("clear_refs"), "5").is_ok()
    }

    pub(crate) fn files(&self) -> Option<usize> {
        Some(fs::read_dir(self.folder.join("fd")).ok()?.count())
    }

    /// How many files it may open.
    pub(crate) fn files_limit(&self) -> Option<usize> {
        let limits = fs::read_to_string(self.folder.join("limits")).ok()?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// The time that processors worked for it, by the scheduler's count for each thread that lives.
    pub(crate) fn time(&self) -> Option<Duration> {
        let threads = fs::read_dir(self.folder.join("task")).ok()?.flatten();
        let nanoseconds = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Some(Duration::from_nanos(nanoseconds.sum()))
    }

    fn kibibytes(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    }
}

/// Lets this process open as many files as it may. Gives how many.
pub(crate) fn raise_files_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // What the system refuses leaves the limit as it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize)
}
