// A client of Plaudit for browsers and for Node 20 and later: votes, counts, comments, and what happens as it happens.
//
//     import { Plaudit, clipChannel } from 'https://votes.example/sdk/plaudit.js';
//     const plaudit = new Plaudit({ url: 'https://votes.example', token: () => session.token });
//     await plaudit.vote('clip-1');
//     plaudit.subscribe([clipChannel('clip-1')], ({ name, data }) => console.log(name, data));
//
// One file without dependencies; types stand in plaudit.d.ts beside it. What may be tried again is, with the same
// Idempotency-Key, so that it happens once.

/** Ids that one request takes. */
const IDS_AT_ONCE = 100;
/** Channels that one stream takes. */
const CHANNELS_MAX = 100;
/** The longest pause between two tries that the server did not ask for, in milliseconds. */
const PAUSE_MAX = 10_000;
/** The same for a stream, whose page stays open for hours. */
const STREAM_PAUSE_MAX = 30_000;
/** Refusals that another try may better. */
const TRY_AGAIN = new Set([408, 425, 500, 502, 503, 504]);
const RESYNC = 'plaudit:resync';
/** How long a voter's own data may take to come, in milliseconds: all of it is looked for while it is sent. */
const OWN_DATA_MS = 600_000;

/** The channel of a clip's votes and comments. */
export const clipChannel = (clipId) => `clip-${clipId}`;
/** The channel of a slot's counts. */
export const slotChannel = (season, position) => `slot-${season}-${position}`;
/** The channel of a season's slots. */
export const seasonChannel = (season) => `season-${season}`;

/** What the server refused, with the code that says why. */
export class PlauditError extends Error {
  constructor(status, body, { requestId = null, retryAfterMs = null } = {}) {
    super(body?.message ?? body?.detail ?? `the server answered ${status}`);
    this.name = 'PlauditError';
    this.status = status;
    this.code = body?.error ?? 'UNKNOWN';
    this.body = body ?? {};
    this.requestId = requestId;
    this.retryAfterMs = retryAfterMs;
  }
}

/** No answer came: what was asked for may have happened or not. */
export class PlauditNetworkError extends Error {
  constructor(message, cause) {
    super(message, { cause });
    this.name = 'PlauditNetworkError';
    this.code = 'NETWORK';
  }
}

/** A client of one server. */
export class Plaudit {
  #url;
  #token;
  #options;

  constructor({ url = globalThis.location?.origin, token, fetch, credentials, retries = 4, timeoutMs = 10_000,
    maxRetryAfterMs = 30_000, silenceMs = 45_000, sleep = pause, random = Math.random } = {}) {
    if (!url) throw new TypeError('Plaudit needs the url of its server');
    this.#url = String(url).replace(/\/+$/, '');
    this.#token = token;
    this.#options = {
      fetch: fetch ?? ((...args) => globalThis.fetch(...args)), credentials, retries, timeoutMs, maxRetryAfterMs, silenceMs,
      sleep, random,
    };
    /** Comments. */
    this.comments = new Comments((...args) => this.#ask(...args));
  }

  /** Votes for a clip. What comes back says that the vote is on the server's disk. */
  vote(clipId, { type, challengeToken, ...how } = {}) {
    const headers = challengeToken === undefined ? {} : { 'X-Challenge-Token': challengeToken };
    const body = { clipId, ...(type === undefined ? {} : { voteType: type }) };
    return this.#ballot('POST', body, 'ALREADY_VOTED', headers, how);
  }

  /** Takes a vote back. */
  unvote(clipId, how = {}) {
    return this.#ballot('DELETE', { clipId }, 'NOT_VOTED', {}, how);
  }

