// Types of plaudit.js. Held to it and to /openapi.json by a test.

/** Why the server refused. */
export type ErrorCode =
  | 'ALREADY_VOTED' | 'BANNED' | 'BODY_TOO_LARGE' | 'CHALLENGE_FAILED' | 'CHALLENGE_REQUIRED' | 'CLIP_NOT_FOUND' | 'DAILY_LIMIT'
  | 'FORBIDDEN' | 'IDEMPOTENCY_KEY_REUSED' | 'INTERNAL_ERROR' | 'INVALID_JSON' | 'INVALID_PARAMETER' | 'INVALID_SIGNATURE'
  | 'INVALID_TOKEN' | 'INVALID_VOTE_TYPE' | 'METHOD_NOT_ALLOWED' | 'MISSING_CLIP_ID' | 'NOT_FOUND' | 'NOT_READY' | 'NOT_VOTED'
  | 'NO_ACTIVE_SLOT' | 'OVERLOADED' | 'RATE_LIMITED' | 'REQUEST_IN_FLIGHT' | 'REQUEST_TIMEOUT' | 'SELF_VOTE' | 'SLOT_NOT_FOUND'
  | 'STORAGE_FAILED' | 'UNAUTHORIZED' | 'UNSUPPORTED_MEDIA_TYPE' | 'VOTING_CLOSED' | 'WRONG_SLOT' | 'WRONG_STATE';

/** What an error says beside its code; what each code has is in the document. */
export interface ErrorBody {
  error?: ErrorCode;
  message?: string;
  /** ALREADY_VOTED: the clip whose vote stands. */
  clipId?: string;
  /** DAILY_LIMIT: what is left today, too little for this vote. */
  remaining?: number;
  /** DAILY_LIMIT: the next UTC midnight, Unix milliseconds. */
  resetAt?: number;
  /** RATE_LIMITED, OVERLOADED and others: seconds. */
  retryAfter?: number;
  /** BANNED: the ban's end, Unix milliseconds; null: until it is lifted. */
  until?: number | null;
  /** WRONG_STATE: the state that it is in. */
  state?: string;
  /** INVALID_PARAMETER: which one. */
  parameter?: string;
  /** BODY_TOO_LARGE: bytes. */
  limit?: number;
  /** INTERNAL_ERROR: the id under which the server's log has more. */
  requestId?: string;
}

/** What the server refused, with the code that says why. */
export class PlauditError extends Error {
  constructor(status: number, body: ErrorBody | undefined, more?: { requestId?: string | null; retryAfterMs?: number | null });
  readonly status: number;
  /** `UNKNOWN`: something between here and the server answered. */
  readonly code: ErrorCode | 'UNKNOWN';
  readonly body: ErrorBody;
  readonly requestId: string | null;
  /** Milliseconds after which it is worth trying again, where the server said so. */
  readonly retryAfterMs: number | null;
}

/** No answer came: what was asked for may have happened or not. */
export class PlauditNetworkError extends Error {
  constructor(message: string, cause?: unknown);
  readonly code: 'NETWORK';
  readonly cause?: unknown;
}

export type VoteType = 'standard' | 'super' | 'mega';

/** Counts of a clip; null while results are hidden. */
export interface Counts {
  voteCount: number | null;
  weightedScore: number | null;
}

export interface Voted extends Counts {
  success: boolean;
  clipId: string;
  /** Weight that is left today. */
  remainingVotes: number;
  queuePosition: number;
  /** Milliseconds. */
  responseTime: number;
  async: boolean;
  /** The event's sequence; null where a try whose answer was lost had done it already. */
  eventId: string | null;
}

export interface Mine {
  voted: string[];
  /** Weight that is left today. */
  remaining: number;
  /** The next UTC midnight, Unix milliseconds. */
  resetAt: number;
}

export interface Limit {
  allowed: boolean;
  /** Weight used today. */
  current: number;
  /** Weight that is left today. */
  remaining: number;
  /** The next UTC midnight, Unix milliseconds. */
  resetAt: number;
}

export interface Clip {
  id: string;
  title: string;
  season_id: string;
  slot_position: number;
  username: string | null;
  avatar_url: string | null;
  video_url: string | null;
  thumbnail_url: string | null;
  /** Null while results are hidden. */
  vote_count: number | null;
  /** Null while results are hidden. */
  weighted_score: number | null;
  comment_count: number;
}

