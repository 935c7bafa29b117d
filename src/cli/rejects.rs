//! The file of rows that an import did not take. Nobody else's is written over. Never: what is in a row.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::error::Fault;
use crate::jobs::foreign::{RowsIn, rows_in};
use crate::store::sync_dir;

/// One that is there, or was made just now.
pub(super) struct Rejects<'a> {
    path: &'a Path,
    /// Locked, unless another import is at it.
    file: File,
    is_new: bool,
    is_own: bool,
}

impl<'a> Rejects<'a> {
    /// Makes it; or looks at one that is there: no rows may be in it, or it must be `own`, by the name that [`Self::take`] gave it.
    /// Left as it is until then.
    pub(super) fn open(path: &'a Path, own: Option<&str>) -> Result<Self, Fault> {
        let doing = |why: io::Error| Fault::io(format!("making {}", path.display()), &why);
        let (mut file, is_new) = match File::create_new(path) {
            Ok(file) => (file, true),
            Err(why) if why.kind() == ErrorKind::AlreadyExists => {
                (OpenOptions::new().read(true).write(true).open(path).map_err(doing)?, false)
            }
            Err(why) => return Err(doing(why)),
        };
        let is_own = own.is_some() && name_of(path, &file).as_deref() == own;
        let may_be_taken = match rows_in(&mut file)? {
            // It is replaced then, which only a file can be.
            RowsIn::None => is_own || fs::symlink_metadata(path).is_ok_and(|at| at.is_file()),
            RowsIn::Rejects => is_own,
            RowsIn::Others => false,
        };
        if may_be_taken { Ok(Self { path, file, is_new, is_own }) } else { Err(another(path)) }
    }

    /// It was not begun: leaves nothing that was not there.
    pub(super) fn give_up(&self) {
        if self.is_new {
            let _ = fs::remove_file(self.path);
        }
    }

    /// Takes it, to be written from its start; and the name by which a later run knows it for its own, wherever that is started.
    /// `None` where there is none, and then no later run writes over it.
    pub(super) fn take(mut self) -> Result<(File, Option<String>), Fault> {
        let doing = |why: io::Error| Fault::io(format!("emptying {}", self.path.display()), &why);
        self.lock()?;
        if !self.is_own && !self.is_new {
            // Another import that was cut short may know it for its own: so it gets one that nobody knows.
            self.file.seek(SeekFrom::Start(0)).map_err(doing)?;
            if rows_in(&mut self.file)? != RowsIn::None {
                return Err(another(self.path));
            }
            fs::remove_file(self.path).map_err(doing)?;
            self.file = File::create_new(self.path).map_err(doing)?;
            self.lock()?;
        }
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(doing)?;
        sync_dir(dir_of(self.path))?;
        let name = name_of(self.path, &self.file);
        Ok((self.file, name))
    }

    fn lock(&self) -> Result<(), Fault> {
        // Where there are no locks, as on some network mounts, it is on the operator not to run two.
        if let Err(TryLockError::WouldBlock) = self.file.try_lock() {
            let path = self.path.display();
            return Err(Fault::Setting(format!("another import writes to {path}: name another with --rejects")));
        }
        // Another import may have replaced it between the two.
        let which = |found: fs::Metadata| (found.dev(), found.ino());
        let named = fs::metadata(self.path).map(which).ok();
        if self.file.metadata().map(which).ok() == named { Ok(()) } else { Err(another(self.path)) }
    }
}

fn another(path: &Path) -> Fault {
    Fault::Setting(format!("{} is there, with rows of another run: name another with --rejects", path.display()))
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where it is, and which file: one that has taken its place since has another name. A path that is no text has none.
fn name_of(path: &Path, file: &File) -> Option<String> {
    let found = file.metadata().ok()?;
    let path = path.canonicalize().ok().map(PathBuf::into_os_string)?.into_string().ok()?;
    // Numbers of files are given again; with the time that they were made, where the file system knows it, they are not.
    let made = found.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Some(format!("{}:{}:{path}", found.ino(), made.as_nanos()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const ROW: &str = "file,line,reason\nvotes.csv,3,so\n";

    /// A run that came so far.
    fn begun(path: &Path, own: Option<&str>, text: &str) -> (File, Option<String>) {
        let (mut file, name) = Rejects::open(path, own).unwrap().take().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (file, name)
    }

    fn refused(path: &Path, own: Option<&str>) -> String {
        let opened = Rejects::open(path, own).and_then(Rejects::take);
        opened.expect_err("must be refused").to_string()
    }

    #[test]
    fn a_run_writes_over_its_own_and_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects");
        let (_, name) = begun(&path, None, ROW);
        assert!(refused(&path, None).contains("rows of another run"));
        let (_, again) = begun(&path, name.as_deref(), "file,line,reason\n");
        assert_eq!(again, name);
        assert_eq!(fs::read_to_string(&path).unwrap(), "file,line,reason\n");
        // Without rows anyone may have it; the first run must not take that one's rows for its own then.
        let (_, other) = begun(&path, None, ROW);
        assert_ne!(other, name);
        assert!(refused(&path, name.as_deref()).contains("rows of another run"));
        assert_eq!(fs::read_to_string(&path).unwrap(), ROW);
        // Nor what was put in its place.
        fs::rename(&path, dir.path().join("kept")).unwrap();
        fs::write(&path, ROW).unwrap();
        assert!(refused(&path, other.as_deref()).contains("rows of another run"));
        fs::write(&path, "milk\n").unwrap();
        assert!(refused(&path, None).contains("rows of another run"));
    }

    #[test]
    fn two_runs_at_once_do_not_write_to_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects");
        // Nothing of it is in the file yet.
        let (mut first, name) = begun(&path, None, "");
        for own in [None, name.as_deref()] {
            assert!(refused(&path, own).contains("another import writes to"), "{own:?}");
        }
        first.write_all(ROW.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), ROW);
    }

    #[test]
    fn what_is_no_file_is_left_and_what_was_not_begun_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("rejects"), dir.path().join("link"));
        fs::write(&path, "").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(refused(&link, None).contains("name another"));
        assert!(refused(Path::new("/dev/null"), None).contains("name another"));
        assert!(link.is_symlink() && path.exists());
        Rejects::open(&path, None).unwrap().give_up();
        assert!(path.exists(), "it was there before");
        let new = dir.path().join("new");
        Rejects::open(&new, None).unwrap().give_up();
        assert!(!new.exists());
    }
}
