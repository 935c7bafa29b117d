// Votes and comments through the client.

import assert from 'node:assert/strict';
import test from 'node:test';
import { admin, client, sdk, serve, token } from './support.js';

const fails = async (promise, status, code) => {
  const error = await promise.then(() => assert.fail(`${code} was expected`), (why) => why);
  const { PlauditError } = await sdk();
  assert.ok(error instanceof PlauditError, String(error));
  assert.deepEqual([error.status, error.code], [status, code]);
  assert.ok(error.message.length > 0 && error.requestId, String(error));
  return error;
};

test('a vote is cast, counted, known and taken back', async (t) => {
  const plaudit = await client(await serve(t), 'ada');
  const voted = await plaudit.vote('clip-1', { type: 'super' });
  assert.deepEqual([voted.clipId, voted.voteCount, voted.weightedScore, voted.remainingVotes], ['clip-1', 1, 3, 197]);
  assert.match(voted.eventId, /^\d+$/);
  assert.deepEqual(await plaudit.counts(['clip-1', 'clip-2', 'nowhere']), {
    'clip-1': { voteCount: 1, weightedScore: 3 }, 'clip-2': { voteCount: 0, weightedScore: 0 },
  });
  const mine = await plaudit.mine(['clip-1', 'clip-2']);
  assert.deepEqual([mine.voted, mine.remaining], [['clip-1'], 197]);
  assert.deepEqual((await plaudit.limit()).current, 3);
  assert.equal((await plaudit.unvote('clip-1')).voteCount, 0);
  assert.deepEqual((await plaudit.mine(['clip-1'])).voted, []);
  assert.deepEqual(plaudit.pauses, [], 'nothing was tried twice');
});

test('more ids than one request takes are asked for in parts', async (t) => {
  const plaudit = await client(await serve(t), 'ada');
  const many = Array.from({ length: 250 }, (_, n) => `clip-${n}`);
  await plaudit.vote('clip-1');
  await plaudit.vote('clip-16');
  assert.equal(Object.keys(await plaudit.counts(many)).length, 16);
  assert.deepEqual((await plaudit.mine([...many.slice(1), 'clip-1'])).voted.sort(), ['clip-1', 'clip-1', 'clip-16']);
  assert.deepEqual([(await plaudit.counts([])), (await plaudit.mine([])).voted], [{}, []]);
});

test('slots, seasons and boards are read', async (t) => {
  const plaudit = await client(await serve(t), 'ada');
  await plaudit.vote('clip-3');
  const clips = await plaudit.clips();
  assert.deepEqual([clips.length, clips.find(({ id }) => id === 'clip-3').vote_count], [16, 1]);
  assert.deepEqual(await plaudit.clips({ season: 'demo', slot: 2 }), []);
  const [season] = await plaudit.seasons();
  assert.deepEqual(await plaudit.season(season.id).then(({ id, slots }) => [id, slots.length]), ['demo', 3]);
  assert.equal((await plaudit.slot('demo', 1)).status, 'voting');
  const board = await plaudit.leaderboard({ type: 'voters' });
  assert.equal(board.type, 'voters');
});

test('a refusal is an error with its code and what belongs to it', async (t) => {
  const server = await serve(t, ['--daily-limit', '10']);
  const plaudit = await client(server, 'ada');
  await plaudit.vote('clip-1', { type: 'mega' });
  assert.equal((await fails(plaudit.vote('clip-1'), 409, 'ALREADY_VOTED')).body.clipId, 'clip-1');
  const limited = await fails(plaudit.vote('clip-2'), 429, 'DAILY_LIMIT');
  assert.ok(limited.body.resetAt > Date.now() && limited.body.remaining === 0);
  await fails(plaudit.vote('nowhere'), 404, 'CLIP_NOT_FOUND');
  await fails(plaudit.vote('clip-2', { type: 'huge' }), 400, 'INVALID_VOTE_TYPE');
  await fails(plaudit.unvote('clip-2'), 404, 'NOT_VOTED');
  await fails((await client(server, null, { token: 'no token' })).vote('clip-2'), 401, 'INVALID_TOKEN');
  await fails(plaudit.season('a/b?c#d'), 404, 'NOT_FOUND');
  await admin(server, 'PUT', '/api/admin/bans/eve', { until: Date.now() + 3_600_000 });
  assert.ok((await fails((await client(server, 'eve')).vote('clip-2'), 403, 'BANNED')).body.until > Date.now());
  assert.deepEqual(plaudit.pauses, [], 'what another try can not better is not tried again');
});

