// What the suites in Node share: starting the program, waiting for something, and a voter's token.

import { spawn } from 'node:child_process';
import { createHmac, randomInt } from 'node:crypto';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

// Far longer than anything here takes, on a slow and busy machine too: what hangs must fail and not hang a suite.
export const GIVE_UP = 120_000;
const DAY = 86_400_000;
// And longer than a test.
const TEST = 180_000;
const PROGRAM = process.env.PLAUDIT ?? fileURLToPath(new URL('../../target/debug/plaudit', import.meta.url));

// Starts the program with no settings from the suite's own environment, and waits until `found` makes something of a line that it
// prints. `banner` is all that it printed, `ended` how it ended, once it has.
export async function start(args, found) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PLAUDIT')));
  const child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...env, PLAUDIT_LOG: 'error' } });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const banner = [];
  let late;
  const ready = await new Promise((resolve, reject) => {
    late = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the server did not start within ${GIVE_UP} ms`));
    }, GIVE_UP);
    createInterface(child.stdout).on('line', (line) => {
      banner.push(line);
      const said = found(line);
      if (said) resolve(said);
    });
    ended.then((code) => reject(new Error(`the server ended at its start with ${code}`)));
  }).finally(() => clearTimeout(late));
  return { child, ended, ready, banner };
}

// Before midnight (UTC), which renews what voters have left: a test that would see it come begins behind it.
export async function withinADay() {
  const left = DAY - (Date.now() % DAY);
  if (left < TEST) await new Promise((resolve) => setTimeout(resolve, left + 1_000));
}

// A port for a server that comes back to it: not one of those that the system gives out by itself, which another may be given, or
// a client that calls it take for its own end, while the server is away.
export async function keptPort() {
  for (;;) {
    const port = 20_000 + randomInt(10_000);
    const probe = net.createServer();
    const isFree = await new Promise((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => resolve(true));
    });
    await new Promise((resolve) => probe.close(resolve));
    if (isFree) return port;
  }
}

// The port in a banner's line.
export const port = (line) => Number(line.match(/listening +http:\/\/127\.0\.0\.1:(\d+)/)?.[1]);

export async function until(what, so) {
  const end = Date.now() + GIVE_UP;
  for (;;) {
    const found = await so();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// A voter's token.
export function token(secret, sub, expiresIn = 3600) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + expiresIn;
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, exp, name: sub })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}
