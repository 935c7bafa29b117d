//! What viewers send: text frames with an event, read once into a [`Message`]. Never looks at who sent it.
//!
//! `data` may be an object or, as older clients write it, a text that holds one. Every text is bounded here or where it
//! is used; the frame's own bound is the socket's.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Bytes of the longest event name of a viewer.
pub const EVENT_MAX: usize = 200;

/// What a viewer asks for.
#[derive(Debug)]
pub enum Message<'a> {
    /// `pusher:subscribe`
    Subscribe(Subscribe<'a>),
    /// `pusher:unsubscribe`, with the channel.
    Unsubscribe(Cow<'a, str>),
    /// `pusher:signin`
    Signin {
        /// `key:signature`
        auth: Cow<'a, str>,
        /// JSON of the user, as it was signed.
        user_data: Cow<'a, str>,
    },
    /// `pusher:ping`
    Ping,
    /// `pusher:pong`
    Pong,
    /// `client-*`: for the channel's other viewers.
    Client {
        /// The event's name.
        event: Cow<'a, str>,
        /// The channel.
        channel: Cow<'a, str>,
        /// Its data, as it came: any JSON; `null` when there was none.
        data: &'a RawValue,
    },
}

/// A wish to be in a channel.
#[derive(Deserialize, Debug)]
pub struct Subscribe<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// `key:signature`; empty or absent for a public channel.
    #[serde(borrow, default)]
    pub auth: Option<Cow<'a, str>>,
    /// JSON of the member, as it was signed; presence channels alone.
    #[serde(borrow, default)]
    pub channel_data: Option<Cow<'a, str>>,
    /// The position after which the viewer wants to go on.
    #[serde(borrow, default)]
    pub since: Option<Cow<'a, str>>,
}

/// Why a frame is no message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(pub String);

impl<'a> Message<'a> {
    /// Reads a frame's text. `scratch` holds a `data` that came as a text, unescaped.
    pub fn parse(text: &'a str, scratch: &'a mut String) -> Result<Self, Malformed> {
        let envelope: Envelope<'a> = object(text, "the message")?;
        let data = || envelope.data.ok_or_else(|| Malformed("there is no data".into()));
        match envelope.event.as_ref() {
            "pusher:ping" => Ok(Self::Ping),
            "pusher:pong" => Ok(Self::Pong),
            "pusher:subscribe" => object(unwrapped(data()?, scratch)?, "data").map(Self::Subscribe),
            "pusher:unsubscribe" => {
                let named: Named<'a> = object(unwrapped(data()?, scratch)?, "data")?;
                Ok(Self::Unsubscribe(named.channel))
            }
            "pusher:signin" => {
                let user: Signin<'a> = object(unwrapped(data()?, scratch)?, "data")?;
                Ok(Self::Signin { auth: user.auth, user_data: user.user_data })
            }
            name if name.starts_with("client-") => {
                if name.len() > EVENT_MAX {
                    return Err(Malformed(format!("an event's name has {EVENT_MAX} bytes at most")));
                }
                let channel = envelope.channel.ok_or_else(|| Malformed("there is no channel".into()))?;
                Ok(Self::Client { event: envelope.event, channel, data: envelope.data.unwrap_or(RawValue::NULL) })
            }
            name => {
                let shown: String = name.chars().take(40).collect();
                Err(Malformed(format!("{shown:?} is no event that a client sends")))
            }
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Signin<'a> {
    #[serde(borrow)]
    auth: Cow<'a, str>,
    #[serde(borrow)]
    user_data: Cow<'a, str>,
}

/// Reads an object; serde would take an array for a struct.
fn object<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, Malformed> {
    if !text.trim_start().starts_with('{') {
        return Err(Malformed(format!("{what} must be an object")));
    }
    serde_json::from_str(text).map_err(|why| Malformed(format!("{what}: {why}")))
}

/// A `data` that is a text is the JSON in it.
fn unwrapped<'a>(data: &'a RawValue, scratch: &'a mut String) -> Result<&'a str, Malformed> {
    if !data.get().starts_with('"') {
        return Ok(data.get());
    }
    *scratch = serde_json::from_str(data.get()).map_err(|why| Malformed(format!("data: {why}")))?;
    Ok(scratch)
}

/// A member or user, as an app's server signed it.
#[derive(PartialEq, Eq, Debug)]
pub struct Person {
    /// Its id.
    pub id: Box<str>,
    /// What else is said of it: any JSON.
    pub info: Option<Box<str>>,
}

impl Person {
    /// Reads a presence channel's `channel_data`: `{"user_id", "user_info"?}`.
    pub fn member(text: &str) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Sent<'a> {
            user_id: Id,
            #[serde(borrow, default)]
            user_info: Option<&'a RawValue>,
        }
        let sent: Sent<'_> = object(text, "channel_data")?;
        Self::checked(sent.user_id, sent.user_info, "user_id")
    }