  /** Counts by the clips' ids; unknown ones are left out. */
  async counts(clipIds, how) {
    const parts = await Promise.all(chunks(clipIds).map((ids) => this.#ask('GET', path`/api/vote/counts`, { clipIds: ids }, how)));
    return Object.assign({}, ...parts.map((part) => part.counts));
  }

  /** Which of these clips the voter voted for, and what is left today. */
  async mine(clipIds, how) {
    const ids = clipIds.length === 0 ? [''] : chunks(clipIds);
    const parts = await Promise.all(ids.map((part) => this.#ask('GET', path`/api/vote/mine`, { clipIds: part }, how)));
    return { ...parts.at(-1), voted: parts.flatMap((part) => part.voted) };
  }

  /** What the voter may still do today. */
  limit(how) {
    return this.#ask('GET', path`/api/vote/limit`, {}, how);
  }

  /** A slot's clips with their counts: the open slot of the newest season, unless others are named. */
  clips({ season, slot, ...how } = {}) {
    return this.#ask('GET', path`/api/vote`, { season, slot }, how);
  }

  /** All seasons and their slots. */
  async seasons(how) {
    return (await this.#ask('GET', path`/api/seasons`, {}, how)).seasons;
  }

  /** A season and its slots. */
  season(id, how) {
    return this.#ask('GET', path`/api/seasons/${id}`, {}, how);
  }

  /** A slot. */
  slot(season, position, how) {
    return this.#ask('GET', path`/api/seasons/${season}/slots/${position}`, {}, how);
  }

  /** A page of a leaderboard. */
  leaderboard({ type, season, slot, window, limit, cursor, ...how } = {}) {
    return this.#ask('GET', path`/api/leaderboard`, { type, season, slot, window, limit, cursor }, how);
  }

  /** All that the server keeps of the voter. A device is known by its cookie alone: one that has none yet is `UNAUTHORIZED`. */
  ownData(how) {
    return this.#ask('GET', path`/api/me/export`, {}, { ...how, timeoutMs: OWN_DATA_MS });
  }

  /** Erases what ties the voter to their past. It has begun when this answers, and goes on by itself. */
  erase(how) {
    return this.#ask('DELETE', path`/api/me`, {}, how);
  }

  /**
   * Listens to channels until it is closed, through cuts and restarts: what was missed is sent again, in order and once. Where
   * that is not to be had any more, `onResync` is told to load afresh.
   */
  subscribe(channels, onEvent, options = {}) {
    return new Subscription(this.#url, [...new Set(channels)], onEvent, options, this.#options);
  }

  async #ballot(method, body, known, headers, how) {
    const asked = { unsure: false };
    try {
      return await this.#ask(method, path`/api/vote`, {}, { ...how, body, headers, keyed: true, asked });
    } catch (error) {
      // The first try was carried out after all, and its key is forgotten: the server has begun anew since.
      if (!(error instanceof PlauditError) || error.code !== known || !asked.unsure) throw error;
      const { clipId } = body;
      const [counts, limit] = await Promise.all([this.counts([clipId], how), this.limit(how)]);
      return {
        success: true, clipId, voteCount: null, weightedScore: null, ...counts[clipId], remainingVotes: limit.remaining,
        queuePosition: 0, responseTime: 0, async: true, eventId: null,
      };
    }
  }

  async #bearer() {
    return typeof this.#token === 'function' ? this.#token() : this.#token;
  }

  /** Asks until there is an answer that another try can't better. */
  async #ask(method, at, query, how = {}) {
    const { body, headers = {}, signal, keyed = false, asked = {}, timeoutMs = this.#options.timeoutMs } = how;
    const { sleep, retries } = this.#options;
    const init = { method, headers: { Accept: 'application/json', ...headers } };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers['Content-Type'] = 'application/json';
    }
    if (keyed) init.headers['Idempotency-Key'] = how.idempotencyKey ?? newKey();
    // A read may be asked again, and so may what has a key or comes to the same twice.
    let renewed = false;
    for (let tries = 0; ; tries += 1) {
      signal?.throwIfAborted();
      let failure;
      try {
        return await this.#once(`${this.#url}${at}${queryOf(query)}`, init, signal, timeoutMs);
      } catch (error) {
        failure = error;
      }
      signal?.throwIfAborted();
      if (failure.code === 'INVALID_TOKEN' && typeof this.#token === 'function' && !renewed) {
        renewed = true;
        continue;
      }
      const wait = tries < retries ? this.#pauseAfter(failure, tries) : null;
      if (wait === null) throw failure;
      asked.unsure ||= failure instanceof PlauditNetworkError || failure.status >= 500;
      await sleep(wait, signal);
    }
  }

  async #once(url, init, signal, timeoutMs) {
    const { fetch, credentials } = this.#options;
    const bearer = await this.#bearer();
    const headers = bearer ? { ...init.headers, Authorization: `Bearer ${bearer}` } : init.headers;
    const limit = limited(signal, timeoutMs);
    try {
      const answer = await fetch(url, { ...init, headers, signal: limit.signal, ...(credentials ? { credentials } : {}) });
      const text = await answer.text();
      if (!answer.ok) throw refusal(answer, text);
      return text === '' ? undefined : JSON.parse(text);
    } catch (error) {
      if (error instanceof PlauditError) throw error;
      throw new PlauditNetworkError(limit.late ? `no answer within ${timeoutMs} ms` : 'no answer of the server came', error);
    } finally {
      limit.end();
    }
  }

  /** How long to wait after a failure, in milliseconds; null: another try is of no use. */
  #pauseAfter(failure, tries) {
    const { maxRetryAfterMs, random } = this.#options;
    if (!mayChange(failure)) return null;
    const asked = failure.retryAfterMs ?? 0;
    return asked > maxRetryAfterMs ? null : Math.max(asked, backOff(tries, PAUSE_MAX, random));
  }
}

/** Comments of a server. */
class Comments {
  #ask;

