//! What a channel's name says about it. Never decides who may subscribe.

/// Bytes of the longest name.
pub const NAME_MAX: usize = 164;

/// Whether it is a name that the protocol allows: 1 to 164 of `[A-Za-z0-9_\-=@,.;]`.
pub fn is_valid(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=@,.;".contains(&byte);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// The name as its viewers know it: without what stands in front of a slash, which tells apart channels of the same name.
pub fn shown(name: &str) -> &str {
    // A user's channel may have a slash of its own.
    if name.starts_with('#') { name } else { name.split_once('/').map_or(name, |(_, shown)| shown) }
}

/// Whether it is one of ours, which only the server publishes to.
pub fn is_own(name: &str) -> bool {
    ["clip-", "slot-", "season-"].iter().any(|prefix| name.starts_with(prefix))
}

/// Whether anyone may subscribe to it.
pub fn is_public(name: &str) -> bool {
    !["private-", "presence-", "#"].iter().any(|prefix| name.starts_with(prefix))
}

/// Whether its last event is kept for those who come later.
pub fn is_cache(name: &str) -> bool {
    let name = shown(name);
    ["cache-", "private-cache-", "presence-cache-", "private-encrypted-cache-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Whether what was missed on it can be had again: not what is for one user.
pub(super) fn has_history(name: &str) -> bool {
    !shown(name).starts_with('#')
}

/// What one of our channels is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Topic<'a> {
    /// A clip's id.
    Clip(&'a str),
    /// A season's id and a position in it.
    Slot(&'a str, u32),
    /// Nothing that has counts.
    Other,
}

pub(super) fn topic(name: &str) -> Topic<'_> {
    if let Some(id) = name.strip_prefix("clip-") {
        return Topic::Clip(id);
    }
    // A season's id may have hyphens of its own: the last one ends it.
    let slot = name.strip_prefix("slot-").and_then(|rest| rest.rsplit_once('-'));
    match slot.map(|(season, position)| (season, position.parse())) {
        Some((season, Ok(position))) => Topic::Slot(season, position),
        _ => Topic::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_the_protocols_alphabet_and_length() {
        for good in ["a", "clip-1", "private-x;y,z=@.w_", &"x".repeat(164)] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a b", "ä", "#x", "a/b", "a:b", "a\n", &"x".repeat(165)] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn prefixes_tell_the_kinds_apart() {
        assert!(
            is_own("clip-1")
                && is_own("slot-s-1")
                && is_own("season-s")
                && !is_own("clips")
                && !is_own("private-clip-1")
        );
        assert!(is_public("clip-1") && is_public("cache-x") && !is_public("private-x") && !is_public("presence-x"));
        assert!(!is_public("private-encrypted-x") && !is_public("#server-to-user-1"));
        assert!(
            is_cache("cache-x")
                && is_cache("private-encrypted-cache-x")
                && !is_cache("private-x")
                && !is_cache("xcache-")
        );
    }

    #[test]
    fn a_name_is_shown_without_its_scope() {
        for (name, as_) in
            [("a", "a"), ("2/a", "a"), ("2/#server-to-user-x/y", "#server-to-user-x/y"), ("#x/y", "#x/y")]
        {
            assert_eq!(shown(name), as_);
        }
        assert!(is_cache("2/cache-x") && !has_history("2/#server-to-user-x") && has_history("2/x"));
    }

    #[test]
    fn our_names_say_what_they_are_about() {
        assert_eq!(topic("clip-a-b"), Topic::Clip("a-b"));
        assert_eq!(topic("slot-my-season-12"), Topic::Slot("my-season", 12));
        for other in ["slot-s", "slot-s-x", "season-s", "slot-s-99999999999"] {
            assert_eq!(topic(other), Topic::Other, "{other}");
        }
    }
}
