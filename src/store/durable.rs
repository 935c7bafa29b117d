//! Makes sled's flush reach the disk. On Linux it ends in `sync_file_range`, which makes nothing durable; when the kernel
//! answers that with `ENOSYS`, sled falls back to `fsync` by itself. So once a process, a seccomp filter answers it so.
//!
//! The filter touches that one system call and lets all else through. It can't be taken off again, and programs that
//! the process starts inherit it. Elsewhere sled calls `fsync` of its own, and there is nothing to do.

use std::sync::OnceLock;

use crate::error::Fault;

/// Installs the filter on every thread of this process, present and future, and proves it; at most once, the outcome is
/// kept. [`Fault::NotDurable`] says why a flush can't be trusted here: `--ack durable` must then be refused.
///
/// IMPORTANT: call it before the first store is opened. Opening one calls it too, but goes on without it.
pub fn make_flushes_real() -> Result<(), Fault> {
    static DONE: OnceLock<Result<(), Fault>> = OnceLock::new();
    DONE.get_or_init(platform::make_flushes_real).clone()
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use crate::error::Fault;

    pub(super) fn make_flushes_real() -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(all(target_os = "linux", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod platform {
    use crate::error::Fault;

    pub(super) fn make_flushes_real() -> Result<(), Fault> {
        Err(Fault::NotDurable("on Linux the system-call filter is known for x86_64 and aarch64 alone".into()))
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod platform {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;
    use std::thread;
    use std::time::Duration;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads};

    use crate::error::Fault;

    /// How often a task is looked at that has too few filters, and how long in between.
    const LOOKS: usize = 100;
    const LOOK_AGAIN: Duration = Duration::from_millis(10);

    pub(super) fn make_flushes_real() -> Result<(), Fault> {
        let filter = filter().map_err(|why| not_durable("building the system-call filter", &why))?;
        let before = filters_of(Path::new("/proc/thread-self"))?;
        apply_filter_all_threads(&filter).map_err(|why| not_durable("installing the system-call filter", &why))?;
        prove(before)
    }

    /// That the kernel counts one filter more than before on every task. `Seccomp: 2` alone would prove nothing: many
    /// containers have it from the start.
    fn prove(before: u32) -> Result<(), Fault> {
        let doing = "listing this process's threads";
        for task in fs::read_dir("/proc/self/task").map_err(|why| not_durable(doing, &why))? {
            let task = task.map_err(|why| not_durable(doing, &why))?.path();
            let look = || match filters_of(&task) {
                Err(_) if !task.exists() => Ok(None),
                found => found.map(Some),
            };
            if let Some(now) = too_few(before, look)? {
                let task = task.display();
                return Err(Fault::NotDurable(format!("{task} has {now} filters, as many as before")));
            }
        }
        Ok(())
    }

    /// How many filters a task has, if that stays too few. `None` of a look: the task has ended, and needs no filter. The kernel
    /// passes over one that is about to end, which is gone a moment later and calls nothing any more.
    fn too_few(before: u32, look: impl Fn() -> Result<Option<u32>, Fault>) -> Result<Option<u32>, Fault> {
        let mut last = None;
        for _ in 0..LOOKS {
            match look()? {
                // More than one: a thread may have installed another since.
                Some(now) if now <= before => last = Some(now),
                _ => return Ok(None),
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(last)
    }

    fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
        let arch = if cfg!(target_arch = "aarch64") { TargetArch::aarch64 } else { TargetArch::x86_64 };
        // No conditions: every call with this number matches.
        let rules = BTreeMap::from([(libc::SYS_sync_file_range, Vec::new())]);
        let no_such_call = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        SeccompFilter::new(rules, SeccompAction::Allow, no_such_call, arch)?.try_into()
    }

    fn filters_of(task: &Path) -> Result<u32, Fault> {
        let path = task.join("status");
        let status =
            fs::read_to_string(&path).map_err(|why| not_durable(&format!("reading {}", path.display()), &why))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("Seccomp_filters:")?.trim().parse().ok())
            .ok_or_else(|| Fault::NotDurable(format!("{} counts no filters: Linux 5.9 or newer does", path.display())))
    }

    fn not_durable(doing: &str, why: &dyn std::fmt::Display) -> Fault {
        Fault::NotDurable(format!("{doing}: {why}"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn threads_from_before_and_after_have_the_filter() {
            let (leave, stay) = std::sync::mpsc::channel::<()>();
            let early = std::thread::spawn(move || {
                stay.recv().expect("told to leave");
                filters_of(Path::new("/proc/thread-self")).unwrap()
            });
            super::super::make_flushes_real().unwrap();
            leave.send(()).expect("it waits");
            let late = std::thread::spawn(|| filters_of(Path::new("/proc/thread-self")).unwrap());
            let here = filters_of(Path::new("/proc/thread-self")).unwrap();
            assert!(here > 0);
            assert_eq!((early.join().unwrap(), late.join().unwrap()), (here, here));
        }

        #[test]
        fn a_filter_that_is_missing_is_noticed() {
            super::super::make_flushes_real().unwrap();
            let now = filters_of(Path::new("/proc/thread-self")).unwrap();
            assert!(matches!(prove(now), Err(Fault::NotDurable(_))));
            assert!(prove(now - 1).is_ok());
        }

        #[test]
        fn a_thread_that_is_about_to_end_needs_none() {
            let looks = std::cell::Cell::new(0);
            let ending = || {
                looks.set(looks.get() + 1);
                Ok(Some(1).filter(|_| looks.get() < 3))
            };
            assert_eq!((too_few(1, ending).unwrap(), looks.get()), (None, 3));
            assert_eq!(too_few(1, || Ok(Some(1))).unwrap(), Some(1), "it stays");
            assert_eq!(too_few(1, || Ok(Some(2))).unwrap(), None);
        }
    }
}
