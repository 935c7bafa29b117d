// /apps/…: what an app's server asks for, by its library and by hand.

import assert from 'node:assert/strict';
import test from 'node:test';
import { APP, Bare, OTHER, api, auth, call, client, connected, endpoint, event, gather, serve, subscribed, until } from './support.js';

const at = (rest, app = APP) => `/apps/${app.id}/${rest}`;
const events = (server, body, more) => call(server, 'POST', at('events'), { body: typeof body === 'string' ? body : JSON.stringify(body), ...more });

test('one event for several channels, without the one who sent it', async (t) => {
  const server = await serve(t);
  const [one, two] = await Promise.all([0, 1].map(() => connected(client(t, server))));
  const [a, b] = [await subscribed(one, 'a'), await subscribed(two, 'b')];
  await subscribed(two, 'a');
  const [own, got] = [gather(a, 'e'), event(b, 'e')];
  const other = event(two.channel('a'), 'e');
  const answer = await api(server).trigger(['a', 'b', 'a', 'presence-x'], 'e', { n: 1 }, {
    socket_id: one.connection.socket_id, info: 'user_count,subscription_count',
  });
  assert.deepEqual(await answer.json(), {
    channels: { a: { subscription_count: 2 }, b: { subscription_count: 1 }, 'presence-x': { user_count: 0, subscription_count: 0 } },
  });
  assert.deepEqual([await got, await other], [{ n: 1 }, { n: 1 }]);
  const last = event(a, 'last');
  await api(server).trigger('a', 'last', {});
  await last;
  assert.deepEqual(own, []);
});

