//! What the system lets this process have: open files, as many as it can get, and memory.

/// Raises the limit to the hard one; how many files may be open then.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(crate) fn raise_open_files() -> usize {
    /// More is never used, and some systems say "infinite".
    const MOST: libc::rlim_t = 1 << 20;
    let mut limit = libc::rlimit {
        rlim_cur: 1024,
        rlim_max: 1024,
    };
    // SAFETY: both calls get a pointer to a valid `rlimit` that lives as long as they run.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            let wanted = libc::rlimit {
                rlim_cur: limit.rlim_max.min(MOST).max(limit.rlim_cur),
                rlim_max: limit.rlim_max,
            };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) == 0 {
                limit = wanted;
            }
        }
    }
    usize::try_from(limit.rlim_cur.min(MOST)).unwrap_or(1024)
}

#[cfg(not(unix))]
pub(crate) fn raise_open_files() -> usize {
    8192
}

/// Bytes of memory for this process: those of the machine, or of the control group it is in where
/// that has less. None where nobody tells.
pub(crate) fn memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| total(&text));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups)
        .into_iter()
        .filter_map(|path| read(&path)?.trim().parse().ok());
    machine.into_iter().chain(limits).min()
}

/// Bytes of it that this process can still get, as far as anybody tells: what only keeps files at hand
/// is given up before anything fails.
pub(crate) fn memory_left() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| amount(&text, "MemAvailable:"));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let left = |limit_file: String| {
        let limit: u64 = read(&limit_file)?.trim().parse().ok()?;
        let (folder, name) = limit_file.rsplit_once('/')?;
        let (usage, cached) = match name {
            "memory.max" => ("memory.current", "inactive_file "),
            _ => ("memory.usage_in_bytes", "total_inactive_file "),
        };
        let used: u64 = read(&format!("{folder}/{usage}"))?.trim().parse().ok()?;
        let stat = read(&format!("{folder}/memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(cached));
        let cached = cached.and_then(|bytes| bytes.trim().parse().ok());
        Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or_default())))
    };
    let groups = limit_files(&groups).into_iter().filter_map(left);
    machine.into_iter().chain(groups).min()
}

/// Bytes, from `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    amount(meminfo, "MemTotal:")
}

fn amount(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Where the limits of the groups in `/proc/self/cgroup` are told, of all those around them too.
/// A group seen from within its own namespace is the root.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            files.push(format!("{root}{path}/{file}"));
            match path.rsplit_once('/') {
                Some((above, _)) => path = above,
                None => break,
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_machine_is_read() {
        let text = "MemTotal:       24683732 kB\nMemFree:        23615000 kB\n";
        assert_eq!(total(text), Some(24_683_732 << 10));
        assert_eq!(total("MemFree: 1 kB"), None);
    }

    #[test]
    fn limits_are_looked_for_in_every_group_around() {
        assert_eq!(
            limit_files("0::/system.slice/x.service\n"),
            [
                "/sys/fs/cgroup/system.slice/x.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            limit_files("9:cpu,cpuacct:/a\n8:memory:/\nnonsense\n"),
            ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
    }
}
