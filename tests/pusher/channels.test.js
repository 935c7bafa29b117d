// Channels of every kind, as pusher-js sees them.

import assert from 'node:assert/strict';
import test from 'node:test';
import {
  APP, Bare, OTHER, api, auth, call, client, connected, event, gather, hmac, serve, subscribed, until,
} from './support.js';

test('a public channel: subscribe, an event, unsubscribe', async (t) => {
  const server = await serve(t);
  const pusher = await connected(client(t, server));
  const channel = await subscribed(pusher, 'news');
  const got = gather(channel, 'greeting');
  await api(server).trigger('news', 'greeting', { text: 'hällo "you"\n' });
  await until('the event', () => got.length === 1);
  assert.deepEqual(got, [{ text: 'hällo "you"\n' }]);
  pusher.unsubscribe('news');
  await until('nobody there', async () => !(await call(server, 'GET', `/apps/${APP.id}/channels/news`)).body.occupied);
  await api(server).trigger('news', 'greeting', 2);
  const again = await subscribed(pusher, 'news');
  const later = gather(again, 'greeting');
  await api(server).trigger('news', 'greeting', 3);
  await api(server).trigger('news', 'greeting', 4);
  await until('the events', () => later.length === 2);
  // The one of while nobody was there reached neither.
  assert.deepEqual(later.map(Number), [3, 4]);
  assert.equal(got.length, 1);
});

test('a frame says what the protocol says it does', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  bare.subscribe('news');
  const joined = await bare.named('pusher_internal:subscription_succeeded');
  assert.equal(joined.channel, 'news');
  assert.deepEqual(joined.data, {});
  assert.match(joined.position, /^\d+\.\d+$/);
  await api(server).trigger('news', 'greeting', { a: 1 });
  const got = await bare.named('greeting');
  assert.deepEqual([got.channel, got.data], ['news', { a: 1 }]);
  assert.match(got.position, /^\d+\.\d+$/);
  bare.send({ event: 'pusher:subscribe', data: JSON.stringify({ channel: 'other', auth: '' }) });
  assert.equal((await bare.named('pusher_internal:subscription_succeeded')).channel, 'other');
  bare.subscribe('other');
  assert.equal((await bare.named('pusher:subscription_error')).data.type, 'AlreadySubscribed');
});

test('an unsubscribe is done without a word', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  bare.subscribe('news');
  await bare.named('pusher_internal:subscription_succeeded');
  await bare.named('pusher_internal:subscription_count');
  bare.frames.length = 0;
  for (const channel of ['news', 'news', 'never-there']) bare.send({ event: 'pusher:unsubscribe', data: { channel } });
  await bare.lives();
  await api(server).trigger('news', 'e', 1);
  await bare.lives();
  assert.deepEqual(bare.frames.filter((got) => got.event !== 'pusher:connection_established'), []);
});

test('a name may have 164 of every character that is allowed', async (t) => {
  const server = await serve(t);
  const pusher = await connected(client(t, server));
  const all = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=@,.;';
  const name = all.padEnd(164, 'x');
  const got = event(await subscribed(pusher, name), 'e');
  await api(server).trigger(name, 'e', { n: 1 });
  assert.deepEqual(await got, { n: 1 });
});

test('private channels need a signature for this connection and this channel', async (t) => {
  const server = await serve(t);
  const pusher = await connected(client(t, server));
  const channel = await subscribed(pusher, 'private-a');
  const got = event(channel, 'e');
  await api(server).trigger('private-a', 'e', { n: 1 });
  assert.deepEqual(await got, { n: 1 });

  const bare = await Bare.open(t, server);
  const id = await bare.id();
  const good = auth(id, 'private-a');
  const [key, signature] = good.split(':');
  const flipped = signature[0] === '0' ? '1' : '0';
  for (const bad of [
    undefined, '', ':', key, signature, `${key}:`, `${OTHER.key}:${signature}`, `${key}:${flipped}${signature.slice(1)}`, `${key}:${signature}0`,
    `${key}:${signature.slice(1)}`, auth('1.2', 'private-a'), auth(id, 'private-b'), auth(id, 'private-a', '{"user_id":1}'),
    `${key}:${hmac(`${id}:private-a`, OTHER.secret)}`, 'x'.repeat(5000), auth(pusher.connection.socket_id, 'private-a'),
  ]) {
    bare.subscribe('private-a', { auth: bad });
    const refused = await bare.named('pusher:subscription_error');
    assert.equal(refused.channel, 'private-a');
    assert.equal(refused.data.type, 'AuthError');
    assert.equal(refused.data.status, 401);
    assert.ok(refused.data.error);
  }
  bare.subscribe('private-a', { auth: good });
  await bare.named('pusher_internal:subscription_succeeded');
});

