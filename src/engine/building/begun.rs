//! The file that says that a directory holds a store in the making: of what it is made, and how far it is. Whoever makes it holds the
//! file's lock. Never: what a store needs once it is one.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::jobs::backup::Place;
use crate::store::{IN_THE_MAKING as NAME, Marker, make_dir, sync_dir};

/// The next one, before it has its name.
const NEXT: &str = "RESTORING.new";
/// The version of it that this program writes, and goes on with.
const VERSION: u32 = 1;
/// It is read up to here.
const LONGEST: u64 = 64 * 1024;
/// Each of these is another program that got further in between.
const TRIES: u32 = 16;

/// What a store is made of, and how far that is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    plaudit_restoring: u32,
    /// Names what it is made of: all that decides what comes of it.
    pub source: String,
    /// The store's id.
    pub store: [u8; 16],
    /// The fingerprint of the secret that its voters are made with.
    pub voter_key: [u8; 16],
    /// The file of secrets, where it is made here and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<String>,
    /// The file of rows that were not taken, which is this making's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<String>,
    /// What lies in front of it is in both stores, and on the disk.
    pub place: Place,
}

impl Begun {
    /// With nothing taken yet.
    pub fn new(source: String, store: [u8; 16], voter_key: [u8; 16]) -> Self {
        let place = Place::default();
        Self { plaudit_restoring: VERSION, source, store, voter_key, secrets: None, rejects: None, place }
    }

    /// Whether the one may be gone on with as the other: how far it is may differ, as another run may have got further since it was
    /// read.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        *self == Self { place: self.place, ..other.clone() }
    }

    /// What was begun in a directory, if it can be gone on with by this program. Without its lock: whoever begins holds it against
    /// what is there then.
    pub fn read(dir: &Path) -> Option<Self> {
        parse(&File::open(dir.join(NAME)).ok()?)
    }
}

/// It may hold secrets.
impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Begun({} {:?})", self.source, self.place)
    }
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Note {
    #[serde(flatten)]
    begun: Begun,
    /// Of all the rest: it says what the store's id and secrets are, which no recount could find wrong.
    check: String,
}

fn check_of(begun: &Begun) -> String {
    let text = serde_json::to_vec(begun).expect("our own types always serialise");
    blake3::hash(&text).to_hex().to_string()
}

pub(super) fn text_of(begun: &Begun) -> Vec<u8> {
    let note = Note { check: check_of(begun), begun: begun.clone() };
    let mut text = serde_json::to_vec(&note).expect("our own types always serialise");
    text.push(b'\n');
    text
}

/// `None` for one that was cut short or changed, of an older program (empty), or of a newer.
fn parse(file: &File) -> Option<Begun> {
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    let Note { begun, check } = serde_json::from_slice(&text).ok()?;
    (begun.plaudit_restoring == VERSION && check == check_of(&begun)).then_some(begun)
}

/// The file, locked. It is replaced whole, and each that takes its place is locked before it has the name: there is no moment at
/// which another program could lock the one that counts.
#[derive(Debug)]
pub(super) struct Held {
    dir: PathBuf,
    /// Locked until it ends, one way or the other.
    file: File,
}

/// What was there.
#[derive(Debug)]
pub(super) enum Found {
    /// An empty directory.
    Nothing,
    /// Something that can't be gone on with.
    Unreadable,
    /// This.
    Begun(Box<Begun>),
}

impl Held {
    /// Takes the lock in a directory that is empty, or in which something was begun; makes it if it is not there. Touches nothing
    /// where another program is at it.
    pub(super) fn take(dir: &Path) -> Result<(Self, Found), Fault> {
        let doing = |why: io::Error| Fault::io(format!("preparing {}", dir.display()), &why);
        let another = || Fault::Setting(format!("another restore or import is making a store in {}", dir.display()));
        make_dir(dir)?;
        let path = dir.join(NAME);
        for _ in 0..TRIES {
            let (file, made) = match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(file) => (file, false),
                Err(why) if why.kind() == ErrorKind::NotFound => {
                    for entry in fs::read_dir(dir).map_err(doing)? {
                        // What a power loss may leave of the very first one is nobody's.
                        let name = entry.map_err(doing)?.file_name();
                        if name != NAME && name != NEXT {
                            return Err(not_empty(dir));
                        }
                    }
                    match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                        Ok(file) => (file, true),
                        Err(why) if why.kind() == ErrorKind::AlreadyExists => continue,
                        Err(why) => return Err(doing(why)),
                    }
                }
                Err(why) => return Err(doing(why)),
            };
            file.try_lock().map_err(|why| match why {
                TryLockError::WouldBlock => another(),
                TryLockError::Error(why) => doing(why),
            })?;
            // It may have been replaced, or removed at the end, between the two.
            let locked = file.metadata().map_err(doing)?;
            let counts =
                fs::metadata(&path).is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino()));
            if !counts {
                continue;
            }
            let found = match parse(&file) {
                _ if made => Found::Nothing,
                Some(begun) => Found::Begun(Box::new(begun)),
                None => Found::Unreadable,
            };
            return Ok((Self { dir: dir.into(), file }, found));
        }
        Err(another())
    }

    /// Puts another in its place; `None` is one that is not gone on with. It is on the disk when this returns.
    pub(super) fn write(&mut self, begun: Option<&Begun>) -> Result<(), Fault> {
        let (next, path) = (self.dir.join(NEXT), self.dir.join(NAME));
        let doing = |why: io::Error| Fault::io(format!("writing {}", next.display()), &why);
        // One that a crash left. It may be another's to read, so it is not written to.
        match fs::remove_file(&next) {
            Err(why) if why.kind() != ErrorKind::NotFound => return Err(doing(why)),
            _ => {}
        }
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&next);
        let mut file = made.map_err(doing)?;
        file.try_lock().map_err(|why| doing(io::Error::other(why)))?;
        if let Some(begun) = begun {
            file.write_all(&text_of(begun)).map_err(doing)?;
        }
        // The bytes before the name.
        file.sync_all().map_err(doing)?;
        fs::rename(&next, &path).map_err(|why| Fault::io(format!("renaming {}", next.display()), &why))?;
        self.file = file;
        sync_dir(&self.dir)
    }

    /// The store is one: takes the file away, and with it the secrets that may be in it.
    pub(super) fn end(self) -> Result<(), Fault> {
        let path = self.dir.join(NAME);
        fs::remove_file(&path).map_err(|why| Fault::io(format!("removing {}", path.display()), &why))?;
        sync_dir(&self.dir)
    }
}

pub(super) fn not_empty(dir: &Path) -> Fault {
    if dir.join(Marker::FILE).exists() {
        return Fault::Setting(format!("{} is a store already: name a directory that is empty", dir.display()));
    }
    Fault::Setting(format!("{} is not empty: name a directory that is", dir.display()))
}
