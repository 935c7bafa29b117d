//! Questions: which channels are occupied, by how many, and who is in them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Query, invalid};
use crate::error::Reject;
use crate::push::Push;
use crate::push::apps::AppNo;
use crate::push::channel::{Channel, Kind};

/// What is asked about channels.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Info {
    users: bool,
    subscriptions: bool,
    cache: bool,
}

impl Info {
    /// Reads `user_count,subscription_count,cache`.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Reject> {
        let mut info = Self::default();
        for part in text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part {
                "user_count" => info.users = true,
                "subscription_count" => info.subscriptions = true,
                "cache" => info.cache = true,
                _ => return Err(invalid("info", "user_count, subscription_count and cache can be asked for")),
            }
        }
        Ok(info)
    }

    /// Whether nothing is asked.
    pub(super) fn is_none(self) -> bool {
        !self.users && !self.subscriptions && !self.cache
    }
}

/// Who is in a presence channel.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChannelUsers")]
pub struct Members {
    users: Vec<Member>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChannelUser")]
struct Member {
    id: String,
}

impl Push {
    /// `GET channels`
    pub(super) fn list(&self, app: AppNo, query: &Query) -> Result<Value, Reject> {
        let info = Info::parse(query.get("info"))?;
        let prefix = query.get("filter_by_prefix").unwrap_or_default();
        if info.users && !prefix.starts_with("presence-") {
            return Err(invalid("info", "user_count needs filter_by_prefix=presence-"));
        }
        if info.cache {
            return Err(invalid("info", "cache is told of one channel alone"));
        }
        let scope = self.0.apps.scope(app);
        let mut channels = Map::new();
        for (hub_name, _) in self.0.hub.channels(&format!("{scope}{prefix}")) {
            let (of, name) = self.0.apps.shown(&hub_name);
            let Some(channel) = Channel::parse(name).filter(|_| of == app) else { continue };
            if channel.kind() != Kind::User {
                channels.insert(name.into(), self.info(app, channel, info).into());
            }
        }
        Ok(json!({ "channels": channels }))
    }

    /// `GET channels/{c}`
    pub(super) fn look(&self, app: AppNo, channel: Channel<'_>, query: &Query) -> Result<Value, Reject> {
        let info = Info::parse(query.get("info"))?;
        if info.users && channel.kind() != Kind::Presence {
            return Err(invalid("info", "user_count is told of presence channels alone"));
        }
        let mut told = self.info(app, channel, info);
        let occupied = self.0.hub.subscribers(&self.0.apps.hub_name(app, channel)) > 0;
        told.insert("occupied".into(), occupied.into());
        Ok(told.into())
    }

    /// `GET channels/{c}/users`
    pub(super) fn members(&self, app: AppNo, channel: Channel<'_>) -> Result<Value, Reject> {
        if channel.kind() != Kind::Presence {
            return Err(invalid("channel", "users are told of presence channels alone"));
        }
        let ids = self.0.presence.hold(&self.0.apps.hub_name(app, channel)).ids();
        let users = ids.into_iter().map(|id| Member { id }).collect();
        Ok(json!(Members { users }))
    }

    /// What is asked about a channel, as far as it has it.
    pub(super) fn info(&self, app: AppNo, channel: Channel<'_>, info: Info) -> Map<String, Value> {
        let hub_name = self.0.apps.hub_name(app, channel);
        let mut told = Map::new();
        if info.users && channel.kind() == Kind::Presence {
            told.insert("user_count".into(), self.0.presence.hold(&hub_name).count().into());
        }
        if info.subscriptions {
            told.insert("subscription_count".into(), self.0.hub.subscribers(&hub_name).into());
        }
        if info.cache && channel.is_cache() {
            let last = self.0.hub.last_event(&hub_name);
            let last = last.as_ref().and_then(|last| last.data()).map(|data| json!({ "data": data }));
            told.insert("cache".into(), last.unwrap_or(Value::Null));
        }
        told
    }
}
