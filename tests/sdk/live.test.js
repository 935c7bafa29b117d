// The live subscription: what comes, what comes again after a cut, and what it says when something is gone.

import assert from 'node:assert/strict';
import test from 'node:test';
import { admin, client, listen, proxy, refuse, sdk, serve, trigger, until } from './support.js';

test('votes, comments and the life of a slot are told as they happen', async (t) => {
  const server = await serve(t);
  const { clipChannel, seasonChannel, slotChannel } = await sdk(server);
  const [ada, bob] = [await client(server, 'ada'), await client(server, 'bob')];
  const channels = [clipChannel('clip-1'), slotChannel('demo', 1), seasonChannel('demo')];
  const { got, named } = await listen(t, bob, channels);
  await ada.vote('clip-1');
  const voted = await until('the vote', () => got.find(({ name, data }) => name === 'vote-update' && data.voteCount === 1));
  assert.deepEqual([voted.channel, voted.position], ['clip-clip-1', null]);
  await until('the slot', () => named('counts-update').some(({ data }) => data.counts.some(([id, votes]) => id === 'clip-1' && votes === 1)));
  const comment = await ada.comments.post('clip-1', 'Grüße 👋');
  await bob.comments.like(comment.id);
  await until('the like', () => named('comment-updated').some(({ data }) => data.likesCount === 1));
  await ada.comments.delete(comment.id);
  const gone = await until('the deletion', () => named('delete-comment')[0]);
  const [told] = named('new-comment');
  assert.deepEqual([told.data.comment.content, told.data.position, gone.data.commentId], ['Grüße 👋', told.position, comment.id]);
  await admin(server, 'POST', '/api/admin/seasons/demo/slots/1/lock');
  const closed = await until('the end', () => named('slot-closed')[0]);
  assert.equal(closed.data.winner.clipId, 'clip-1');
});

test('a cut loses nothing and repeats nothing', async (t) => {
  const server = await serve(t);
  const way = await proxy(t, server);
  const ada = await client(server, 'ada');
  const bob = await client({ ...server, url: way.url }, 'bob');
  const { named, states, resyncs } = await listen(t, bob, ['clip-clip-1']);
  const posted = [];
  const say = async () => posted.push((await ada.comments.post('clip-1', `number ${posted.length}`)).id);
  for (let n = 0; n < 5; n += 1) {
    await say();
    await until('what was said', () => named('new-comment').length === posted.length);
    way.cut();
    await say();
    await say();
    await until('what was missed', () => named('new-comment').length === posted.length);
  }
  assert.deepEqual(named('new-comment').map(({ data }) => data.comment.id), posted);
  assert.deepEqual(resyncs, []);
  assert.ok(states.filter((state) => state === 'waiting').length >= 5, states.join());
  const back = way.seen.filter(({ url }) => url.startsWith('/api/stream'))[1];
  assert.match(back.headers['last-event-id'], /^\d+\.\d+$/);
  await ada.vote('clip-1');
  await until('the current count', () => named('vote-update').at(-1)?.data.voteCount === 1);
});

test('another subscription goes on where one ended', async (t) => {
  const server = await serve(t);
  const ada = await client(server, 'ada');
  const first = await listen(t, ada, ['clip-clip-1']);
  await ada.comments.post('clip-1', 'seen');
  await until('it', () => first.named('new-comment').length === 1);
  first.subscription.close();
  await first.subscription.done;
  assert.equal(first.subscription.state, 'closed');
  const missed = await ada.comments.post('clip-1', 'missed');
  const second = await listen(t, ada, ['clip-clip-1'], { since: first.subscription.position });
  await until('what was missed', () => second.named('new-comment').length === 1);
  assert.equal(second.named('new-comment')[0].data.comment.id, missed.id);
  assert.equal(first.named('new-comment').length, 1, 'no event comes after the end');
});

test('what is gone is said, and what comes is told', async (t) => {
  const server = await serve(t, ['--history-events', '2']);
  const way = await proxy(t, server);
  const ada = await client(server, 'ada');
  const bob = await client({ ...server, url: way.url }, 'bob');
  const { named, resyncs, subscription } = await listen(t, bob, ['clip-clip-1']);
  // No stream until all of them are out.
  let let_in;
  const gate = new Promise((resolve) => { let_in = resolve; });
  way.faults.push((request, response, forward) => gate.then(() => forward()));
  way.cut();
  for (let n = 0; n < 10; n += 1) await ada.comments.post('clip-1', `number ${n}`);
  let_in();
  await until('a resync', () => resyncs.length === 1);
  assert.equal(resyncs[0].channel, 'clip-clip-1');
  const next = await ada.comments.post('clip-1', 'next');
  await until('the next', () => named('new-comment').some(({ data }) => data.comment.id === next.id));
  assert.equal(subscription.state, 'open');
});

