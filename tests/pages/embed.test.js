// The frame for other sites: in Chromium, in another site's page, and by its weight.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { blank, browser, faults, says, serve, shot, token, visitor, vote } from './support.js';

// Another site: its page names one script.
async function site(t, script) {
  const server = createServer((_, answer) => {
    answer.setHeader('content-type', 'text/html');
    answer.end(`<!doctype html><html lang="en"><title>A site</title><h1>My film</h1>${script()}`);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return `http://localhost:${server.address().port}`;
}

test('a listed site shows a clip that can be voted for and talked about', async (t) => {
  let server = null;
  const origin = await site(t, () => `<script src="${server.url}/embed.js" data-clip="clip-1" data-token="${token('ada')}" async></script>`);
  server = await serve(t, ['--embed-origin', origin]);
  const page = await visitor(t, await browser(t), origin);
  const frame = page.frameLocator('iframe');
  await says(frame.locator('.act'), '0 votes');
  await frame.getByRole('button', { name: 'Vote' }).click();
  await says(frame.locator('.act'), '1 vote');
  await vote(server, 'clip-1', 'ben');
  await says(frame.locator('.act'), '2 votes');
  await frame.getByLabel('Your comment').fill('From afar');
  await frame.getByRole('button', { name: 'Comment', exact: true }).click();
  await says(frame.locator('.content'), 'From afar');
  await page.waitForFunction(() => document.querySelector('iframe').style.height !== '320px');
  assert.deepEqual(await faults(page), []);
  await shot(page, 'embed');
});

test('a site that is not listed shows nothing', async (t) => {
  let server = null;
  const origin = await site(t, () => `<iframe title="x" src="${server.url}/embed/clip-1"></iframe>`);
  server = await serve(t, ['--embed-origin', 'https://other.example']);
  const page = await blank(await browser(t));
  const refused = page.waitForEvent('console', (message) => message.text().includes('frame-ancestors'));
  await page.goto(origin);
  await refused;
  assert.equal(await page.frameLocator('iframe').locator('#embed').count(), 0);
});

test('all that the frame loads is at most 15 KB, gzipped', async (t) => {
  const server = await serve(t);
  const seen = new Map();
  const load = async (path) => {
    if (seen.has(path)) return;
    const answer = await fetch(server.url + path);
    assert.equal(answer.status, 200, path);
    const text = await answer.text();
    seen.set(path, gzipSync(text, { level: 6 }).length);
    const named = [...text.matchAll(/"(\/pages\/[^"]+)"/g), ...text.matchAll(/from '\.\/([^']+)'/g)];
    for (const [, name] of named) await load(name.startsWith('/') ? name : `/pages/${name}`);
  };
  await load('/embed.js');
  await load('/embed/clip-1');
  const sum = [...seen.values()].reduce((all, one) => all + one, 0);
  assert.ok(seen.size >= 8, 'the parts were found');
  assert.ok(sum <= 15 * 1024, `${sum} bytes: ${JSON.stringify([...seen])}`);
  assert.equal((await fetch(`${server.url}/embed/nobody`)).status, 404);
});
