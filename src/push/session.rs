//! A connection's side of the protocol: what it hears and what it answers. Knows no socket: answers go to its outbox.
//!
//! Dropping it leaves every channel, and tells the others where they must know.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Push;
use super::apps::AppNo;
use super::channel::{Channel, Kind, NAME_MAX};
use super::frames::{self, Shared};
use super::message::{Message, Person, Subscribe};
use super::presence;
use super::rate::{Quota, Rate};
use super::sockets::SocketId;
use super::webhooks::Event;
use crate::hub::{self, Frame, Joined, Outbox, Position, Refusal, Viewer};

/// Events of one viewer for others.
const EVENTS: Quota = Quota { burst: 10, refill: Duration::from_millis(100) };
/// Subscribes and unsubscribes: all its channels when a client comes back, and then a few.
const SUBSCRIBES: Quota = Quota { burst: 200, refill: Duration::from_millis(50) };
/// The protocol's code for a viewer that sends too many events.
const TOO_MANY_EVENTS: u16 = 4301;
/// The protocol's code for what the connection may not do.
const NOT_ALLOWED: u16 = 4009;

/// A connection that speaks.
pub(super) struct Session {
    push: Push,
    app: AppNo,
    viewer: Viewer,
    socket_id: SocketId,
    /// The presence channels that it is on, by the hub's name, and as whom.
    member_of: Vec<(Box<str>, Box<str>)>,
    /// The user that it signed in as.
    user: Option<Box<str>>,
    events: Rate,
    subscribes: Rate,
}

/// Why a viewer doesn't come to a channel.
struct Refused {
    kind: &'static str,
    why: Cow<'static, str>,
    status: u16,
}

impl Refused {
    fn new(kind: &'static str, status: u16, why: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, why: why.into(), status }
    }

    fn auth(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new("AuthError", 401, why)
    }
}

impl Session {
    /// A connection of an app's viewer. Its first frame is queued.
    pub(super) fn new(push: Push, app: AppNo) -> Self {
        let viewer = push.0.hub.viewer();
        let socket_id = push.0.sockets.id(viewer.id());
        let timeout_s = push.0.options.activity_timeout.as_secs().max(1);
        viewer.outbox().send(&frames::established(&socket_id.to_string(), timeout_s));
        push.0.sockets.add(viewer.outbox());
        Self {
            push,
            app,
            viewer,
            socket_id,
            member_of: Vec::new(),
            user: None,
            events: Rate::default(),
            subscribes: Rate::default(),
        }
    }

    /// Where its frames wait.
    pub(super) fn outbox(&self) -> &Outbox {
        self.viewer.outbox()
    }

    /// Takes in a text frame.
    pub(super) fn hear(&mut self, text: &str) {
        let mut scratch = String::new();
        match Message::parse(text, &mut scratch) {
            Ok(Message::Ping) => self.send(&frames::pong()),
            Ok(Message::Pong) => {}
            Ok(Message::Subscribe(wish)) => {
                if let Err(refused) = self.subscribe(&wish) {
                    let shown: String = wish.channel.chars().take(NAME_MAX).collect();
                    self.send(&frames::refused(&shown, refused.kind, &refused.why, refused.status));
                }
            }
            Ok(Message::Unsubscribe(channel)) => self.unsubscribe(&channel),
            Ok(Message::Signin { auth, user_data }) => match self.sign_in(&auth, &user_data) {
                Ok(()) => self.send(&frames::signed_in(&user_data)),
                Err(why) => self.send(&frames::error(Some(NOT_ALLOWED), &why)),
            },
            Ok(Message::Client { event, channel, data }) => {
                if let Err((code, why)) = self.relay(&event, &channel, data.get()) {
                    self.send(&frames::error(Some(code), why));
                }
            }
            Err(malformed) => self.send(&frames::error(None, &malformed.0)),
        }
    }

    /// Asks for a sign of life.
    pub(super) fn ask(&self) {
        self.send(&frames::ping());
    }

    fn send(&self, frame: &Shared) {
        // A queue that is over its budget says so to whoever takes from it.
        self.outbox().send(frame);
    }

