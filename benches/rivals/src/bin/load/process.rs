//! What Linux tells of another process.

use std::fs;
use std::time::Duration;

pub(crate) struct Process {
    pid: u32,
}

impl Process {
    pub(crate) const fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// The time of all its threads, in user space and in the kernel.
    pub(crate) fn cpu_time(&self) -> Result<Duration, String> {
        let stat = self.read("stat")?;
        // The name of the program, in parentheses, may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(STAT_USER_TIME).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// The bytes that are in memory.
    pub(crate) fn resident(&self) -> Result<u64, String> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.map(|kibibytes| kibibytes << 10).ok_or_else(|| "the server has ended".into())
    }

    fn read(&self, file: &str) -> Result<String, String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).map_err(|_| "the server has ended".into())
    }
}

/// Where `utime` stands behind the name, with `stime` next to it (proc_pid_stat(5)).
const STAT_USER_TIME: usize = 11;

/// What Linux shows to user space on every architecture of today.
const TICKS_PER_SECOND: u64 = 100;
