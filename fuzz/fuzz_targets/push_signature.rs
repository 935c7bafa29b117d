//! Signatures and messages: what was not signed with the secret never passes, what was always does, and any text is a
//! message or none.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use plaudit::push::channel::Channel;
use plaudit::push::message::{Message, Person};
use plaudit::push::sign::Signer;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    auth: &'a str,
    socket: &'a str,
    channel: &'a str,
    data: Option<&'a str>,
    text: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    let signer = Signer::new("key", b"a secret that no input holds");
    assert!(!signer.lets_in(input.auth, input.socket, input.channel, input.data));
    assert!(!signer.signs_in(input.auth, input.socket, input.text));
    assert!(!signer.signed(input.text.as_bytes(), input.auth));

    let text = match input.data {
        Some(data) => format!("{}:{}:{data}", input.socket, input.channel),
        None => format!("{}:{}", input.socket, input.channel),
    };
    let good = signer.sign(text.as_bytes());
    let auth = format!("key:{good}");
    assert!(signer.lets_in(&auth, input.socket, input.channel, input.data));
    assert!(!signer.lets_in(&good, input.socket, input.channel, input.data));
    assert!(!signer.lets_in(&format!("{auth}0"), input.socket, input.channel, input.data));

    let mut scratch = String::new();
    let _message = Message::parse(input.text, &mut scratch);
    if let Ok(person) = Person::member(input.text) {
        assert!((1..=128).contains(&person.id.len()));
    }
    if let Some(channel) = Channel::parse(input.channel) {
        assert_eq!(channel.name(), input.channel);
        assert!(!channel.takes_client_events() || channel.name().starts_with('p'));
    }
});
