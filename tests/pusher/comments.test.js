// What becomes of comments, as the viewers of a clip see it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Bare, client, connected, gather, serve, subscribed, token, until } from './support.js';

async function call(server, method, path, bearer, body) {
  const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, {
    method, body: body && JSON.stringify(body), headers: { 'content-type': 'application/json', authorization: `Bearer ${bearer}` },
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text && JSON.parse(text);
}

const admin = (server) => readFileSync(join(server.dir, 'secrets.toml'), 'utf8').match(/admin-token = "([^"]+)"/)[1];
const say = async (server, sub, content) =>
  (await call(server, 'POST', '/api/comments', token(sub), { clipId: 'clip-1', content })).comment;
const judge = (server, id, word) => call(server, 'POST', `/api/admin/comments/${id}/${word}`, admin(server), {});

const NAMES = ['new-comment', 'comment-updated', 'delete-comment'];

// A channel's events of comments in their order.
function follow(channel) {
  const got = [];
  for (const name of NAMES) channel.bind(name, (data) => got.push({ name, data, at: performance.now() }));
  return got;
}

test('two viewers see a comment, its likes, its hiding and its deletion', async (t) => {
  const server = await serve(t);
  const viewers = await Promise.all([0, 1].map(() => connected(client(t, server))));
  const seen = (await Promise.all(viewers.map((viewer) => subscribed(viewer, 'clip-clip-1')))).map(follow);
  const all = (count) => until(`${count} events`, () => seen.every((got) => got.length >= count));
  const comment = await say(server, 'ada', 'first');
  const answered = performance.now();
  await all(1);
  for (const got of seen) {
    t.diagnostic(`${(got[0].at - answered).toFixed(1)} ms from the answer to the event`);
    const { id, clipId, userId, username, avatarUrl, content, parentId, createdAt } = comment;
    assert.equal(got[0].name, 'new-comment');
    const { position, ...data } = got[0].data;
    assert.deepEqual(data, { comment: { id, clipId, userId, username, avatarUrl, content, parentId, createdAt } });
    assert.match(position, /^\d+\.\d+$/);
  }
  for (let n = 0; n < 20; n += 1) await call(server, 'PUT', `/api/comments/${comment.id}/like`, token(`fan-${n}`));
  await until('the likes', () => seen.every((got) => got.at(-1).data.likesCount === 20));
  for (const got of seen) {
    const likes = got.slice(1);
    for (const { name, data } of likes) {
      assert.equal(name, 'comment-updated');
      assert.deepEqual(Object.keys(data).sort(), ['commentId', 'likesCount', 'seq']);
      assert.equal(data.commentId, comment.id);
    }
    assert.ok(likes.length <= 20);
    got.length = 0;
  }
  await judge(server, comment.id, 'hide');
  await judge(server, comment.id, 'approve');
  await call(server, 'DELETE', `/api/comments/${comment.id}`, token('ada'));
  await all(3);
  for (const got of seen) {
    const plain = got.map(({ name, data: { position, ...data } }) => {
      assert.match(position, /^\d+\.\d+$/);
      return { name, data };
    });
    assert.deepEqual(plain, [
      { name: 'comment-updated', data: { commentId: comment.id, status: 'hidden' } },
      { name: 'comment-updated', data: { commentId: comment.id, status: 'visible' } },
      { name: 'delete-comment', data: { commentId: comment.id } },
    ]);
  }
});

test('a comment that waits for moderation is pushed once it is approved', async (t) => {
  const server = await serve(t, ['--moderation', 'before']);
  const got = follow(await subscribed(await connected(client(t, server)), 'clip-clip-1'));
  const waits = await say(server, 'ada', 'waits');
  const other = await say(server, 'bob', 'goes first');
  await judge(server, other.id, 'approve');
  await until('the approved one', () => got.length);
  await judge(server, waits.id, 'approve');
  await until('the other', () => got.length >= 2);
  assert.deepEqual(got.map(({ name, data }) => [name, data.comment.content]), [['new-comment', 'goes first'], ['new-comment', 'waits']]);
});

test('a viewer that comes back sees what it missed once and in order', async (t) => {
  const server = await serve(t);
  const viewer = await connected(client(t, server));
  const got = gather(await subscribed(viewer, 'clip-clip-1'), 'new-comment');
  await say(server, 'ada', 'seen');
  await until('the first', () => got.length);
  viewer.disconnect();
  for (const content of ['one', 'two', 'three']) await say(server, 'bob', content);
  const back = await Bare.open(t, server);
  await back.id();
  back.subscribe('clip-clip-1', { since: got[0].position });
  const last = async () => back.frames.filter(({ event }) => event === 'new-comment');
  await until('the missed', async () => (await last()).length >= 3);
  await say(server, 'bob', 'four');
  await until('the next', async () => (await last()).at(-1).data.comment.content === 'four');
  assert.deepEqual((await last()).map(({ data }) => data.comment.content), ['one', 'two', 'three', 'four']);
});

test('viewers see the comments of a voter who is erased go, and no others', async (t) => {
  const server = await serve(t);
  const got = follow(await subscribed(await connected(client(t, server)), 'clip-clip-1'));
  const [first, second] = [await say(server, 'ada', 'first'), await say(server, 'ada', 'second')];
  await say(server, 'ben', 'mine');
  await until('three comments', () => got.length >= 3);
  const { erasure } = await call(server, 'DELETE', '/api/me', token('ada'));
  assert.match(erasure, /^\d+$/);
  await until('the end of two', () => got.length >= 5);
  const gone = got.slice(3).map(({ name, data }) => [name, data.commentId, Object.keys(data).sort().join()]);
  assert.deepEqual(gone.sort(), [first.id, second.id].sort().map((id) => ['delete-comment', id, 'commentId,position']));
  const after = await say(server, 'ben', 'again');
  await until('what comes behind', () => got.length >= 6);
  assert.deepEqual([got[5].name, got[5].data.comment.id], ['new-comment', after.id]);
});
