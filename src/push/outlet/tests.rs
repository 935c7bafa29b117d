//! The way out, with the test as the connection's task and as the pump.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Handle};

use super::*;
use crate::clock::SystemClock;
use crate::hub::{Hub, NoCounts, Settings, Viewer};
use crate::metrics::Metrics;

/// How often a connection's task was woken.
#[derive(Debug, Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection whose task and pump are the test. It goes on only where the test waits, and a pump that comes of itself
/// finds what a second pump would.
struct Rig {
    viewer: Viewer,
    outlet: Arc<Outlet>,
    peer: TcpStream,
    woken: Arc<Woken>,
    /// What was sent.
    sent: Vec<u8>,
}

impl Rig {
    /// Whose socket takes few bytes unread.
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        let peer = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        SockRef::from(&tcp).set_send_buffer_size(4 * 1024).unwrap();
        let bounds = Settings { viewer_bytes: 8 << 20, ..Settings::default() };
        let (hub, ..) = Hub::new(bounds, Arc::new(SystemClock), Arc::new(NoCounts), Arc::new(Metrics::default()), 0);
        let viewer = hub.viewer();
        let pumps = Arc::new(Pumps::new(Handle::current()));
        let outlet = Arc::new(Outlet::new(Some(tcp), pumps, Some(viewer.outbox().clone())));
        Self { viewer, outlet, peer, woken: Arc::default(), sent: Vec::new() }
    }

    fn send(&mut self, data: &str) {
        let frame = Arc::new(Frame::text(data));
        assert!(self.viewer.outbox().send(&frame));
        self.sent.extend_from_slice(frame.socket());
    }

    fn pump(&self) {
        self.outlet.pump(&mut Room::default());
    }

    /// The task takes what waits.
    fn take(&self) -> Poll<Result<(), Close>> {
        let task = Waker::from(Arc::clone(&self.woken));
        self.outlet.poll_take(&mut self.outlet.writing(), false, &mut Context::from_waker(&task))
    }

    fn woken(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }

    /// The task writes what it has and takes more, until nothing waits.
    async fn write(&self) {
        let tcp = self.outlet.tcp().unwrap();
        loop {
            let rest = {
                let mut writing = self.outlet.writing();
                if !writing.is_empty() {
                    writing.keep();
                }
                let (begun, mut behind) = writing.waiting();
                begun.or_else(|| behind.next()).map(<[u8]>::to_vec)
            };
            if let Some(rest) = rest {
                tcp.writable().await.unwrap();
                match tcp.try_write(&rest) {
                    Ok(written) => assert_eq!(self.outlet.writing().advance(written), 0),
                    Err(why) => assert_eq!(why.kind(), io::ErrorKind::WouldBlock),
                }
            } else if self.take().is_pending() {
                return;
            }
        }
    }

    /// Everything that was sent comes, in order, as the task writes what waits.
    async fn check(self) {
        let reads = async {
            let mut got = Vec::new();
            while got.len() < self.sent.len() {
                self.peer.readable().await.unwrap();
                match self.peer.try_read_buf(&mut got) {
                    Ok(read) => assert!(read > 0, "it ended"),
                    Err(why) => assert_eq!(why.kind(), io::ErrorKind::WouldBlock),
                }
            }
            assert!(got == self.sent, "not in order, or torn");
        };
        tokio::join!(self.write(), reads);
    }
}

/// The task waits, as it does when all is written.
async fn waiting() -> Rig {
    let rig = Rig::new().await;
    assert!(rig.take().is_pending());
    rig
}

#[tokio::test]
async fn what_the_task_has_taken_is_written_before_a_pump_takes_more() {
    let mut rig = waiting().await;
    rig.send("first");
    assert!(rig.take().is_ready());
    // The task has let go, and not written yet.
    rig.send("second");
    rig.pump();
    rig.check().await;
}

#[tokio::test]
async fn what_the_socket_does_not_take_is_the_tasks_and_no_pump_passes_it() {
    let mut rig = waiting().await;
    for n in 0..100 {
        rig.send(&format!("{n} {}", "x".repeat(9_000)));
    }
    rig.pump();
    assert!(!rig.outlet.writing().is_empty(), "the socket took all");
    assert_eq!(rig.woken(), 1);
    rig.send("last");
    rig.pump();
    assert_eq!(rig.woken(), 1, "it writes already");
    rig.check().await;
}

