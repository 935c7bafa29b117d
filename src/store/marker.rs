//! The marker file: what a data directory must contain, kept outside the stores, so that a store which opens empty or
//! older than it was is noticed.
//!
//! Text that a person can read, replaced whole: after a crash it is the old one or the new one. Decides nothing: who
//! opens the stores holds them against it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde::Deserialize;

use super::files::sync_dir;
use crate::error::Fault;

/// The version of the data directory's layout that this program writes and reads.
const FORMAT: u8 = 1;

const FILE: &str = "MARKER";
const NEXT: &str = "MARKER.new";
const HEAD: &str = "# Written by plaudit, which refuses a data directory that contradicts it. Do not edit.\n";
const CHECKSUM: &str = "checksum = ";

/// What the marker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    /// The store's own id, random, given at its creation; a backup keeps it.
    pub store_id: [u8; 16],
    /// [`VoterKey::fingerprint`](crate::domain::VoterKey::fingerprint) of the secret that its voters were made with.
    pub voter_key: [u8; 16],
    /// The applied sequence when it was last closed cleanly: a store that ends before it is not the one that was closed.
    pub clean: Option<u64>,
}

impl Marker {
    /// The version of the data directory's layout that this program writes and reads.
    pub const FORMAT: u8 = FORMAT;
    /// Its file's name.
    pub const FILE: &str = FILE;

    /// The marker of a new store, with a random id.
    pub fn new(voter_key: [u8; 16]) -> Result<Self, Fault> {
        let mut store_id = [0; 16];
        getrandom::fill(&mut store_id)
            .map_err(|why| Fault::Io { doing: "asking the system for randomness".into(), why: why.to_string() })?;
        Ok(Self { store_id, voter_key, clean: None })
    }

    /// Reads the marker of a data directory; `None` if it has none. [`Fault::WrongVersion`] for another program's,
    /// [`Fault::Inconsistent`] for a damaged one.
    pub fn read(dir: &Path) -> Result<Option<Self>, Fault> {
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => parse(&bytes, &path).map(Some),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(Fault::io(format!("reading {}", path.display()), &why)),
        }
    }

    /// Puts the marker in the place of the old one. It is on the disk when this returns.
    pub fn write(&self, dir: &Path) -> Result<(), Fault> {
        let (next, path) = (dir.join(NEXT), dir.join(FILE));
        // The bytes before the name: a name that a crash keeps must not lead to an empty file.
        let written = File::create(&next).and_then(|mut file| {
            file.write_all(self.text().as_bytes())?;
            file.sync_all()
        });
        written.map_err(|why| Fault::io(format!("writing {}", next.display()), &why))?;
        fs::rename(&next, &path).map_err(|why| Fault::io(format!("renaming {}", next.display()), &why))?;
        sync_dir(dir)
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        let mut line = |name, value: &str| writeln!(text, "{name} = {value}").expect("writing to a string");
        line("format", &FORMAT.to_string());
        line("store_id", &quoted_hex(&self.store_id));
        line("voter_key", &quoted_hex(&self.voter_key));
        if let Some(clean) = self.clean {
            line("clean", &clean.to_string());
        }
        let checksum = checksum(&text);
        text + CHECKSUM + &checksum + "\n"
    }
}

#[derive(Deserialize)]
struct Text {
    store_id: String,
    voter_key: String,
    clean: Option<u64>,
}

/// Of a newer version nothing but this is known.
#[derive(Deserialize)]
struct Version {
    format: u8,
}

fn parse(bytes: &[u8], path: &Path) -> Result<Marker, Fault> {
    let damaged = |why: &str| damaged(path, why);
    let text = str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
    let (body, sum) = text.rsplit_once(CHECKSUM).ok_or_else(|| damaged("it has no checksum"))?;
    if sum.strip_suffix('\n') != Some(&checksum(body)) {
        return Err(damaged("its checksum is wrong"));
    }
    // With the right checksum it is what some version of this program wrote.
    let version: Version = toml::from_str(body).map_err(|why| damaged(why.message()))?;
    if version.format != FORMAT {
        return Err(Fault::WrongVersion { found: version.format, readable: FORMAT });
    }
    let text: Text = toml::from_str(body).map_err(|why| damaged(why.message()))?;
    let id = |hex: &str| bytes_of(hex).ok_or_else(|| damaged("an id is not 32 hex digits"));
    Ok(Marker { store_id: id(&text.store_id)?, voter_key: id(&text.voter_key)?, clean: text.clean })
}

