// The server's own channels, as a site's page sees them.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { client, connected, event, gather, serve, subscribed, token, until } from './support.js';

const post = (server, path, bearer, body) => fetch(`http://127.0.0.1:${server.port}${path}`, {
  method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', authorization: `Bearer ${bearer}` },
});

test('two viewers of a clip see a thousand votes end at exactly a thousand, in few updates', async (t) => {
  const server = await serve(t);
  const began = performance.now();
  const viewers = await Promise.all([0, 1].map(() => connected(client(t, server))));
  const channels = await Promise.all(viewers.map((viewer) => subscribed(viewer, 'clip-clip-1')));
  const seen = channels.map((channel) => gather(channel, 'vote-update'));
  const slot = gather(await subscribed(viewers[0], 'slot-demo-1'), 'counts-update');
  const voters = Array.from({ length: 1000 }, (_, n) => `voter-${n}`);
  const statuses = new Set();
  await Promise.all(Array.from({ length: 50 }, async () => {
    for (let sub = voters.pop(); sub !== undefined; sub = voters.pop()) {
      statuses.add((await post(server, '/api/vote', token(sub), { clipId: 'clip-1' })).status);
    }
  }));
  assert.deepEqual([...statuses], [200]);
  for (const got of seen) {
    await until('a thousand', () => got.at(-1)?.voteCount === 1000);
    const counts = got.map(({ voteCount }) => voteCount);
    assert.deepEqual(counts, [...counts].sort((a, b) => a - b), 'counts only grow');
    // Over all of the time within which they were sent: when one is received says little of that.
    const seconds = (performance.now() - began) / 1000;
    assert.ok(got.length <= 12 * seconds + 2, `${got.length} updates in ${seconds} s`);
  }
  await until('the slot', () => slot.at(-1)?.counts.some(([clip, votes]) => clip === 'clip-1' && votes === 1000));
});

test('a late viewer is given the current count at once', async (t) => {
  const server = await serve(t);
  assert.equal((await post(server, '/api/vote', token('ada'), { clipId: 'clip-2' })).status, 200);
  const viewer = await connected(client(t, server));
  const first = await event(viewer.subscribe('clip-clip-2'), 'vote-update');
  assert.deepEqual([first.clipId, first.voteCount, first.weightedScore], ['clip-2', 1, 1]);
});

test('a season tells the life of its slots', async (t) => {
  const server = await serve(t);
  const viewer = await connected(client(t, server));
  const season = await subscribed(viewer, 'season-demo');
  const other = await subscribed(viewer, 'season-not-made-yet');
  const admin = readFileSync(join(server.dir, 'secrets.toml'), 'utf8').match(/admin-token = "([^"]+)"/)[1];
  const frozen = event(season, 'slot-frozen');
  assert.equal((await post(server, '/api/admin/seasons/demo/slots/1/freeze', admin, {})).status, 200);
  assert.equal((await frozen).slot.position, 1);
  const closed = event(season, 'slot-closed');
  assert.equal((await post(server, '/api/admin/seasons/demo/slots/1/lock', admin, {})).status, 200);
  assert.equal((await closed).slot.status, 'locked');
  // One that was made behind its viewers' backs.
  const opened = event(other, 'slot-opened');
  for (const [path, body, status] of [
    ['', { id: 'not-made-yet', name: 'New' }, 201], ['/not-made-yet/slots', {}, 201],
    ['/not-made-yet/slots/1/clips', { title: 'A clip' }, 201], ['/not-made-yet/slots/1/open', {}, 200],
  ]) assert.equal((await post(server, `/api/admin/seasons${path}`, admin, body)).status, status, path);
  assert.deepEqual([(await opened).slot.season, (await opened).slot.position], ['not-made-yet', 1]);
});