test('pusher-js is told that it may not come in', async (t) => {
  const server = await serve(t);
  const pusher = client(t, server, {
    channelAuthorization: { customHandler: (_, done) => done(null, { auth: `${APP.key}:00` }) },
  });
  await connected(pusher);
  const error = await event(pusher.subscribe('private-a'), 'pusher:subscription_error');
  assert.equal(error.type, 'AuthError');
  assert.equal(error.status, 401);
});

test('presence: members are told once each, with their data', async (t) => {
  const server = await serve(t);
  const ada = await connected(client(t, server, { user: { id: 'ada', info: { name: 'Ada' } } }));
  const room = await subscribed(ada, 'presence-room');
  assert.deepEqual([room.members.count, room.members.me], [1, { id: 'ada', info: { name: 'Ada' } }]);
  const [added, removed] = [gather(room, 'pusher:member_added'), gather(room, 'pusher:member_removed')];

  const bob = await connected(client(t, server, { user: { id: 'bob', info: { name: 'Bob' } } }));
  const his = await subscribed(bob, 'presence-room');
  const seen = [];
  his.members.each((member) => seen.push(member));
  assert.deepEqual(seen.sort((a, b) => (a.id < b.id ? -1 : 1)), [
    { id: 'ada', info: { name: 'Ada' } }, { id: 'bob', info: { name: 'Bob' } },
  ]);
  // His second connection is no second member, and what it leaves behind is none less.
  const second = await connected(client(t, server, { user: { id: 'bob', info: { name: 'Other' } } }));
  await subscribed(second, 'presence-room');
  const { body } = await call(server, 'GET', `/apps/${APP.id}/channels/presence-room`, {
    params: { info: 'user_count,subscription_count' },
  });
  assert.deepEqual(body, { occupied: true, user_count: 2, subscription_count: 3 });
  second.disconnect();
  await until('two connections', async () => {
    const info = { params: { info: 'subscription_count' } };
    return (await call(server, 'GET', `/apps/${APP.id}/channels/presence-room`, info)).body.subscription_count === 2;
  });
  bob.unsubscribe('presence-room');
  await until('his leaving', () => removed.length === 1);
  assert.deepEqual(added, [{ id: 'bob', info: { name: 'Bob' } }]);
  assert.deepEqual(removed, [{ id: 'bob', info: { name: 'Bob' } }]);
  assert.equal(room.members.count, 1);
});

test('presence: what a member is must be signed and bounded', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  const id = await bare.id();
  const asks = (data, signed = data) => bare.subscribe('presence-a', { auth: auth(id, 'presence-a', signed), channel_data: data });
  for (const [data, type] of [
    [undefined, 'AuthError'], ['', 'InvalidMember'], ['[]', 'InvalidMember'], ['{}', 'InvalidMember'], ['{"user_id":null}', 'InvalidMember'],
    ['{"user_id":""}', 'InvalidMember'], [JSON.stringify({ user_id: 'x'.repeat(129) }), 'InvalidMember'],
    [JSON.stringify({ user_id: 'x', user_info: 'x'.repeat(1024) }), 'InvalidMember'],
  ]) {
    asks(data);
    assert.equal((await bare.named('pusher:subscription_error')).data.type, type, data);
  }
  // As long as they may be.
  const longest = { user_id: 'x'.repeat(128), user_info: 'x'.repeat(1022) };
  asks(JSON.stringify(longest));
  const most = await bare.named('pusher_internal:subscription_succeeded');
  assert.deepEqual(most.data.presence.hash, { [longest.user_id]: longest.user_info });
  bare.send({ event: 'pusher:unsubscribe', data: { channel: 'presence-a' } });
  asks('{"user_id":"mallory"}', '{"user_id":"ada"}');
  assert.equal((await bare.named('pusher:subscription_error')).data.type, 'AuthError');
  asks('{"user_id": 7,  "user_info":{"a":[1]}}');
  const joined = await bare.named('pusher_internal:subscription_succeeded');
  assert.deepEqual(joined.data, { presence: { ids: ['7'], hash: { 7: { a: [1] } }, count: 1 } });
});

