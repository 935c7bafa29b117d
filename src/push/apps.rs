//! The apps, and how their channels are kept apart in the one hub.
//!
//! The first app's channels have their own names there, and so have ours, which all apps share; any other app's have its
//! id and a slash in front, which no name of a channel has.

use std::borrow::Cow;
use std::sync::Arc;

use super::channel::{Channel, Kind};
use super::sign::Signer;

/// Number of an app.
pub type AppNo = usize;

/// An app: who may push, and who may let viewers in.
#[derive(Debug)]
pub struct App {
    /// In the API's paths.
    pub id: String,
    /// Its key and secret.
    pub signer: Arc<Signer>,
    /// Switched off: no viewer stays, and no call is answered.
    pub disabled: bool,
}

/// All apps.
#[derive(Debug)]
pub struct Apps(Vec<App>);

impl Apps {
    /// These apps, at least one; ids and keys differ.
    pub fn new(apps: Vec<App>) -> Self {
        assert!(!apps.is_empty(), "there is an app");
        Self(apps)
    }

    /// An app by its number.
    pub fn get(&self, no: AppNo) -> &App {
        &self.0[no]
    }

    /// The number of the app with a key.
    pub fn with_key(&self, key: &str) -> Option<AppNo> {
        self.0.iter().position(|app| app.signer.key() == key)
    }

    /// The number of the app with an id.
    pub fn with_id(&self, id: &str) -> Option<AppNo> {
        self.0.iter().position(|app| app.id == id)
    }

    /// The signers, by number.
    pub fn signers(&self) -> Vec<Arc<Signer>> {
        self.0.iter().map(|app| Arc::clone(&app.signer)).collect()
    }

    /// What the hub calls a channel of an app.
    pub fn hub_name<'a>(&self, app: AppNo, channel: Channel<'a>) -> Cow<'a, str> {
        if app == 0 || channel.kind() == Kind::Own {
            return channel.name().into();
        }
        format!("{}/{}", self.0[app].id, channel.name()).into()
    }

    /// What stands in front of an app's channels in the hub.
    pub fn scope(&self, app: AppNo) -> String {
        if app == 0 { String::new() } else { format!("{}/", self.0[app].id) }
    }

    /// The app and the name of a channel of the hub. Ours count as the first app's.
    pub fn shown<'a>(&self, hub_name: &'a str) -> (AppNo, &'a str) {
        // A user's id may have a slash in it, and an app's may not.
        let scoped = hub_name.split_once('/').filter(|_| !hub_name.starts_with('#'));
        match scoped.and_then(|(id, name)| Some((self.with_id(id)?, name))) {
            Some(scoped) => scoped,
            None => (0, hub_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_share_our_channels_and_no_other() {
        let signer = |id: &str| Arc::new(Signer::new(&format!("k{id}"), b"s"));
        let app = |id: &str| App { id: id.into(), signer: signer(id), disabled: false };
        let apps = Apps::new(vec![app("1"), app("2")]);
        for (no, name, hub_name) in [
            (0, "private-a", "private-a"),
            (1, "private-a", "2/private-a"),
            (1, "clip-7", "clip-7"),
            (0, "#server-to-user-a/b", "#server-to-user-a/b"),
            (1, "#server-to-user-a/b", "2/#server-to-user-a/b"),
        ] {
            let channel = Channel::parse(name).unwrap();
            assert_eq!(apps.hub_name(no, channel), hub_name);
            let shown_as = if name.starts_with("clip") { 0 } else { no };
            assert_eq!(apps.shown(hub_name), (shown_as, name));
            assert!(hub_name.starts_with(&apps.scope(shown_as)));
        }
        assert_eq!((apps.with_key("k2"), apps.with_id("2"), apps.with_key("2")), (Some(1), Some(1), None));
    }
}
