// Connections: how they begin, how they live, and every way in which they end.

import assert from 'node:assert/strict';
import test from 'node:test';
import {
  APP, Bare, OP, OTHER, api, call, client, connected, event, frame, gather, keptPort, serve, soon, subscribed, until,
} from './support.js';

test('a client connects by its key, and is told its id', async (t) => {
  const server = await serve(t);
  const pusher = await connected(client(t, server));
  assert.match(pusher.connection.socket_id, /^\d+\.\d+$/);
  const other = await connected(client(t, server, { app: OTHER }));
  assert.notEqual(other.connection.socket_id, pusher.connection.socket_id);
  const bare = await Bare.open(t, server, `/app/${APP.key}?protocol=7&client=js&version=8.6.0&flash=false&what=ever`);
  const first = await bare.named('pusher:connection_established');
  assert.match(first.data.socket_id, /^\d+\.\d+$/);
  assert.equal(first.data.activity_timeout, 120);
});

test('who can not stay is let in and told so by a code', async (t) => {
  const server = await serve(t);
  for (const [path, code] of [
    ['/app/nobody?protocol=7', 4001],
    ['/app/?protocol=7', 4005],
    ['/app?protocol=7', 4005],
    [`/app/${APP.key}/more?protocol=7`, 4005],
    [`/app/${APP.key}?protocol=seven`, 4006],
    [`/app/${APP.key}?protocol=4`, 4007],
    [`/app/${APP.key}?protocol=8`, 4007],
    [`/app/${APP.key}`, 4008],
    [`/app/${APP.key}?protocol=`, 4008],
  ]) {
    const bare = await Bare.open(t, server, path);
    assert.equal(bare.status, 101, path);
    assert.equal(await bare.code(), code, path);
    bare.socket.write(frame(OP.close, Buffer.from([code >> 8, code & 255])));
    await soon(bare.ended, 'the end');
    assert.deepEqual(bare.frames, [], path);
  }
});

test('a client with a wrong key gives up', async (t) => {
  const server = await serve(t);
  await givesUp(client(t, server, { app: { ...APP, key: 'nobody' } }), 4001);
});

test('what is no WebSocket is answered as HTTP is', async (t) => {
  const server = await serve(t);
  const answer = await fetch(`http://127.0.0.1:${server.port}/app/${APP.key}?protocol=7`);
  assert.equal(answer.status, 400);
  const bare = await Bare.open(t, server, undefined, { 'Sec-WebSocket-Version': '12' });
  assert.equal(bare.status, 400);
});

test('pings of both kinds are answered', async (t) => {
  const server = await serve(t);
  const bare = await Bare.open(t, server);
  await bare.lives();
  bare.socket.write(frame(OP.ping, 'are you there'));
  const pong = await bare.next((got) => got.op === OP.pong);
  assert.equal(pong.payload, 'are you there');
});

test('a silent connection is asked, and closed with 4201 when it stays silent', async (t) => {
  const server = await serve(t, ['--activity-timeout', '1s', '--pong-timeout', '1s']);
  const silent = await Bare.open(t, server);
  assert.equal((await silent.named('pusher:connection_established')).data.activity_timeout, 1);
  // One that is itself too slow to answer in time shows nothing, and another is tried.
  await until('one that answers in time', async () => {
    const { isOpen, inTime } = await answering(t, server);
    assert.ok(isOpen || !inTime, 'each ping was answered in time');
    return isOpen;
  });
  assert.equal(await silent.code(), 4201);
});

// Whether a connection that answers three pings stays open, and whether each word of it came within the second after which it is
// asked and the one that it has then, as far as it can know: within both of its own last word.
async function answering(t, server) {
  let [last, inTime] = [performance.now(), true];
  const bare = await Bare.open(t, server);
  // Any traffic is a sign of life.
  const signs = [frame(OP.pong, ''), frame(OP.text, '{"event":"pusher:pong","data":{}}'), frame(OP.pong, '')];
  for (const [sign, waits] of [...signs.map((each) => [each, 'pusher:ping']), [frame(OP.text, '{"event":"pusher:ping"}'), null]]) {
    if (waits) await until('a ping or the end', () => bare.closed || bare.frames.some((got) => got.event === waits));
    bare.frames.length = 0;
    bare.socket.write(sign);
    const now = performance.now();
    inTime &&= now - last < 1_900;
    last = now;
  }
  await until('an answer or the end', () => bare.closed || bare.frames.some((got) => got.event === 'pusher:pong'));
  return { isOpen: bare.closed === undefined, inTime };
}

