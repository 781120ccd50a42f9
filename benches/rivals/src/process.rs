//! What Linux tells of another process.

use std::fs;
use std::time::Duration;

/// A server, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: i32,
}

/// Times of a process since it began.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Of all its threads, in user space and in the kernel.
    pub total: Duration,
    /// The part in user space, as far as the kernel's ticks tell.
    pub user_share: Ticks,
}

/// A coarse count of where the time went.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    pub user: u64,
    pub system: u64,
}

impl Process {
    /// The process with that number.
    #[must_use]
    pub const fn new(pid: i32) -> Self {
        Self { pid }
    }

    /// Its times.
    ///
    /// # Errors
    /// It has ended.
    pub fn times(&self) -> Result<Times, String> {
        let stat = self.read("stat")?;
        // The name of the program, in parentheses, may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut ticks =
            fields.split_whitespace().skip(STAT_USER_TIME).map(|ticks| ticks.parse().unwrap_or(0));
        let mut next = || ticks.next().unwrap_or(0);
        let user_share = Ticks { user: next(), system: next() };
        Ok(Times { total: self.clock()?, user_share })
    }

    /// The bytes that are in memory.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident(&self) -> Result<u64, String> {
        // `status` counts in batches for each processor; `smaps_rollup` looks at the pages.
        let (file, name) =
            if self.read("smaps_rollup").is_ok() { ("smaps_rollup", "Rss:") } else { ("status", "VmRSS:") };
        let text = self.read(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.map(|kibibytes| kibibytes << 10).ok_or_else(|| ENDED.into())
    }

    /// What all its threads have run, those that ended too, to the nanosecond.
    #[expect(unsafe_code, reason = "no safe interface has the clock of another process")]
    fn clock(&self) -> Result<Duration, String> {
        let mut clock = 0;
        // SAFETY: the pointer is to a live clockid_t, which the call writes.
        if unsafe { libc::clock_getcpuclockid(self.pid, &raw mut clock) } != 0 {
            return Err(ENDED.into());
        }
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a live timespec, which the call writes.
        if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
            return Err(ENDED.into());
        }
        Ok(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    fn read(&self, file: &str) -> Result<String, String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).map_err(|_| ENDED.into())
    }
}

/// Where `utime` stands behind the name, with `stime` next to it (proc_pid_stat(5)).
const STAT_USER_TIME: usize = 11;

const ENDED: &str = "the server has ended";