test('presence: a hundred members and no more', async (t) => {
  const server = await serve(t);
  const join = async (n) => {
    const bare = await Bare.open(t, server);
    const data = JSON.stringify({ user_id: `u${n}` });
    bare.subscribe('presence-full', { auth: auth(await bare.id(), 'presence-full', data), channel_data: data });
    return bare;
  };
  const all = await Promise.all(Array.from({ length: 100 }, (_, n) => join(n)));
  await Promise.all(all.map((bare) => bare.named('pusher_internal:subscription_succeeded')));
  const refused = await (await join(100)).named('pusher:subscription_error');
  assert.equal(refused.data.type, 'LimitReached');
  await (await join(7)).named('pusher_internal:subscription_succeeded');
  all[0].socket.destroy();
  await all[1].next((got) => got.event === 'pusher_internal:member_removed' && got.data.user_id === 'u0');
  await (await join(101)).named('pusher_internal:subscription_succeeded');
});

test('cache channels give their last event, or say that there is none', async (t) => {
  const server = await serve(t);
  const user = { id: 'ada' };
  for (const name of ['cache-a', 'private-cache-a', 'presence-cache-a']) {
    const pusher = await connected(client(t, server, { user }));
    const channel = pusher.subscribe(name);
    await event(channel, 'pusher:cache_miss');
    await api(server).trigger(name, 'e', { n: 1 });
    await api(server).trigger(name, 'e', { n: 2 });
    const late = await connected(client(t, server, { user }));
    const [miss, first] = [gather(late, 'pusher:cache_miss'), event(late.subscribe(name), 'e')];
    assert.deepEqual(await first, { n: 2 });
    assert.deepEqual(miss, []);
    const { body } = await call(server, 'GET', `/apps/${APP.id}/channels/${name}`, { params: { info: 'cache' } });
    assert.deepEqual(body, { occupied: true, cache: { data: '{"n":2}' } });
  }
});

test('cache channels do not keep what viewers send', async (t) => {
  const server = await serve(t);
  const [one, two] = await Promise.all([0, 1].map(() => connected(client(t, server))));
  const [first, second] = await Promise.all([one, two].map((pusher) => subscribed(pusher, 'private-cache-a')));
  const got = event(second, 'client-x');
  first.trigger('client-x', { n: 1 });
  assert.deepEqual(await got, { n: 1 });
  const late = await connected(client(t, server));
  await event(late.subscribe('private-cache-a'), 'pusher:cache_miss');
  // Encrypted ones say that there is none too.
  await event(late.subscribe('private-encrypted-cache-a'), 'pusher:cache_miss');
});

test('encrypted channels carry what only the two ends can read', async (t) => {
  const server = await serve(t);
  const pusher = await connected(client(t, server));
  for (const name of ['private-encrypted-a', 'private-encrypted-cache-a']) {
    const channel = await subscribed(pusher, name);
    const got = event(channel, 'secret');
    await api(server).trigger(name, 'secret', { pin: 4711 });
    assert.deepEqual(await got, { pin: 4711 });
  }
  const bare = await Bare.open(t, server);
  bare.subscribe('private-encrypted-cache-a', { auth: auth(await bare.id(), 'private-encrypted-cache-a') });
  const seen = await bare.named('secret');
  assert.deepEqual(Object.keys(seen.data).sort(), ['ciphertext', 'nonce']);
});