#[tokio::test]
async fn many_frames_at_once_leave_in_order_and_the_rest_is_the_tasks() {
    let mut rig = waiting().await;
    // More than leave in one call, and of all sizes that a header has.
    for n in 0..4 * SLICES {
        rig.send(&"x".repeat(n));
    }
    rig.pump();
    rig.check().await;
}

#[tokio::test]
async fn a_pump_keeps_no_more_of_what_is_written_than_one_take() {
    let mut room = Room::default();
    let mut frames = Vec::new();
    for _ in 0..16 {
        let mut rig = waiting().await;
        SockRef::from(rig.outlet.tcp().unwrap()).set_send_buffer_size(1 << 20).unwrap();
        for n in 0..4 {
            let frame = Arc::new(Frame::text(&format!("{n} {}", "x".repeat(9_000))));
            assert!(rig.viewer.outbox().send(&frame));
            rig.sent.extend_from_slice(frame.socket());
            frames.push(Arc::downgrade(&frame));
        }
        rig.outlet.pump(&mut room);
        // What the socket didn't take is its task's, and still counts.
        rig.check().await;
        let kept: usize = frames.iter().filter_map(std::sync::Weak::upgrade).map(|frame| frame.socket().len()).sum();
        assert!(kept < TAKE, "{kept} bytes are kept that no budget counts");
    }
    // What many share is let go of in one go all the same.
    let mut rig = waiting().await;
    rig.send("few bytes");
    let before = room.frames.len();
    rig.outlet.pump(&mut room);
    assert_eq!(room.frames.len(), before + 1);
    room.clear();
    assert_eq!((room.frames.len(), room.bytes), (0, 0));
}

#[tokio::test]
async fn no_pump_comes_for_a_connection_that_has_ended() {
    let rig = waiting().await;
    rig.outlet.end();
    drop(rig.viewer);
    assert_eq!(Arc::strong_count(&rig.outlet), 1, "a pump is to come");
}

#[tokio::test]
async fn a_broken_socket_is_for_the_task_to_meet() {
    let rig = waiting().await;
    SockRef::from(&rig.peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(rig.peer);
    let tcp = rig.outlet.tcp().unwrap();
    tcp.readable().await.unwrap();
    assert!(rig.viewer.outbox().send(&Arc::new(Frame::text("to nobody"))));
    rig.outlet.pump(&mut Room::default());
    assert_eq!(rig.woken.0.load(Ordering::Relaxed), 1);
    assert!(!rig.outlet.writing().is_empty(), "it took what went nowhere for written");
    let met = tcp.try_write(b"rest").unwrap_err();
    assert_ne!(met.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn the_task_hears_of_the_end_and_nothing_is_kept() {
    let rig = waiting().await;
    rig.viewer.outbox().close(4200, "");
    rig.pump();
    assert_eq!(rig.woken(), 1);
    assert_eq!(rig.take(), Poll::Ready(Err(Close::Code(4200, ""))));
    drop(rig.viewer);
    let left = Arc::downgrade(&rig.outlet);
    drop(rig.outlet);
    // A pump that was to come has it until then.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(left.strong_count(), 0);
}

#[test]
fn what_ends_with_its_runtime_is_not_kept() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let rig = runtime.block_on(waiting());
    drop(runtime);
    // As its connection does, which the runtime drops.
    drop(rig.viewer);
    let left = Arc::downgrade(&rig.outlet);
    drop(rig.outlet);
    assert_eq!(left.strong_count(), 0);
}

#[test]
fn where_no_pump_can_come_the_task_writes() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut rig = runtime.block_on(waiting());
    drop(runtime);
    for woken in 1..3 {
        rig.send("its runtime is gone, another has the task");
        assert_eq!(rig.woken(), woken);
        assert!(rig.take().is_ready());
        assert!(rig.take().is_pending());
    }
}

#[tokio::test]
async fn whom_a_pump_panics_over_sees_the_end() {
    let rig = waiting().await;
    let panics = || {
        let _whole = Whole(rig.outlet.tcp().unwrap());
        panic!("a test's");
    };
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    for socket in [&rig.peer, rig.outlet.tcp().unwrap()] {
        socket.readable().await.unwrap();
        assert_eq!(socket.try_read(&mut [0]).unwrap(), 0, "its task and its viewer are told");
    }
}
