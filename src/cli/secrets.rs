//! `DIR/secrets.toml`: the store's secrets. All are made at once at the first start, so that the file is written once and
//! never again: a file that nobody rewrites can't be lost half-way.
//!
//! The keys of voters and devices come from here alone; a flag goes before the others. Losing the file would turn every
//! voter into somebody new, so a store without it is refused, never given another. Never printed, never logged.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::config::PushApp;
use crate::domain::VoterKey;
use crate::error::Fault;
use crate::store::{check_made, make_dir};

const FILE: &str = "secrets.toml";

/// What a directory with a store in it holds at least one of.
const STORE_PARTS: [&str; 3] = ["MARKER", "log", "tables"];

/// The secrets of a store.
pub(super) struct Secrets {
    /// Signs voters' tokens.
    pub(super) jwt: Vec<u8>,
    /// Opens the cron route.
    pub(super) cron: Vec<u8>,
    /// Opens the admin routes.
    pub(super) admin: Vec<u8>,
    /// Makes and signs devices' keys.
    pub(super) cookie_key: [u8; 32],
    /// Turns names into voters.
    pub(super) voter_key: VoterKey,
    /// Their file, as it is.
    pub(super) text: Vec<u8>,
    /// The broadcaster's app.
    pub(super) push_app: PushApp,
}

/// The secrets of the store in `dir`; [`Fault::NoStore`] if there is none.
pub(super) fn load(dir: &Path) -> Result<Secrets, Fault> {
    match read(dir)? {
        Some(secrets) => Ok(secrets),
        None if holds_store(dir) => Err(lost(dir)),
        None => Err(Fault::NoStore(dir.to_owned())),
    }
}

/// The secrets of the store in `dir`, and whether they were made just now. Makes the directory, parents included.
pub(super) fn load_or_make(dir: &Path) -> Result<(Secrets, bool), Fault> {
    make_dir(dir)?;
    // Its secrets are those of what it is made of, and come with its marker.
    check_made(dir)?;
    if let Some(secrets) = read(dir)? {
        return Ok((secrets, false));
    }
    if holds_store(dir) {
        return Err(lost(dir));
    }
    let made = publish(dir, &fresh()?)?;
    // Read back what is there: another process may have been first, and a file that can't be read is found now.
    let secrets = read(dir)?.ok_or_else(|| lost(dir))?;
    Ok((secrets, made))
}

/// New secrets that are written nowhere: for one run, or for a store that is made from something else.
pub(super) fn new() -> Result<Secrets, Fault> {
    parse(&fresh()?, Path::new("new secrets"))
}

/// The same again, of their file's text.
pub(super) fn of(text: &str) -> Result<Secrets, Fault> {
    parse(text, Path::new("the secrets of a store in the making"))
}

/// Whether `dir` holds a store, whole or not.
pub(super) fn holds_store(dir: &Path) -> bool {
    STORE_PARTS.iter().any(|part| dir.join(part).exists())
}

fn lost(dir: &Path) -> Fault {
    if let Err(unfinished) = check_made(dir) {
        return unfinished;
    }
    Fault::Inconsistent {
        why: format!(
            "{} holds a store, but its {FILE} is gone; without it every voter would be somebody new. Bring the file \
             back from a backup",
            dir.display()
        ),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Text {
    jwt_secret: String,
    cron_secret: String,
    admin_token: String,
    cookie_key: String,
    voter_key: String,
    /// Not in files of before there was a broadcaster.
    push_app: Option<String>,
}

fn read(dir: &Path) -> Result<Option<Secrets>, Fault> {
    let path = dir.join(FILE);
    let doing = || format!("reading {}", path.display());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(why) => return Err(Fault::io(doing(), &why)),
    };
    let mode = fs::metadata(&path).map_err(|why| Fault::io(doing(), &why))?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!("others can read {}: chmod 600 it", path.display());
    }
    parse(&text, &path).map(Some)
}

fn parse(text: &str, path: &Path) -> Result<Secrets, Fault> {
    // The parser's message quotes the line, which may be a secret.
    let wrong = |what: &str| Fault::Setting(format!("{}: {what}. Bring the file back from a backup", path.display()));
    let whole = text.as_bytes().to_owned();
    let text: Text = toml::from_str(text).map_err(|_| wrong("not the secrets, each once, as TOML"))?;
    let key = |text: &str, name: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| wrong(&format!("{name} is not 32 bytes of base64url")))
    };
    if [&text.jwt_secret, &text.cron_secret, &text.admin_token].iter().any(|secret| secret.is_empty()) {
        return Err(wrong("a secret is empty"));
    }
    let cookie_key = key(&text.cookie_key, "cookie-key")?;
    let push_app = text.push_app.unwrap_or_else(|| push_app(&cookie_key));
    Ok(Secrets {
        text: whole,
        push_app: push_app.parse().map_err(|_| wrong("push-app is not ID:KEY:SECRET"))?,
        cookie_key,
        voter_key: VoterKey::new(key(&text.voter_key, "voter-key")?),
        jwt: text.jwt_secret.into_bytes(),
        cron: text.cron_secret.into_bytes(),
        admin: text.admin_token.into_bytes(),
    })
}