test('viewers send events to the others of private and presence channels', async (t) => {
  const server = await serve(t);
  const people = ['ada', 'bob'].map((id) => client(t, server, { user: { id } }));
  const [ada, bob] = await Promise.all(people.map(connected));
  for (const name of ['private-a', 'presence-a']) {
    const [hers, his] = [await subscribed(ada, name), await subscribed(bob, name)];
    const own = gather(hers, 'client-typing');
    const got = event(his, 'client-typing');
    assert.equal(hers.trigger('client-typing', { on: true }), true);
    const data = await got;
    assert.equal(data.on, true);
    assert.equal(data.meta?.user_id, name === 'presence-a' ? 'ada' : undefined);
    // Her own would be before his answer.
    const answer = event(hers, 'client-seen');
    his.trigger('client-seen', {});
    await answer;
    assert.deepEqual(own, []);
  }
  for (const [data, kept] of [['text', 'text'], [7, 7], [null, null], [[1, 'ä'], [1, 'ä']]]) {
    const got = event(bob.channel('private-a'), 'client-any');
    ada.channel('private-a').trigger('client-any', data);
    assert.deepEqual(await got, kept);
  }
});

test('viewers send events nowhere else, and not before they are let in', async (t) => {
  const server = await serve(t);
  const [bare, other] = [await Bare.open(t, server), await Bare.open(t, server)];
  const [id, otherId] = [await bare.id(), await other.id()];
  for (const name of ['public', 'clip-1', 'slot-s-1', 'season-s', 'private-encrypted-a', 'private-a']) {
    other.subscribe(name, { auth: auth(otherId, name) });
    await other.named('pusher_internal:subscription_succeeded');
    if (name !== 'private-a') {
      bare.subscribe(name, { auth: auth(id, name) });
      await bare.named('pusher_internal:subscription_succeeded');
    }
    bare.send({ event: 'client-x', channel: name, data: {} });
    assert.equal((await bare.named('pusher:error')).data.code, 4009, name);
  }
  await other.lives();
  assert.equal(other.frames.find((got) => got.event === 'client-x'), undefined);
});

test('more than ten events a second are answered with 4301', async (t) => {
  const server = await serve(t, ['--rate-limit', 'voter=60,address=600']);
  const [bare, other] = [await Bare.open(t, server), await Bare.open(t, server)];
  for (const each of [bare, other]) {
    each.subscribe('private-a', { auth: auth(await each.id(), 'private-a') });
    await each.named('pusher_internal:subscription_succeeded');
  }
  const refusals = () => bare.frames.filter((each) => each.event === 'pusher:error');
  let sent = 0;
  // On a slow machine a turn comes back while the others are used.
  await until('a refusal', async () => {
    for (let n = 0; n < 30; n += 1) bare.send({ event: 'client-x', channel: 'private-a', data: { n } });
    sent += 30;
    await bare.lives();
    return refusals().length;
  });
  assert.ok(refusals().every((each) => each.data.code === 4301));
  await other.lives();
  const got = other.frames.filter((each) => each.event === 'client-x');
  assert.ok(got.length >= 10, `${got.length}`);
  assert.equal(got.length, sent - refusals().length, 'each came or was refused');
  assert.equal(bare.closed, undefined);
});

