// What the suite shares: a server of its own on a free port, a browser, and clients that act beside it.

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { port, start as launch, token as signed } from '../support/node.mjs';

const SHOTS = fileURLToPath(new URL('../../target/screenshots/', import.meta.url));
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const JWT_SECRET = 'a secret for the tokens of this suite';
export const ADMIN = 'an admin token for this suite alone';

// A running server; it ends with the test `t`. `restart()` kills it and starts it on the same port and store.
export async function serve(t, flags = []) {
  const dir = mkdtempSync(join(tmpdir(), 'plaudit-pages-'));
  const server = { port: 0 };
  const start = async () => {
    const args = ['serve', '--listen', `127.0.0.1:${server.port}`, '--data-dir', dir, '--jwt-secret', JWT_SECRET, '--admin-token', ADMIN, '--rate-limit', 'off', ...flags];
    const { child, ended, ready } = await launch(args, port);
    Object.assign(server, { child, ended, port: ready });
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
  const started = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  t.after(() => started.close());
  return started;
}

// A page of a viewer with a browser of their own. A script or style that the page's policy forbids fails the test.
export async function viewer(t, chrome, url, options = {}) {
  const context = await chrome.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
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

export const card = (page, title) => page.locator('.card', { has: page.getByRole('heading', { name: title, exact: true }) });

// Waits until an element says this.
export async function says(locator, text) {
  await locator.filter({ hasText: text }).first().waitFor({ timeout: 20_000 });
}

// What `so` finds, once it finds something.
export async function until(so) {
  for (const end = Date.now() + 20_000; Date.now() < end;) {
    const found = await so();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('waited in vain');
}

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
