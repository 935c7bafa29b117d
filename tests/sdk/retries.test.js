// What becomes of a call whose way is bad: it happens once, and no more often than it is worth.

import assert from 'node:assert/strict';
import test from 'node:test';
import { client, cut, loseAnswer, loseAnswerAndKey, proxy, refuse, sdk, serve } from './support.js';

async function through(t, sub, options = {}, flags = []) {
  const server = await serve(t, flags);
  const way = await proxy(t, server);
  const plaudit = await client({ ...server, url: server.url }, sub);
  const behind = await client({ ...server, url: way.url }, sub, options);
  return { server, way, direct: plaudit, plaudit: behind };
}

const overloaded = { error: 'OVERLOADED', message: 'the server is at its bound', retryAfter: 1 };

test('a vote whose answer was lost is cast once, and answered as the first time', async (t) => {
  const { way, plaudit, direct } = await through(t, 'ada');
  way.faults.push(cut, loseAnswer, loseAnswer);
  const voted = await plaudit.vote('clip-1');
  assert.deepEqual([voted.voteCount, voted.remainingVotes], [1, 199]);
  const keys = new Set(way.seen.map(({ headers }) => headers['idempotency-key']));
  assert.deepEqual([way.seen.length, keys.size], [4, 1]);
  assert.deepEqual(await direct.counts(['clip-1']), { 'clip-1': { voteCount: 1, weightedScore: 1 } });
});

test('two calls have keys of their own, and a caller may bring one', async (t) => {
  const { way, plaudit } = await through(t, 'ada');
  await plaudit.vote('clip-1');
  await plaudit.unvote('clip-1');
  await plaudit.vote('clip-1', { idempotencyKey: 'mine' });
  const keys = way.seen.map(({ headers }) => headers['idempotency-key']);
  assert.equal(new Set(keys).size, 3);
  assert.equal(keys[2], 'mine');
});

test('a vote that stands though its key is forgotten is no failure', async (t) => {
  const { way, plaudit } = await through(t, 'ada');
  way.faults.push(loseAnswerAndKey);
  const voted = await plaudit.vote('clip-1', { type: 'super' });
  assert.deepEqual([voted.voteCount, voted.weightedScore, voted.remainingVotes, voted.eventId], [1, 3, 197, null]);
  way.faults.push(loseAnswerAndKey);
  const back = await plaudit.unvote('clip-1');
  assert.deepEqual([back.voteCount, back.remainingVotes, back.eventId], [0, 200, null]);
});

test('a comment whose answer was lost is posted once', async (t) => {
  const { way, plaudit, direct } = await through(t, 'ada');
  way.faults.push(loseAnswer, loseAnswer);
  const comment = await plaudit.comments.post('clip-1', 'once');
  assert.deepEqual((await direct.comments.list('clip-1')).comments.map(({ id }) => id), [comment.id]);
  way.faults.push(loseAnswer);
  await plaudit.comments.delete(comment.id);
  assert.equal((await direct.comments.list('clip-1')).comments.length, 0);
});

test('the pause is what the server asked for, and else doubles', async (t) => {
  const { way, plaudit } = await through(t, 'ada');
  way.faults.push(refuse(503, overloaded, { 'retry-after': '7' }), cut, refuse(503, overloaded), refuse(429, { error: 'RATE_LIMITED' }, { 'retry-after': '2' }));
  assert.equal((await plaudit.vote('clip-1')).voteCount, 1);
  assert.deepEqual(plaudit.pauses, [7_000, 200, 400, 2_000]);
});

test('there is an end to it', async (t) => {
  const { way, plaudit } = await through(t, 'ada', { retries: 2 });
  const { PlauditError, PlauditNetworkError } = await sdk();
  way.faults.push(...Array.from({ length: 3 }, () => refuse(503, overloaded)));
  await assert.rejects(plaudit.vote('clip-1'), (error) => error instanceof PlauditError && error.code === 'OVERLOADED');
  assert.equal(way.seen.length, 3);
  way.faults.push(cut, cut, cut);
  await assert.rejects(plaudit.vote('clip-1'), (error) => error instanceof PlauditNetworkError && error.code === 'NETWORK');
  assert.equal(way.seen.length, 6);
  way.faults.push(refuse(429, { error: 'RATE_LIMITED', message: 'm', retryAfter: 3_600 }, { 'retry-after': '3600' }));
  await assert.rejects(plaudit.vote('clip-1'), (error) => error.code === 'RATE_LIMITED' && error.retryAfterMs === 3_600_000);
  assert.equal(way.seen.length, 7, 'an hour is too long to wait');
  way.faults.push(refuse(502, undefined));
  way.faults.push((_, response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>not here</h1>'));
  await assert.rejects(plaudit.vote('clip-1'), (error) => error.status === 404 && error.code === 'UNKNOWN');
});

test('an answer that does not come is not waited for', async (t) => {
  // The one that comes may take longer than this too, and is asked for again then.
  const { way, plaudit } = await through(t, 'ada', { timeoutMs: 500, retries: 100 });
  const silence = () => {};
  way.faults.push(silence, silence);
  assert.equal((await plaudit.vote('clip-1')).voteCount, 1);
  assert.ok(way.seen.length >= 3, `${way.seen.length}`);
});

test('a caller may give up', async (t) => {
  const { way, plaudit } = await through(t, 'ada');
  const stop = new AbortController();
  way.faults.push(() => stop.abort(new Error('enough')));
  await assert.rejects(plaudit.vote('clip-1', { signal: stop.signal }), /enough/);
  await assert.rejects(plaudit.vote('clip-1', { signal: stop.signal }), /enough/);
  assert.equal(way.seen.length, 1);
});

test('a hundred votes on a bad way are a hundred votes', async (t) => {
  // As many tries as there are faults: who meets which is chance.
  const retries = 200;
  const { way, plaudit, server } = await through(t, 'ada', { retries });
  const voters = await Promise.all(Array.from({ length: 100 }, (_, n) => client({ ...server, url: way.url }, `v${n}`, { retries })));
  // A fault for about every second request, in an order that differs from voter to voter and not from run to run.
  const faults = [cut, loseAnswer, refuse(503, overloaded), loseAnswerAndKey, (request, response, forward) => forward()];
  way.faults.push(...Array.from({ length: retries }, (_, n) => faults[(n * 7 + (n >> 3)) % faults.length]));
  await Promise.all(voters.map((voter) => voter.vote('clip-1')));
  assert.equal((await plaudit.counts(['clip-1']))['clip-1'].voteCount, 100);
});
