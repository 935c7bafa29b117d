//! One event as it goes over the wire, made once and shared by all its receivers.
//!
//! Each form is made when the first receiver of its kind takes the frame: a channel without WebSocket viewers never pays
//! for a WebSocket frame. Never changes afterwards.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{Position, names};

/// What a queue is charged for a frame beside its text.
const OVERHEAD: usize = 64;

/// A message to viewers, in the form that each kind of connection writes.
#[derive(Debug)]
pub struct Frame {
    body: Body,
    position: Option<Position>,
    socket: OnceLock<Bytes>,
    stream: OnceLock<Bytes>,
}

#[derive(Debug)]
enum Body {
    Event {
        channel: Arc<str>,
        event: Arc<str>,
        data: Arc<str>,
        user: Option<Box<str>>,
    },
    /// One form alone, which is there already.
    Made(usize),
}

impl Frame {
    /// An event of a channel; `data` is JSON, or any text that its publisher chose.
    pub fn event(channel: impl Into<Arc<str>>, event: impl Into<Arc<str>>, data: impl Into<Arc<str>>) -> Self {
        let body = Body::Event { channel: channel.into(), event: event.into(), data: data.into(), user: None };
        Self { body, position: None, socket: OnceLock::new(), stream: OnceLock::new() }
    }

    /// A WebSocket text frame of this payload, and nothing on a stream.
    pub fn text(payload: &str) -> Self {
        Self::ready(text_frame(payload.as_bytes()))
    }

    /// Bytes that are a whole WebSocket frame already, and nothing on a stream.
    pub fn ready(socket: Bytes) -> Self {
        let body = Body::Made(socket.len());
        Self { body, position: None, socket: socket.into(), stream: Bytes::new().into() }
    }

    /// No event: it only tells a stream's client that it knows everything up to a position.
    pub(super) fn mark(position: Position) -> Self {
        let stream = Bytes::from(format!("id: {position}\n\n"));
        let body = Body::Made(stream.len());
        Self { body, position: Some(position), socket: Bytes::new().into(), stream: stream.into() }
    }

    /// The same at a position. Before it is shared: forms that are made already would not show it.
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        Self { position: Some(position), ..self }
    }

    /// The same from a user, as presence channels show it.
    #[must_use]
    pub fn of_user(mut self, id: &str) -> Self {
        if let Body::Event { user, .. } = &mut self.body {
            *user = Some(id.into());
        }
        self
    }

    /// The same without its position: for those who get it out of its order.
    pub(super) fn out_of_order(&self) -> Option<Self> {
        let Body::Event { channel, event, data, .. } = &self.body else { return None };
        Some(Self::event(Arc::clone(channel), Arc::clone(event), Arc::clone(data)))
    }

    /// Where it stands in the order of what is pushed, if it has a place there.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The event's name, if it is one.
    pub fn name(&self) -> Option<&str> {
        match &self.body {
            Body::Event { event, .. } => Some(event),
            Body::Made(_) => None,
        }
    }

    /// The event's channel, if it is one.
    pub fn channel(&self) -> Option<&str> {
        match &self.body {
            Body::Event { channel, .. } => Some(channel),
            Body::Made(_) => None,
        }
    }

    /// The event's data, if it is one.
    pub fn data(&self) -> Option<&str> {
        match &self.body {
            Body::Event { data, .. } => Some(data),
            Body::Made(_) => None,
        }
    }

    /// The whole WebSocket text frame: unmasked, header included. Empty for what is for streams alone.
    pub fn socket(&self) -> &Bytes {
        self.socket.get_or_init(|| match &self.body {
            Body::Event { channel, event, data, user } => {
                text_frame(&payload(channel, event, data, user.as_deref(), self.position))
            }
            Body::Made(_) => Bytes::new(),
        })
    }

    /// The whole server-sent event. Empty for what is for WebSocket alone.
    pub fn stream(&self) -> &Bytes {
        self.stream.get_or_init(|| match &self.body {
            Body::Event { channel, event, data, .. } => sent_event(channel, event, data, self.position),
            Body::Made(_) => Bytes::new(),
        })
    }

    /// What a queue is charged for it, in bytes. Close to its size on the wire; the same before and after that is made.
    pub fn cost(&self) -> usize {
        OVERHEAD
            + match &self.body {
                Body::Event { channel, event, data, .. } => channel.len() + event.len() + data.len(),
                Body::Made(len) => *len,
            }
    }
}