  constructor(ask) {
    this.#ask = ask;
  }

  /** A page of a clip's comments, or with `parentId` of a comment's replies. */
  list(clipId, { parentId, sort, limit, cursor, ...how } = {}) {
    return this.#ask('GET', path`/api/comments`, { clipId, parentId, sort, limit, cursor }, how);
  }

  /** All of them, page by page. */
  async* each(clipId, options = {}) {
    for (let cursor = options.cursor; ;) {
      const page = await this.list(clipId, { ...options, cursor });
      yield* page.comments;
      if (!page.hasMore) return;
      cursor = page.nextCursor;
    }
  }

  /** Comments on a clip. */
  async post(clipId, content, { parentId, ...how } = {}) {
    const body = { clipId, content, ...(parentId === undefined ? {} : { parentId }) };
    return (await this.#ask('POST', path`/api/comments`, {}, { ...how, body, keyed: true })).comment;
  }

  /** Answers a comment. */
  reply(comment, content, how = {}) {
    return this.post(comment.clipId, content, { ...how, parentId: comment.id });
  }

  /** Numbers of comments by the clips' ids; unknown ones are left out. */
  async count(clipIds, how) {
    const parts = await Promise.all(chunks(clipIds).map((ids) => this.#ask('GET', path`/api/comments/count`, { clipIds: ids }, how)));
    return Object.assign({}, ...parts.map((part) => part.counts));
  }

  /** Likes a comment; twice is once. */
  like(id, how) {
    return this.#ask('PUT', path`/api/comments/${id}/like`, {}, how);
  }

  /** Takes a like back. */
  unlike(id, how) {
    return this.#ask('DELETE', path`/api/comments/${id}/like`, {}, how);
  }

  /** Deletes one's own comment. */
  async delete(id, how = {}) {
    const asked = { unsure: false };
    try {
      await this.#ask('DELETE', path`/api/comments/${id}`, {}, { ...how, asked });
    } catch (error) {
      // The try before this one deleted it.
      if (error.code !== 'NOT_FOUND' || !asked.unsure) throw error;
    }
  }

  /** Reports a comment to the moderators. */
  async report(id, how) {
    await this.#ask('POST', path`/api/comments/${id}/report`, {}, how);
  }
}

/** A stream of events that comes back by itself. */
class Subscription {
  #url;
  #channels;
  #onEvent;
  #on;
  #settings;
  #stop = new AbortController();
  #position;
  #retryMs = 1_000;
  #state = 'connecting';

  constructor(url, channels, onEvent, options, settings) {
    if (channels.length === 0 || channels.length > CHANNELS_MAX) {
      throw new RangeError(`a subscription has 1 to ${CHANNELS_MAX} channels`);
    }
    const { since, signal, onResync, onState, onError } = options;
    this.#url = url;
    this.#channels = channels;
    this.#onEvent = onEvent;
    this.#on = { resync: onResync, state: onState, error: onError };
    this.#settings = settings;
    this.#position = since ?? null;
    if (signal?.aborted) this.#stop.abort();
    signal?.addEventListener('abort', () => this.close(), { once: true });
    /** Ends when it is closed; rejected when the server will never take it. */
    this.done = this.#run();
    // Whoever doesn't look hears of it by `onError`.
    this.done.catch(() => {});
  }

  /** The position of the last event: what a later subscription goes on from, as its `since`. */
  get position() {
    return this.#position;
  }

  /** `connecting`, `open`, `waiting` (for the next try) or `closed`. */
  get state() {
    return this.#state;
  }

  /** Ends it. No event comes afterwards. */
  close() {
    this.#stop.abort();
  }

  async #run() {
    const { sleep, random } = this.#settings;
    const { signal } = this.#stop;
    try {
      for (let failures = 0; !signal.aborted;) {
        this.#turn('connecting');
        let wait = 0;
        try {
          await this.#listen(() => { failures = 0; });
          wait = this.#retryMs;
        } catch (error) {
          if (signal.aborted) break;
          if (!mayChange(error)) throw error;
          wait = Math.max(error.retryAfterMs ?? 0, this.#retryMs, backOff(failures, STREAM_PAUSE_MAX, random));
          failures += 1;
        }
        if (signal.aborted) break;
        this.#turn('waiting');
        await sleep(wait, signal).catch(() => {});
      }
    } catch (error) {
      this.#turn('closed');
      this.#call(this.#on.error, error);
      throw error;
    }
    this.#turn('closed');
  }

  /** One connection, from its begin to its end. */
  async #listen(opened) {
    const { fetch, credentials, silenceMs, timeoutMs } = this.#settings;
    // Its channels are public: nobody is asked who they are.
    const headers = { Accept: 'text/event-stream' };
    if (this.#position !== null) headers['Last-Event-ID'] = this.#position;
    const limit = limited(this.#stop.signal, timeoutMs);
    try {
      const url = `${this.#url}/api/stream${queryOf({ channels: this.#channels.join(',') })}`;
      const init = { headers, cache: 'no-store', signal: limit.signal, ...(credentials ? { credentials } : {}) };
      const answer = await fetch(url, init);
      if (!answer.ok) throw refusal(answer, await answer.text());
      opened();
      this.#turn('open');
      const parser = new Parser((field) => this.#take(field));
      const text = new TextDecoder();
      const reader = answer.body.getReader();
      for (;;) {
        // The server says something every 15 s: a connection that is silent for longer is gone, whatever the system thinks.
        limit.restart(silenceMs);
        const { value, done } = await reader.read();
        if (done) return;
        parser.push(text.decode(value, { stream: true }));
      }
    } catch (error) {
      if (error instanceof PlauditError) throw error;
      throw new PlauditNetworkError('the stream broke', error);
    } finally {
      limit.end();
    }
  }

  #take({ event, channel, data, id, retry }) {
    if (this.#stop.signal.aborted) return;
    if (retry !== undefined) this.#retryMs = retry;
    if (event !== undefined) {
      const told = { channel: channel ?? null, name: event, data: parsed(data), position: id ?? null };
      if (event === RESYNC) this.#call(this.#on.resync, { channel: told.data.channel, position: told.data.position });
      else this.#call(this.#onEvent, told);
    }
    // Behind the event: one that its handler never saw is sent again.
    if (id !== undefined) this.#position = id;
  }

  #turn(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#call(this.#on.state, state);
  }

  /** A handler's own failure is its page's, and ends no stream. */
  #call(handler, value) {
    try {
      handler?.(value);
    } catch (error) {
      setTimeout(() => { throw error; });
    }
  }
}

/** Server-sent events from text as it comes, with the `channel` that Plaudit adds. */
class Parser {
  #each;
  #rest = '';
  #begun = false;
  #event = {};

  constructor(each) {
    this.#each = each;
  }

  push(text) {
    this.#rest += text;
    if (!this.#begun && this.#rest !== '') {
      this.#begun = true;
      this.#rest = this.#rest.replace(/^\uFEFF/, '');
    }
    // A CR at the end may be half of a line's end.
    const lines = this.#rest.split(/\r\n|\n|\r(?=[^\n])/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === '') return this.#end();
    const at = line.indexOf(':');
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
    const event = this.#event;
    if (name === 'data') event.data = event.data === undefined ? value : `${event.data}\n${value}`;
    else if (name === 'event' || name === 'channel') event[name] = value;
    else if (name === 'id' && !value.includes('\0')) event.id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) event.retry = Number(value);
  }

  #end() {
    const { event = 'message', data, ...rest } = this.#event;
    this.#event = {};
    // Without data it is no event, and its position and pause count all the same.
    if (data !== undefined) this.#each({ ...rest, event, data });
    else if (rest.id !== undefined || rest.retry !== undefined) this.#each(rest);
  }
}

/** Whether another try may end otherwise. */
function mayChange(failure) {
  if (failure instanceof PlauditNetworkError) return true;
  const { status, code } = failure;
  return TRY_AGAIN.has(status) || code === 'REQUEST_IN_FLIGHT' || (status === 429 && code !== 'DAILY_LIMIT');
}

/** A path whose parts are encoded. */
function path(texts, ...parts) {
  return texts.reduce((whole, text, at) => whole + encodeURIComponent(parts[at - 1]) + text);
}

function queryOf(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
}

function chunks(ids) {
  const parts = [];
  for (let at = 0; at < ids.length; at += IDS_AT_ONCE) parts.push(ids.slice(at, at + IDS_AT_ONCE).join(','));
  return parts;
}

function refusal(answer, text) {
  const seconds = Number(answer.headers.get('Retry-After') ?? Number.NaN);
  return new PlauditError(answer.status, parsed(text), {
    requestId: answer.headers.get('X-Request-Id'),
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1_000 : null,
  });
}

/** JSON, or the text that is none. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Doubles with each try, and differs from client to client, so that not all come back at once. */
function backOff(tries, most, random) {
  const whole = Math.min(most, 200 * 2 ** tries);
  return whole / 2 + random() * (whole / 2);
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms);
    function done() {
      signal?.removeEventListener('abort', stopped);
      resolve();
    }
    function stopped() {
      clearTimeout(timer);
      reject(signal.reason);
    }
    if (signal?.aborted) stopped();
    else signal?.addEventListener('abort', stopped, { once: true });
  });
}

/** A signal that follows another and ends after a time, which can begin anew. */
function limited(signal, ms) {
  const own = new AbortController();
  const follow = () => own.abort(signal.reason);
  let timer;
  const limit = {
    signal: own.signal,
    late: false,
    restart(after) {
      clearTimeout(timer);
      timer = setTimeout(() => {
        limit.late = true;
        own.abort(new Error(`nothing came for ${after} ms`));
      }, after);
    },
    end() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', follow);
    },
  };
  limit.restart(ms);
  if (signal?.aborted) follow();
  else signal?.addEventListener('abort', follow, { once: true });
  return limit;
}

/** Where there is no secure context, `randomUUID` is missing; random bytes are not. */
function newKey() {
  const { crypto } = globalThis;
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
