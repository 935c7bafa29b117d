//! Who is in the presence channels: members, each with the number of its connections. A user is one member however many
//! connections it has, and what the first of them said of it stands.
//!
//! Never speaks to anyone: it says what has changed, and the caller, who holds the channel's lock meanwhile, tells it.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::message::Person;

/// Members of one channel.
pub(super) const MEMBERS_MAX: usize = 100;
const SHARDS: usize = 64;

/// The members of all channels.
#[derive(Debug)]
pub(super) struct Presence {
    shards: Box<[Mutex<Shard>]>,
    hasher: DefaultHashBuilder,
}

type Shard = HashMap<Box<str>, Members>;

/// The members of one channel, in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Members(Vec<Member>);

#[derive(Debug)]
struct Member {
    id: Box<str>,
    info: Option<Box<str>>,
    connections: usize,
}

/// A channel's members, held: nobody comes or goes meanwhile.
pub(super) struct Held<'a> {
    shard: MutexGuard<'a, Shard>,
    channel: &'a str,
}

impl Presence {
    /// Nobody anywhere.
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: DefaultHashBuilder::default() }
    }

    /// Holds a channel's members. Others may wait for it: no await, and nothing slow.
    pub(super) fn hold<'a>(&'a self, channel: &'a str) -> Held<'a> {
        let hash = usize::try_from(self.hasher.hash_one(channel) & 0xffff).expect("16 bits");
        Held { shard: self.shards[hash % SHARDS].lock(), channel }
    }
}

impl Held<'_> {
    /// Whether a user is a member or may become one.
    pub(super) fn has_room_for(&self, user: &str) -> bool {
        let Some(members) = self.shard.get(self.channel) else { return true };
        members.0.len() < MEMBERS_MAX || members.find(user).is_some()
    }

    /// One more connection of a user. Whether it is the user's first. The caller has seen that there is room.
    pub(super) fn join(&mut self, person: Person) -> bool {
        let members = self.shard.entry(self.channel.into()).or_default();
        if let Some(at) = members.find(&person.id) {
            members.0[at].connections += 1;
            return false;
        }
        members.0.push(Member { id: person.id, info: person.info, connections: 1 });
        true
    }

    /// One connection of a user less. Whether it was the user's last.
    pub(super) fn leave(&mut self, user: &str) -> bool {
        let Some(members) = self.shard.get_mut(self.channel) else { return false };
        let Some(at) = members.find(user) else { return false };
        members.0[at].connections -= 1;
        if members.0[at].connections > 0 {
            return false;
        }
        members.0.remove(at);
        if members.0.is_empty() {
            self.shard.remove(self.channel);
        }
        true
    }

    /// How many members there are.
    pub(super) fn count(&self) -> usize {
        self.shard.get(self.channel).map_or(0, |members| members.0.len())
    }

    /// The members' ids.
    pub(super) fn ids(&self) -> Vec<String> {
        let members = self.shard.get(self.channel);
        members.map_or_else(Vec::new, |members| members.0.iter().map(|member| member.id.to_string()).collect())
    }

    /// What is told to a new member, as JSON.
    pub(super) fn list(&self) -> String {
        let none = Members::default();
        let members = self.shard.get(self.channel).unwrap_or(&none);
        serde_json::to_string(&List { presence: members }).expect("texts and JSON")
    }
}

impl Members {
    fn find(&self, user: &str) -> Option<usize> {
        self.0.iter().position(|member| &*member.id == user)
    }
}

/// `user_info` as it came; `null` when there was none.
pub(super) fn info(info: Option<&str>) -> &RawValue {
    // It was read as JSON before it was kept.
    info.and_then(|info| serde_json::from_str(info).ok()).unwrap_or(RawValue::NULL)
}

#[derive(Serialize)]
struct List<'a> {
    presence: &'a Members,
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Hash<'a>(&'a [Member]);
        impl Serialize for Hash<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_map(self.0.iter().map(|member| (&member.id, info(member.info.as_deref()))))
            }
        }
        let ids: Vec<&str> = self.0.iter().map(|member| &*member.id).collect();
        let mut map = to.serialize_map(Some(3))?;
        map.serialize_entry("ids", &ids)?;
        map.serialize_entry("hash", &Hash(&self.0))?;
        map.serialize_entry("count", &self.0.len())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn person(id: &str, info: Option<&str>) -> Person {
        Person { id: id.into(), info: info.map(Into::into) }
    }

    #[test]
    fn a_member_comes_with_its_first_connection_and_goes_with_its_last() {
        let presence = Presence::new();
        let mut held = presence.hold("presence-a");
        assert!(held.join(person("ada", Some(r#"{"n":1}"#))));
        assert!(!held.join(person("ada", None)));
        assert!(held.join(person("bob", None)));
        let list: Value = serde_json::from_str(&held.list()).unwrap();
        let expected = json!({"presence": {"ids": ["ada", "bob"], "hash": {"ada": {"n": 1}, "bob": null}, "count": 2}});
        assert_eq!(list, expected);
        assert!(!held.leave("ada"));
        assert!(held.leave("ada"));
        assert!(!held.leave("ada"));
        assert_eq!(held.ids(), ["bob"]);
        assert!(held.leave("bob"));
        assert_eq!(held.count(), 0);
        drop(held);
        assert!(presence.shards.iter().all(|shard| shard.lock().is_empty()), "an empty channel is forgotten");
    }

    #[test]
    fn a_full_channel_takes_its_own_members_alone() {
        let presence = Presence::new();
        let mut held = presence.hold("presence-a");
        for n in 0..MEMBERS_MAX {
            assert!(held.has_room_for(&n.to_string()));
            held.join(person(&n.to_string(), None));
        }
        assert!(!held.has_room_for("one more"));
        assert!(held.has_room_for("7"));
        drop(held);
        assert!(presence.hold("presence-b").has_room_for("one more"));
    }

    proptest! {
        #[test]
        fn members_are_those_with_connections(steps in prop::collection::vec((any::<bool>(), 0_u8..4, 0_u8..3), 0..60)) {
            let presence = Presence::new();
            let mut model: BTreeMap<(u8, u8), usize> = BTreeMap::new();
            for (joins, user, channel) in steps {
                let (id, name) = (user.to_string(), format!("presence-{channel}"));
                let mut held = presence.hold(&name);
                let connections = model.entry((channel, user)).or_default();
                if joins {
                    *connections += 1;
                    prop_assert_eq!(held.join(person(&id, None)), *connections == 1);
                } else {
                    let last = *connections == 1;
                    *connections = connections.saturating_sub(1);
                    prop_assert_eq!(held.leave(&id), last);
                }
                let there = model.iter().filter(|((at, _), count)| *at == channel && **count > 0).count();
                prop_assert_eq!(held.count(), there);
            }
        }
    }
}
