//! Generations of a store's directory: a new one is built beside the one in force, and takes its place in one step.
//!
//! ```text
//! TREE       in force
//! TREE.new   being built; behind the step, what was in force before
//! TREE.old   what was in force, on a file system that can't exchange two names: there the step is two renames
//! ```
//!
//! Only between those two renames is there no `TREE`; then `TREE.new` is whole, and whoever opens next takes it. Else both
//! are left over, whatever is in them. Never: reads what a store holds.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::files::{sync, sync_dir};
use crate::error::Fault;

/// Who opens a data directory in between holds a lock for two seconds at most, until it finds the other one taken.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(20);

/// Where a new generation is built.
pub(super) fn new_of(dir: &Path, tree: &str) -> PathBuf {
    dir.join(format!("{tree}.new"))
}

fn old_of(dir: &Path, tree: &str) -> PathBuf {
    dir.join(format!("{tree}.old"))
}

/// What is in force, wherever a crash left it.
pub(super) fn in_force(dir: &Path, tree: &str) -> PathBuf {
    let (now, new) = (dir.join(tree), new_of(dir, tree));
    if now.exists() || !new.exists() { now } else { new }
}

/// Names of what a crash left of either store, and the next start settles.
pub(super) fn left_over(dir: &Path) -> Vec<String> {
    let places = ["log", "tables"].into_iter().flat_map(|tree| [new_of(dir, tree), old_of(dir, tree)]);
    places.filter(|path| path.exists()).filter_map(|path| Some(path.file_name()?.to_string_lossy().into())).collect()
}

/// Ends a step that a crash cut in two.
pub(super) fn adopt(dir: &Path, tree: &str) -> Result<(), Fault> {
    let (now, new) = (dir.join(tree), new_of(dir, tree));
    if now.exists() || !new.exists() {
        return Ok(());
    }
    match fs::rename(&new, &now) {
        // Another process that starts was first.
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(why) => Err(renaming(&new, &why)),
        Ok(()) => sync_dir(dir),
    }
}

/// Removes what is left over. For who holds the locks of both stores, and has adopted.
pub(super) fn clear(dir: &Path, tree: &str) -> Result<(), Fault> {
    [new_of(dir, tree), old_of(dir, tree)].iter().try_for_each(|left| match fs::remove_dir_all(left) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            Err(Fault::io(format!("removing {}", left.display()), &why))
        }
        _ => Ok(()),
    })
}

/// The step. Both generations are closed and on the disk; the one that was in force is left over then.
pub(super) fn switch(dir: &Path, tree: &str) -> Result<(), Fault> {
    if !exchange(&dir.join(tree), &new_of(dir, tree))? {
        set_aside(dir, tree)?;
        adopt(dir, tree)?;
    }
    sync_dir(dir)
}

/// The first half of a step of two renames; [`adopt`] is the other.
fn set_aside(dir: &Path, tree: &str) -> Result<(), Fault> {
    let now = dir.join(tree);
    fs::rename(&now, old_of(dir, tree)).map_err(|why| renaming(&now, &why))
}

/// Exchanges two names, if the file system can.
#[cfg(target_os = "linux")]
fn exchange(now: &Path, new: &Path) -> Result<bool, Fault> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, new, CWD, now, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(why) => Err(renaming(new, &why.into())),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> Result<bool, Fault> {
    Ok(false)
}

fn renaming(path: &Path, why: &io::Error) -> Fault {
    Fault::io(format!("renaming {}", path.display()), why)
}

/// Makes a closed store's files durable, names included.
pub(super) fn sync_all(dir: &Path) -> Result<(), Fault> {
    let reading = |why: io::Error| Fault::io(format!("reading {}", dir.display()), &why);
    for entry in fs::read_dir(dir).map_err(reading)? {
        let path = entry.map_err(reading)?.path();
        if path.is_file() {
            sync(&path)?;
        }
    }
    sync_dir(dir)
}

/// The lock of a closed store, taken without opening it. It is free once sled's last thread has let go of the files.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

impl Lock {
    /// Waits for it.
    pub(super) fn of(dir: &Path) -> Result<Self, Fault> {
        let (path, since) = (dir.join("db"), Instant::now());
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(|why| Fault::io(format!("opening {}", path.display()), &why))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => thread::sleep(RETRY),
                Err(TryLockError::WouldBlock) => return Err(Fault::InUse(dir.into())),
                Err(TryLockError::Error(why)) => return Err(Fault::io(format!("locking {}", path.display()), &why)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, place: &str, what: &str) {
        fs::create_dir_all(dir.join(place)).unwrap();
        fs::write(dir.join(place).join("db"), what).unwrap();
    }

    fn settled(dir: &Path) -> String {
        assert_eq!(fs::read_to_string(in_force(dir, "log").join("db")).unwrap(), {
            adopt(dir, "log").unwrap();
            fs::read_to_string(dir.join("log/db")).unwrap()
        });
        clear(dir, "log").unwrap();
        assert!(left_over(dir).is_empty() && fs::read_dir(dir).unwrap().count() == 1);
        fs::read_to_string(dir.join("log/db")).unwrap()
    }

    #[test]
    fn one_generation_is_found_wherever_a_step_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let begin = || {
            write(dir, "log", "old");
            write(dir, "log.new", "new");
        };
        begin();
        assert_eq!(left_over(dir), ["log.new"]);
        assert_eq!(settled(dir), "old", "before the step");
        begin();
        switch(dir, "log").unwrap();
        assert_eq!(settled(dir), "new", "behind it");
        begin();
        set_aside(dir, "log").unwrap();
        assert_eq!(left_over(dir), ["log.new", "log.old"]);
        assert_eq!(settled(dir), "new", "between two renames");
        begin();
        set_aside(dir, "log").unwrap();
        adopt(dir, "log").unwrap();
        assert_eq!(left_over(dir), ["log.old"]);
        assert_eq!(settled(dir), "new", "behind two renames");
        // Nothing to do where nothing was begun.
        assert_eq!(settled(dir), "new");
    }

    #[test]
    fn a_lock_waits_for_whoever_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::store::SledStore::open(dir.path(), "log").unwrap();
        let waiting = std::thread::spawn({
            let dir = dir.path().to_owned();
            move || Lock::of(&dir).map(drop)
        });
        drop(store);
        waiting.join().unwrap().unwrap();
        assert!(Lock::of(&dir.path().join("no")).is_err());
    }
}