    fn subscribe(&mut self, wish: &Subscribe<'_>) -> Result<(), Refused> {
        self.subscribe_rate()?;
        let channel = Channel::parse(&wish.channel);
        let channel = channel.ok_or_else(|| {
            let why = format!("a channel's name is 1 to {NAME_MAX} of A-Z a-z 0-9 _ - = @ , . ;");
            Refused::new("InvalidChannel", 400, why)
        })?;
        let since = wish.since.as_deref().map(str::parse::<Position>).transpose();
        let since = since.map_err(|_| Refused::new("InvalidPosition", 400, "since must be a position"))?;
        let person = self.authorise(channel, wish)?;
        let push = self.push.clone();
        let hub_name = push.0.apps.hub_name(self.app, channel);
        let miss = channel.is_cache().then(|| frames::cache_miss(channel.name()));
        let ask = hub::Subscribe { since, miss, ..hub::Subscribe::to(&hub_name) };
        let joined = match person {
            None => {
                self.viewer.subscribe(&ask, |joined| Some(frames::subscribed(channel.name(), joined.position, "{}")))
            }
            Some(person) => self.join(channel, &ask, person)?,
        };
        let joined = joined.map_err(not_taken)?;
        if joined.missed {
            push.0.webhooks.note(self.app, Event::cache_miss(channel.name()));
        }
        Ok(())
    }

    /// Comes to a presence channel, under the lock that keeps the list and the news of its members in one order.
    fn join(
        &mut self,
        channel: Channel<'_>,
        ask: &hub::Subscribe<'_>,
        person: Person,
    ) -> Result<Result<Joined, Refusal>, Refused> {
        let push = self.push.clone();
        if self.viewer.is_subscribed(ask.channel) {
            return Ok(Err(Refusal::AlreadySubscribed));
        }
        let mut held = push.0.presence.hold(ask.channel);
        if !held.has_room_for(&person.id) {
            let why = format!("a presence channel has {} members at most", presence::MEMBERS_MAX);
            return Err(Refused::new("LimitReached", 403, why));
        }
        let (user, info) = (person.id.clone(), person.info.clone());
        let is_new = held.join(person);
        let members = held.list();
        let joined =
            self.viewer.subscribe(ask, |joined| Some(frames::subscribed(channel.name(), joined.position, &members)));
        if joined.is_err() {
            held.leave(&user);
            return Ok(joined);
        }
        if is_new {
            let added = frames::member_added(channel.name(), &user, presence::info(info.as_deref()));
            push.0.hub.relay(ask.channel, &added, Some(self.viewer.id()));
            push.0.webhooks.note(self.app, Event::member_added(channel.name(), &user));
        }
        self.member_of.push((ask.channel.into(), user));
        Ok(joined)
    }

    /// Whether it may come to the channel; as whom, where that matters.
    fn authorise(&self, channel: Channel<'_>, wish: &Subscribe<'_>) -> Result<Option<Person>, Refused> {
        let auth = wish.auth.as_deref().unwrap_or_default();
        let signer = &self.push.0.apps.get(self.app).signer;
        let lets_in = |data| signer.lets_in(auth, &self.socket_id.to_string(), channel.name(), data);
        let wrong = || Refused::auth("the signature is not right for this connection and channel");
        match channel.kind() {
            Kind::Public | Kind::Own => Ok(None),
            Kind::Private | Kind::Encrypted => {
                if lets_in(None) {
                    Ok(None)
                } else {
                    Err(wrong())
                }
            }
            Kind::Presence => {
                let data = wish.channel_data.as_deref();
                let data = data.ok_or_else(|| Refused::auth("a presence channel needs channel_data"))?;
                if !lets_in(Some(data)) {
                    return Err(wrong());
                }
                Person::member(data).map(Some).map_err(|why| Refused::new("InvalidMember", 400, why.0))
            }
            Kind::User => {
                let own = self.user.is_some() && self.user.as_deref() == channel.user();
                if own { Ok(None) } else { Err(Refused::auth("sign in as this user first")) }
            }
        }
    }

