//! A connection: reads through tungstenite, lets the session answer, and writes the hub's frames, several in one call.
//!
//! One task a connection, which reads, keeps the times, and writes what its [`Outlet`] leaves to it. Server frames are unmasked,
//! so a frame's bytes are the same for all and go out as they are; what tungstenite has to say goes between two of them. Never
//! copies a frame.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use super::PushOptions;
use super::close;
use super::outlet::{Outlet, Writing};
use super::pumps::Pumps;
use super::session::Session;
use super::socket::{Given, Socket};
use super::wire::Wire;
use crate::hub::Close;

/// Bytes of the largest message.
pub const MESSAGE_MAX: usize = 10 * 1024;
/// Bytes read at once. Most messages have a few hundred.
const READ: usize = 1024;
/// Bytes of pongs that tungstenite may hold back while [`Wire`] is full.
const HELD_BACK: usize = 1024;
/// Messages heard in one turn; then it is others' turn.
const TURN: usize = 16;

/// An open connection.
pub(super) struct Connection {
    socket: WebSocket<Wire>,
    /// None once its end has begun.
    session: Option<Session>,
    outlet: Arc<Outlet>,
    times: Times,
    /// When it was asked for a sign of life that it hasn't given.
    asked: Option<Instant>,
    /// When the timer must look again.
    look_at: Instant,
    /// There may be something to read, in the socket or in tungstenite's buffer: without, it isn't asked.
    may_read: bool,
    /// What it asked for has filled half of its queue: it isn't heard before it has taken that, or its own wishes would
    /// close it.
    held: bool,
    /// It was told to close and can't write what waits: with what code and reason it ends, once its time is up.
    leaving: Option<(u16, &'static str)>,
    end: Option<End>,
}

#[derive(Clone, Copy)]
struct Times {
    activity: Duration,
    pong: Duration,
    close: Duration,
}

/// The end of a connection.
struct End {
    /// Its frames can't be told apart any more: what comes is dropped unread.
    deaf: bool,
    /// The peer has said all it will.
    heard_out: bool,
}

impl Connection {
    /// Over a socket from which `read` was read already. `session` starts the session, or says why there is none.
    pub(super) fn new(
        socket: Given,
        read: &[u8],
        options: &PushOptions,
        pumps: &Arc<Pumps>,
        session: Result<Session, (u16, &'static str)>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(HELD_BACK)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let outbox = session.as_ref().ok().map(|session| session.outbox().clone());
        let (socket, outlet) = Socket::new(socket, pumps, outbox);
        let socket = WebSocket::from_partially_read(Wire::new(socket), read.to_vec(), Role::Server, Some(config));
        let times =
            Times { activity: options.activity_timeout, pong: options.pong_timeout, close: options.close_timeout };
        let (session, refused) = match session {
            Ok(session) => (Some(session), None),
            Err(refused) => (None, Some(refused)),
        };
        let mut connection = Self {
            socket,
            session,
            outlet,
            times,
            asked: None,
            look_at: Instant::now() + times.activity,
            may_read: true,
            held: false,
            leaving: None,
            end: None,
        };
        if let Some((code, why)) = refused {
            connection.end(code, why);
        }
        connection
    }

    /// Runs it to its end.
    pub(super) async fn run(mut self) {
        let mut timer = pin!(sleep_until(self.look_at));
        poll_fn(|cx| self.poll(cx, timer.as_mut())).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        loop {
            if self.hear(cx).is_ready() || self.write(cx).is_ready() {
                return Poll::Ready(());
            }
            if self.held && !self.is_half_full() {
                continue;
            }
            if self.look_at != timer.deadline() {
                timer.as_mut().reset(self.look_at);
            }
            ready!(timer.as_mut().poll(cx));
            if self.time_is_up() {
                return Poll::Ready(());
            }
        }
    }

    /// Hears what has come. Ready when the connection is over.
    fn hear(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.get_mut().begin_turn();
        // Not every time: most turns hear nothing.
        let mut look = std::mem::take(&mut self.held);
        for _ in 0..TURN {
            match &mut self.end {
                Some(end) if end.heard_out => return Poll::Pending,
                Some(end) if end.deaf => {
                    end.heard_out = ready!(self.socket.get_mut().poll_drop(cx));
                    return Poll::Pending;
                }
                _ => {}
            }
            self.held = look && self.is_half_full();
            if self.held || self.socket.get_ref().is_full() {
                return Poll::Pending;
            }
            if !self.may_read {
                if ready!(self.socket.get_mut().poll_readable(cx)).is_err() {
                    return Poll::Ready(());
                }
                self.may_read = true;
            }
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    if let Some(session) = self.session.as_mut().filter(|_| self.leaving.is_none()) {
                        session.hear(&text);
                        look = true;
                    }
                }
                Ok(Message::Binary(_)) => self.end(close::NOT_TEXT, "messages are texts"),
                // tungstenite answers pings and closes by itself; being heard of is what counts.
                Ok(_) => {}
                Err(Error::Io(why)) if why.kind() == ErrorKind::WouldBlock => {
                    if self.socket.get_ref().is_turn_over() {
                        break;
                    }
                    self.may_read = false;
                }
                // Both have closed, or the peer did and its close is answered.
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    self.begin_end();
                    self.heard_out(false);
                    return Poll::Pending;
                }
                Err(Error::Capacity(_)) => self.end_deaf(close::TOO_LARGE, "a message has 10 KiB at most"),
                Err(Error::Utf8(_)) => self.end_deaf(close::NOT_UTF8, "a text is UTF-8"),
                Err(Error::Protocol(why)) if is_gone(&why) => return Poll::Ready(()),
                Err(Error::Protocol(_)) => self.end_deaf(close::PROTOCOL, "the frames are not WebSocket's"),
                // The socket broke.
                Err(_) => return Poll::Ready(()),
            }
        }
        // There may be more; others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_half_full(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.outbox().is_half_full())
    }

    /// Writes what waits. Ready when the connection is over.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let outlet = Arc::clone(&self.outlet);
        loop {
            // Let go before anything else of the connection is touched.
            let mut writing = outlet.writing();
            let all = writing.is_empty() && self.socket.get_ref().aside().is_empty();
            if !all {
                // Before the first byte: what is set aside may go out in part.
                writing.keep();
            }
            let wrote = if all { self.socket.get_mut().poll_flush(cx) } else { self.write_some(&mut writing, cx) };
            match wrote {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    drop(writing);
                    return self.stalled(cx);
                }
            }
            if !all {
                continue;
            }
            if let Some(end) = &self.end {
                // All is said; the end is the peer's to give, so that nothing of ours is lost on its way.
                return if end.heard_out { Poll::Ready(()) } else { Poll::Pending };
            }
            // One that is held goes on once it has taken everything, so it must see that itself.
            let taken = ready!(outlet.poll_take(&mut writing, self.held, cx));
            drop(writing);
            match taken {
                Ok(()) => {}
                Err(Close::Slow) => self.end(close::OVER_CAPACITY, "too slow: what waited was dropped"),
                Err(Close::Code(code, why)) => self.end(code, why),
                Err(Close::Gone) => self.end(close::FAILED, "the connection's session is gone"),
            }
        }
    }

    /// Nobody takes what it has: the hub may give it up meanwhile, or be told to end it.
    fn stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.session.as_ref().map(|session| session.outbox().poll_end(cx)) {
            Some(Poll::Ready(Close::Code(code, why))) => self.hurry(code, why),
            Some(Poll::Ready(_)) => self.end(close::OVER_CAPACITY, "too slow: what waited was dropped"),
            Some(Poll::Pending) | None => {}
        }
        Poll::Pending
    }

    /// One write of as much as goes into one: the rest of a frame, what is set aside, and the frames behind.
    fn write_some(&mut self, writing: &mut Writing, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let was_full = self.socket.get_ref().is_full();
        let wire = self.socket.get_mut();
        let aside = wire.aside().len();
        let (begun, behind) = writing.waiting();
        let mut left = ready!(wire.poll_write(cx, begun, behind))?;
        if writing.has_begun() {
            left = writing.advance(left);
        }
        // Its bytes come behind those of the frame that was begun, if there was one and it is finished now.
        let of_aside = left.min(aside);
        self.socket.get_mut().written(of_aside);
        left -= of_aside;
        while left > 0 {
            left = writing.advance(left);
        }
        if was_full {
            // Nothing was read meanwhile.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the connection is over.
    fn time_is_up(&mut self) -> bool {
        if self.end.is_some() {
            return true;
        }
        if let Some((code, why)) = self.leaving {
            self.end(code, why);
            return false;
        }
        let (now, heard) = (Instant::now(), self.socket.get_ref().heard());
        match self.asked {
            Some(asked) if heard <= asked => self.end(close::NO_PONG, "no pong in time"),
            None if now >= heard + self.times.activity => {
                if let Some(session) = &self.session {
                    session.ask();
                }
                self.asked = Some(now);
                self.look_at = now + self.times.pong;
            }
            _ => {
                self.asked = None;
                self.look_at = heard + self.times.activity;
            }
        }
        false
    }

    /// Gives it no more time to take what waits than it has to close; what it says meanwhile is not heard.
    fn hurry(&mut self, code: u16, why: &'static str) {
        if self.leaving.is_none() {
            self.leaving = Some((code, why));
            self.look_at = Instant::now() + self.times.close;
        }
    }

    /// Begins the end: leaves all channels, drops what isn't begun, and says why.
    fn end(&mut self, code: u16, why: &'static str) {
        if self.end.is_some() {
            return;
        }
        self.begin_end();
        let frame = CloseFrame { code: CloseCode::from(code), reason: why.into() };
        // It goes into the wire's own buffer. When that is full the peer reads nothing, and will not miss it.
        let _ = self.socket.close(Some(frame));
    }

    fn end_deaf(&mut self, code: u16, why: &'static str) {
        self.end(code, why);
        self.heard_out(true);
    }

    fn begin_end(&mut self) {
        if self.end.is_some() {
            return;
        }
        self.outlet.end();
        self.session = None;
        self.look_at = Instant::now() + self.times.close;
        self.end = Some(End { deaf: false, heard_out: false });
    }

    fn heard_out(&mut self, deaf: bool) {
        if let Some(end) = &mut self.end {
            end.deaf |= deaf;
            end.heard_out |= !deaf;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Before its session goes, whose queue would have a pump come for nothing.
        self.outlet.end();
    }
}

/// Whether the peer left without a word.
fn is_gone(why: &ProtocolError) -> bool {
    matches!(why, ProtocolError::ResetWithoutClosingHandshake)
}

#[cfg(test)]
mod tests;
