//! Syncing what a file's own sync leaves out. Owns no file.

use std::fs::{self, File};
use std::path::Path;

use crate::error::Fault;

/// Makes the names in a directory durable: a file's own sync does not cover its name.
pub fn sync_dir(dir: &Path) -> Result<(), Fault> {
    // Other systems don't open a directory as a file.
    if cfg!(unix) {
        sync(dir)?;
    }
    Ok(())
}

/// Makes a directory, and those above it. The names of all that were made are on the disk when this returns: what is synced in one
/// that a power loss takes away is gone with it.
pub fn make_dir(dir: &Path) -> Result<(), Fault> {
    let made: Vec<&Path> = dir.ancestors().take_while(|at| !at.as_os_str().is_empty() && !at.exists()).collect();
    fs::create_dir_all(dir).map_err(|why| Fault::io(format!("making {}", dir.display()), &why))?;
    made.into_iter().try_for_each(|dir| sync_dir(parent(dir)))
}

/// Syncs a file or directory by its path.
pub(super) fn sync(path: &Path) -> Result<(), Fault> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|why| Fault::io(format!("syncing {}", path.display()), &why))
}

/// The directory that a path lies in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
