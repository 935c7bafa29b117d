// What the suite shares: a server of its own on a free port, clients of both libraries, and a bare WebSocket for what no
// library would send.

import { createHash, createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PusherClient from 'pusher-js';
import PusherServer from 'pusher';
import { GIVE_UP, keptPort, port, start, token as signed, until, withinADay } from '../support/node.mjs';

export { keptPort, until };
export const APP = { id: 'app-1', key: 'key-1', secret: 'secret-1' };
export const OTHER = { id: 'app-2', key: 'key-2', secret: 'secret-2' };
export const JWT_SECRET = 'a secret for the tokens of this suite';
const MASTER_KEY = randomBytes(32).toString('base64');

// A running server. `t` is the test it ends with; `at.port` a port of its own, `at.again` one that has ended and whose store it
// takes over.
export async function serve(t, flags = [], at = {}) {
  if (!at.again) await withinADay();
  const dir = at.again?.dir ?? mkdtempSync(join(tmpdir(), 'plaudit-pusher-'));
  const apps = [APP, OTHER].map(({ id, key, secret }) => `${id}:${key}:${secret}`).join(',');
  const own = ['--push-app', apps, '--jwt-secret', JWT_SECRET];
  if (!flags.includes('--rate-limit')) own.push('--rate-limit', 'off');
  const args = ['serve', '--listen', `127.0.0.1:${at.port ?? 0}`, '--data-dir', dir, ...(at.bare ? [] : own), ...flags];
  const { child, ended, ready, banner } = await start(args, port);
  const server = { port: ready, dir, child, banner, ended, ofStore: at.again?.ofStore ?? [] };
  server.end = async (signal = 'SIGTERM') => {
    child.kill(signal);
    return ended;
  };
  server.ofStore.push(server);
  if (!at.again) {
    // All of them first: one that runs writes into what is removed.
    t.after(async () => {
      for (const one of server.ofStore) await one.end('SIGKILL');
      rmSync(dir, { recursive: true, force: true });
    });
  }
  return server;
}

// The server library.
export function api(server, app = APP) {
  return new PusherServer({
    appId: app.id, key: app.key, secret: app.secret, host: '127.0.0.1', port: String(server.port), useTLS: false,
    encryptionMasterKeyBase64: MASTER_KEY,
  });
}

// The browser library, connected or not as it comes. `user` is what presence channels and signin are told.
export function client(t, server, { user, app = APP, ...more } = {}) {
  const signer = api(server, app);
  const pusher = new PusherClient(app.key, {
    wsHost: '127.0.0.1', wsPort: server.port, forceTLS: false, enabledTransports: ['ws'], cluster: '', disableStats: true,
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => {
        const data = channelName.startsWith('presence-') ? { user_id: user?.id ?? socketId, user_info: user?.info } : undefined;
        done(null, signer.authorizeChannel(socketId, channelName, data));
      },
    },
    userAuthentication: { customHandler: ({ socketId }, done) => done(null, signer.authenticateUser(socketId, user)) },
    ...more,
  });
  t.after(() => pusher.disconnect());
  return pusher;
}

// A promise with a bound and a name.
export function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain: ${what}`)), GIVE_UP);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The next event of that name of a channel, a connection or a client.
export const event = (from, name) => soon(new Promise((resolve) => {
  const once = (data, meta) => {
    from.unbind(name, once);
    resolve(meta?.user_id === undefined ? data : { ...data, meta });
  };
  from.bind(name, once);
}), name);

export const connected = async (pusher) => {
  if (pusher.connection.state !== 'connected') await event(pusher.connection, 'connected');
  return pusher;
};

// A channel, once it is subscribed.
export async function subscribed(pusher, name) {
  const channel = pusher.subscribe(name);
  if (!channel.subscribed) await event(channel, 'pusher:subscription_succeeded');
  return channel;
}

// Gathers a channel's events.
export function gather(from, name) {
  const got = [];
  from.bind(name, (data) => got.push(data));
  return got;
}

export const hmac = (text, secret = APP.secret) => createHmac('sha256', secret).update(text).digest('hex');
export const auth = (socket, channel, data) =>
  `${APP.key}:${hmac([socket, channel, ...(data === undefined ? [] : [data])].join(':'))}`;

// A signed call, with whatever is to be wrong about it.
export async function call(server, method, path, { body, params = {}, bend = (query) => query, sent = body } = {}) {
  const query = { auth_key: APP.key, auth_timestamp: Math.floor(Date.now() / 1000), auth_version: '1.0', ...params };
  if (body !== undefined) query.body_md5 = createHash('md5').update(body).digest('hex');
  const sorted = Object.keys(query).sort().map((name) => `${name}=${query[name]}`).join('&');
  const signed = `${sorted}&auth_signature=${hmac(`${method}\n${path}\n${sorted}`)}`;
  const answer = await fetch(`http://127.0.0.1:${server.port}${path}?${bend(signed)}`, {
    method, body: sent, headers: sent === undefined ? {} : { 'content-type': 'application/json' },
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text && JSON.parse(text) };
}

