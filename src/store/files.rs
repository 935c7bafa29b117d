//! Syncing what a file's own sync leaves out. Owns no file.

use std::fs::File;
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
