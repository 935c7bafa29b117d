// The client as a page in TypeScript uses it. It is never run: that it compiles, and that the wrong uses don't, is the test.

import {
  Plaudit, PlauditError, PlauditNetworkError, clipChannel, seasonChannel, slotChannel,
  type Comment, type Counts, type Erasure, type LiveEvent, type OwnData, type Subscription, type Thread, type Told, type Voted,
} from '../../src/http/sdk/plaudit.js';

const session = { token: async (): Promise<string | null> => null };

export async function page(): Promise<void> {
  const plaudit = new Plaudit({ url: 'https://votes.example', token: () => session.token(), retries: 2 });
  const voted: Voted = await plaudit.vote('clip-1', { type: 'super', idempotencyKey: 'k' });
  const left: number = voted.remainingVotes;
  // @ts-expect-error a count may be hidden
  const count: number = voted.voteCount;
  // @ts-expect-error there is no such kind
  await plaudit.vote('clip-1', { type: 'huge' });
  // @ts-expect-error a vote is for a clip
  await plaudit.vote();

  const counts: Record<string, Counts> = await plaudit.counts(['clip-1']);
  // @ts-expect-error an unknown clip is left out
  const one: number | null = counts['clip-1'].voteCount;

  for await (const thread of plaudit.comments.each('clip-1', { sort: 'top' })) show(thread);
  const comment: Comment = await plaudit.comments.post('clip-1', 'first');
  await plaudit.comments.reply(comment, 'second', { signal: AbortSignal.timeout(1_000) });
  await plaudit.comments.delete((await plaudit.comments.like(comment.id)).commentId);
  use(left, count, one);

  try {
    await plaudit.unvote('clip-1');
  } catch (error) {
    if (error instanceof PlauditError && error.code === 'DAILY_LIMIT') use(error.body.resetAt);
    if (error instanceof PlauditNetworkError) use(error.cause);
    // @ts-expect-error there is no such code
    if (error instanceof PlauditError && error.code === 'NO_SUCH_CODE') use(error);
  }
}

export function live(plaudit: Plaudit): Subscription {
  const channels = [clipChannel('clip-1'), slotChannel('demo', 1), seasonChannel('demo')];
  const told = (event: LiveEvent) => {
    switch (event.name) {
      case 'vote-update':
        return use(event.data.voteCount, event.channel);
      case 'counts-update':
        return event.data.counts.forEach(([clip, votes, weight]) => use(clip, votes, weight));
      case 'new-comment':
        return use(event.data.comment.content, event.position);
      case 'comment-updated':
        return use('status' in event.data ? event.data.status : event.data.likesCount);
      case 'slot-closed':
        return use(event.data.winner?.title, event.data.slot.status);
      default:
        return use(event.data.position);
    }
  };
  return plaudit.subscribe(channels, told, { since: '5.0', onResync: ({ channel }) => use(channel) });
}

export function own(plaudit: Plaudit): Subscription {
  return plaudit.subscribe<Told<'goal', { by: string }>>(['match'], (event) => use(event.data.by));
}

export async function about(plaudit: Plaudit): Promise<void> {
  const data: OwnData = await plaudit.ownData({ signal: AbortSignal.timeout(60_000) });
  use(data.ban?.until, data.votes[0]?.takenBack?.eventId, data.comments.map(({ content }) => content));
  // @ts-expect-error a deleted comment has no text
  const text: string = data.comments[0]!.content;
  const { erasure }: Erasure = await plaudit.erase();
  use(text, erasure);
}

function show(thread: Thread): void {
  use(thread.content, thread.replies.length, thread.is_own);
}

function use(...values: unknown[]): void {
  void values;
}
