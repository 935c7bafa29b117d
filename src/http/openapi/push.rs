//! What is said of the broadcaster's paths, which speak Pusher's protocol.

use serde_json::json;

use super::about::{About, Access, about, text_of};
use super::errors::codes;
use crate::push::{Members, TriggeredBatch, TriggeredEvent};

const PUSH: &str = "Push (Pusher Channels)";

/// An object whose fields depend on what was asked for.
type Told = serde_json::Map<String, serde_json::Value>;

pub(in crate::http) fn connect() -> About {
    about(PUSH, "connect", Access::Viewer, "A WebSocket of the Pusher Channels protocol, version 7")
        .says("For `pusher-js` and other clients of that protocol. Reasons against a connection come as close codes.")
        .path("key", text_of(), "The app's key.")
        .query("protocol", json!({ "type": "integer" }), "7.")
        .gives_nothing(101, "The connection is a WebSocket now.")
        .with(&["Sec-WebSocket-Accept"])
}

pub(in crate::http) fn trigger() -> About {
    call("triggerEvent", "Send an event to channels")
        .takes::<TriggeredEvent>()
        .gives::<Told>(200, "It is in its viewers' queues; what `info` asked for.")
        .refuses(&[codes::RATE_LIMITED, codes::STORAGE_FAILED])
}

pub(in crate::http) fn trigger_batch() -> About {
    call("triggerBatch", "Send up to ten events, to one channel each")
        .takes::<TriggeredBatch>()
        .gives::<Told>(200, "They are in their viewers' queues; what `info` asked for.")
        .refuses(&[codes::RATE_LIMITED, codes::STORAGE_FAILED])
}

pub(in crate::http) fn channels() -> About {
    call("channels", "Channels that have viewers")
        .query("filter_by_prefix", text_of(), "Those alone whose names begin so.")
        .query("info", text_of(), "`user_count` (presence channels), `subscription_count`; separated by commas.")
        .gives::<Told>(200, "`channels`, by their names.")
}

pub(in crate::http) fn channel() -> About {
    named(call("channel", "A channel"))
        .query(
            "info",
            text_of(),
            "`user_count` (presence channels), `subscription_count`, `cache`; separated by commas.",
        )
        .gives::<Told>(200, "`occupied`, and what was asked for.")
}

pub(in crate::http) fn members() -> About {
    named(call("channelUsers", "Who is in a presence channel")).gives::<Members>(200, "Each user once.")
}

pub(in crate::http) fn terminate() -> About {
    call("terminateUser", "End the connections of a user who signed in")
        .path("user", json!({ "type": "string", "minLength": 1, "maxLength": 128 }), "The user's id.")
        .gives::<Told>(200, "They are being closed.")
}

fn call(id: &'static str, summary: &'static str) -> About {
    about(PUSH, id, Access::App, summary)
        .says("For Pusher's server libraries.")
        .path("app", text_of(), "The app's id.")
        .query("auth_key", text_of(), "The app's key.")
        .query("auth_timestamp", json!({ "type": "integer" }), "Unix seconds, within 600 of now.")
        .query("auth_version", text_of(), "1.0")
        .query("body_md5", text_of(), "The MD5 of the body in hex, where there is one.")
        .refuses(&[codes::BODY_TOO_LARGE, codes::UNSUPPORTED_MEDIA_TYPE])
}

fn named(about: About) -> About {
    about.path("channel", text_of(), "The channel's name.")
}
