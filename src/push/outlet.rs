//! The way out of a connection: what it has taken from its queue and not written yet, and the socket if others may write to it.
//!
//! Two write, one at a time. A pump does as long as the socket takes everything: then a frame costs no turn of the connection's
//! task. What the socket doesn't take is left here, and from then on the way is the task's own until nothing is left. A pump
//! begins at the end of a frame and leaves at one, or leaves the rest here.
//!
//! Never: waits for a socket, or writes to one under TLS, where only the task can.

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::{Mutex, MutexGuard};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::pumps::Pumps;
use crate::hub::{Close, Frame, Outbox};

/// Bytes taken from the queue at once.
pub(super) const TAKE: usize = 32 * 1024;
/// Frames that leave in one call.
pub(super) const SLICES: usize = 32;
/// A list of frames that has grown beyond this is given back.
const FRAMES_KEPT: usize = 32;
/// The same of a pump's: a few for each connection of a turn.
const FRAMES_ROOM: usize = 128;
/// How often a pump takes for one connection: then its task goes on, and others have their turn.
const TAKES: usize = 4;

/// A peer that is gone is an error, and no signal: in a host that hears signals, too. The runtime's own writes say the same;
/// elsewhere the socket was made so.
#[cfg(target_os = "linux")]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const NO_SIGNAL: i32 = 0;

/// Where a pump has what it took in its turn. What is written stays for a while, so that many let go of a frame that they share
/// in one go, and not each while another counts on it.
#[derive(Debug, Default)]
pub(super) struct Room {
    frames: Vec<Arc<Frame>>,
    /// Written of them.
    bytes: usize,
}

/// The way out of one connection. As a waker it has a pump write what waits.
#[derive(Debug)]
pub(super) struct Outlet {
    /// None under TLS.
    tcp: Option<TcpStream>,
    pumps: Arc<Pumps>,
    /// A pump is to come, or none need come any more. However often its queue has something while its task writes too, it waits
    /// for one once.
    awaited: AtomicBool,
    /// None if there was no session.
    outbox: Option<Outbox>,
    writing: Mutex<Writing>,
}

/// What is being written.
#[derive(Debug, Default)]
pub(super) struct Writing {
    /// The connection's task alone writes, and has yet to look for what waits: what was taken is not all written, a pump has
    /// handed over, or the task waits for room to hear again. Once its end has begun it stays so.
    own: bool,
    /// The task, that a pump leaves the rest to. Set whenever it waits and a pump may write.
    task: Option<Waker>,
    /// Taken from the queue and not written whole, from `next` on; of that one so many bytes are written.
    frames: Vec<Arc<Frame>>,
    next: usize,
    written: usize,
}

impl Outlet {
    /// Of a connection that takes from this outbox. Without the socket only its task can write.
    pub(super) fn new(tcp: Option<TcpStream>, pumps: Arc<Pumps>, outbox: Option<Outbox>) -> Self {
        Self { tcp, pumps, awaited: AtomicBool::new(false), outbox, writing: Mutex::default() }
    }

    /// The socket that pumps write to.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        self.tcp.as_ref()
    }

    /// What is being written, for the connection's task. A pump has it for a few calls at most.
    pub(super) fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock()
    }

    /// For the connection's task, when the socket has taken everything: takes what waits. The task is woken for what comes
    /// next if it is to write it itself, which `own` says, or must; else a pump is.
    pub(super) fn poll_take(
        self: &Arc<Self>,
        writing: &mut Writing,
        own: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Close>> {
        let outbox = self.outbox.as_ref().expect("a connection without a session ends");
        writing.clear();
        writing.own = true;
        if own || self.tcp.is_none() {
            return outbox.poll_take(cx, &mut writing.frames, TAKE);
        }
        if !writing.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            writing.task = Some(cx.waker().clone());
        }
        let waker = Waker::from(Arc::clone(self));
        let taken = outbox.poll_take(&mut Context::from_waker(&waker), &mut writing.frames, TAKE);
        // What was taken is written before anyone takes more.
        writing.own = taken.is_ready();
        taken
    }

    /// Has the processor fetch what a pump will touch, without waiting for it.
    pub(super) fn fetch(&self) {
        black_box(self.writing.is_locked());
        black_box(self.tcp.is_some());
    }

    /// The same for its queue, once the former has come.
    pub(super) fn fetch_queue(&self) {
        if let Some(outbox) = &self.outbox {
            outbox.fetch();
        }
    }

    /// For a pump: writes what waits.
    pub(super) fn pump(self: &Arc<Self>, room: &mut Room) {
        // Before it takes: what comes after that must find another pump.
        self.awaited.swap(false, Ordering::AcqRel);
        let (Some(tcp), Some(outbox)) = (&self.tcp, &self.outbox) else { return };
        let mut writing = self.writing.lock();
        if writing.own {
            // Whoever has it for its own takes what waits before it waits itself.
            return;
        }
        let _whole = Whole(tcp);
        let waker = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&waker);
        for _ in 0..TAKES {
            let from = room.frames.len();
            match outbox.poll_take(&mut cx, &mut room.frames, TAKE) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                // The task hears of the end likewise.
                Poll::Ready(Err(_)) => break,
            }
            let Wrote { whole, begun, bytes } = write_all(tcp, &room.frames[from..]);
            let all = from + whole == room.frames.len();
            if !all {
                writing.frames.extend(room.frames.drain(from + whole..));
                writing.written = begun;
            }
            // Before anyone takes more, and with that says that this is written: no budget counts it from then on.
            room.wrote(bytes);
            if !all {
                break;
            }
        }
        hand_over(writing);
    }

    /// The connection's end has begun: drops what isn't begun, and nobody but its task writes any more. Nor is a pump woken when
    /// its queue ends with it.
    pub(super) fn end(&self) {
        self.writing.lock().end();
        self.awaited.swap(true, Ordering::AcqRel);
    }

    /// For who can't pump it: its task writes what waits.
    pub(super) fn leave_to_task(&self) {
        // As when it is pumped: what comes from here on must find a pump, or come here again.
        self.awaited.swap(false, Ordering::AcqRel);
        let writing = self.writing.lock();
        if !writing.own {
            hand_over(writing);
        }
    }
}