fn fresh() -> Result<String, Fault> {
    let mut text = "# Made by plaudit at the first start. Keep it secret, and back it up with the store: without\n\
                    # voter-key and cookie-key every voter becomes somebody new. The first three are used as the\n\
                    # bytes between the quotes; the flags of these names go before them.\n"
        .to_owned();
    for name in ["jwt-secret", "cron-secret", "admin-token", "cookie-key", "voter-key"] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|why| Fault::Io { doing: "making secrets".into(), why: why.to_string() })?;
        writeln!(text, "{name} = \"{}\"", BASE64_URL_SAFE_NO_PAD.encode(bytes)).expect("writing to a string");
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|why| Fault::Io { doing: "making secrets".into(), why: why.to_string() })?;
    writeln!(text, "push-app = \"{}\"", push_app(&bytes)).expect("writing to a string");
    Ok(text)
}

/// An app made of a secret: `ID:KEY:SECRET`. The same each time, so that a store whose file names none, which is never
/// written again, still has one.
fn push_app(from: &[u8; 32]) -> String {
    let key = blake3::derive_key("plaudit push app key", from);
    let secret = blake3::derive_key("plaudit push app secret", from);
    let key = blake3::Hash::from(key).to_hex();
    format!("plaudit:{}:{}", &key[..20], BASE64_URL_SAFE_NO_PAD.encode(secret))
}

/// Puts the file there whole, or leaves the one that is there already. The text is on the disk before it has its name,
/// and the name before anyone is told, so that no crash leaves a store whose secrets are gone.
fn publish(dir: &Path, text: &str) -> Result<bool, Fault> {
    let (path, draft) = (dir.join(FILE), dir.join(format!("{FILE}.{}", std::process::id())));
    let io = |doing: &str, path: &Path, why: &std::io::Error| Fault::io(format!("{doing} {}", path.display()), why);
    if draft.exists() {
        fs::remove_file(&draft).map_err(|why| io("removing", &draft, &why))?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .map_err(|why| io("making", &draft, &why))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|why| io("writing", &draft, &why))?;
    // A link, not a rename: of two first starts at once, the second must take over the first one's secrets.
    let made = match fs::hard_link(&draft, &path) {
        Ok(()) => true,
        Err(why) if why.kind() == ErrorKind::AlreadyExists => false,
        Err(why) => return Err(io("making", &path, &why)),
    };
    fs::remove_file(&draft).map_err(|why| io("removing", &draft, &why))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|why| io("syncing", dir, &why))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a/b");
        let (first, made) = load_or_make(&place).unwrap();
        assert!(made);
        assert_eq!(fs::metadata(place.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1, "no draft stays behind");
        let (again, made) = load_or_make(&place).unwrap();
        assert!(!made);
        assert_eq!(first.jwt, again.jwt);
        assert_eq!(first.voter_key.fingerprint(), load(&place).unwrap().voter_key.fingerprint());
        assert_ne!(first.jwt, first.admin);
        assert_eq!(first.push_app, again.push_app);
        assert!(first.jwt.len() >= crate::config::SECRET_LEN);
    }

    #[test]
    fn of_two_first_starts_one_wins_and_both_agree() {
        let dir = tempfile::tempdir().unwrap();
        assert!(publish(dir.path(), &fresh().unwrap()).unwrap());
        let first = load(dir.path()).unwrap();
        assert!(!publish(dir.path(), &fresh().unwrap()).unwrap());
        assert_eq!(first.jwt, load(dir.path()).unwrap().jwt);
    }

    #[test]
    fn a_store_without_its_secrets_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path()), Err(Fault::NoStore(_))));
        fs::create_dir(dir.path().join("log")).unwrap();
        assert!(matches!(load(dir.path()), Err(Fault::Inconsistent { .. })));
        assert!(matches!(load_or_make(dir.path()), Err(Fault::Inconsistent { .. })));
        assert!(!dir.path().join(FILE).exists());
    }

    #[test]
    fn a_store_in_the_making_is_given_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("RESTORING"), "").unwrap();
        let why = load_or_make(dir.path()).err().expect("must be refused").to_string();
        assert!(why.contains("in the making"), "{why}");
        assert!(!dir.path().join(FILE).exists());
        // Killed at the very end, between the marker and the file's removal, it is a store.
        fs::write(dir.path().join("MARKER"), "").unwrap();
        let why = load_or_make(dir.path()).err().expect("its secrets are gone").to_string();
        assert!(why.contains("secrets.toml is gone"), "{why}");
    }

    #[test]
    fn a_file_without_an_app_still_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let whole = fresh().unwrap();
        let without: String =
            whole.lines().filter(|line| !line.starts_with("push-app")).map(|l| l.to_owned() + "\n").collect();
        assert_ne!(whole, without);
        fs::write(dir.path().join(FILE), without).unwrap();
        let first = load(dir.path()).unwrap().push_app;
        assert_eq!((first.id.as_str(), first.key.len()), ("plaudit", 20));
        assert_eq!(load(dir.path()).unwrap().push_app, first);
    }

    #[test]
    fn a_damaged_file_is_refused_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let whole = fresh().unwrap();
        let secret = whole.lines().find(|line| line.starts_with("voter-key")).unwrap();
        let cut = whole.replace(secret, &secret[..secret.len() - 4]);
        for text in [cut.as_str(), "", &whole.replace("jwt-secret", "jwt"), &format!("{whole}{secret}\n")] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let why = load(dir.path()).err().expect("must be refused").to_string();
            assert!(why.contains(FILE), "{why}");
            assert!(!why.contains(&secret[13..30]), "{why}");
        }
    }
}