export type SlotStatus = 'upcoming' | 'waiting_for_clips' | 'voting' | 'frozen' | 'locked';

export interface Slot {
  season: string;
  position: number;
  status: SlotStatus;
  /** Unix milliseconds. */
  votingStartedAt: number | null;
  /** Unix milliseconds; null: it has no end. */
  votingEndsAt: number | null;
  timeRemainingMs: number | null;
  resultsHidden: boolean;
  frozenBy: string | null;
  freezeEventId: string | null;
  winnerClipId: string | null;
  decidedBy: string | null;
  /** Operators alone see it. */
  decisionReason?: string | null;
  clipCount: number;
}

export interface Season {
  id: string;
  name: string;
  status: string;
  slots: Slot[];
}

export interface LeaderboardRow {
  rank: number;
  clipId?: string;
  title?: string;
  thumbnailUrl?: string | null;
  season?: string;
  slot?: number;
  userId?: string | null;
  username: string | null;
  avatarUrl: string | null;
  voteCount: number;
  weightedScore: number;
}

export interface Leaderboard {
  type: string;
  window: string;
  season: string | null;
  slot: number | null;
  entries: LeaderboardRow[];
  total: number;
  resultsHidden: boolean;
  nextCursor: string | null;
  hasMore: boolean;
  asOf: string;
}

export type CommentStatus = 'visible' | 'pending' | 'reported' | 'hidden' | 'deleted';

/** A comment. Of one that nobody may see any more, its place alone. */
export interface Comment {
  id: string;
  clipId: string;
  userId: string | null;
  username: string | null;
  avatarUrl: string | null;
  /** As it was sent; never HTML. */
  content: string | null;
  parentId: string | null;
  /** Unix milliseconds. */
  createdAt: number;
  status: CommentStatus;
  depth: number;
  likes_count: number;
  total_replies: number;
  /** Left out for askers who are nobody. */
  is_own?: boolean | null;
  /** Left out for askers who are nobody. */
  is_liked?: boolean | null;
}

export interface Thread extends Comment {
  /** The first of them; `list` with `parentId` has all. */
  replies: Comment[];
}

export interface Threads {
  comments: Thread[];
  /** All comments of the clip that anyone may see. */
  total: number;
  nextCursor: string | null;
  hasMore: boolean;
}

export interface Like {
  success: boolean;
  commentId: string;
  likes_count: number;
  is_liked: boolean;
}

/** All that is kept of a voter. */
export interface OwnData {
  /** Everything up to this sequence is in it; what came while it was read may be. */
  asOf: string;
  /** The name that others see. */
  userId: string;
  today: OwnBudget;
  /** The ban that is kept; it may have run out. */
  ban: OwnBan | null;
  /** Clips that name the voter as their maker. */
  clips: Clip[];
  /** Voids that an operator asked for by the voter's name. */
  voids: OwnVoid[];
  /** Erasures that have not ended: until then the voter's id is kept. */
  erasures: OwnErasure[];
  /** Slot by slot. */
  votes: OwnVote[];
  /** The oldest first. */
  comments: OwnComment[];
  /** Likes and reports of comments, the oldest comment first. */
  reactions: OwnReaction[];
}

export interface OwnBudget {
  /** Weight used today. */
  used: number;
  /** Weight that is left today. */
  remaining: number;
  /** The next UTC midnight, Unix milliseconds. */
  resetAt: number;
}

export interface OwnBan {
  /** Unix milliseconds; null: until it is lifted. */
  until: number | null;
  reason: string;
}

export interface OwnVoid {
  id: string;
  season: string;
  slot: number;
  reason: string;
  createdAt: number;
  /** Null: it came to nothing. */
  takenAt: number | null;
  liftedAt: number | null;
}

export interface OwnErasure {
  id: string;
  /** Whether comments, likes and reports of before are emptied. */
  commentsEmptied: boolean;
}

export interface OwnVote {
  eventId: string;
  /** Unix milliseconds. */
  at: number;
  season: string;
  slot: number;
  clipId: string;
  voteType: VoteType;
  weight: number;
  /** Where the UTC day begins that it is charged to, Unix milliseconds. */
  day: number;
  /** Kept until the slot is locked. */
  takenBack: TakenBack | null;
  /** Whether a void takes it out of the counts. */
  voided: boolean;
  /** Whether a hash stands in the place of the voter's id. */
  erased: boolean;
  /** 0 to 100: how much its request looked like cheating. */
  risk: number;
  flagged: boolean;
  /** A keyed hash of the network that it came from; null: none is kept. */
  network: string | null;
}

