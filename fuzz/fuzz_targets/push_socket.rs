//! A whole broadcaster over a disk in memory: any frames of a viewer are answered, or its connection is closed with a code;
//! a panic of any thread ends the run by itself, and who connects next is served.

#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use plaudit::admission::{Admission, AdmissionOptions};
use plaudit::clock::{Clock, ManualClock};
use plaudit::domain::VoterKey;
use plaudit::engine::{Engine, Settings};
use plaudit::http::{App, AppOptions, ServeOptions, serve};
use plaudit::identity::{Identity, IdentityOptions};
use plaudit::push::apps::{self, Apps};
use plaudit::push::sign::Signer;
use plaudit::push::{Push, PushOptions};
use plaudit::store::FaultyDisk;

const HELLO: &[u8] = b"GET /app/key?protocol=7 HTTP/1.1\r\nhost: fuzz\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

#[derive(Arbitrary, Debug)]
enum Sent<'a> {
    Raw(&'a [u8]),
    Frame { head: u8, mask: Option<[u8; 4]>, payload: &'a [u8] },
    Text(Text<'a>),
}

#[derive(Arbitrary, Debug)]
enum Text<'a> {
    Any(&'a str),
    Event { event: Event<'a>, channel: Channel<'a>, data: &'a str, quoted: bool },
    Subscribe { channel: Channel<'a>, auth: Option<&'a str>, data: Option<&'a str>, since: Option<(u64, u32)> },
    Unsubscribe(Channel<'a>),
}

#[derive(Arbitrary, Debug)]
enum Event<'a> {
    Ping,
    Pong,
    Signin,
    Client(&'a str),
    Any(&'a str),
}

#[derive(Arbitrary, Debug)]
enum Channel<'a> {
    Some(u8),
    Any(&'a str),
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn channel(of: &Channel<'_>) -> String {
    let some = ["a", "cache-a", "clip-1", "private-a", "presence-a", "private-encrypted-a", "#server-to-user-a"];
    match of {
        Channel::Some(n) => quoted(some[usize::from(*n) % some.len()]),
        Channel::Any(name) => quoted(name),
    }
}

fn text(of: &Text<'_>) -> String {
    match of {
        Text::Any(text) => (*text).to_owned(),
        Text::Event { event, channel: at, data, quoted: as_text } => {
            let name = match event {
                Event::Ping => "pusher:ping".to_owned(),
                Event::Pong => "pusher:pong".to_owned(),
                Event::Signin => "pusher:signin".to_owned(),
                Event::Client(rest) => format!("client-{rest}"),
                Event::Any(name) => (*name).to_owned(),
            };
            let data = if *as_text { quoted(data) } else { (*data).to_owned() };
            format!(r#"{{"event":{},"channel":{},"data":{data}}}"#, quoted(&name), channel(at))
        }
        Text::Subscribe { channel: to, auth, data, since } => {
            let mut fields = format!(r#""channel":{}"#, channel(to));
            for (name, value) in [("auth", auth), ("channel_data", data)] {
                if let Some(value) = value {
                    fields += &format!(r#","{name}":{}"#, quoted(value));
                }
            }
            if let Some((seq, n)) = since {
                fields += &format!(r#","since":"{seq}.{n}""#);
            }
            format!(r#"{{"event":"pusher:subscribe","data":{{{fields}}}}}"#)
        }
        Text::Unsubscribe(from) => {
            format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":{}}}}}"#, channel(from))
        }
    }
}

fn frame(head: u8, mask: Option<[u8; 4]>, payload: &[u8], into: &mut Vec<u8>) {
    into.push(head);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match u16::try_from(payload.len()) {
        Ok(len @ 0..=125) => into.push(masked | u8::try_from(len).expect("at most 125")),
        Ok(len) => {
            into.push(masked | 126);
            into.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            into.push(masked | 127);
            into.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(mask.as_ref().map_or(&[][..], |mask| &mask[..]));
    let mask = mask.unwrap_or_default();
    into.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
}

/// The server's address. It runs until the process ends.
static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_700_000_000_000));
    let voter_key = VoterKey::new([1; 32]);
    let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", voter_key.clone()) };
    let disk = FaultyDisk::new(1);
    let engine = Engine::over(settings, Arc::clone(&clock), disk.open("log"), disk.open("tables")).expect("a store");
    let signer = Arc::new(Signer::new("key", b"secret"));
    let apps = Apps::new(vec![apps::App { id: "1".into(), signer, disabled: false }]);
    let metrics = Arc::clone(engine.metrics());
    let push = Push::new(engine.hub().clone(), apps, PushOptions::default(), Arc::clone(&clock), metrics);
    let identity = Identity::new(IdentityOptions {
        jwt_secret: b"secret".to_vec(),
        jwt_issuer: None,
        jwt_audience: None,
        cookie_key: [2; 32],
        voter_key,
        devices_per_network: u32::MAX,
    });
    let options = AppOptions { push: Some(push.expect("it starts")), ..AppOptions::default() };
    let app = App::new(engine, identity, Admission::new(AdmissionOptions::off(), &clock), options);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let limits = ServeOptions { max_connections: 100, ..ServeOptions::default() };
        runtime.block_on(serve(listener, app, limits, std::future::pending())).expect("it serves");
    });
    address
});

fuzz_target!(|parts: Vec<Sent<'_>>| {
    let mut sent = HELLO.to_vec();
    for part in parts.iter().take(16) {
        match part {
            Sent::Raw(bytes) => sent.extend_from_slice(bytes),
            Sent::Frame { head, mask, payload } => frame(*head, *mask, payload, &mut sent),
            Sent::Text(what) => frame(0x81, Some([1, 2, 3, 4]), text(what).as_bytes(), &mut sent),
        }
    }
    let mut stream = TcpStream::connect(*SERVER).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // The server may close before it has read everything: that is no error of ours then, here and below.
    let _ = stream.write_all(&sent);
    let (mut answered, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answered.extend_from_slice(&part[..read]),
            Err(why) => {
                let kind = why.kind();
                assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "an answer or an end, within the timeout: {why}");
                return;
            }
        }
        // Only now: a client that has ended its side before it is let in has left, and is told nothing.
        if answered.windows(4).any(|four| four == b"\r\n\r\n") {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
    assert!(answered.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(&answered));
});
