//! File systems that a test may fill or cut off: a small tmpfs, and ext4 in an image file on a loop device. They need root
//! and a kernel that lets it mount. Whatever a test does, its mounts and loop devices go with their values.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set by whoever knows that mounting is impossible here and has said so.
const WITHOUT_ROOT: &str = "PLAUDIT_TESTS_WITHOUT_ROOT";

/// What could be mounted. Where mounting is impossible the test fails, unless it was told to expect that: then it says
/// past the test runner's capture that it did not run, and gives `None`.
pub(crate) fn or_not_run<T>(test: &str, mounted: Result<T, String>) -> Option<T> {
    match mounted {
        Ok(mounted) => Some(mounted),
        Err(why) => {
            let notice = format!("NOT RUN: {test}: it needs root and mounts, and {why}");
            assert!(
                std::env::var_os(WITHOUT_ROOT).is_some_and(|set| set == "1"),
                "{notice}\nRun it as root where mounting is allowed, or set {WITHOUT_ROOT}=1 to go without it."
            );
            eprintln!("\n{notice}\n");
            None
        }
    }
}

/// A mounted file system.
#[derive(Debug)]
pub(crate) struct Mounted {
    /// Where it is.
    pub(crate) at: PathBuf,
    device: Option<String>,
}

impl Mounted {
    /// A tmpfs of so many MiB at an empty directory.
    pub(crate) fn tmpfs(at: &Path, mebibytes: u32) -> Result<Self, String> {
        let size = format!("size={mebibytes}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "plaudit-test"]).arg(at))?;
        Ok(Self { at: at.into(), device: None })
    }

    /// The ext4 in an image, on a loop device, at an empty directory.
    ///
    /// Its journal is committed by a sync alone and not by the clock: what nobody synced is not on the device.
    pub(crate) fn image(image: &Path, at: &Path) -> Result<Self, String> {
        let device = run(Command::new("losetup").args(["-f", "--show"]).arg(image))?.trim().to_owned();
        // The guard first, so that the device goes when it can't be mounted.
        let mounted = Self { at: at.into(), device: Some(device.clone()) };
        run(Command::new("mount").args(["-t", "ext4", "-o", "commit=300", &device]).arg(at))?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What holds it is gone, or a failing test's; then the last user's end unmounts it.
        let unmounted = run(Command::new("umount").arg(&self.at));
        if unmounted.is_err() {
            let _ = run(Command::new("umount").arg("-l").arg(&self.at));
        }
        if let Some(device) = &self.device {
            let _ = run(Command::new("losetup").args(["-d", device]));
        }
    }
}

/// Makes an image file with an empty ext4. All of it is written now: nothing in the kernel goes on with it later.
pub(crate) fn make_ext4(image: &Path, mebibytes: u64) -> Result<(), String> {
    let made = File::create(image).and_then(|file| file.set_len(mebibytes << 20));
    made.map_err(|why| format!("{}: {why}", image.display()))?;
    let now = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", now]).arg(image)).map(drop)
}

/// Copies what has reached a device: its image, not the page cache of the file system on it.
///
/// Copied again until the image was the same before and after, so the copy is of one moment.
pub(crate) fn copy_still(image: &Path, to: &Path) {
    for _ in 0..10 {
        fs::copy(image, to).unwrap();
        if same(image, to) {
            return;
        }
    }
    panic!("the device is still written to, and nothing runs that would");
}

/// Fills a file system: the file that took its room.
pub(crate) fn fill(at: &Path) -> PathBuf {
    let path = at.join("filler");
    let mut file = File::create(&path).unwrap();
    for size in [1 << 20, 4096, 1] {
        let block = vec![0x5a; size];
        let full = loop {
            if let Err(why) = file.write_all(&block) {
                break why;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    }
    path
}

fn same(one: &Path, other: &Path) -> bool {
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = one.read(&mut a).unwrap();
        if read == 0 {
            return other.read(&mut b).unwrap() == 0;
        }
        if other.read_exact(&mut b[..read]).is_err() || a[..read] != b[..read] {
            return false;
        }
    }
}

fn run(command: &mut Command) -> Result<String, String> {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(said(&output.stdout)),
        Ok(output) => Err(format!("{command:?} said: {}", said(&output.stderr))),
        Err(why) => Err(format!("{command:?} can't be run: {why}")),
    }
}