export interface TakenBack {
  eventId: string;
  /** Unix milliseconds. */
  at: number;
}

export interface OwnComment {
  id: string;
  clipId: string;
  parentId: string | null;
  depth: number;
  /** Unix milliseconds. */
  createdAt: number;
  status: CommentStatus;
  username: string | null;
  avatarUrl: string | null;
  /** As it was sent; null: it is deleted. */
  content: string | null;
  likesCount: number;
}

export interface OwnReaction {
  commentId: string;
  clipId: string;
  liked: boolean;
  reported: boolean;
}

/** That an erasure has begun. */
export interface Erasure {
  /** Its id: what the voter did before it is emptied. */
  erasure: string;
}

/** What any call takes. */
export interface How {
  /** Ends it: the call is rejected with the signal's reason. */
  signal?: AbortSignal;
}

/** What a call that must happen once takes. */
export interface Once extends How {
  /** One of the caller's own, to go on with after a reload; made up where it is left out. */
  idempotencyKey?: string;
}

export interface Options {
  /** The server, `https://votes.example`; on its own pages it may be left out. */
  url?: string;
  /** The site's token of the signed-in voter, or where it comes from; it is asked again when one has ended. Without it: the device. */
  token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  fetch?: typeof globalThis.fetch;
  /** `include`, for devices' cookies across origins. */
  credentials?: RequestCredentials;
  /** Further tries after the first; 4. */
  retries?: number;
  /** How long one try may take; 10,000. */
  timeoutMs?: number;
  /** The longest `Retry-After` that is waited for; 30,000. A longer one is the error's `retryAfterMs`. */
  maxRetryAfterMs?: number;
  /** How long a stream may say nothing before it is begun anew; 45,000. */
  silenceMs?: number;
  /** How pauses are made; for tests. */
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** 0 to 1, for the pauses; for tests. */
  random?: () => number;
}

/** A client of one server. */
export class Plaudit {
  constructor(options?: Options);
  readonly comments: Comments;
  /** Votes for a clip. What comes back says that the vote is on the server's disk. */
  vote(clipId: string, how?: Once & { type?: VoteType; challengeToken?: string }): Promise<Voted>;
  /** Takes a vote back. */
  unvote(clipId: string, how?: Once): Promise<Voted>;
  /** Counts by the clips' ids; unknown ones are left out. */
  counts(clipIds: readonly string[], how?: How): Promise<Record<string, Counts>>;
  /** Which of these clips the voter voted for, and what is left today. */
  mine(clipIds: readonly string[], how?: How): Promise<Mine>;
  /** What the voter may still do today. */
  limit(how?: How): Promise<Limit>;
  /** A slot's clips with their counts: the open slot of the newest season, unless others are named. */
  clips(of?: How & { season?: string; slot?: number }): Promise<Clip[]>;
  /** All seasons and their slots. */
  seasons(how?: How): Promise<Season[]>;
  /** A season and its slots. */
  season(id: string, how?: How): Promise<Season>;
  /** A slot. */
  slot(season: string, position: number, how?: How): Promise<Slot>;
  /** A page of a leaderboard. */
  leaderboard(of?: How & {
    type?: 'clips' | 'voters' | 'creators'; season?: string; slot?: number; window?: 'all' | 'day'; limit?: number; cursor?: string;
  }): Promise<Leaderboard>;
  /** All that the server keeps of the voter. A device is known by its cookie alone: one that has none yet is `UNAUTHORIZED`. */
  ownData(how?: How): Promise<OwnData>;
  /** Erases what ties the voter to their past. It has begun when this answers, and goes on by itself. */
  erase(how?: How): Promise<Erasure>;
  /**
   * Listens to channels until it is closed, through cuts and restarts. Events that the site's own server sends are of a type that
   * the site names: `subscribe<LiveEvent | Told<'my-event', MyData>>(…)`.
   */
  subscribe<Event extends Told<string, unknown> = LiveEvent>(
    channels: Iterable<string>, onEvent: (event: Event) => void, options?: SubscribeOptions,
  ): Subscription;
}

