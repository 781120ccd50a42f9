//! What connections cost that say little: the server's time for a handshake, and the memory of one that fell silent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::burst::Burst;
use crate::options::Options;
use crate::socket::{AT_A_TIME, open};

/// Connects, shakes hands and resets, [`AT_A_TIME`] connections together.
pub(crate) fn handshakes(options: &Options) -> Result<String, String> {
    let process = options.process.ok_or("--pid is missing")?;
    repeat(options, options.warm_up)?;
    let before = process.times()?;
    let (handshakes, seconds) = repeat(options, options.seconds)?;
    let after = process.times()?;
    Ok(format!(
        r#"{{"handshakes": {handshakes}, "seconds": {seconds:.6}, "cpu_nanoseconds": {}}}"#,
        (after.total - before.total).as_nanos()
    ))
}

fn repeat(options: &Options, duration: Duration) -> Result<(usize, f64), String> {
    let begin = Instant::now();
    let mut handshakes = 0;
    while begin.elapsed() < duration {
        handshakes += open(options.address, AT_A_TIME)?.len();
    }
    Ok((handshakes, begin.elapsed().as_secs_f64()))
}

/// The memory of the server for each connection that has exchanged a burst and is silent.
pub(crate) fn idle(options: &Options) -> Result<String, String> {
    let process = options.process.ok_or("--pid is missing")?;
    let burst = Burst::new(options.kind, options.size, options.depth, options.raw);
    // What the server takes once, whoever comes.
    let first = talk(options, &burst, AT_A_TIME)?;
    sleep(SETTLE);
    let before = process.resident()?;
    let silent = talk(options, &burst, options.connections)?;
    sleep(SETTLE);
    let after = process.resident()?;
    drop((first, silent));
    Ok(format!(
        r#"{{"connections": {}, "before": {before}, "after": {after}, "bytes_per_connection": {:.0}}}"#,
        options.connections,
        (after as f64 - before as f64) / options.connections as f64,
    ))
}

/// Opens connections, and lets them talk, [`AT_A_TIME`] of them together.
fn talk(options: &Options, burst: &Burst, connections: usize) -> Result<Vec<TcpStream>, String> {
    let mut all = open(options.address, connections)?;
    let mut answers = vec![0; burst.answers.len()];
    for some in all.chunks_mut(AT_A_TIME) {
        for stream in &mut *some {
            stream.write_all(&burst.frames).map_err(|error| format!("the server takes no more: {error}"))?;
        }
        for stream in some {
            stream
                .read_exact(&mut answers)
                .map_err(|error| format!("the server does not answer: {error}"))?;
            if answers != burst.answers {
                return Err("a message comes back changed".into());
            }
        }
    }
    Ok(all)
}

/// Time for the server to give back what it gives back by itself.
const SETTLE: Duration = Duration::from_millis(500);