test('ten events in one call', async (t) => {
  const server = await serve(t);
  const pusher = await connected(client(t, server));
  const channel = await subscribed(pusher, 'a');
  const got = gather(channel, 'e');
  const batch = Array.from({ length: 10 }, (_, n) => ({ channel: 'a', name: 'e', data: { n } }));
  assert.deepEqual(await (await api(server).triggerBatch(batch)).json(), {});
  await until('all', () => got.length === 10);
  assert.deepEqual(got.map(({ n }) => n), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const told = await api(server).triggerBatch([
    { channel: 'a', name: 'e', data: '', info: 'subscription_count' }, { channel: 'b', name: 'e', data: '' },
  ]);
  assert.deepEqual(await told.json(), { batch: [{ subscription_count: 1 }, {}] });
});

test('which channels there are, and who is in them', async (t) => {
  const server = await serve(t);
  const ada = await connected(client(t, server, { user: { id: 'ada' } }));
  for (const name of ['a', 'private-a', 'presence-a', 'presence-b']) await subscribed(ada, name);
  const bob = await connected(client(t, server, { user: { id: 'bob' } }));
  await subscribed(bob, 'presence-a');
  const get = async (path, params) => (await api(server).get({ path, params })).json();
  assert.deepEqual(await get('/channels'), { channels: { a: {}, 'presence-a': {}, 'presence-b': {}, 'private-a': {} } });
  assert.deepEqual(await get('/channels', { filter_by_prefix: 'presence-', info: 'user_count' }), {
    channels: { 'presence-a': { user_count: 2 }, 'presence-b': { user_count: 1 } },
  });
  assert.deepEqual(await get('/channels/a'), { occupied: true });
  assert.deepEqual(await get('/channels/nobody-here', { info: 'subscription_count' }), { occupied: false, subscription_count: 0 });
  assert.deepEqual(await get('/channels/presence-a', { info: 'user_count' }), { occupied: true, user_count: 2 });
  assert.deepEqual(await get('/channels/presence-a/users'), { users: [{ id: 'ada' }, { id: 'bob' }] });
  for (const [path, params] of [
    ['/channels', { info: 'user_count' }], ['/channels', { info: 'user_count', filter_by_prefix: 'private-' }], ['/channels', { info: 'x' }],
    ['/channels/a', { info: 'user_count' }], ['/channels/a/users'], ['/channels/a%20b'], ['/channels/a', { info: 'all' }],
  ]) {
    await assert.rejects(api(server).get({ path, params }), (why) => why.status === 400, `${path} ${JSON.stringify(params)}`);
  }
});

test('an event is bounded in every part', async (t) => {
  const server = await serve(t);
  const data = (bytes) => 'x'.repeat(bytes);
  const many = Array.from({ length: 101 }, (_, n) => `c${n}`);
  const most = await events(server, { name: 'e', channel: 'a', data: data(10240) });
  assert.deepEqual([most.status, most.body], [200, {}]);
  assert.equal((await events(server, { name: 'e', channels: many.slice(1), data: '' })).status, 200);
  for (const [body, status] of [
    [{ name: 'e', channel: 'a', data: data(10241) }, 413],
    [{ name: 'e', channel: 'a', data: data(300_000) }, 413],
    [{ name: 'e', channels: many, data: '' }, 400],
    [{ name: 'e', channels: [], data: '' }, 400],
    [{ name: 'e', data: '' }, 400],
    [{ name: 'e', channel: 'a', channels: ['b'], data: '' }, 400],
    [{ name: 'e', channel: 'a' }, 400],
    [{ channel: 'a', data: '' }, 400],
    [{ name: '', channel: 'a', data: '' }, 400],
    [{ name: 'x'.repeat(201), channel: 'a', data: '' }, 400],
    [{ name: 'a\nb', channel: 'a', data: '' }, 400],
    [{ name: 7, channel: 'a', data: '' }, 400],
    [{ name: 'e', channel: 7, data: '' }, 400],
    [{ name: 'e', channels: 'a', data: '' }, 400],
    [{ name: 'e', channels: [7], data: '' }, 400],
    [{ name: 'e', channel: 'a b', data: '' }, 400],
    [{ name: 'e', channel: '#x', data: '' }, 400],
    [{ name: 'e', channel: 'x'.repeat(165), data: '' }, 400],
    [{ name: 'e', channel: 'a', data: '', socket_id: 'x' }, 400],
    [{ name: 'e', channel: 'a', data: '', socket_id: 7 }, 400],
    [{ name: 'e', channel: 'a', data: '', info: 'x' }, 400],
    ['', 400], ['[]', 400], ['null', 400], ['{', 400], ['{"name":"e","name":"f","channel":"a","data":""}', 400],
    [`{"name":"e","channel":"a","data":${'['.repeat(5000)}}`, 400],
  ]) {
    const answer = await events(server, body);
    assert.equal(answer.status, status, JSON.stringify(body).slice(0, 200));
    assert.ok(answer.body.error && answer.body.message);
  }
  const batch = (list) => call(server, 'POST', at('batch_events'), { body: JSON.stringify(list) });
  const one = { name: 'e', channel: 'a', data: '' };
  for (const list of [{ batch: Array(11).fill(one) }, { batch: [] }, {}, { batch: one }, [one], { batch: [{ ...one, channels: ['b'] }] }, { batch: [7] }]) {
    assert.equal((await batch(list)).status, 400, JSON.stringify(list));
  }
  assert.equal((await batch({ batch: [one, { ...one, data: data(10241) }] })).status, 413);
});

test('an app triggers so many events a minute, a batch counting each of its own', async (t) => {
  const server = await serve(t, ['--rate-limit', 'app=20']);
  const got = gather(await subscribed(await connected(client(t, server)), 'a'), 'e');
  // What is refused for another reason is not counted.
  for (let n = 0; n < 30; n += 1) assert.equal((await events(server, { name: '', channel: 'a', data: '' })).status, 400);
  const ten = { batch: Array.from({ length: 10 }, () => ({ name: 'e', channel: 'a', data: '' })) };
  const batch = () => call(server, 'POST', at('batch_events'), { body: JSON.stringify(ten) });
  let passed = 0;
  for (; passed < 20; passed += 10) assert.equal((await batch()).status, 200);
  const refused = await until('a refusal', async () => {
    const answer = await events(server, { name: 'e', channel: 'a', data: '' });
    if (answer.status === 200) passed += 1;
    return answer.status !== 200 && answer;
  });
  assert.deepEqual([refused.status, refused.body.error], [429, 'RATE_LIMITED']);
  assert.ok(refused.body.retryAfter >= 1 && refused.body.retryAfter <= 3, `${refused.body.retryAfter}`);
  assert.equal(refused.headers.get('retry-after'), String(refused.body.retryAfter));
  // Ten more have places in half a minute: a machine that stands still for so long asks again.
  const refuses = async (what, ask) => {
    let status = await ask();
    for (; status === 200; status = await ask()) passed += 10;
    assert.equal(status, 429, what);
  };
  await refuses('by hand', async () => (await batch()).status);
  await refuses('by the library', () => api(server).triggerBatch(ten.batch).then(({ status }) => status, ({ status }) => status));
  // Questions and another app are not held back; a viewer has what was taken, and no more.
  assert.equal((await call(server, 'GET', at('channels'))).status, 200);
  const last = event(await subscribed(await connected(client(t, server, { app: OTHER })), 'clip-a'), 'e');
  await api(server, OTHER).trigger('clip-a', 'e', { n: 1 });
  await last;
  await until('all', () => got.length >= passed);
  assert.equal(got.length, passed);
});

test('data that is no text is sent as the JSON it is', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  bare.subscribe('a');
  await bare.named('pusher_internal:subscription_succeeded');
  for (const data of [{ a: [1] }, [1, 2], 7, null, true]) {
    assert.equal((await events(server, { name: 'e', channel: 'a', data })).status, 200);
    assert.deepEqual((await bare.named('e')).data, data);
  }
});