/** Comments of a server. */
export interface Comments {
  /** A page of a clip's comments, or with `parentId` of a comment's replies. */
  list(clipId: string, of?: Page): Promise<Threads>;
  /** All of them, page by page. */
  each(clipId: string, of?: Page): AsyncGenerator<Thread, void, undefined>;
  /** Comments on a clip. */
  post(clipId: string, content: string, how?: Once & { parentId?: string }): Promise<Comment>;
  /** Answers a comment. */
  reply(comment: Pick<Comment, 'id' | 'clipId'>, content: string, how?: Once): Promise<Comment>;
  /** Numbers of comments by the clips' ids; unknown ones are left out. */
  count(clipIds: readonly string[], how?: How): Promise<Record<string, number>>;
  /** Likes a comment; twice is once. */
  like(id: string, how?: How): Promise<Like>;
  /** Takes a like back. */
  unlike(id: string, how?: How): Promise<Like>;
  /** Deletes one's own comment. */
  delete(id: string, how?: How): Promise<void>;
  /** Reports a comment to the moderators. */
  report(id: string, how?: How): Promise<void>;
}

export interface Page extends How {
  parentId?: string;
  sort?: 'newest' | 'oldest' | 'top';
  /** At most 100. */
  limit?: number;
  cursor?: string;
}

/** What is told of a comment when it is posted. */
export type CommentTold = Pick<Comment, 'id' | 'clipId' | 'userId' | 'username' | 'avatarUrl' | 'content' | 'parentId' | 'createdAt'>;

/** A slot in its events. */
export type SlotTold =
  Pick<Slot, 'season' | 'position' | 'status' | 'votingStartedAt' | 'votingEndsAt' | 'resultsHidden' | 'winnerClipId' | 'clipCount'>;

/** An event. The data of one that the site's own server sent is what its JSON says, or its text. */
export interface Told<Name extends string, Data> {
  channel: string;
  name: Name;
  data: Data;
  /** Where it stands in the order of things; null of counts, which are only ever the latest. */
  position: string | null;
}

/** What happens in a channel. */
export type LiveEvent =
  | Told<'vote-update', { clipId: string; voteCount: number; weightedScore: number; seq: number }>
  | Told<'counts-update', { seq: number; counts: [clipId: string, voteCount: number, weightedScore: number][] }>
  | Told<'new-comment', { comment: CommentTold; position: string }>
  | Told<'delete-comment', { commentId: string; position: string }>
  | Told<'comment-updated', { commentId: string; status: CommentStatus; position: string } | { commentId: string; likesCount: number; seq: number }>
  | Told<'slot-opened' | 'slot-extended' | 'slot-frozen', { slot: SlotTold; position: string }>
  | Told<'slot-closed', {
      slot: SlotTold; position: string;
      winner: (Counts & { clipId: string; title: string }) | null;
    }>
  /** Votes of a locked slot were taken out, or came back: its counts are others now, and perhaps its winner. */
  | Told<'slot-corrected', {
      slot: SlotTold; position: string;
      winner: (Counts & { clipId: string; title: string }) | null;
      void: { id: string; lifted: boolean };
    }>;

export interface SubscribeOptions {
  /** A position to go on from, as a subscription before gave it. */
  since?: string;
  signal?: AbortSignal;
  /** What was missed on a channel is gone: load afresh, and go on with what comes. */
  onResync?: (at: { channel: string; position: string }) => void;
  onState?: (state: SubscriptionState) => void;
  /** The server will never take it: a name that is none, say. It is closed. */
  onError?: (error: PlauditError) => void;
}

export type SubscriptionState = 'connecting' | 'open' | 'waiting' | 'closed';

/** A stream of events that comes back by itself. */
export interface Subscription {
  /** The position of the last event: what a later subscription goes on from, as its `since`. */
  readonly position: string | null;
  readonly state: SubscriptionState;
  /** Ends when it is closed; rejected when the server will never take it. */
  readonly done: Promise<void>;
  /** Ends it. No event comes afterwards. */
  close(): void;
}

/** The channel of a clip's votes and comments. */
export function clipChannel(clipId: string): string;
/** The channel of a slot's counts. */
export function slotChannel(season: string, position: number): string;
/** The channel of a season's slots. */
export function seasonChannel(season: string): string;
