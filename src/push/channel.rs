//! Channel names: which are well formed, and what a name's beginning says about who may do what in it. Never knows who
//! is in a channel.

/// Bytes of the longest name.
pub const NAME_MAX: usize = 164;
/// In front of a user's id: the channel of everything sent to that user.
pub const USER_PREFIX: &str = "#server-to-user-";
/// Bytes of the longest id of a user.
pub const USER_MAX: usize = 128;

/// A well-formed channel name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Channel<'a> {
    name: &'a str,
    kind: Kind,
    cache: bool,
}

/// Who may subscribe to a channel, and who may speak in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Everyone may subscribe; nobody but the server speaks.
    Public,
    /// As `Public`, and the server's own: `clip-*`, `slot-*`, `season-*`, the same for all apps.
    Own,
    /// Who brings a signature may subscribe and speak.
    Private,
    /// As `Private`, and who is there is told to all. The signature covers the member.
    Presence,
    /// Who brings a signature may subscribe; nobody but the server speaks, and the server can't read it.
    Encrypted,
    /// Those connections that signed in as the user; nobody but the server speaks.
    User,
}

impl<'a> Channel<'a> {
    /// A name that is well formed: 1 to 164 of `[A-Za-z0-9_\-=@,.;]`, or a user's channel.
    pub fn parse(name: &'a str) -> Option<Self> {
        if let Some(user) = name.strip_prefix(USER_PREFIX) {
            return is_user_id(user).then_some(Self { name, kind: Kind::User, cache: false });
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=@,.;".contains(&byte);
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(plain) {
            return None;
        }
        let own = ["clip-", "slot-", "season-"].iter().any(|prefix| name.starts_with(prefix));
        let (kind, rest) = if let Some(rest) = name.strip_prefix("private-encrypted-") {
            (Kind::Encrypted, rest)
        } else if let Some(rest) = name.strip_prefix("private-") {
            (Kind::Private, rest)
        } else if let Some(rest) = name.strip_prefix("presence-") {
            (Kind::Presence, rest)
        } else {
            (if own { Kind::Own } else { Kind::Public }, name)
        };
        Some(Self { name, kind, cache: rest.starts_with("cache-") })
    }

    /// The name.
    pub fn name(self) -> &'a str {
        self.name
    }

    /// What its beginning says.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// Whether the last event is kept for who comes later.
    pub fn is_cache(self) -> bool {
        self.cache
    }

    /// Whether viewers may send events to each other here.
    pub fn takes_client_events(self) -> bool {
        matches!(self.kind, Kind::Private | Kind::Presence)
    }

    /// Whether its number of subscribers is told to them. A presence channel tells its members instead, and a user's
    /// has one subscriber.
    pub fn tells_count(self) -> bool {
        !matches!(self.kind, Kind::Presence | Kind::User)
    }

    /// The user of a user's channel.
    pub fn user(self) -> Option<&'a str> {
        self.name.strip_prefix(USER_PREFIX)
    }
}

/// Whether a text can be a user's id: 1 to 128 bytes, no control characters.
pub fn is_user_id(id: &str) -> bool {
    (1..=USER_MAX).contains(&id.len()) && !id.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Option<(Kind, bool)> {
        Channel::parse(name).map(|channel| (channel.kind(), channel.is_cache()))
    }

    #[test]
    fn a_names_beginning_says_its_kind() {
        for (name, expected) in [
            ("news", (Kind::Public, false)),
            ("A-z_0=@,.;9", (Kind::Public, false)),
            ("cache-news", (Kind::Public, true)),
            ("private-a", (Kind::Private, false)),
            ("private-", (Kind::Private, false)),
            ("private-cache-a", (Kind::Private, true)),
            ("private-encrypted-a", (Kind::Encrypted, false)),
            ("private-encrypted-cache-a", (Kind::Encrypted, true)),
            ("presence-a", (Kind::Presence, false)),
            ("presence-cache-a", (Kind::Presence, true)),
            ("clip-7", (Kind::Own, false)),
            ("slot-s-1", (Kind::Own, false)),
            ("season-s", (Kind::Own, false)),
            ("clips", (Kind::Public, false)),
            ("#server-to-user-ada", (Kind::User, false)),
        ] {
            assert_eq!(kind(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn other_names_are_none() {
        let long = "x".repeat(NAME_MAX + 1);
        let user = format!("{USER_PREFIX}{}", "x".repeat(USER_MAX + 1));
        for name in ["", "a b", "a/b", "ä", "#a", "#server-to-user-", "a\n", &long, &user, "#server-to-user-a\0"] {
            assert_eq!(kind(name), None, "{name:?}");
        }
        assert!(kind(&long[1..]).is_some());
    }

    #[test]
    fn viewers_speak_where_they_were_let_in_and_the_server_can_read() {
        let speaks = |name| Channel::parse(name).unwrap().takes_client_events();
        assert!(speaks("private-a") && speaks("presence-a"));
        for name in ["a", "clip-1", "private-encrypted-a", "#server-to-user-a"] {
            assert!(!speaks(name), "{name}");
        }
    }
}