/// The protocol's JSON: the data is a string in it, whatever it holds.
fn payload(channel: &str, event: &str, data: &str, user: Option<&str>, position: Option<Position>) -> Vec<u8> {
    let mut json = Vec::with_capacity(channel.len() + event.len() + data.len() + data.len() / 4 + OVERHEAD);
    json.extend_from_slice(b"{\"event\":");
    quote(&mut json, event);
    json.extend_from_slice(b",\"channel\":");
    quote(&mut json, names::shown(channel));
    if let Some(position) = position {
        json.extend_from_slice(format!(",\"position\":\"{position}\"").as_bytes());
    }
    if let Some(user) = user {
        json.extend_from_slice(b",\"user_id\":");
        quote(&mut json, user);
    }
    json.extend_from_slice(b",\"data\":");
    quote(&mut json, data);
    json.push(b'}');
    json
}

fn quote(to: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(to, text).expect("a string always serialises");
}

/// A final text frame, unmasked as a server's are (RFC 6455, 5.2).
fn text_frame(payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(0x81);
    match payload.len() {
        len @ 0..=125 => frame.push(u8::try_from(len).expect("at most 125")),
        len @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(len).expect("16 bits").to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame.into()
}

/// The data as it is, a line each. The channel stands in a field of its own, which an `EventSource` passes over and other
/// clients may read.
fn sent_event(channel: &str, event: &str, data: &str, position: Option<Position>) -> Bytes {
    let mut text = String::with_capacity(channel.len() + event.len() + data.len() + OVERHEAD);
    if let Some(position) = position {
        text.push_str("id: ");
        text.push_str(&position.to_string());
        text.push('\n');
    }
    text.push_str("event: ");
    // A line break would begin a field of the publisher's choice.
    text.extend(event.chars().map(|c| if matches!(c, '\r' | '\n') { ' ' } else { c }));
    text.push_str("\nchannel: ");
    text.push_str(names::shown(channel));
    let unix = if data.contains('\r') {
        data.replace("\r\n", "\n").replace('\r', "\n").into()
    } else {
        std::borrow::Cow::from(data)
    };
    for line in unix.split('\n') {
        text.push_str("\ndata: ");
        text.push_str(line);
    }
    text.push_str("\n\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload of a server's text frame.
    fn payload_of(frame: &Frame) -> (usize, serde_json::Value) {
        let bytes = frame.socket();
        assert_eq!(bytes[0], 0x81, "final, text");
        let (head, len) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, usize::try_from(u64::from_be_bytes(bytes[2..10].try_into().unwrap())).unwrap()),
            short => (2, usize::from(short)),
        };
        assert_eq!(bytes.len(), head + len);
        (head, serde_json::from_slice(&bytes[head..]).unwrap())
    }

    #[test]
    fn a_socket_gets_the_protocols_json_with_the_data_as_a_string() {
        let frame = Frame::event("clip-1", "new-comment", r#"{"a":"ü\n"}"#).at(Position { seq: 57, n: 2 });
        let (_, json) = payload_of(&frame);
        let expected = serde_json::json!({
            "event": "new-comment", "channel": "clip-1", "position": "57.2", "data": r#"{"a":"ü\n"}"#
        });
        assert_eq!(json, expected);
        let (_, json) = payload_of(&Frame::event("presence-x", "client-y", "1").of_user("u\"1"));
        let expected =
            serde_json::json!({"event": "client-y", "channel": "presence-x", "user_id": "u\"1", "data": "1"});
        assert_eq!(json, expected);
    }

    #[test]
    fn a_frames_header_fits_its_length() {
        let bare = Frame::event("c", "e", "").socket().len() - 2;
        for (data, head) in [(0, 2), (125 - bare, 2), (126 - bare, 4), (0xffff - bare, 4), (0x1_0000 - bare, 10)] {
            assert_eq!(payload_of(&Frame::event("c", "e", "x".repeat(data))).0, head, "{data}");
        }
        assert_eq!(&Frame::text("{}").socket()[..], b"\x81\x02{}");
        assert!(Frame::text("{}").stream().is_empty());
    }

    #[test]
    fn a_stream_gets_the_data_as_it_is_line_by_line() {
        let frame = Frame::event("clip-1", "new-comment", "{\"a\":1}").at(Position::of(5));
        assert_eq!(frame.stream(), "id: 5.0\nevent: new-comment\nchannel: clip-1\ndata: {\"a\":1}\n\n");
        let odd = Frame::event("x", "a\r\nid: 9", "1\r\n2\r3\n\n4");
        assert_eq!(odd.stream(), "event: a  id: 9\nchannel: x\ndata: 1\ndata: 2\ndata: 3\ndata: \ndata: 4\n\n");
    }

    #[test]
    fn out_of_its_order_it_has_no_position() {
        let frame = Frame::event("x", "e", "1").at(Position::of(7));
        let plain = frame.out_of_order().unwrap();
        assert_eq!((plain.position(), plain.name(), plain.data()), (None, Some("e"), Some("1")));
        assert_eq!(plain.cost(), frame.cost());
    }
}
