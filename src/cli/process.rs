//! What the operating system says about a process: limits, CPU time, memory, and a directory's size. Reads and reports;
//! the one thing that it sets is this process's own open-file limit.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit of open files to the most that it may have, and says what it is then.
pub fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        // The soft limit still holds; fewer connections, but a server.
        Err(_) => limit.current,
    };
    now.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// A process that is watched through `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct Watched(u32);

impl Watched {
    /// The process with this id; `None` where `/proc` doesn't show it.
    pub fn new(pid: u32) -> Option<Self> {
        let watched = Self(pid);
        watched.cpu().map(|_| watched)
    }

    /// This process.
    pub fn own() -> Option<Self> {
        Self::new(std::process::id())
    }

    /// CPU time of all its threads so far, those that ended included; in steps of a clock tick (10 ms).
    pub fn cpu(self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        // The name may hold spaces and brackets; the fields after its last bracket are numbers.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let tick = Duration::from_secs(1) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
        Some(tick * u32::try_from(ticks).ok()?)
    }

    /// Its resident memory, bytes.
    pub fn resident(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }
}

/// Bytes on the disk of the store in a directory, without what lies beside its records.
pub fn store_bytes(dir: &Path) -> u64 {
    ["log", "tables"].iter().map(|part| disk_bytes(&dir.join(part))).sum()
}

/// Bytes that a directory's files take on the disk, those in its folders included.
fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let meta = entry.metadata().ok()?;
            Some(if meta.is_dir() { disk_bytes(&entry.path()) } else { meta.blocks() * 512 })
        })
        .sum()
}

/// Whether a directory is in memory, so that flushes cost nothing there.
pub fn is_in_memory(dir: &Path) -> bool {
    const TMPFS: i128 = 0x0102_1994;
    rustix::fs::statfs(dir).is_ok_and(|fs| i128::from(fs.f_type) == TMPFS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_watched() {
        let own = Watched::own().unwrap();
        assert!(own.resident().unwrap() > 1 << 20);
        let before = own.cpu().unwrap();
        let mut sum = 0_u64;
        while own.cpu().unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
        }
        assert!(Watched::new(u32::MAX).is_none());
    }

    #[test]
    fn a_directory_weighs_what_its_files_weigh() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::write(dir.path().join("in/file"), vec![1; 100_000]).unwrap();
        fs::File::open(dir.path().join("in/file")).unwrap().sync_all().unwrap();
        assert!(disk_bytes(dir.path()) >= 98_304);
        assert_eq!(disk_bytes(&dir.path().join("none")), 0);
    }

    #[test]
    fn the_open_file_limit_ends_at_the_hard_one() {
        let raised = raise_open_files();
        assert_eq!(raised, raise_open_files());
        assert!(raised > 0);
    }
}
