// What the suite shares: a server in memory, the client as that server hands it out, and a proxy between the two that fails as
// networks do.

import { createHash, createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { start, token as signed, until, withinADay } from '../support/node.mjs';

export { until };

// A running server. `t` is the test it ends with.
export async function serve(t, flags = []) {
  await withinADay();
  const own = flags.includes('--rate-limit') ? [] : ['--rate-limit', 'off'];
  const args = ['serve', '--memory', '--port', '0', '--print-json', ...own, ...flags];
  const { child, ended, ready } = await start(args, JSON.parse);
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { ...ready, child };
}

// A voter's token.
export const token = (server, sub, expiresIn) => signed(server.jwtSecret, sub, expiresIn);

let module;

// The client's module, as a server hands it out.
export async function sdk(server) {
  if (module) return module;
  const answer = await fetch(`${server.url}/sdk/plaudit.js`);
  const dir = mkdtempSync(join(tmpdir(), 'plaudit-sdk-'));
  try {
    const file = join(dir, 'plaudit.mjs');
    writeFileSync(file, await answer.text());
    module = await import(pathToFileURL(file));
  } finally {
    rmSync(dir, { recursive: true });
  }
  return module;
}

// A client of a voter. Its pauses take no time and are written down; it waits for answers for longer than a slow machine takes.
export async function client(server, sub, options = {}) {
  const { Plaudit } = await sdk(server);
  const pauses = [];
  const sleep = async (ms, signal) => {
    signal?.throwIfAborted();
    pauses.push(ms);
    await new Promise((resolve) => setTimeout(resolve, 1));
  };
  const own = { url: server.url, token: sub && token(server, sub), timeoutMs: 60_000, sleep, random: () => 0 };
  const plaudit = new Plaudit({ ...own, ...options });
  return Object.assign(plaudit, { pauses });
}

export async function admin(server, method, path, body = {}) {
  const answer = await fetch(`${server.url}${path}`, {
    method, body: method === 'GET' ? undefined : JSON.stringify(body),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${server.adminToken}` },
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text && JSON.parse(text);
}

// An event from the site's own server, signed as Pusher's libraries do.
export async function trigger(server, channel, name, data) {
  const [{ id, key, secret }] = server.pushApps;
  const body = JSON.stringify({ name, channel, data });
  const query = `auth_key=${key}&auth_timestamp=${Math.floor(Date.now() / 1000)}&auth_version=1.0&body_md5=${createHash('md5').update(body).digest('hex')}`;
  const path = `/apps/${id}/events`;
  const signature = createHmac('sha256', secret).update(`POST\n${path}\n${query}`).digest('hex');
  const answer = await fetch(`${server.url}${path}?${query}&auth_signature=${signature}`, {
    method: 'POST', body, headers: { 'content-type': 'application/json' },
  });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
}

// Stands before a server. Each request meets the next of `faults` first, if there is one:
//   (request, response, forward) => …     which may answer itself, forward, change, cut.
export async function proxy(t, server) {
  const { hostname, port } = new URL(server.url);
  const sockets = new Set();
  const self = { faults: [], seen: [], bytewise: false };
  const listener = http.createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      self.seen.push({ method: request.method, url: request.url, headers: request.headers, body });
      const forward = (then = (answer) => pass(answer, response, self)) => {
        const { host, connection, ...headers } = request.headers;
        const onward = http.request({ hostname, port, method: request.method, path: request.url, headers, agent: false }, then);
        onward.on('error', () => response.destroy());
        response.on('close', () => onward.destroy());
        onward.end(body);
      };
      const fault = self.faults.shift();
      if (fault) fault(request, response, forward);
      else forward();
    });
  });
  listener.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  self.url = `http://127.0.0.1:${listener.address().port}`;
  // Ends every connection that there is.
  self.cut = () => sockets.forEach((socket) => socket.destroy());
  t.after(() => {
    self.cut();
    listener.close();
  });
  return self;
}

function pass(answer, response, { bytewise }) {
  response.writeHead(answer.statusCode, answer.headers);
  answer.on('error', () => response.destroy());
  if (!bytewise) return answer.pipe(response);
  answer.on('data', (data) => data.forEach((byte) => response.write(Buffer.of(byte))));
  answer.on('end', () => response.end());
  return undefined;
}

// Faults.
export const refuse = (status, body, headers = {}) => (_, response) => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
};
export const cut = (request) => request.socket.destroy();
// The request arrives, and its answer is lost.
export const loseAnswer = (request, _, forward) => forward((answer) => {
  answer.resume();
  answer.on('end', () => request.socket.destroy());
});
// The same, of a request whose key nobody kept.
export const loseAnswerAndKey = (request, response, forward) => {
  delete request.headers['idempotency-key'];
  loseAnswer(request, response, forward);
};

// Listens, and keeps what comes.
export async function listen(t, plaudit, channels, options = {}) {
  const got = [];
  const [resyncs, states] = [[], []];
  const subscription = plaudit.subscribe(channels, (event) => got.push(event), {
    onResync: (at) => resyncs.push(at), onState: (state) => states.push(state), ...options,
  });
  t.after(() => subscription.close());
  await until('an open stream', () => subscription.state === 'open' && subscription.position !== null);
  return { got, resyncs, states, subscription, named: (name) => got.filter((event) => event.name === name) };
}