    /// Reads a signed-in user's `user_data`: `{"id", …}`.
    pub fn user(text: &str) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Sent {
            id: Id,
        }
        let sent: Sent = object(text, "user_data")?;
        Self::checked(sent.id, None, "id")
    }

    fn checked(id: Id, info: Option<&RawValue>, name: &str) -> Result<Self, Malformed> {
        let id = match id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
            Id::Other(_) => return Err(Malformed(format!("{name} must be a text or a number"))),
        };
        if !super::channel::is_user_id(&id) {
            return Err(Malformed(format!("{name} must be 1 to {} bytes", super::channel::USER_MAX)));
        }
        let info = info.map(RawValue::get);
        if info.is_some_and(|info| info.len() > INFO_MAX) {
            return Err(Malformed(format!("user_info has {INFO_MAX} bytes at most")));
        }
        Ok(Self { id: id.into(), info: info.map(Into::into) })
    }
}

/// Bytes of the longest `user_info`.
const INFO_MAX: usize = 1024;

/// Servers send an id as a text or as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(serde_json::Number),
    Other(IgnoredAny),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        let mut scratch = String::new();
        let message = Message::parse(text, &mut scratch).map_err(|why| why.0)?;
        Ok(match message {
            Message::Subscribe(wish) => {
                let part = |part: Option<Cow<'_, str>>| part.map_or("-".to_owned(), Cow::into_owned);
                format!("{} {} {} {}", wish.channel, part(wish.auth), part(wish.channel_data), part(wish.since))
            }
            Message::Unsubscribe(channel) => format!("left {channel}"),
            Message::Signin { auth, user_data } => format!("{auth} {user_data}"),
            Message::Ping => "ping".into(),
            Message::Pong => "pong".into(),
            Message::Client { event, channel, data } => format!("{event} {channel} {}", data.get()),
        })
    }

    #[test]
    fn every_event_of_a_client_is_read() {
        for (text, means) in [
            (r#"{"event":"pusher:ping","data":{}}"#, "ping"),
            (r#"{"event":"pusher:ping"}"#, "ping"),
            (r#"{"event":"pusher:pong","data":"{}"}"#, "pong"),
            (r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"a"}}"#, "a  - -"),
            (r#"{"event":"pusher:subscribe","data":{"channel":"a\u002db","since":"7.0","x":[1]}}"#, "a-b - - 7.0"),
            (
                r#"{"event":"pusher:subscribe","data":"{\"channel\":\"p\",\"auth\":\"k:s\",\"channel_data\":\"{}\"}"}"#,
                "p k:s {} -",
            ),
            (r#"{"event":"pusher:subscribe","data":{"channel":"a","auth":null}}"#, "a - - -"),
            (r#"{"event":"pusher:unsubscribe","data":{"channel":"a"}}"#, "left a"),
            (r#"{"event":"pusher:signin","data":{"auth":"k:s","user_data":"{\"id\":1}"}}"#, r#"k:s {"id":1}"#),
            (r#"{"event":"client-x","channel":"private-a","data":{"a": [1]}}"#, r#"client-x private-a {"a": [1]}"#),
            (r#"{"event":"client-x","channel":"private-a"}"#, "client-x private-a null"),
            (r#" {"channel":"private-a","data":"t","event":"client-x"}"#, r#"client-x private-a "t""#),
        ] {
            assert_eq!(shown(text), Ok(means.into()), "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_a_reason() {
        let long = format!(r#"{{"event":"client-{}","channel":"private-a"}}"#, "x".repeat(EVENT_MAX));
        for (text, says) in [
            ("", "must be an object"),
            ("[]", "must be an object"),
            ("7", "must be an object"),
            ("{", "the message: EOF"),
            ("{}", "missing field `event`"),
            (r#"{"event":7}"#, "invalid type"),
            (r#"{"event":"x"}"#, "is no event"),
            (r#"{"event":"pusher_internal:member_added","channel":"presence-a"}"#, "is no event"),
            (r#"{"event":"pusher:subscribe"}"#, "there is no data"),
            (r#"{"event":"pusher:subscribe","data":null}"#, "there is no data"),
            (r#"{"event":"pusher:subscribe","data":[]}"#, "data must be an object"),
            (r#"{"event":"pusher:subscribe","data":"x"}"#, "data must be an object"),
            (r#"{"event":"pusher:subscribe","data":{"channel":["a"]}}"#, "invalid type"),
            (r#"{"event":"pusher:subscribe","data":{"channel":"a","since":7}}"#, "invalid type"),
            (r#"{"event":"pusher:subscribe","data":{}}"#, "missing field `channel`"),
            (r#"{"event":"pusher:unsubscribe","data":{"channel":null}}"#, "invalid type"),
            (r#"{"event":"pusher:signin","data":{"auth":"a"}}"#, "missing field `user_data`"),
            (r#"{"event":"client-x"}"#, "there is no channel"),
            (r#"{"event":"client-x","channel":1}"#, "invalid type"),
            (&long, "200 bytes at most"),
        ] {
            let why = shown(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
        let deep = format!(r#"{{"event":"client-x","channel":"a","data":{}}}"#, "[".repeat(10_000));
        assert!(shown(&deep).is_err());
    }

    #[test]
    fn a_person_has_an_id_and_bounds() {
        let member = Person::member(r#"{"user_id":"ada","user_info":{"name":"Ada"}}"#).unwrap();
        assert_eq!((&*member.id, member.info.as_deref()), ("ada", Some(r#"{"name":"Ada"}"#)));
        assert_eq!(&*Person::member(r#"{"user_id":7}"#).unwrap().id, "7");
        assert_eq!(&*Person::user(r#"{"id":"u","watchlist":["v"]}"#).unwrap().id, "u");
        let long_id = format!(r#"{{"user_id":"{}"}}"#, "x".repeat(129));
        let long_info = format!(r#"{{"user_id":"a","user_info":"{}"}}"#, "x".repeat(INFO_MAX));
        for bad in
            ["", "[]", "{}", r#"{"user_id":""}"#, r#"{"user_id":null}"#, r#"{"user_id":[]}"#, &long_id, &long_info]
        {
            assert!(Person::member(bad).is_err(), "{bad}");
        }
        assert!(Person::user(r#"{"id":{}}"#).is_err() && Person::user(r#"{"id":"a\u0000"}"#).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text: String, name: String, data: String) {
            let _ = shown(&text);
            let quoted = |text: &str| serde_json::Value::from(text).to_string();
            let _ = shown(&format!(r#"{{"event":{},"data":{data}}}"#, quoted(&name)));
            let _ = shown(&format!(r#"{{"event":"pusher:subscribe","data":{}}}"#, quoted(&data)));
        }
    }
}