/// Makes the way the task's own. It is woken behind the lock, which it takes as soon as it runs.
fn hand_over(mut writing: MutexGuard<'_, Writing>) {
    writing.own = true;
    let task = writing.task.take();
    drop(writing);
    if let Some(task) = task {
        task.wake();
    }
}

/// Held by a pump while it writes. Should it panic, the connection ends, as when its task does: what was taken is lost, in the
/// midst of a frame perhaps, and the viewer must come back for it.
struct Whole<'a>(&'a TcpStream);

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It fails on what has ended already.
            let _ = SockRef::from(self.0).shutdown(Shutdown::Both);
        }
    }
}

impl Room {
    /// Counts what was written. Together it is less than one take, or all of it is let go.
    fn wrote(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= TAKE {
            self.clear();
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.frames.shrink_to(FRAMES_ROOM);
        self.bytes = 0;
    }
}

/// How far a socket took frames: so many whole, so many bytes of the next, and so many bytes in all.
struct Wrote {
    whole: usize,
    begun: usize,
    bytes: usize,
}

/// Writes frames as far as the socket takes them at once. An error is the task's to meet.
fn write_all(tcp: &TcpStream, frames: &[Arc<Frame>]) -> Wrote {
    let (mut whole, mut bytes) = (0, 0);
    while whole < frames.len() {
        let now = &frames[whole..frames.len().min(whole + SLICES)];
        let wrote = match now {
            // Not through the runtime, whose note on the socket lies elsewhere in memory: the task asks it, when it must wait.
            [one] => SockRef::from(tcp).send_with_flags(one.socket(), NO_SIGNAL),
            several => write_several(tcp, several),
        };
        let mut wrote = wrote.unwrap_or(0);
        bytes += wrote;
        for frame in now {
            if wrote < frame.socket().len() {
                return Wrote { whole, begun: wrote, bytes };
            }
            wrote -= frame.socket().len();
            whole += 1;
        }
    }
    Wrote { whole, begun: 0, bytes }
}

fn write_several(tcp: &TcpStream, frames: &[Arc<Frame>]) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    for (slice, frame) in slices.iter_mut().zip(frames) {
        *slice = IoSlice::new(frame.socket());
    }
    tcp.try_write_vectored(&slices[..frames.len()])
}

impl Wake for Outlet {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.awaited.swap(true, Ordering::AcqRel) {
            self.pumps.add(Arc::clone(self));
        }
    }
}

impl Writing {
    /// Whether everything that was taken is written.
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.frames.len()
    }

    /// The rest of a frame that is written in part, and the frames behind.
    pub(super) fn waiting(&self) -> (Option<&[u8]>, impl Iterator<Item = &[u8]>) {
        let mut waiting = self.frames[self.next..].iter().map(|frame| &frame.socket()[..]);
        let begun = if self.written > 0 { waiting.next() } else { None };
        (begun.map(|frame| &frame[self.written..]), waiting)
    }

    /// Whether a frame is written in part.
    pub(super) fn has_begun(&self) -> bool {
        self.written > 0
    }

    /// Notes bytes of the next frame as written; how many are left for those behind.
    pub(super) fn advance(&mut self, bytes: usize) -> usize {
        let rest = self.frames[self.next].socket().len() - self.written;
        if bytes < rest {
            self.written += bytes;
            return 0;
        }
        self.next += 1;
        self.written = 0;
        bytes - rest
    }

    /// Nobody but the task writes before the socket has taken everything.
    pub(super) fn keep(&mut self) {
        self.own = true;
    }

    /// Drops what isn't begun. A frame that is half written must be finished, or what follows would be taken for its rest.
    fn end(&mut self) {
        self.own = true;
        self.task = None;
        self.frames.drain(..self.next);
        self.frames.truncate(usize::from(self.written > 0));
        self.next = 0;
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.frames.shrink_to(FRAMES_KEPT);
        self.next = 0;
    }
}

#[cfg(test)]
mod tests;
