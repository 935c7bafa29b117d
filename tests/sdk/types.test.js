// The types against the client that they are of, and against the server's document: a file is written that compiles only if all
// of them have the same names in them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { sdk, serve } from './support.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const source = (name) => readFileSync(new URL(`../../src/http/sdk/${name}`, import.meta.url), 'utf8');

function compile(args) {
  const { status, stdout, stderr } = spawnSync(join(here, 'node_modules/.bin/tsc'), args, { cwd: here, encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

const union = (names) => (names.length === 0 ? 'never' : names.map((name) => JSON.stringify(name)).join(' | '));
const same = (type, names) => `true satisfies Same<${type}, ${union(names)}>;`;

function checks(lines) {
  const dir = mkdtempSync(join(here, 'checks-'));
  try {
    const head = [
      "import type * as sdk from '../../../src/http/sdk/plaudit.js';",
      'type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : { more: Exclude<A, B>; missing: Exclude<B, A> }) : { more: Exclude<A, B>; missing: Exclude<B, A> };',
      'type Required<T> = { [K in keyof T]-?: undefined extends T[K] ? never : K }[keyof T];',
    ];
    writeFileSync(join(dir, 'checks.ts'), [...head, ...lines].join('\n'));
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ extends: '../tsconfig.json', include: ['checks.ts'] }));
    return compile(['-p', join(dir, 'tsconfig.json')]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test('what is handed out is what stands in the source', async (t) => {
  const server = await serve(t);
  for (const [name, type] of [['plaudit.js', 'text/javascript'], ['plaudit.d.ts', 'text/plain']]) {
    const answer = await fetch(`${server.url}/sdk/${name}`);
    assert.ok(answer.headers.get('content-type').startsWith(type));
    assert.equal(await answer.text(), source(name));
  }
});

test('a page in TypeScript compiles, and its mistakes are found', () => {
  const { status, said } = compile(['-p', 'tsconfig.json']);
  assert.equal(status, 0, said);
});

test('the client has what its types say, and nothing else', async (t) => {
  const module = await sdk(await serve(t));
  const plaudit = new module.Plaudit({ url: 'http://localhost' });
  const members = (value) => [
    ...Object.keys(value), ...Object.getOwnPropertyNames(Object.getPrototypeOf(value)).filter((name) => name !== 'constructor'),
  ];
  const subscription = plaudit.subscribe(['x'], () => {});
  subscription.close();
  const error = new module.PlauditError(500, undefined);
  const { status, said } = checks([
    same('keyof typeof sdk', Object.keys(module)),
    same('keyof sdk.Plaudit', members(plaudit)),
    same('keyof sdk.Plaudit["comments"]', members(plaudit.comments)),
    same('keyof sdk.Subscription', members(subscription)),
    same('Exclude<keyof sdk.PlauditError, keyof Error>', Object.keys(error).filter((name) => name !== 'name')),
  ]);
  assert.equal(status, 0, said);
});

test('the types have the names of the document, and its codes', async (t) => {
  const server = await serve(t);
  const document = await (await fetch(`${server.url}/openapi.json`)).json();
  const { schemas } = document.components;
  const lines = [
    'Voted', 'Mine', 'Limit', 'Counts', 'Clip', 'Slot', 'Season', 'Comment', 'Thread', 'Threads', 'Like', 'Leaderboard', 'OwnData',
    'OwnBudget', 'OwnBan', 'OwnVoid', 'OwnErasure', 'OwnVote', 'TakenBack', 'OwnComment', 'OwnReaction', 'Erasure',
  ].flatMap((name) => {
    const { properties, required } = schemas[name];
    return [same(`keyof sdk.${name}`, Object.keys(properties)), same(`Required<sdk.${name}>`, required ?? [])];
  });
  const codes = Object.keys(schemas).filter((name) => name.startsWith('Error.')).map((name) => name.slice('Error.'.length));
  const fields = new Set(codes.flatMap((code) => Object.keys(schemas[`Error.${code}`].properties)));
  lines.push(same('sdk.ErrorCode', codes), same('keyof sdk.ErrorBody', [...fields]));
  const { status, said } = checks(lines);
  assert.equal(status, 0, said);
  assert.notEqual(checks([same('keyof sdk.Clip', ['id'])]).status, 0, 'a difference is found');
});