test('a server that has begun anew is found again, and says so', async (t) => {
  const server = await serve(t);
  const ada = await client(server, 'ada');
  const { named, resyncs } = await listen(t, ada, ['clip-clip-1']);
  for (let n = 0; n < 3; n += 1) await ada.comments.post('clip-1', `number ${n}`);
  await until('them', () => named('new-comment').length === 3);
  assert.equal((await fetch(`${server.url}/api/test/reset`, { method: 'POST' })).status, 204);
  await until('a resync', () => resyncs.length);
  await ada.vote('clip-1');
  await until('a vote of the new server', () => named('vote-update').at(-1)?.data.voteCount === 1);
});

test('events that come a byte at a time are the same', async (t) => {
  const server = await serve(t);
  const way = await proxy(t, server);
  way.bytewise = true;
  const ada = await client(server, 'ada');
  const { named } = await listen(t, await client({ ...server, url: way.url }, 'bob'), ['clip-clip-1']);
  await ada.comments.post('clip-1', 'Grüße, 世界 👋');
  const told = await until('it', () => named('new-comment')[0]);
  assert.equal(told.data.comment.content, 'Grüße, 世界 👋');
});

test('what the site itself sends comes as JSON, or as the text that it is', async (t) => {
  const server = await serve(t);
  const way = await proxy(t, server);
  way.bytewise = true;
  const { got } = await listen(t, await client({ ...server, url: way.url }, null), ['match', 'other']);
  await trigger(server, 'match', 'goal', JSON.stringify({ by: 'ada' }));
  await trigger(server, 'other', 'note', 'two\nlines, \r\nand a third: {');
  await until('both', () => got.length === 2);
  assert.deepEqual(got.map(({ channel, name, data }) => [channel, name, data]), [
    ['match', 'goal', { by: 'ada' }], ['other', 'note', 'two\nlines, \nand a third: {'],
  ]);
  assert.ok(got.every(({ position }) => /^\d+\.\d+$/.test(position)));
});

test('a stream that falls silent is begun anew', async (t) => {
  const server = await serve(t);
  const way = await proxy(t, server);
  const ada = await client(server, 'ada');
  const bob = await client({ ...server, url: way.url }, 'bob', { silenceMs: 200 });
  // Its head and its begin, and nothing more.
  way.faults.push((request, response, forward) => forward((answer) => {
    response.writeHead(200, answer.headers);
    answer.once('data', (data) => { response.write(data); answer.resume(); });
  }));
  const { named } = await listen(t, bob, ['clip-clip-1']);
  await ada.comments.post('clip-1', 'heard');
  await until('what the silent one swallowed', () => named('new-comment').length > 0);
});

test('a server that has no room is asked again, one that refuses is not', async (t) => {
  const server = await serve(t);
  const way = await proxy(t, server);
  const plaudit = await client({ ...server, url: way.url }, 'ada');
  const overloaded = refuse(503, { error: 'OVERLOADED', message: 'm' }, { 'retry-after': '9' });
  way.faults.push(overloaded, overloaded);
  await listen(t, plaudit, ['clip-clip-1']);
  assert.deepEqual(plaudit.pauses, [9_000, 9_000]);
  const errors = [];
  const refused = plaudit.subscribe(['private-room'], () => {}, { onError: (error) => errors.push(error) });
  await assert.rejects(refused.done, (error) => error.code === 'INVALID_PARAMETER');
  assert.deepEqual([refused.state, errors.length], ['closed', 1]);
  assert.throws(() => plaudit.subscribe([], () => {}), RangeError);
});

test('a handler that fails ends no stream', async (t) => {
  const server = await serve(t);
  const ada = await client(server, 'ada');
  const failures = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => failures.push(error.message));
  t.after(() => {
    process.removeAllListeners('uncaughtException');
    others.forEach((other) => process.on('uncaughtException', other));
  });
  let seen = 0;
  const subscription = ada.subscribe(['clip-clip-1'], ({ name }) => {
    if (name !== 'new-comment') return;
    seen += 1;
    throw new Error(`failure ${seen}`);
  });
  t.after(() => subscription.close());
  await until('an open stream', () => subscription.position !== null);
  await ada.comments.post('clip-1', 'one');
  await ada.comments.post('clip-1', 'two');
  await until('both', () => seen === 2 && failures.length === 2);
  assert.deepEqual(failures, ['failure 1', 'failure 2']);
  assert.equal(subscription.state, 'open');
});
