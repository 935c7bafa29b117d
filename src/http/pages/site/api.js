// Calls to the server. A vote or comment carries a key, so that asking again after a broken connection is safe.

const TRIES = 6;
let [token, challenge] = [null, null];

// A site that signs its users in passes their token behind `#token=`, and what a device solved of its challenge behind `#challenge=`:
// neither reaches the server's logs, and both leave the address.
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1));
  [token, challenge] = [found.get('token') || null, found.get('challenge') || null];
  if (token || challenge) history.replaceState(null, '', location.pathname + location.search);
}

export const signedIn = () => token !== null;
export const mayComment = () => signedIn() || document.documentElement.dataset.comments === 'everyone';

export class Refusal extends Error {
  constructor(status, body) {
    super(body.message ?? 'Something went wrong.');
    Object.assign(this, { status, code: body.error ?? 'UNKNOWN', body });
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function call(method, path, body) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (challenge && path === '/api/vote' && method === 'POST') headers['x-challenge-token'] = challenge;
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (method === 'POST' || path === '/api/vote') if (method !== 'GET') headers['idempotency-key'] = newKey();
  for (let tried = 1; ; tried += 1) {
    let answer;
    try {
      answer = await fetch(path, { method, headers, cache: 'no-cache', body: body && JSON.stringify(body) });
    } catch {
      if (tried >= TRIES) throw new Refusal(0, { error: 'OFFLINE', message: 'The server can’t be reached.' });
      await pause(300 * 2 ** Math.min(tried, 4));
      continue;
    }
    const text = await answer.text();
    let read = {};
    try {
      read = text ? JSON.parse(text) : {};
    } catch { /* Not ours: a proxy's page. */ }
    if (answer.ok) {
      // Who passed is known by now; what was solved is good for once.
      if (headers['x-challenge-token']) challenge = null;
      return read;
    }
    if (answer.status === 503 && read.retryAfter && tried < TRIES) {
      await pause(read.retryAfter * 1000);
      continue;
    }
    throw new Refusal(answer.status, read);
  }
}

function newKey() {
  // `randomUUID` is there on secure origins alone.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export const list = (ids) => encodeURIComponent(ids.join(','));

// Why not, for a person.
export function reason(refusal) {
  const { code, body } = refusal;
  const wait = body?.retryAfter;
  const words = {
    DAILY_LIMIT: body?.remaining ? `Only ${body.remaining} of today’s votes ${body.remaining === 1 ? 'is' : 'are'} left, too few for this one.` : `You have used today’s votes${body?.resetAt ? `; new ones come at ${new Date(body.resetAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}` : ''}.`,
    RATE_LIMITED: `That was too fast. Try again in ${wait ?? 1} s.`,
    VOTING_CLOSED: 'Voting in this round has closed.',
    WRONG_SLOT: 'Another round is open now.',
    NO_ACTIVE_SLOT: 'No round is open now.',
    SELF_VOTE: 'This clip is your own.',
    BANNED: 'You can’t take part.',
    UNAUTHORIZED: 'Sign in first.',
    INVALID_TOKEN: 'Your sign-in has run out. Sign in again.',
    CHALLENGE_REQUIRED: 'This site checks that you are a person before your first vote: take its check, then vote.',
    CHALLENGE_FAILED: wait ? `The check before your first vote can’t be made just now. Try again in ${wait} s.` : 'The check before your first vote was not passed: take it again, then vote.',
    STORAGE_FAILED: 'Votes can’t be taken just now.',
    OVERLOADED: 'Too many people are voting. Try again in a moment.',
    OFFLINE: 'The server can’t be reached.',
  };
  return words[code] ?? `${refusal.message[0].toUpperCase()}${refusal.message.slice(1)}.`;
}