// A vote and what else goes through /api.
export const token = (sub) => signed(JWT_SECRET, sub);

export const OP = { more: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

// A frame as a client sends it; `bend` makes it one that a client must not send.
export function frame(op, payload, { final = true, masked = true, reserved = 0, length } = {}) {
  const data = Buffer.from(payload);
  const says = length ?? data.length;
  const size = says < 126 ? Buffer.from([says]) : says < 65536 ? Buffer.alloc(3, 126) : Buffer.alloc(9, 127);
  if (size.length === 3) size.writeUInt16BE(says, 1);
  if (size.length === 9) size.writeBigUInt64BE(BigInt(says), 1);
  size[0] |= masked ? 128 : 0;
  const mask = randomBytes(masked ? 4 : 0);
  const body = masked ? data.map((byte, at) => byte ^ mask[at % 4]) : data;
  return Buffer.concat([Buffer.from([(final ? 128 : 0) | reserved | op]), size, mask, body]);
}

// A bare WebSocket.
export class Bare {
  static async open(t, server, path = `/app/${APP.key}?protocol=7`, headers = {}) {
    const bare = new Bare();
    bare.socket = net.connect(server.port, '127.0.0.1');
    t.after(() => bare.socket.destroy());
    bare.frames = [];
    bare.ended = new Promise((resolve) => bare.socket.once('close', resolve));
    bare.socket.on('error', () => {});
    bare.unread = Buffer.alloc(0);
    bare.socket.on('data', (data) => bare.read(data));
    const lines = { Host: 'x', Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', ...headers };
    const key = randomBytes(16).toString('base64');
    const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    bare.socket.write(`GET ${path} HTTP/1.1\r\n${head}Sec-WebSocket-Key: ${key}\r\n\r\n`);
    await soon(until('an answer', () => bare.head), 'the handshake');
    bare.status = Number(bare.head.split(' ')[1]);
    return bare;
  }

  read(data) {
    this.unread = Buffer.concat([this.unread, data]);
    if (!this.head) {
      const at = this.unread.indexOf('\r\n\r\n');
      if (at < 0) return;
      this.head = this.unread.subarray(0, at).toString();
      this.unread = this.unread.subarray(at + 4);
    }
    for (;;) {
      const [bytes] = [this.unread];
      if (bytes.length < 2) return;
      let [length, from] = [bytes[1] & 127, 2];
      if (length === 126) [length, from] = [bytes.length < 4 ? Infinity : bytes.readUInt16BE(2), 4];
      else if (length === 127) [length, from] = [bytes.length < 10 ? Infinity : Number(bytes.readBigUInt64BE(2)), 10];
      if (bytes.length < from + length) return;
      const payload = bytes.subarray(from, from + length);
      this.unread = bytes.subarray(from + length);
      this.take(bytes[0] & 15, payload);
    }
  }

  take(op, payload) {
    if (op === OP.text) {
      const message = JSON.parse(payload.toString());
      this.frames.push({ ...message, data: message.data === undefined ? undefined : JSON.parse(message.data) });
    } else if (op === OP.close) {
      this.closed = { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() };
    } else {
      this.frames.push({ op, payload: payload.toString() });
    }
  }

  // The first frame that fits, taken out.
  async next(fits, what = 'a frame') {
    const at = await until(what, () => {
      const found = this.frames.findIndex(fits);
      return found < 0 ? false : { found };
    });
    return this.frames.splice(at.found, 1)[0];
  }

  named(name) {
    return this.next((got) => got.event === name, name);
  }

  async id() {
    return (await this.named('pusher:connection_established')).data.socket_id;
  }

  send(message) {
    this.socket.write(frame(OP.text, typeof message === 'string' ? message : JSON.stringify(message)));
  }

  subscribe(channel, more = {}) {
    this.send({ event: 'pusher:subscribe', data: { channel, auth: '', ...more } });
  }

  // The code that it was closed with.
  async code() {
    await until('a close', () => this.closed);
    return this.closed.code;
  }

  // Still there, and answering.
  async lives() {
    this.send({ event: 'pusher:ping', data: {} });
    await this.named('pusher:pong');
  }
}

// An endpoint for webhooks. `status` says what it answers.
export async function endpoint(t, status = () => 200) {
  const { createServer } = await import('node:http');
  const got = { requests: [], events: [] };
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      const code = status(got.requests.length);
      got.requests.push({ headers: request.headers, rawBody: body });
      if (code < 300) got.events.push(...JSON.parse(body).events);
      response.writeHead(code).end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  got.url = `http://127.0.0.1:${server.address().port}/hook`;
  return got;
}