test('a page of an origin that is not listed is closed with 4009', async (t) => {
  const server = await serve(t, ['--allowed-origins', 'https://good.example,http://also.example:8080']);
  for (const [origin, code] of [['https://evil.example', 4009], ['https://good.example.evil', 4009], ['null', 4009]]) {
    const bare = await Bare.open(t, server, undefined, { Origin: origin });
    assert.equal(await bare.code(), code, origin);
  }
  for (const headers of [{ Origin: 'https://good.example' }, { Origin: 'http://also.example:8080' }, {}]) {
    const bare = await Bare.open(t, server, undefined, headers);
    await bare.lives();
  }
});

test('past the bounds a connection is closed with 4100', async (t) => {
  const server = await serve(t, ['--max-viewers', '3', '--max-viewers-per-address', '2']);
  const two = [await Bare.open(t, server), await Bare.open(t, server)];
  await Promise.all(two.map((bare) => bare.lives()));
  const third = await Bare.open(t, server);
  assert.equal(await third.code(), 4100);
  two[0].socket.destroy();
  await until('a place again', async () => {
    const bare = await Bare.open(t, server);
    await until('an answer', () => bare.closed || bare.frames.length);
    return !bare.closed;
  });
});

// What pusher-js was told, and that it comes back no more.
async function givesUp(pusher, code) {
  const error = await event(pusher.connection, 'error');
  assert.equal(error.error?.data?.code ?? error.data?.code, code, JSON.stringify(error));
  await until('giving up', () => pusher.connection.state === 'disconnected');
}

test('an app that is switched off is closed with 4003, and its server is refused', async (t) => {
  const server = await serve(t, ['--push-disabled', OTHER.id]);
  const bare = await Bare.open(t, server, `/app/${OTHER.key}?protocol=7`);
  assert.equal(await bare.code(), 4003);
  assert.deepEqual(bare.frames, []);
  await givesUp(client(t, server, { app: OTHER }), 4003);
  const off = api(server, OTHER);
  for (const asked of [() => off.trigger('a', 'e', {}), () => off.triggerBatch([{ channel: 'a', name: 'e', data: '' }]), () => off.get({ path: '/channels' })]) {
    await assert.rejects(asked, (why) => why.status === 403);
  }
  // Whoever doesn't know the secret learns nothing.
  assert.equal((await call(server, 'GET', `/apps/${OTHER.id}/channels`)).status, 401);
  await subscribed(await connected(client(t, server)), 'a');
  await api(server).trigger('a', 'e', {});
  await until('its word of it', () => server.banner.some((said) => said.includes(`app ${OTHER.id}`) && said.includes('switched off')));
});

test('past an app\'s own bound a connection is closed with 4004, and a client gives up', async (t) => {
  const server = await serve(t, ['--max-viewers-per-app', '2']);
  const two = [await Bare.open(t, server), await Bare.open(t, server)];
  await Promise.all(two.map((bare) => bare.lives()));
  assert.equal(await (await Bare.open(t, server)).code(), 4004);
  await givesUp(client(t, server), 4004);
  await connected(client(t, server, { app: OTHER }));
  two[0].socket.destroy();
  await until('a place again', async () => {
    const bare = await Bare.open(t, server);
    await until('an answer', () => bare.closed || bare.frames.length);
    return !bare.closed;
  });
});

test('a client that found no room comes back until there is some', async (t) => {
  const server = await serve(t, ['--max-viewers', '1']);
  const only = await Bare.open(t, server);
  await only.lives();
  const pusher = client(t, server);
  const error = await event(pusher.connection, 'error');
  assert.equal(error.error?.data?.code ?? error.data?.code, 4100, JSON.stringify(error));
  only.socket.destroy();
  await connected(pusher);
});

