//! What one process costs, as the kernel accounts for it.

use std::time::Duration;

/// Ticks in which the kernel counts time of the processor (`USER_HZ`, 100 on every Linux).
const TICK: Duration = Duration::from_millis(10);

/// Time of the processor that a process has used so far, its own and the kernel's for it.
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let field = |n: usize| after_name.split(' ').nth(n).unwrap().parse::<u32>().unwrap();
    TICK * (field(12) + field(13))
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All that is resident.
    pub resident: f64,
    /// Of that what is no file's: heap and stacks.
    pub anonymous: f64,
}

/// What a process holds now.
pub fn memory(pid: u32) -> Memory {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kilobytes = |name: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
    };
    Memory { resident: kilobytes("VmRSS:"), anonymous: kilobytes("RssAnon:") }
}
