//! Clients that want harm, and those that only look like it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plaudit::hub;
use plaudit::push::PushOptions;

use super::server::TestServer;
use super::viewer::Viewer;

/// Sets a flag when a test ends, however it ends.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_message_that_never_ends_keeps_no_thread_to_itself() {
    let server = TestServer::with(hub::Settings::default(), PushOptions::default());
    let mut socket = Viewer::connect(server.address, None).await.into_socket();
    let over = Arc::new(AtomicBool::new(false));
    let ends = Ends(Arc::clone(&over));
    let flood = std::thread::spawn(move || {
        // A text that is begun, and then continued with nothing, as fast as the socket takes it.
        socket.write_all(&[0x01, 0x80, 0, 0, 0, 0]).unwrap();
        let nothing = [0x00, 0x80, 0, 0, 0, 0].repeat(10_000);
        while !over.load(Ordering::Relaxed) {
            socket.write_all(&nothing).unwrap();
        }
    });
    // The one thread that there is serves others too.
    let mut viewer = server.viewer("c", None).await;
    for n in 0..10 {
        server.publish("c", n.to_string()).await;
        assert_eq!(viewer.named("e").await["data"], n);
    }
    assert!(!flood.is_finished(), "it floods to the end");
    drop(ends);
    flood.join().unwrap();
}
