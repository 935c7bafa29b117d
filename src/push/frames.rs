//! The protocol's own frames, for WebSocket alone. `data` is always a string with JSON in it.

use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::{json, value::RawValue};

use crate::hub::{Frame, Position};

/// A frame that may be shared.
pub(super) type Shared = Arc<Frame>;

#[derive(Serialize)]
struct Envelope<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    data: &'a str,
}

fn frame(event: &str, channel: Option<&str>, position: Option<Position>, data: &str) -> Shared {
    let envelope = Envelope { event, channel, position: position.map(|position| position.to_string()), data };
    Arc::new(Frame::text(&serde_json::to_string(&envelope).expect("texts")))
}

/// The first frame of a connection.
pub(super) fn established(socket_id: &str, activity_timeout_s: u64) -> Shared {
    let data = json!({ "socket_id": socket_id, "activity_timeout": activity_timeout_s });
    frame("pusher:connection_established", None, None, &data.to_string())
}

/// Asks for a sign of life.
pub(super) fn ping() -> Shared {
    static PING: OnceLock<Shared> = OnceLock::new();
    Arc::clone(PING.get_or_init(|| frame("pusher:ping", None, None, "{}")))
}

/// Gives one.
pub(super) fn pong() -> Shared {
    static PONG: OnceLock<Shared> = OnceLock::new();
    Arc::clone(PONG.get_or_init(|| frame("pusher:pong", None, None, "{}")))
}

/// What was wrong with a message.
pub(super) fn error(code: Option<u16>, message: &str) -> Shared {
    frame("pusher:error", None, None, &json!({ "code": code, "message": message }).to_string())
}

/// The viewer is on the channel; what comes after `position` it will get. `data` is `{}`, or the members.
pub(super) fn subscribed(channel: &str, position: Position, data: &str) -> Shared {
    frame("pusher_internal:subscription_succeeded", Some(channel), Some(position), data)
}

/// The viewer is not on the channel.
pub(super) fn refused(channel: &str, kind: &str, why: &str, status: u16) -> Shared {
    let data = json!({ "type": kind, "error": why, "status": status });
    frame("pusher:subscription_error", Some(channel), None, &data.to_string())
}

/// A cache channel holds nothing.
pub(super) fn cache_miss(channel: &str) -> Shared {
    frame("pusher:cache_miss", Some(channel), None, "{}")
}

/// The connection is a user's now; `user_data` as it was signed.
pub(super) fn signed_in(user_data: &str) -> Shared {
    frame("pusher:signin_success", None, None, &json!({ "user_data": user_data }).to_string())
}

/// A user has come to a presence channel.
pub(super) fn member_added(channel: &str, user: &str, info: &RawValue) -> Shared {
    #[derive(Serialize)]
    struct Added<'a> {
        user_id: &'a str,
        user_info: &'a RawValue,
    }
    let data = serde_json::to_string(&Added { user_id: user, user_info: info }).expect("a text and JSON");
    frame("pusher_internal:member_added", Some(channel), None, &data)
}

/// A user has left it.
pub(super) fn member_removed(channel: &str, user: &str) -> Shared {
    frame("pusher_internal:member_removed", Some(channel), None, &json!({ "user_id": user }).to_string())
}

/// How many are on a channel.
pub(super) fn count(channel: &str, subscribers: usize) -> Shared {
    let data = json!({ "subscription_count": subscribers });
    frame("pusher_internal:subscription_count", Some(channel), None, &data.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The payload, and its data read as JSON.
    fn read(frame: &Frame) -> (Value, Value) {
        let bytes = frame.socket();
        let head = if bytes[1] == 126 { 4 } else { 2 };
        let whole: Value = serde_json::from_slice(&bytes[head..]).unwrap();
        let data = serde_json::from_str(whole["data"].as_str().expect("data is a string")).unwrap();
        (whole, data)
    }

    #[test]
    fn frames_say_what_the_protocol_says() {
        let (whole, data) = read(&established("12.34", 120));
        assert_eq!(whole["event"], "pusher:connection_established");
        assert_eq!(data, json!({"socket_id": "12.34", "activity_timeout": 120}));
        let (whole, data) = read(&refused("private-a", "AuthError", "no", 401));
        assert_eq!((&whole["event"], &whole["channel"]), (&"pusher:subscription_error".into(), &"private-a".into()));
        assert_eq!(data, json!({"type": "AuthError", "error": "no", "status": 401}));
        let (whole, data) = read(&subscribed("a", Position { seq: 7, n: 1 }, "{}"));
        assert_eq!((&whole["position"], data), (&"7.1".into(), json!({})));
        let (_, data) = read(&signed_in(r#"{"id":"ada"}"#));
        assert_eq!(data, json!({"user_data": "{\"id\":\"ada\"}"}));
        let info = serde_json::from_str(r#"{"n": 1}"#).unwrap();
        assert_eq!(read(&member_added("presence-a", "ada", info)).1, json!({"user_id": "ada", "user_info": {"n": 1}}));
        assert_eq!(read(&member_removed("presence-a", "ada")).1, json!({"user_id": "ada"}));
        assert_eq!(read(&count("a", 3)).1, json!({"subscription_count": 3}));
        assert_eq!(read(&error(Some(4301), "slow down")).1, json!({"code": 4301, "message": "slow down"}));
        assert_eq!(read(&error(None, "x")).1["code"], Value::Null);
    }
}