test('a device votes without a token', async (t) => {
  const plaudit = await client(await serve(t), null);
  assert.equal((await plaudit.vote('clip-1')).voteCount, 1);
  assert.deepEqual((await plaudit.mine(['clip-1'])).voted, ['clip-1']);
});

test('a token that has ended is asked for once more', async (t) => {
  const server = await serve(t);
  const tokens = [token(server, 'ada', -60), token(server, 'ada')];
  const plaudit = await client(server, null, { token: async () => (tokens.length > 1 ? tokens.shift() : tokens[0]) });
  assert.equal((await plaudit.vote('clip-1')).voteCount, 1);
  const never = await client(server, null, { token: () => 'no token' });
  await fails(never.vote('clip-1'), 401, 'INVALID_TOKEN');
});

test('a moved clock gives a new day', async (t) => {
  const server = await serve(t, ['--daily-limit', '10']);
  const plaudit = await client(server, 'ada', { token: token(server, 'ada', 10 * 86_400) });
  await plaudit.vote('clip-1', { type: 'mega' });
  await fails(plaudit.vote('clip-2'), 429, 'DAILY_LIMIT');
  const moved = await fetch(`${server.url}/api/test/clock`, {
    method: 'POST', body: JSON.stringify({ advanceMs: 86_400_000 }), headers: { 'content-type': 'application/json' },
  });
  assert.equal(moved.status, 200);
  assert.equal((await plaudit.vote('clip-2')).voteCount, 1);
});

test('comments are posted, answered, liked, listed, counted, reported and deleted', async (t) => {
  const server = await serve(t);
  const [ada, bob] = [await client(server, 'ada'), await client(server, 'bob')];
  const first = await ada.comments.post('clip-1', 'Grüße, 世界 👋');
  assert.deepEqual([first.content, first.username, first.is_own], ['Grüße, 世界 👋', 'ada', true]);
  const reply = await bob.comments.reply(first, 'back');
  assert.equal(reply.parentId, first.id);
  assert.deepEqual(await bob.comments.like(first.id).then(({ likes_count, is_liked }) => [likes_count, is_liked]), [1, true]);
  assert.equal((await bob.comments.like(first.id)).likes_count, 1);
  const page = await bob.comments.list('clip-1');
  assert.deepEqual(page.comments.map(({ id, is_liked, replies }) => [id, is_liked, replies.length]), [[first.id, true, 1]]);
  assert.deepEqual((await bob.comments.list('clip-1', { parentId: first.id })).comments.map(({ id }) => id), [reply.id]);
  assert.deepEqual(await bob.comments.count(['clip-1', 'clip-2']), { 'clip-1': 2, 'clip-2': 0 });
  assert.equal((await bob.comments.unlike(first.id)).likes_count, 0);
  await bob.comments.report(first.id);
  await fails(bob.comments.delete(first.id), 403, 'FORBIDDEN');
  await ada.comments.delete(first.id);
  await fails(ada.comments.delete(first.id), 404, 'NOT_FOUND');
  await fails(ada.comments.post('clip-1', ''), 400, 'INVALID_PARAMETER');
  await fails((await client(server, null)).comments.post('clip-1', 'a device'), 401, 'UNAUTHORIZED');
});

test('all comments come, page by page, each once', async (t) => {
  const ada = await client(await serve(t), 'ada');
  const posted = [];
  for (let n = 0; n < 25; n += 1) posted.push((await ada.comments.post('clip-1', `number ${n}`)).id);
  const seen = [];
  for await (const { id } of ada.comments.each('clip-1', { limit: 10, sort: 'oldest' })) seen.push(id);
  assert.deepEqual(seen, posted);
});