test('when all leave at once the next comes in', async (t) => {
  const server = await serve(t);
  const all = await Promise.all(Array.from({ length: 200 }, () => Bare.open(t, server)));
  for (const bare of all) bare.subscribe('a');
  await Promise.all(all.map((bare) => bare.named('pusher_internal:subscription_succeeded')));
  for (const bare of all) bare.socket.resetAndDestroy();
  await (await Bare.open(t, server)).lives();
  await until('nobody there', async () => !(await call(server, 'GET', `/apps/${APP.id}/channels/a`)).body.occupied);
});

test('a stopping server spreads its closes and asks clients to come back', async (t) => {
  const server = await serve(t, ['--drain', '1s']);
  const all = await Promise.all(Array.from({ length: 20 }, () => Bare.open(t, server)));
  await Promise.all(all.map((bare) => bare.lives()));
  const began = performance.now();
  const codes = all.map(async (bare) => {
    const code = await bare.code();
    bare.socket.write(frame(OP.close, Buffer.from([code >> 8, code & 255])));
    return code;
  });
  assert.equal(await server.end(), 0);
  assert.deepEqual(await Promise.all(codes), all.map(() => 4200));
  // Not all at once: the last was told no earlier than this, however slow the others were.
  assert.ok(performance.now() - began > 500, 'they were spread');
});

test('a client comes back after a restart and goes on', async (t) => {
  const first = await serve(t, [], { port: await keptPort() });
  const pusher = await connected(client(t, first));
  const channel = await subscribed(pusher, 'news');
  const again = event(channel, 'pusher:subscription_succeeded');
  await first.end();
  const second = await serve(t, [], { again: first, port: first.port });
  await again;
  const got = event(channel, 'greeting');
  await api(second).trigger('news', 'greeting', { n: 1 });
  assert.deepEqual(await got, { n: 1 });
});

test('a client comes back after the server was killed', async (t) => {
  const first = await serve(t, [], { port: await keptPort() });
  const pusher = await connected(client(t, first, { user: { id: 'ada' } }));
  const channel = await subscribed(pusher, 'presence-room');
  const again = event(channel, 'pusher:subscription_succeeded');
  await first.end('SIGKILL');
  await serve(t, [], { again: first, port: first.port });
  const members = await again;
  assert.equal(members.count, 1);
});

test('an app of its own is made at the first start, and stays', async (t) => {
  const first = await serve(t, [], { bare: true });
  const told = (server) => until('its app', () => server.banner.find((said) => said.trim().startsWith('push')));
  const line = await told(first);
  const [, id, key, file] = line.match(/app (\S+), key (\S+), secret in (\S+)/);
  const { readFileSync } = await import('node:fs');
  const secret = readFileSync(file, 'utf8').match(/push-app = "[^:]+:[^:]+:([^"]+)"/)[1];
  assert.ok(!first.banner.join('\n').includes(secret), 'a secret is not printed');
  const app = { id, key, secret };
  const pusher = await connected(client(t, first, { app }));
  const channel = await subscribed(pusher, 'private-a');
  const got = event(channel, 'e');
  await api(first, app).trigger('private-a', 'e', 1);
  assert.equal(Number(await got), 1);
  await first.end();
  const second = await serve(t, [], { bare: true, again: first });
  assert.equal(await told(second), line);
});

test('a server in memory that begins anew has its viewers come back to it', async (t) => {
  const server = await serve(t, ['--memory']);
  const viewer = await connected(client(t, server));
  const channel = await subscribed(viewer, 'clip-clip-1');
  const before = viewer.connection.socket_id;
  const again = event(viewer.connection, 'connected');
  const resubscribed = event(channel, 'pusher:subscription_succeeded');
  const reset = await fetch(`http://127.0.0.1:${server.port}/api/test/reset`, { method: 'POST' });
  assert.equal(reset.status, 204);
  await again;
  await resubscribed;
  assert.notEqual(viewer.connection.socket_id, before);
  // It is told the count that there is first.
  const updates = gather(channel, 'vote-update');
  const vote = await fetch(`http://127.0.0.1:${server.port}/api/vote`, {
    method: 'POST', body: '{"clipId":"clip-1"}', headers: { 'content-type': 'application/json' },
  });
  assert.equal(vote.status, 200);
  await until('the vote', () => updates.at(-1)?.voteCount === 1);
});
