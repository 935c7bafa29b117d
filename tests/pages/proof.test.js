// A proof's check, without a browser: against the hash's own vectors, and against a server's tree of every small size.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blake3, holds } from '../../src/http/pages/site/proof.js';
import { call, certified, operate, serve, token } from './support.js';

const hex = (bytes) => Buffer.from(bytes).toString('hex');

test('the hash is BLAKE3', () => {
  // The vectors that its authors publish: bytes 0, 1, … 250, 0, …, by their number.
  const vectors = {
    0: 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262',
    1: '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213',
    1023: '10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11',
    1024: '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7',
  };
  for (const [length, hash] of Object.entries(vectors)) assert.equal(hex(blake3(Array.from({ length }, (_, at) => at % 251))), hash, length);
  assert.throws(() => blake3(Array(1025).fill(0)), RangeError);
});

test('each ballot of a result is in it, and a changed one is not', async (t) => {
  const server = await serve(t, ['--no-demo', '--rounds', 'manual', '--weights', 'standard=1,super=3,mega=300', '--daily-limit', '1000']);
  await operate(server, 'seasons', { id: 's', name: 'Spring' });
  for (const size of [1, 2, 3, 4, 5, 6, 7, 13]) {
    const { position } = await operate(server, 'seasons/s/slots');
    const at = `seasons/s/slots/${position}`;
    const clip = `a-clip-of-round-${position}`;
    await operate(server, `${at}/clips`, { id: clip, title: clip });
    await operate(server, `${at}/open`);
    for (let n = 0; n < size; n += 1) {
      await call(server, 'POST', '/api/vote', { clipId: clip, voteType: { 7: 'mega', 13: 'super' }[n === 0 ? size : 0] }, token(`voter-${n}`));
    }
    await operate(server, `${at}/lock`);
    const certificate = await certified(server, `/api/${at}/certificate`);
    assert.equal(certificate.leaves, size);
    for (let n = 0; n < size; n += 1) {
      const proof = await call(server, 'GET', `/api/${at}/proof?clipId=${clip}`, undefined, token(`voter-${n}`));
      assert.ok(holds(proof, certificate), `${n} of ${size}`);
      const bent = [
        { ...proof, leaf: { ...proof.leaf, weight: proof.leaf.weight + 1 } }, { ...proof, leaf: { ...proof.leaf, voteType: proof.leaf.voteType === 'mega' ? 'super' : 'mega' } },
        { ...proof, leaf: { ...proof.leaf, sequence: '1' } }, { ...proof, index: (proof.index + 1) % size + (size === 1 ? 1 : 0) }, { ...proof, size: size + 1 },
        { ...proof, path: [...proof.path, proof.leafHash] }, { ...proof, path: proof.path.slice(1).concat(size === 1 ? ['00'.repeat(32)] : []) }, { ...proof, slot: position + 1 },
      ];
      bent.forEach((one, which) => assert.ok(!holds(one, certificate), `${n} of ${size}, changed in way ${which}`));
    }
  }
});
