//! A connection's end, seen by who would be woken for it.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::super::apps::{App, Apps};
use super::super::sign::Signer;
use super::super::{Push, PushOptions};
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::hub::{Hub, NoCounts, Settings};
use crate::metrics::Metrics;

#[tokio::test]
async fn no_pump_comes_for_one_whose_peer_is_gone() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::default());
    let (hub, ..) = Hub::new(Settings::default(), Arc::clone(&clock), Arc::new(NoCounts), Arc::clone(&metrics), 0);
    let apps =
        Apps::new(vec![App { id: "1".into(), signer: Arc::new(Signer::new("key", b"secret")), disabled: false }]);
    let app = apps.with_key("key").unwrap();
    let options = PushOptions::default();
    let push = Push::new(hub, apps, options.clone(), clock, metrics).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let pumps = Arc::new(Pumps::new(Handle::current()));
    let connection = Connection::new(tcp.into(), &[], &options, &pumps, Ok(Session::new(push, app)));
    let outlet = Arc::clone(&connection.outlet);
    let leaves = async {
        // Its first frame is written, and it waits.
        assert_eq!(peer.read_u8().await.unwrap(), 0x81);
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
    };
    // Whoever is woken at its end has not had a turn when this goes on.
    tokio::join!(leaves, async {
        connection.run().await;
        assert_eq!(Arc::strong_count(&outlet), 1, "a pump is to come");
    });
}
