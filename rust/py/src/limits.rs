//! What the system lets this process have: open files, as many as it can get, and memory.

use std::sync::OnceLock;

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
    let machine = read("/proc/meminfo").and_then(|text| amount(&text, "MemTotal:"));
    let groups = groups().iter().map(|group| group.limit);
    machine.into_iter().chain(groups).min()
}

/// Bytes of it that this process can still get, as far as anybody tells: what only keeps files at hand
/// is given up before anything fails.
pub(crate) fn memory_left() -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| amount(&text, "MemAvailable:"));
    let left = |group: &Group| {
        let used: u64 = read(&group.used)?.trim().parse().ok()?;
        let files = droppable(&read(&group.shares)?);
        Some(group.limit.saturating_sub(used.saturating_sub(files)))
    };
    let groups = groups().iter().filter_map(left);
    machine.into_iter().chain(groups).min()
}

/// The groups around this process that have a limit; as they were when first asked.
fn groups() -> &'static [Group] {
    static GROUPS: OnceLock<Vec<Group>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let around = groups_around(&read("/proc/self/cgroup").unwrap_or_default());
        let limited = around.into_iter().filter_map(|mut group| {
            group.limit = read(&group.limits)?.trim().parse().ok()?;
            Some(group)
        });
        limited.collect()
    })
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Bytes, from `/proc/meminfo`.
fn amount(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// A control group of memory, of the old kind or the unified one: its files, and what they said.
#[derive(Debug, PartialEq)]
struct Group {
    limits: String,
    used: String,
    shares: String,
    limit: u64,
}

/// The groups in `/proc/self/cgroup`, and all those around them. One seen from within its own
/// namespace is the root.
fn groups_around(groups: &str) -> Vec<Group> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, limits, used) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max", "memory.current"),
            _ if controllers.split(',').any(|name| name == "memory") => (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            ),
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            found.push(Group {
                limits: format!("{root}{path}/{limits}"),
                used: format!("{root}{path}/{used}"),
                shares: format!("{root}{path}/memory.stat"),
                limit: u64::MAX,
            });
            match path.rsplit_once('/') {
                Some((above, _)) => path = above,
                None => break,
            }
        }
    }
    found
}

/// Bytes of files in memory, from a `memory.stat`: the kernel drops them where it needs room. The
/// old kind tells those of all groups below as well.
fn droppable(stat: &str) -> u64 {
    let of = |name: &str| -> u64 {
        stat.lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or_default()
    };
    let below = of("total_active_file") + of("total_inactive_file");
    below.max(of("active_file") + of("inactive_file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_machine_is_read() {
        let text = "MemTotal:       24683732 kB\nMemFree:        23615000 kB\n";
        assert_eq!(amount(text, "MemTotal:"), Some(24_683_732 << 10));
        assert_eq!(amount("MemFree: 1 kB", "MemTotal:"), None);
    }

    fn limits(groups: &str) -> Vec<String> {
        groups_around(groups)
            .into_iter()
            .map(|group| group.limits)
            .collect()
    }

    #[test]
    fn limits_are_looked_for_in_every_group_around() {
        assert_eq!(
            limits("0::/system.slice/x.service\n"),
            [
                "/sys/fs/cgroup/system.slice/x.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            limits("9:cpu,cpuacct:/a\n8:memory:/\nnonsense\n"),
            ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
    }

    #[test]
    fn files_in_memory_can_be_dropped() {
        assert_eq!(
            droppable("anon 5\nfile 9\ninactive_file 4\nactive_file 3\n"),
            7
        );
        let old = "inactive_file 1\nactive_file 1\ntotal_inactive_file 6\ntotal_active_file 2\n";
        assert_eq!(droppable(old), 8);
        assert_eq!(droppable(""), 0);
    }
}