    fn unsubscribe(&mut self, name: &str) {
        // A name that is none is no channel that it could be on.
        let Some(channel) = Channel::parse(name) else { return };
        if self.subscribe_rate().is_err() {
            return self.send(&frames::error(Some(TOO_MANY_EVENTS), "too many unsubscribes, this one was not done"));
        }
        let push = self.push.clone();
        let hub_name = push.0.apps.hub_name(self.app, channel);
        match self.member_of.iter().position(|(on, _)| **on == *hub_name) {
            Some(at) => {
                let (on, user) = self.member_of.swap_remove(at);
                self.leave(&on, &user);
            }
            None => drop(self.viewer.unsubscribe(&hub_name)),
        }
    }

    /// Leaves a presence channel.
    fn leave(&mut self, hub_name: &str, user: &str) {
        let push = self.push.clone();
        let (_, channel) = push.0.apps.shown(hub_name);
        let mut held = push.0.presence.hold(hub_name);
        self.viewer.unsubscribe(hub_name);
        if held.leave(user) {
            push.0.hub.relay(hub_name, &frames::member_removed(channel, user), None);
            push.0.webhooks.note(self.app, Event::member_removed(channel, user));
        }
    }

    fn sign_in(&mut self, auth: &str, user_data: &str) -> Result<(), String> {
        if self.user.is_some() {
            return Err("this connection has signed in already".into());
        }
        let signer = &self.push.0.apps.get(self.app).signer;
        if !signer.signs_in(auth, &self.socket_id.to_string(), user_data) {
            return Err("the signature is not right for this connection and user".into());
        }
        let user = Person::user(user_data).map_err(|why| why.0)?.id;
        self.push.0.sockets.sign_in(self.app, &user, self.viewer.outbox());
        self.user = Some(user);
        Ok(())
    }

    /// Sends a viewer's event to the channel's others.
    fn relay(&mut self, event: &str, name: &str, data: &str) -> Result<(), (u16, &'static str)> {
        if self.push.0.options.rates && !self.events.take(EVENTS, Instant::now()) {
            return Err((TOO_MANY_EVENTS, "more than 10 events a second, this one was not sent"));
        }
        let channel = Channel::parse(name).filter(|channel| channel.takes_client_events());
        let channel = channel.ok_or((NOT_ALLOWED, "viewers send events to private and presence channels alone"))?;
        let hub_name = self.push.0.apps.hub_name(self.app, channel);
        if !self.viewer.is_subscribed(&hub_name) {
            return Err((NOT_ALLOWED, "subscribe to the channel first"));
        }
        // A text is taken for the JSON that older clients put into one.
        let data = if data.starts_with('"') { serde_json::from_str(data).unwrap_or_default() } else { data.to_owned() };
        let user = self.member_of.iter().find(|(on, _)| **on == *hub_name).map(|(_, user)| &**user);
        let (socket, webhooks) = (self.socket_id.to_string(), &self.push.0.webhooks);
        if webhooks.is_on() {
            webhooks.note(self.app, Event::client(channel.name(), event, &data, &socket, user));
        }
        let frame = Frame::event(channel.name(), event, data);
        let frame = match user {
            Some(user) => frame.of_user(user),
            None => frame,
        };
        self.push.0.hub.relay(&hub_name, &Arc::new(frame), Some(self.viewer.id()));
        Ok(())
    }

    fn subscribe_rate(&mut self) -> Result<(), Refused> {
        if self.push.0.options.rates && !self.subscribes.take(SUBSCRIBES, Instant::now()) {
            return Err(Refused::new("RateLimited", 429, "too many subscribes, try again in a moment"));
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for (channel, user) in std::mem::take(&mut self.member_of) {
            self.leave(&channel, &user);
        }
        if let Some(user) = &self.user {
            self.push.0.sockets.sign_out(self.app, user, self.viewer.id());
        }
        self.push.0.sockets.remove(self.viewer.id());
    }
}

fn not_taken(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::AlreadySubscribed => {
            Refused::new("AlreadySubscribed", 409, "this connection is on the channel already")
        }
        Refusal::TooManyChannels => {
            Refused::new("LimitReached", 403, "this connection is on as many channels as it may be")
        }
        Refusal::Full => {
            Refused::new("OverCapacity", 503, "there are as many channels as there may be, try again later")
        }
    }
}
