//! Room on the disk that is kept for the moment when there is none: freed, it lets `verify` and a clean stop through.
//!
//! One file in the data directory, with blocks behind all of it. Never freed while the server takes writes.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::Fault;

/// Bytes that it holds: two segments of a store.
const BYTES: u64 = 16 << 20;

const FILE: &str = "BALLAST";

/// The ballast of a data directory.
#[derive(Debug, Clone, Copy)]
pub struct Ballast;

impl Ballast {
    /// Takes the room, and says whether it is there. On a full disk it is not: that is logged and no fault, for a start
    /// must not fail where reads could still be served.
    pub fn ensure(dir: &Path) -> Result<bool, Fault> {
        let path = dir.join(FILE);
        if fs::metadata(&path).is_ok_and(|file| is_whole(&file)) {
            return Ok(true);
        }
        match File::create(&path).and_then(|file| fill(&file)) {
            Ok(()) => Ok(true),
            Err(why) if matches!(why.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                // Part of it would only take the room that is needed now.
                Self::release(dir)?;
                tracing::warn!("the disk is full: no room for the ballast file {}", path.display());
                Ok(false)
            }
            Err(why) => Err(Fault::io(format!("filling {}", path.display()), &why)),
        }
    }

    /// Whether there is any to free.
    pub fn is_there(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// Frees the room, for `verify` or a clean stop on a full disk; that there was none is no error.
    pub fn release(dir: &Path) -> Result<(), Fault> {
        let path = dir.join(FILE);
        match fs::remove_file(&path) {
            Err(why) if why.kind() != ErrorKind::NotFound => {
                Err(Fault::io(format!("removing {}", path.display()), &why))
            }
            _ => Ok(()),
        }
    }
}

/// A length alone may be a hole.
#[cfg(unix)]
fn is_whole(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.len() == BYTES && file.blocks() * 512 >= BYTES
}

#[cfg(not(unix))]
fn is_whole(file: &fs::Metadata) -> bool {
    file.len() == BYTES
}

#[cfg(target_os = "linux")]
fn fill(file: &File) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, BYTES) {
        Ok(()) => file.sync_all(),
        // Not every file system has it.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_out(file),
        Err(why) => Err(why.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn fill(file: &File) -> io::Result<()> {
    write_out(file)
}

fn write_out(mut file: &File) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0x5a), BYTES), &mut file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_real_room_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        Ballast::release(dir.path()).unwrap();
        // A file of the right length and no blocks is not enough.
        File::create(&path).unwrap().set_len(BYTES).unwrap();
        for _ in 0..2 {
            assert!(Ballast::ensure(dir.path()).unwrap());
            assert!(is_whole(&fs::metadata(&path).unwrap()));
        }
        Ballast::release(dir.path()).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn written_out_it_takes_the_same_room() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_out(file.as_file()).unwrap();
        assert!(is_whole(&file.as_file().metadata().unwrap()));
    }

    #[test]
    fn a_directory_that_is_not_there_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Ballast::ensure(&dir.path().join("no")), Err(Fault::Io { .. })));
    }
}
