//! Triggers: one event for many channels, or ten for one each.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::channels::Info;
use super::{channel, invalid};
use crate::error::Reject;
use crate::hub::Publication;
use crate::push::Push;
use crate::push::apps::AppNo;
use crate::push::channel::Channel;

/// Channels of one event.
const CHANNELS_MAX: usize = 100;
/// Events of one batch.
const BATCH_MAX: usize = 10;
/// Bytes of an event's data.
const DATA_MAX: usize = 10 * 1024;
/// Bytes of an event's name.
const NAME_MAX: usize = 200;

/// An event as it is asked for.
#[derive(Deserialize, JsonSchema)]
pub struct TriggeredEvent {
    /// 1 to 200 bytes.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// A text is the data; anything else is sent as the text of its JSON. At most 10 KiB.
    #[schemars(with = "serde_json::Value")]
    data: Box<RawValue>,
    /// This, or `channels`.
    #[serde(default)]
    channel: Option<String>,
    /// At most 100.
    #[serde(default)]
    channels: Option<Vec<String>>,
    /// A connection that is left out.
    #[serde(default)]
    socket_id: Option<String>,
    /// What to tell of the channels, as `user_count,subscription_count`.
    #[serde(default)]
    info: Option<String>,
}

/// Events of one call.
#[derive(Deserialize, JsonSchema)]
pub struct TriggeredBatch {
    /// 1 to 10, each with one `channel`.
    #[schemars(length(min = 1, max = 10))]
    batch: Vec<TriggeredEvent>,
}

impl Push {
    /// `POST events`
    pub(super) async fn trigger(&self, app: AppNo, body: &[u8]) -> Result<Value, Reject> {
        let wish: TriggeredEvent = object(body)?;
        let names = match (&wish.channels, &wish.channel) {
            (Some(names), None) => names.clone(),
            (None, Some(name)) => vec![name.clone()],
            _ => return Err(invalid("channels", "either channels or channel must be there")),
        };
        if names.is_empty() || names.len() > CHANNELS_MAX {
            return Err(invalid("channels", "1 to 100"));
        }
        // Named twice is meant once.
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let channels = names.into_iter().map(channel).collect::<Result<Vec<_>, _>>()?;
        let info = Info::parse(wish.info.as_deref())?;
        let publication = self.publication(app, &wish, &channels)?;
        self.trigger_rate(app, 1)?;
        self.0.hub.publish(vec![publication])?.await?;
        if info.is_none() {
            return Ok(json!({}));
        }
        let mut told = Map::new();
        for channel in channels {
            told.insert(channel.name().into(), self.info(app, channel, info).into());
        }
        Ok(json!({ "channels": told }))
    }

    /// `POST batch_events`
    pub(super) async fn trigger_batch(&self, app: AppNo, body: &[u8]) -> Result<Value, Reject> {
        let TriggeredBatch { batch } = object(body)?;
        if batch.is_empty() || batch.len() > BATCH_MAX {
            return Err(invalid("batch", "1 to 10 events"));
        }
        let (mut publications, mut told) = (Vec::new(), Vec::new());
        for wish in &batch {
            let name = wish.channel.as_deref().filter(|_| wish.channels.is_none());
            let channel = channel(name.ok_or_else(|| invalid("channel", "each event of a batch has one"))?)?;
            let info = Info::parse(wish.info.as_deref())?;
            publications.push(self.publication(app, wish, &[channel])?);
            told.push((channel, info));
        }
        self.trigger_rate(app, publications.len())?;
        self.0.hub.publish(publications)?.await?;
        if told.iter().all(|(_, info)| info.is_none()) {
            return Ok(json!({}));
        }
        let told: Vec<_> = told.into_iter().map(|(channel, info)| self.info(app, channel, info)).collect();
        Ok(json!({ "batch": told }))
    }

    /// Counts events: last, since what is refused for another reason costs an app nothing.
    fn trigger_rate(&self, app: AppNo, events: usize) -> Result<(), Reject> {
        let events = u32::try_from(events).ok().and_then(NonZeroU32::new);
        let (Some(limit), Some(events)) = (&self.0.triggers, events) else { return Ok(()) };
        limit.count_all(&app, events).inspect_err(|_| {
            self.0.metrics.rate_limited.inc();
        })
    }

    fn publication(&self, app: AppNo, wish: &TriggeredEvent, channels: &[Channel<'_>]) -> Result<Publication, Reject> {
        if wish.name.is_empty() || wish.name.len() > NAME_MAX || wish.name.chars().any(char::is_control) {
            return Err(invalid("name", "1 to 200 bytes"));
        }
        // A text is the data; anything else is JSON that is sent as a text.
        let data = wish.data.get();
        let data: String = if data.starts_with('"') {
            serde_json::from_str(data).map_err(|why| Reject::InvalidJson(why.to_string()))?
        } else {
            data.to_owned()
        };
        if data.len() > DATA_MAX {
            return Err(Reject::BodyTooLarge { limit: DATA_MAX });
        }
        let except = match wish.socket_id.as_deref() {
            None => None,
            Some(id) if is_socket_id(id) => self.0.sockets.named(id),
            Some(_) => return Err(invalid("socket_id", "two numbers with a point between")),
        };
        let channels = channels.iter().map(|channel| self.0.apps.hub_name(app, *channel).into_owned()).collect();
        Ok(Publication { channels, event: wish.name.clone(), data, except })
    }
}

/// Reads an object; serde would take an array for a struct.
fn object<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, Reject> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Reject::InvalidJson("an object was expected".into()));
    }
    serde_json::from_slice(body).map_err(|why| Reject::InvalidJson(why.to_string()))
}

fn is_socket_id(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 64 && text.split_once('.').is_some_and(|(mark, number)| digits(mark) && digits(number))
}
