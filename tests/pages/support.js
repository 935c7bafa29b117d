// What the suite shares: a server of its own on a free port, a browser, and clients that act beside it.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { GIVE_UP, keptPort, port, start as launch, token as signed, until, withinADay } from '../support/node.mjs';

const SHOTS = fileURLToPath(new URL('../../target/screenshots/', import.meta.url));
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const JWT_SECRET = 'a secret for the tokens of this suite';
export const ADMIN = 'an admin token for this suite alone';

// A running server; it ends with the test `t`. `restart()` kills it and starts it on the same port and store.
export async function serve(t, flags = []) {
  await withinADay();
  const dir = mkdtempSync(join(tmpdir(), 'plaudit-pages-'));
  const server = { port: await keptPort() };
  const start = async () => {
    const args = ['serve', '--listen', `127.0.0.1:${server.port}`, '--data-dir', dir, '--jwt-secret', JWT_SECRET, '--admin-token', ADMIN, '--rate-limit', 'off', ...flags];
    const { child, ended, ready } = await launch(args, port);
    Object.assign(server, { child, ended });
    assert.equal(ready, server.port);
    server.url = `http://127.0.0.1:${server.port}`;
  };
  server.stop = async () => {
    server.child.kill('SIGKILL');
    await server.ended;
  };
  server.start = start;
  await start();
  t.after(async () => {
    if (server.child.exitCode === null && server.child.signalCode === null) await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  return server;
}

export const token = (sub) => signed(JWT_SECRET, sub);

// A call beside the browser; `bearer` is a token.
export async function call(server, method, path, body, bearer) {
  const headers = { ...(body && { 'content-type': 'application/json' }), ...(bearer && { authorization: `Bearer ${bearer}` }) };
  const answer = await fetch(server.url + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text && JSON.parse(text);
}

export const operate = (server, path, body = {}) => call(server, 'POST', `/api/admin/${path}`, body, ADMIN);
export const vote = (server, clipId, sub) => call(server, 'POST', '/api/vote', { clipId }, token(sub));
export const comment = (server, clipId, content, sub, parentId = null) => call(server, 'POST', '/api/comments', { clipId, content, parentId }, token(sub));

export async function browser(t) {
  const args = ['--no-sandbox', '--disable-dev-shm-usage'];
  const started = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args, timeout: GIVE_UP });
  t.after(() => started.close());
  return started;
}

// A page with a browser's memory of its own.
export async function blank(chrome, options = {}) {
  const context = await chrome.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  context.setDefaultTimeout(GIVE_UP);
  return context.newPage();
}

// A page of a visitor with a browser of their own. A script or style that the page's policy forbids fails the test.
export async function visitor(t, chrome, url, options = {}) {
  const page = await blank(chrome, options);
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy/i.test(message.text())) wrong.push(message.text());
  });
  t.after(() => {
    if (wrong.length) throw new Error(`the page has failed: ${wrong.join('; ')}`);
  });
  await page.goto(url);
  return page;
}

// A viewer's page that is pushed what happens: it has loaded all by itself, and once more when its stream had opened.
export async function viewer(t, chrome, url, options = {}) {
  const page = await visitor(t, chrome, url, options);
  await loaded(page, 2);
  return page;
}

// Waits until a viewer's page has loaded all that often.
const loaded = (page, times) => page.waitForFunction((most) => {
  const answered = (path) => performance.getEntriesByType('resource').filter(({ name }) => new URL(name).pathname === path).length;
  // The last that is asked for, where there are clips to vote for.
  return answered(document.querySelector('.card') ? '/api/vote/mine' : '/api/seasons') >= most;
}, times);

export const card = (page, title) => page.locator('.card', { has: page.getByRole('heading', { name: title, exact: true }) });

// Waits until an element says this.
export async function says(locator, text) {
  await locator.filter({ hasText: text }).first().waitFor();
}

// Waits until a card's vote stands, or none does: it is shown from the click on, and the server may not have heard of it.
export const stands = (of, voted = true) => of.locator(`.vote[aria-pressed=${voted}][aria-busy=false]`).waitFor();

// A certificate, once there is one: its ballots are sorted in the background first.
export const certified = (server, path) => until('the certificate', () => call(server, 'GET', path).catch((why) => {
  if (!/NOT_READY/.test(why.message)) throw why;
  return null;
}));

export async function shot(page, name, options = {}) {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`), ...options });
}

// What axe finds that is serious or critical.
export async function faults(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.filter(({ impact }) => ['serious', 'critical'].includes(impact)).map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target).join(', ')}`);
}