fn damaged(path: &Path, why: &str) -> Fault {
    let path = path.display();
    Fault::Inconsistent { why: format!("the marker {path} is damaged ({why}): restore it from a backup") }
}

/// 128 bits of BLAKE3 over all lines above, in quotes.
fn checksum(body: &str) -> String {
    let hash = blake3::hash(body.as_bytes());
    quoted_hex(hash.as_bytes().first_chunk().expect("16 of 32 bytes"))
}

fn quoted_hex(bytes: &[u8; 16]) -> String {
    format!("\"{:032x}\"", u128::from_be_bytes(*bytes))
}

fn bytes_of(hex: &str) -> Option<[u8; 16]> {
    let plain = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(hex, 16).expect("32 hex digits").to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "# Written by plaudit, which refuses a data directory that contradicts it. Do not edit.\n\
        format = 1\n\
        store_id = \"000102030405060708090a0b0c0d0e0f\"\n\
        voter_key = \"ffffffffffffffffffffffffffffffff\"\n\
        clean = 42\n\
        checksum = \"2731a6f0ffa2ba224eccb4408ae1b092\"\n";

    fn example() -> Marker {
        let store_id = std::array::from_fn(|at| u8::try_from(at).unwrap());
        Marker { store_id, voter_key: [255; 16], clean: Some(42) }
    }

    fn read_text(text: &str) -> Result<Marker, Fault> {
        parse(text.as_bytes(), Path::new("MARKER"))
    }

    #[test]
    fn a_marker_is_replaced_whole_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Marker::read(dir.path()).unwrap(), None);
        let mut marker = Marker::new([7; 16]).unwrap();
        for clean in [None, Some(12), None] {
            marker.clean = clean;
            marker.write(dir.path()).unwrap();
            assert_eq!(Marker::read(dir.path()).unwrap(), Some(marker));
        }
        // A crash before the rename leaves half a new one; it is not looked at, and the next one takes its place.
        fs::write(dir.path().join(NEXT), "half").unwrap();
        assert_eq!(Marker::read(dir.path()).unwrap(), Some(marker));
        marker.write(dir.path()).unwrap();
        assert!(!dir.path().join(NEXT).exists());
        assert_ne!(Marker::new([7; 16]).unwrap().store_id, marker.store_id);
    }

    #[test]
    fn the_first_format_stays_readable() {
        assert_eq!(read_text(OLD).unwrap(), example());
        assert_eq!(example().text(), OLD, "as long as the format is the first");
    }

    #[test]
    fn every_change_of_a_byte_and_every_cut_is_noticed() {
        let bytes = example().text().into_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(parse(&changed, Path::new("MARKER")).is_err(), "byte {at}");
            assert!(parse(&bytes[..at], Path::new("MARKER")).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let body = "format = 9\nwhat = \"ever\"\n";
        let found = read_text(&format!("{body}{CHECKSUM}{}\n", checksum(body)));
        assert!(matches!(found, Err(Fault::WrongVersion { found: 9, readable: FORMAT })));
    }

    #[test]
    fn a_directory_that_is_not_there_is_a_fault_on_writing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(example().write(&dir.path().join("no")), Err(Fault::Io { .. })));
    }

    proptest! {
        #[test]
        fn any_marker_comes_back(store_id: [u8; 16], voter_key: [u8; 16], clean: Option<u64>) {
            let marker = Marker { store_id, voter_key, clean };
            prop_assert_eq!(read_text(&marker.text()).unwrap(), marker);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            prop_assert!(parse(&bytes, Path::new("MARKER")).is_err());
        }
    }
}
