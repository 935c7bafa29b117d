//! The directory of the store, and the disk under it: who may write there, how much room there is, how long a flush takes.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Finding, bytes};
use crate::cli::process::is_in_memory;
use crate::cli::secrets::holds_store;
use crate::config::{AckMode, Config};

/// Below this the next hour may fill the disk; the store alone takes some 20 MiB.
const ROOM_LEAST: u64 = 256 << 20;
/// 30 million votes, or a log under load.
const ROOM_ENOUGH: u64 = 2 << 30;
/// A log holds files of a few MiB each.
const FILES_LEAST: u64 = 1_000;
const FLUSHES: usize = 24;
/// A flush of the log has some such size.
const FLUSHED: [u8; 8192] = [0x5a; 8192];
const FLUSH_FINE: Duration = Duration::from_millis(10);
const FLUSH_BEARABLE: Duration = Duration::from_millis(100);

/// Everything about the directory.
pub(super) fn directory(config: &Config) -> Vec<Finding> {
    let dir = &config.store.data_dir;
    let mut found = vec![place(dir)];
    let Some(there) = nearest(dir) else { return found };
    found.push(room(&there));
    found.push(flush(&there, config.ack));
    found
}

/// The directory itself, or the nearest above it that is there.
fn nearest(dir: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(dir).ok()?;
    whole.ancestors().find(|dir| dir.is_dir()).map(Path::to_owned)
}

fn place(dir: &Path) -> Finding {
    const WHAT: &str = "directory";
    let shown = dir.display();
    if dir.exists() && !dir.is_dir() {
        return Finding::ill(WHAT, format!("{shown} is no directory"), "name another with --data-dir");
    }
    if !dir.exists() {
        return Finding::well(WHAT, format!("{shown} is not there yet: the first start makes it"));
    }
    if !holds_store(dir) {
        return Finding::well(WHAT, format!("{shown} holds no store yet"));
    }
    match fs::metadata(dir.join("secrets.toml")) {
        Err(_) => Finding::ill(
            WHAT,
            format!("{shown} holds a store, and its secrets.toml is gone or can't be read"),
            "bring the file back from a backup: without it every voter would be somebody new",
        ),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => Finding::poor(
            WHAT,
            format!("others can read {shown}/secrets.toml"),
            format!("chmod 600 {shown}/secrets.toml"),
        ),
        Ok(_) => Finding::well(WHAT, format!("{shown} holds a store")),
    }
}

fn room(dir: &Path) -> Finding {
    const WHAT: &str = "disk space";
    let disk = match rustix::fs::statvfs(dir) {
        Ok(disk) => disk,
        Err(why) => return Finding::ill(WHAT, format!("{}: {why}", dir.display()), "look at the disk's mount"),
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // A file system that counts no files says 0 of 0.
    if disk.f_files > 0 && disk.f_favail < FILES_LEAST {
        return Finding::ill(WHAT, format!("room for {} more files", disk.f_favail), "remove files on this disk");
    }
    let found = format!("{} free on the disk of {}", bytes(free), dir.display());
    let advice = "make room, or name another disk with --data-dir; a vote takes about 65 bytes, a comment 420";
    if free < ROOM_LEAST {
        return Finding::ill(WHAT, found, advice);
    }
    if free < ROOM_ENOUGH { Finding::poor(WHAT, found, advice) } else { Finding::well(WHAT, found) }
}

/// Times flushes of a file that grows, as a log does.
fn flush(dir: &Path, ack: AckMode) -> Finding {
    const WHAT: &str = "flush";
    let times = match timed(dir) {
        Ok(times) => times,
        Err(why) if matches!(why.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            let advice = "give the directory to the user that runs the server, or name another with --data-dir";
            return Finding::ill(WHAT, format!("this user can't write in {}: {why}", dir.display()), advice);
        }
        Err(why) => {
            return Finding::ill(
                WHAT,
                format!("writing in {} failed: {why}", dir.display()),
                "look at the disk: dmesg, smartctl",
            );
        }
    };
    if is_in_memory(dir) {
        let found = format!("{} is in memory: what is flushed there is gone with a power loss", dir.display());
        return Finding::poor(WHAT, found, "name a directory on a disk with --data-dir, but for trying out");
    }
    let (middle, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let found = format!("{:.1} ms in the middle of {}, {:.1} ms at worst", ms(middle), times.len(), ms(worst));
    let advice = match ack {
        AckMode::Durable => {
            "a vote waits for one: choose a disk of its own, best one that keeps its cache in a power loss"
        }
        AckMode::Memory => "the flush follows behind the answer, and falls back under load: choose a faster disk",
    };
    let slow = middle > FLUSH_FINE || worst > FLUSH_BEARABLE;
    if slow { Finding::poor(WHAT, found, advice) } else { Finding::well(WHAT, found) }
}

/// How long each flush took, the shortest first.
fn timed(dir: &Path) -> std::io::Result<Vec<Duration>> {
    let path = dir.join(format!(".plaudit-doctor-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let _gone = Gone(&path);
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let began = Instant::now();
        file.write_all(&FLUSHED)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// Removes the file, however the timing ended.
struct Gone<'a>(&'a Path);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        // What can't be removed has been made by this process, and its name says so.
        let _ = fs::remove_file(self.0);
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn a_directory_is_told_by_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(place(&at("none")).health, Health::Well);
        fs::write(at("file"), "").unwrap();
        assert_eq!(place(&at("file")).health, Health::Ill);
        fs::create_dir_all(at("store/log")).unwrap();
        assert_eq!(place(&at("store")).health, Health::Ill, "a store without secrets");
        fs::write(at("store/secrets.toml"), "").unwrap();
        fs::set_permissions(at("store/secrets.toml"), PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(place(&at("store")).health, Health::Poor);
        fs::set_permissions(at("store/secrets.toml"), PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(place(&at("store")).health, Health::Well);
    }

    #[test]
    fn flushes_are_timed_where_the_store_will_be_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&dir.path().join("a/b/c")).as_deref(), Some(dir.path()));
        let times = timed(dir.path()).unwrap();
        assert!(times.len() == FLUSHES && times.is_sorted() && times[0] > Duration::ZERO);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(flush(&dir.path().join("none"), AckMode::Durable).health, Health::Ill);
        assert_eq!(room(dir.path()).what, "disk space");
        assert_eq!(room(&dir.path().join("none")).health, Health::Ill);
    }
}