test('a user signs in and is reached and ended by id', async (t) => {
  const server = await serve(t);
  const user = { id: 'ada', name: 'Ada' };
  const pusher = await connected(client(t, server, { user }));
  const success = event(pusher, 'pusher:signin_success');
  pusher.signin();
  assert.equal(JSON.parse((await success).user_data).id, 'ada');
  await until('signed in', () => pusher.user.user_data);
  assert.equal(pusher.user.user_data.id, 'ada');
  const got = event(pusher.user, 'hello');
  await until('the channel', () => pusher.user.serverToUserChannel?.subscribed);
  await api(server).sendToUser('ada', 'hello', { n: 1 });
  assert.deepEqual(await got, { n: 1 });

  const bare = await Bare.open(t, server);
  const id = await bare.id();
  bare.subscribe('#server-to-user-ada');
  assert.equal((await bare.named('pusher:subscription_error')).data.status, 401);
  const data = JSON.stringify({ id: 'bob' });
  const sign = (text, socket = id) => `${APP.key}:${hmac(`${socket}::user::${text}`)}`;
  for (const bad of ['', 'x', sign(data, '1.2'), sign(JSON.stringify({ id: 'ada' })), `${OTHER.key}:${sign(data).split(':')[1]}`]) {
    bare.send({ event: 'pusher:signin', data: { auth: bad, user_data: data } });
    assert.equal((await bare.named('pusher:error')).data.code, 4009, bad);
  }
  for (const odd of ['{}', '[]', 'x', '{"id":""}', '{"id":{}}', JSON.stringify({ id: 'x'.repeat(129) })]) {
    bare.send({ event: 'pusher:signin', data: { auth: sign(odd), user_data: odd } });
    assert.equal((await bare.named('pusher:error')).data.code, 4009, odd);
  }
  bare.send({ event: 'pusher:signin', data: { auth: sign(data), user_data: data } });
  assert.deepEqual((await bare.named('pusher:signin_success')).data, { user_data: data });
  bare.subscribe('#server-to-user-ada');
  assert.equal((await bare.named('pusher:subscription_error')).data.status, 401);
  bare.subscribe('#server-to-user-bob');
  await bare.named('pusher_internal:subscription_succeeded');

  await api(server).terminateUserConnections('bob');
  assert.equal(await bare.code(), 4009);
  await api(server).terminateUserConnections('nobody');
  // What would end hers has been said by then.
  const still = event(pusher.user, 'still');
  await api(server).sendToUser('ada', 'still', {});
  await still;
  assert.equal(pusher.connection.state, 'connected');
  await api(server).terminateUserConnections('ada');
  await until('giving up', () => pusher.connection.state === 'disconnected');
});

test('subscribers are told how many they are', async (t) => {
  const server = await serve(t);
  const one = await connected(client(t, server));
  const channel = one.subscribe('news');
  const counts = gather(channel, 'pusher:subscription_count');
  await until('one', () => counts.at(-1)?.subscription_count === 1);
  const two = await connected(client(t, server));
  await subscribed(two, 'news');
  await until('two', () => counts.at(-1)?.subscription_count === 2);
  assert.equal(channel.subscriptionCount, 2);
  two.unsubscribe('news');
  await until('one again', () => counts.at(-1)?.subscription_count === 1);
  const room = await connected(client(t, server, { user: { id: 'ada' } }));
  const presence = await subscribed(room, 'presence-a');
  const none = gather(presence, 'pusher:subscription_count');
  await subscribed(await connected(client(t, server, { user: { id: 'bob' } })), 'presence-a');
  await until('bob', () => presence.members.count === 2);
  // Numbers are told in turn: that of a later channel behind it.
  const later = gather(room.subscribe('after'), 'pusher:subscription_count');
  await until('the number of another', () => later.length);
  await subscribed(room, 'last');
  assert.deepEqual(none, []);
});

test('in a large channel the number is told at most every 5 seconds', async (t) => {
  const server = await serve(t);
  const all = await Promise.all(Array.from({ length: 150 }, () => Bare.open(t, server)));
  const began = performance.now();
  for (const bare of all) {
    bare.subscribe('news');
    await bare.named('pusher_internal:subscription_succeeded');
  }
  const told = () => all[0].frames.filter((got) => got.event === 'pusher_internal:subscription_count').map((got) => got.data.subscription_count);
  await until('the last number', () => told().at(-1) === 150);
  // Over all of the time within which they were told, and one more where it began.
  const most = 1 + Math.ceil((performance.now() - began) / 5_000);
  assert.ok(told().filter((count) => count > 100).length <= most, `${told()}`);
});

