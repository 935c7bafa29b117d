// What no library would send: a clear answer or a close code for each, and the server goes on.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Bare, OP, frame, serve, soon } from './support.js';

const text = (payload, bend) => frame(OP.text, payload, bend);

test('what is no frame of the protocol is closed by its code', async (t) => {
  const server = await serve(t);
  const long = 'x'.repeat(10 * 1024 + 1);
  for (const [what, bytes, code] of [
    ['bytes', frame(OP.binary, 'x'), 1003],
    ['a text that is not UTF-8', text(Buffer.from([0x7b, 0xff, 0xfe])), 1007],
    ['a text that ends within a character', text(Buffer.from([0xe2, 0x82])), 1007],
    ['a text that is too long', text(long), 1009],
    ['a text that says it is huge', text('x', { length: 2 ** 40 }), 1009],
    ['fragments that are too long together', Buffer.concat([
      text('x'.repeat(6000), { final: false }), frame(0, 'x'.repeat(6000)),
    ]), 1009],
    ['a frame without a mask', text('{}', { masked: false }), 1002],
    ['reserved bits', text('{}', { reserved: 64 }), 1002],
    ['an unknown kind', frame(5, 'x'), 1002],
    ['an unknown control', frame(11, 'x'), 1002],
    ['a rest without a beginning', frame(0, 'x'), 1002],
    ['a beginning within another', Buffer.concat([text('a', { final: false }), text('b')]), 1002],
    ['a ping in fragments', frame(OP.ping, 'x', { final: false }), 1002],
    ['a ping that is too long', frame(OP.ping, 'x'.repeat(126)), 1002],
  ]) {
    const bare = await Bare.open(t, server);
    await bare.id();
    bare.socket.write(bytes);
    assert.equal(await bare.code(), code, what);
    bare.socket.end();
    await soon(bare.ended, `the end after ${what}`);
  }
  await (await Bare.open(t, server)).lives();
});

test('a message in fragments, one with pings between, and ten in one packet are heard', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  await bare.id();
  const message = Buffer.from(JSON.stringify({ event: 'pusher:subscribe', data: { channel: 'a', auth: '' } }));
  bare.socket.write(Buffer.concat([
    text(message.subarray(0, 10), { final: false }), frame(OP.ping, 'p'), frame(0, message.subarray(10, 20), { final: false }),
    frame(0, message.subarray(20)),
  ]));
  await bare.named('pusher_internal:subscription_succeeded');
  await bare.next((got) => got.op === OP.pong);
  const ten = Array.from({ length: 10 }, () => text('{"event":"pusher:ping"}'));
  bare.socket.write(Buffer.concat(ten));
  for (let n = 0; n < 10; n += 1) await bare.named('pusher:pong');
  // A byte at a time.
  for (const byte of text('{"event":"pusher:ping"}')) bare.socket.write(Buffer.from([byte]));
  await bare.named('pusher:pong');
});

test('what is no message is answered with an error, and the connection goes on', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  await bare.id();
  const messages = [
    '', ' ', 'null', '7', '"x"', '[]', '{', '{}', '{"event":7}', '{"event":null}', '{"event":["pusher:ping"]}', '{"event":"x"}',
    '{"event":"pusher:subscribe"}', '{"event":"pusher:subscribe","data":7}', '{"event":"pusher:subscribe","data":[]}',
    '{"event":"pusher:subscribe","data":{}}', '{"event":"pusher:subscribe","data":{"channel":7}}',
    '{"event":"pusher:subscribe","data":{"channel":"a","auth":7}}', '{"event":"pusher:subscribe","data":{"channel":"a","since":7}}',
    '{"event":"pusher:subscribe","data":{"channel":"a","channel_data":{}}}', '{"event":"pusher:unsubscribe","data":{"channel":{}}}',
    '{"event":"pusher:signin","data":{}}', '{"event":"pusher:signin","data":{"auth":7,"user_data":"{}"}}',
    '{"event":"pusher:signin","data":{"auth":"x","user_data":"{}"}}', '{"event":"client-x"}', '{"event":"client-x","channel":7}',
    '{"event":"client-x","channel":"private-a"}', '{"event":"client-x","channel":"a","data":1}',
    '{"event":"pusher_internal:member_added","channel":"presence-a","data":"{}"}', `{"event":"client-${'x'.repeat(300)}","channel":"private-a"}`,
    `{"event":"pusher:subscribe","data":${'['.repeat(4000)}}`, `{"event":"pusher:ping","a":1,"event":"pusher:ping"}`,
  ];
  for (const message of messages) {
    bare.send(message);
    const error = await bare.named('pusher:error');
    assert.ok(error.data.message.length > 0 && error.data.message.length < 400, message);
  }
  await bare.lives();
});

test('a channel that can not be is refused by name', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  for (const channel of ['', 'a b', 'a/b', 'ä', '#x', '#server-to-user-', 'x'.repeat(165), 'a\u0000', 'a"b', '😀']) {
    bare.subscribe(channel);
    const refused = await bare.named('pusher:subscription_error');
    assert.equal(refused.channel, channel.slice(0, 164));
    assert.equal(refused.data.status, 400);
  }
  bare.subscribe('a', { since: 'x' });
  assert.equal((await bare.named('pusher:subscription_error')).data.type, 'InvalidPosition');
  await bare.lives();
});

test('a close is answered with its own code', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  await bare.id();
  bare.socket.write(frame(OP.close, Buffer.from([0x03, 0xe8])));
  assert.equal(await bare.code(), 1000);
  await soon(bare.ended, 'the end');
});

test('one that floods pings and reads nothing is bounded', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  await bare.id();
  bare.socket.pause();
  const flood = Buffer.concat(Array.from({ length: 1000 }, () => frame(OP.ping, 'x'.repeat(125))));
  for (let n = 0; n < 200; n += 1) bare.socket.write(flood);
  const other = await Bare.open(t, server);
  await other.lives();
  bare.socket.resume();
  await bare.next((got) => got.op === OP.pong);
});