test('a forged, bent, old or replayed signature is refused', async (t) => {
  const server = await serve(t);
  const body = JSON.stringify({ name: 'e', channel: 'a', data: '' });
  const now = Math.floor(Date.now() / 1000);
  const swap = (name, value) => (query) => query.replace(new RegExp(`${name}=[^&]*`), value === null ? '' : `${name}=${value}`);
  for (const [what, more] of [
    ['another signature', { bend: swap('auth_signature', '0'.repeat(64)) }],
    ['no signature', { bend: swap('auth_signature', null) }],
    ['a short signature', { bend: swap('auth_signature', 'ab') }],
    ['no hex', { bend: swap('auth_signature', 'z'.repeat(64)) }],
    ['another key', { bend: swap('auth_key', OTHER.key) }],
    ['no key', { bend: swap('auth_key', null) }],
    ['another time', { bend: swap('auth_timestamp', now - 1) }],
    ['another body', { sent: body.replace('"e"', '"f"') }],
    ['another hash', { bend: swap('body_md5', '0'.repeat(32)) }],
    ['no hash', { bend: swap('body_md5', null) }],
    ['one parameter more', { bend: (query) => `${query}&x=1` }],
    ['one twice', { bend: (query) => `${query}&auth_key=${APP.key}` }],
    ['nothing', { bend: () => '' }],
    ['an old one', { params: { auth_timestamp: now - 700 } }],
    ['one of tomorrow', { params: { auth_timestamp: now + 86_400 } }],
    ['no time', { params: { auth_timestamp: 'now' } }],
    ['a negative time', { params: { auth_timestamp: -now } }],
    ['another version', { params: { auth_version: '2.0' } }],
  ]) {
    const { status } = await events(server, body, more);
    assert.ok(status === 401 || (status === 400 && what === 'one twice'), `${what}: ${status}`);
  }
  assert.equal((await events(server, body)).status, 200);
  assert.equal((await call(server, 'POST', at('events', OTHER), { body })).status, 401);
  assert.equal((await call(server, 'POST', at('events', { id: 'none' }), { body })).status, 404);
});

test('other paths and methods say so', async (t) => {
  const server = await serve(t);
  assert.equal((await call(server, 'GET', at('events'))).status, 405);
  assert.equal((await call(server, 'POST', at('channels'))).status, 405);
  for (const path of ['', 'x', 'channels/a/users/x', 'users/a', 'events/']) assert.equal((await call(server, 'GET', at(path))).status, 404, path);
  assert.equal((await call(server, 'POST', at(`users/${'x'.repeat(129)}/terminate_connections`))).status, 400);
});

