// A voter's own data, and its erasure, through the client.

import assert from 'node:assert/strict';
import test from 'node:test';
import { admin, client, cut, loseAnswer, proxy, refuse, serve, token, until } from './support.js';

const refused = async (promise, code) => {
  const error = await promise.then(() => assert.fail(`${code} was expected`), (why) => why);
  assert.equal(error.code, code, String(error));
  return error;
};

test('a voter is given all that is kept of them, and nothing of others', async (t) => {
  const server = await serve(t);
  const [ada, bob] = [await client(server, 'ada'), await client(server, 'bob')];
  const empty = await ada.ownData();
  assert.deepEqual([empty.votes, empty.comments, empty.reactions, empty.ban], [[], [], [], null]);
  const voted = await ada.vote('clip-1', { type: 'super' });
  await ada.vote('clip-2');
  await ada.unvote('clip-2');
  await bob.vote('clip-1');
  const comment = await ada.comments.post('clip-1', 'Grüße, 世界 👋');
  await bob.comments.like(comment.id);
  await bob.comments.report(comment.id);
  await admin(server, 'PUT', '/api/admin/bans/bob', { reason: 'spam' });

  const data = await ada.ownData();
  assert.deepEqual(data.votes.map(({ eventId, clipId, weight, takenBack }) => [eventId, clipId, weight, takenBack !== null]), [
    [voted.eventId, 'clip-1', 3, false], [data.votes[1].eventId, 'clip-2', 1, true],
  ]);
  assert.deepEqual(data.comments.map(({ id, content, username }) => [id, content, username]), [[comment.id, 'Grüße, 世界 👋', 'ada']]);
  assert.deepEqual([data.userId, data.today.used, data.reactions], [comment.userId, 3, []]);
  const other = await bob.ownData();
  assert.deepEqual([other.ban, other.votes.length, other.comments], [{ until: null, reason: 'spam' }, 1, []]);
  assert.deepEqual(other.reactions, [{ commentId: comment.id, clipId: 'clip-1', liked: true, reported: true }]);
});

test('a device is known by its cookie alone', async (t) => {
  const server = await serve(t);
  await (await client(server, null)).vote('clip-1');
  const error = await refused((await client(server, null)).ownData(), 'UNAUTHORIZED');
  assert.equal(error.status, 401);
  await refused((await client(server, null)).erase(), 'UNAUTHORIZED');
});

test('who is erased has no comments and no likes any more, and has voted all the same', async (t) => {
  const server = await serve(t);
  const [ada, bob] = [await client(server, 'ada'), await client(server, 'bob')];
  await ada.vote('clip-1');
  const first = await ada.comments.post('clip-1', 'a secret');
  await bob.comments.reply(first, 'back');
  const { erasure } = await ada.erase();
  assert.match(erasure, /^\d+$/);
  const stub = await until('the stub', async () => {
    const { comments: [comment] } = await bob.comments.list('clip-1');
    return comment.status === 'deleted' && comment;
  });
  assert.deepEqual([stub.id, stub.content, stub.username, stub.replies.length], [first.id, null, null, 1]);
  await refused(ada.vote('clip-1'), 'ALREADY_VOTED');
  assert.equal((await ada.counts(['clip-1']))['clip-1'].voteCount, 1);
  const left = await ada.ownData();
  assert.deepEqual([left.comments, left.votes.length, left.erasures[0].id], [[], 1, erasure]);
});

test('what breaks off is asked for again, and an erasure whose answer is lost is one', async (t) => {
  const server = await serve(t);
  const between = await proxy(t, server);
  const known = await client(between, null, { token: token(server, 'ada') });
  await known.vote('clip-1');
  between.faults.push(cut, refuse(503, { error: 'OVERLOADED', retryAfter: 1 }, { 'retry-after': '1' }));
  assert.equal((await known.ownData()).votes.length, 1);
  assert.equal(known.pauses.length, 2);
  between.faults.push(loseAnswer);
  assert.match((await known.erase()).erasure, /^\d+$/);
  await refused(known.vote('clip-1'), 'ALREADY_VOTED');
});
