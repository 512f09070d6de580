//! CPU time and memory of a process on this machine, as the kernel accounts for it (proc(5)).

use std::time::Duration;

/// The unit of CPU time in `/proc` (`USER_HZ`, 100 on every Linux).
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a process has used: in user mode, and in the kernel on its behalf.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl CpuTime {
    /// CPU time of the process so far; zero if there is no such process.
    pub(crate) fn of(pid: u32) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').unwrap_or_default().1;
        let field = |n: usize| {
            after_name.split(' ').nth(n).and_then(|it| it.parse::<u32>().ok()).unwrap_or_default()
        };
        Self { user: TICK * field(12), system: TICK * field(13) }
    }

    /// CPU time used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        let user = self.user.saturating_sub(before.user);
        Self { user, system: self.system.saturating_sub(before.system) }
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

/// Resident memory of a process in KiB; 0 if there is no such process.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The process on this machine that listens on a TCP port, if `/proc` shows it.
pub(crate) fn listening(port: u16) -> Option<u32> {
    let ending = format!(":{port:04X}");
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = std::fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(1)?.ends_with(&ending) && *fields.get(3)? == "0A";
            listens.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
        })
    })?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        targets.any(|target| target.as_os_str() == inode.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_process_and_its_memory_are_found_by_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();

        let own = std::process::id();
        assert_eq!(listening(port), Some(own));
        assert!(resident_kib(own) > 1000);
        drop(listener);
        assert_eq!(listening(port), None);
    }
}