test('ids of users are taken with everything that they may hold', async (t) => {
  const server = await serve(t);
  for (const id of ['a b', 'a/b', 'ä@x', '50%']) {
    const pusher = await connected(client(t, server, { user: { id } }));
    pusher.signin();
    await until('signed in', () => pusher.user.serverToUserChannel?.subscribed);
    const got = event(pusher.user, 'e');
    // By hand: the library itself refuses such names.
    assert.equal((await events(server, { name: 'e', channel: `#server-to-user-${id}`, data: '{"n":1}' })).status, 200);
    assert.deepEqual(await got, { n: 1 }, id);
    const path = at(`users/${encodeURIComponent(id)}/terminate_connections`);
    assert.equal((await call(server, 'POST', path)).status, 200);
    await until('the end', () => pusher.connection.state === 'disconnected');
  }
});

test('webhooks tell what happens, signed, and again after a failure', async (t) => {
  const hook = await endpoint(t, (n) => (n === 0 ? 500 : 200));
  const server = await serve(t, ['--webhook', hook.url]);
  const ada = await connected(client(t, server, { user: { id: 'ada' } }));
  const bob = await connected(client(t, server, { user: { id: 'bob' } }));
  const told = (name, more = {}) => until(`${name} ${JSON.stringify(more)}`, () => hook.events.find((each) => {
    return each.name === name && Object.entries(more).every(([key, value]) => each[key] === value);
  }));
  await subscribed(ada, 'private-a');
  await told('channel_occupied', { channel: 'private-a' });
  await told('subscription_count', { channel: 'private-a', subscription_count: 1 });
  assert.ok(hook.requests.length >= 2, 'the first try failed');
  assert.equal(hook.requests[0].rawBody, hook.requests.find((each, n) => n > 0 && each.rawBody === hook.requests[0].rawBody)?.rawBody);
  for (const request of hook.requests) {
    const webhook = api(server).webhook(request);
    assert.ok(webhook.isValid());
    assert.ok(webhook.getTime() instanceof Date || Number.isFinite(Number(webhook.getData().time_ms)));
  }
  await subscribed(bob, 'private-a');
  ada.channel('private-a').trigger('client-x', { n: 1 });
  const sent = await told('client_event', { channel: 'private-a', event: 'client-x', socket_id: ada.connection.socket_id });
  assert.deepEqual(JSON.parse(sent.data), { n: 1 });
  await subscribed(ada, 'presence-a');
  await told('member_added', { channel: 'presence-a', user_id: 'ada' });
  await subscribed(bob, 'presence-a');
  await told('member_added', { channel: 'presence-a', user_id: 'bob' });
  ada.subscribe('cache-a');
  await told('cache_miss', { channel: 'cache-a' });
  bob.disconnect();
  await told('member_removed', { channel: 'presence-a', user_id: 'bob' });
  ada.disconnect();
  await told('channel_vacated', { channel: 'private-a' });
  await told('channel_vacated', { channel: 'presence-a' });
});

test('one who comes back within seconds was never away for webhooks', async (t) => {
  const hook = await endpoint(t);
  const server = await serve(t, ['--webhook', hook.url]);
  const data = JSON.stringify({ user_id: 'ada' });
  const come = async (channel) => {
    const bare = await Bare.open(t, server);
    bare.subscribe(channel, { auth: auth(await bare.id(), channel, data), channel_data: data });
    await bare.named('pusher_internal:subscription_succeeded');
    return bare;
  };
  const names = (channel) => hook.events.filter((each) => each.channel === channel).map((each) => each.name).sort();
  let tried = 0;
  // They are waited for for three seconds: on a machine that was slower another is tried.
  const channel = await until('a return in time', async () => {
    const at = `presence-${tried += 1}`;
    const first = await come(at);
    await until('told', () => names(at).length >= 2);
    const left = performance.now();
    first.socket.destroy();
    await until('nobody there', async () => !(await call(server, 'GET', `/apps/${APP.id}/channels/${at}`)).body.occupied);
    await come(at);
    return performance.now() - left < 2_500 && at;
  });
  // A later vacancy is told, and by then the first would have been.
  const third = await Bare.open(t, server);
  third.subscribe('b');
  await third.named('pusher_internal:subscription_succeeded');
  third.socket.destroy();
  await until('told', () => hook.events.some((each) => each.name === 'channel_vacated' && each.channel === 'b'));
  assert.deepEqual(names(channel), ['channel_occupied', 'member_added']);
});