test('our own channels are open to all apps, and spoken in by servers alone', async (t) => {
  const server = await serve(t);
  const [one, two] = await Promise.all([APP, OTHER].map((app) => connected(client(t, server, { app }))));
  const [first, second] = await Promise.all([one, two].map((pusher) => subscribed(pusher, 'clip-not-made-yet')));
  const got = [event(first, 'anything'), event(second, 'anything')];
  await api(server, OTHER).trigger('clip-not-made-yet', 'anything', { n: 1 });
  assert.deepEqual(await Promise.all(got), [{ n: 1 }, { n: 1 }]);
});

test('apps are apart', async (t) => {
  const server = await serve(t);
  const [one, two] = await Promise.all([APP, OTHER].map((app) => connected(client(t, server, { app }))));
  const [first, second] = await Promise.all([one, two].map((pusher) => subscribed(pusher, 'private-a')));
  const strays = gather(first, 'e');
  const got = event(second, 'e');
  await api(server, OTHER).trigger('private-a', 'e', { n: 1 });
  assert.deepEqual(await got, { n: 1 });
  const own = event(first, 'own');
  await api(server).trigger('private-a', 'own', 1);
  await own;
  assert.deepEqual(strays, []);
  const channels = async (app) => Object.keys((await (await api(server, app).get({ path: '/channels' })).json()).channels);
  assert.deepEqual([await channels(APP), await channels(OTHER)], [['private-a'], ['private-a']]);
});

test('a hundred channels and no more', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  for (let n = 0; n < 100; n += 1) {
    bare.subscribe(`c${n}`);
    await bare.named('pusher_internal:subscription_succeeded');
  }
  bare.subscribe('one-more');
  assert.equal((await bare.named('pusher:subscription_error')).data.type, 'LimitReached');
  bare.send({ event: 'pusher:unsubscribe', data: { channel: 'c7' } });
  bare.subscribe('one-more');
  await bare.named('pusher_internal:subscription_succeeded');
});

test('subscribes have a rate', async (t) => {
  const server = await serve(t, ['--rate-limit', 'voter=60,address=600']);
  const bare = await Bare.open(t, server);
  // On a slow machine turns come back while the others are used, and an unsubscribe may be the one that has none.
  const refused = await until('a refusal', async () => {
    for (let n = 0; n < 150; n += 1) {
      bare.subscribe('a');
      bare.send({ event: 'pusher:unsubscribe', data: { channel: 'a' } });
    }
    await bare.lives();
    return bare.frames.find((got) => got.data?.type === 'RateLimited');
  });
  assert.deepEqual([refused.event, refused.data.status], ['pusher:subscription_error', 429]);
});

test('who comes back with a position gets what it missed, or is told to load afresh', async (t) => {
  const server = await serve(t);
  const first = await Bare.open(t, server);
  first.subscribe('news');
  const { position } = await first.named('pusher_internal:subscription_succeeded');
  await api(server).trigger('news', 'e', 1);
  const seen = await first.named('e');
  first.socket.destroy();
  for (const n of [2, 3, 4]) await api(server).trigger('news', 'e', n);
  const back = async (since) => {
    const bare = await Bare.open(t, server);
    bare.subscribe('news', { since });
    await bare.named('pusher_internal:subscription_succeeded');
    await bare.lives();
    return bare.frames.filter((got) => ['e', 'plaudit:resync'].includes(got.event));
  };
  assert.deepEqual((await back(seen.position)).map((got) => got.data), [2, 3, 4]);
  assert.deepEqual((await back(position)).map((got) => got.data), [1, 2, 3, 4]);
  for (const odd of ['0.0', '999999999.0']) {
    const got = await back(odd);
    assert.equal(got[0].event, 'plaudit:resync', odd);
    assert.equal(got[0].data.channel, 'news');
    assert.match(got[0].data.position, /^\d+\.\d+$/);
  }
  for (let n = 0; n < 110; n += 1) await api(server).trigger('news', 'e', n);
  assert.equal((await back(seen.position))[0].event, 'plaudit:resync');
});
