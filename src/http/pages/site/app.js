// The viewer's page: loads the season, keeps it true by what is pushed, and lets people vote.

import { call, list, takeToken } from './api.js';
import { Ballot } from './ballot.js';
import { Budget } from './budget.js';
import { Card, picture, unit, voteButton } from './cards.js';
import { Comments } from './comments.js';
import { $, count, h, plural, safeUrl, say } from './dom.js';
import { Live } from './live.js';
import { ownData } from './own.js';
import { Rounds } from './rounds.js';
import { clock, left } from './time.js';

const STATES = {
  voting: 'Vote for as many clips as you like. A vote can be taken back while the round is open.',
  frozen: 'Voting has closed. The result is being made.',
  waiting_for_clips: 'The next round opens as soon as it has enough clips.',
  upcoming: 'This round has not opened yet.',
  locked: 'The season is over. Thank you for voting.',
};
let [season, slot, wanted, detail, offset] = [null, null, new URLSearchParams(location.search).get('season'), null, 0];
// Loads that were begun, and the newest that was answered: what an older one is told is old.
let [asked, told] = [0, 0];
const cards = new Map();
// Of each load under way, the counts that were pushed for clips that have no card yet.
const early = new Set();
const rounds = new Rounds();
const remaining = new Budget();
let down = false;
const live = new Live(pushed, (isUp, missed) => {
  $('offline').hidden = isUp;
  if (isUp && (down || missed)) {
    // It may be a server that has begun anew. If not, what is pushed first is the counts of now.
    for (const known of [remaining, ...[...cards.values()].map((card) => card.ballot)]) known.forget();
    load();
  }
  down = !isUp;
});

const current = (slots) => ['voting', 'frozen', 'waiting_for_clips', 'upcoming'].map((state) => slots.find((one) => one.status === state)).find(Boolean) ?? slots.at(-1) ?? null;

async function load() {
  const turn = (asked += 1);
  const isOld = () => turn < told;
  try {
    const { seasons } = await call('GET', '/api/seasons');
    if (isOld()) return;
    told = turn;
    const active = seasons.filter((one) => one.status === 'active');
    season = seasons.find((one) => one.id === wanted) ?? active.at(-1) ?? seasons.at(-1) ?? null;
    if (!season) {
      $('round').textContent = 'Nothing to vote for yet';
      return;
    }
    chooser(active);
    slot = current(season.slots);
    if (slot) await loadClips(isOld);
    if (isOld()) return;
    draw();
    await rounds.show(season);
    watch();
    await detail?.comments.load(true);
  } catch (refusal) {
    if (isOld()) return;
    $('round').textContent = 'The server can’t be reached';
    setTimeout(load, 3000);
  }
}

async function loadClips(isOld) {
  const pushes = new Map();
  early.add(pushes);
  try {
    await showClips(isOld, pushes);
  } finally {
    early.delete(pushes);
  }
}

async function showClips(isOld, pushes) {
  const marks = new Map([...cards].map(([id, card]) => [id, card.ballot.mark()]));
  const clips = await call('GET', `/api/vote?season=${encodeURIComponent(season.id)}&slot=${slot.position}`);
  const mine = clips.length ? await whatIsMine(clips.map((clip) => clip.id)) : [];
  if (isOld()) return;
  const keep = new Set(clips.map((clip) => clip.id));
  for (const id of cards.keys()) if (!keep.has(id)) cards.delete(id);
  for (const clip of clips) {
    const voted = mine.includes(clip.id);
    const known = cards.get(clip.id);
    if (known) {
      known.comments = clip.comment_count;
      const mark = marks.get(clip.id);
      // None: another answer made the card meanwhile.
      if (mark) known.ballot.loaded({ votes: clip.vote_count, weight: clip.weighted_score, voted }, mark);
      continue;
    }
    const ballot = new Ballot(clip.id, { votes: clip.vote_count, weight: clip.weighted_score, voted });
    if (pushes.has(clip.id)) ballot.pushed(...pushes.get(clip.id));
    cards.set(clip.id, new Card(clip, ballot, { open, voted: budget, changed: draw }));
  }
  const elements = clips.map((clip) => cards.get(clip.id).element);
  if (elements.some((element, at) => $('clips').children[at] !== element) || $('clips').children.length !== elements.length) $('clips').replaceChildren(...elements);
}

async function whatIsMine(ids) {
  const voted = [];
  for (let at = 0; at < ids.length; at += 100) {
    const question = remaining.ask();
    const answer = await call('GET', `/api/vote/mine?clipIds=${list(ids.slice(at, at + 100))}`);
    voted.push(...answer.voted);
    if (remaining.answered(question)) showLeft(answer.remaining, answer.resetAt);
  }
  return voted;
}

// After an answer, or a refusal: then the server is asked.
async function budget(answer) {
  if (answer) {
    if (remaining.voted(answer.eventId)) showLeft(answer.remainingVotes, budget.resetAt);
    return;
  }
  const question = remaining.ask();
  const known = await call('GET', '/api/vote/limit').catch(() => null);
  if (known && remaining.answered(question)) showLeft(known.remaining, known.resetAt);
}

function showLeft(votes, resetAt) {
  budget.resetAt = resetAt;
  $('left').textContent = `${plural(votes, 'vote')} left today${resetAt ? ` · renewed at ${clock(resetAt)}` : ''}`;
  clearTimeout(showLeft.timer);
  if (resetAt) showLeft.timer = setTimeout(() => budget(null), Math.max(1000, resetAt - Date.now() + 500));
}

function chooser(active) {
  $('season').textContent = season.name;
  document.title = `${season.name} · Plaudit`;
  $('seasons').hidden = active.length < 2;
  $('seasons').replaceChildren(...active.map((one) => h('a', { href: `?season=${encodeURIComponent(one.id)}`, 'aria-current': one.id === season.id && 'page' }, one.name)));
}

function draw() {
  if (!slot) return;
  const isOpen = slot.status === 'voting';
  $('round').textContent = `Round ${slot.position}`;
  $('about').textContent = STATES[slot.status] + (isOpen && slot.resultsHidden ? ' Counts stay hidden until the round ends.' : '');
  const most = Math.max(...[...cards.values()].map((card) => card.ballot.score ?? 0), 1);
  for (const card of cards.values()) card.show(most, isOpen);
  detail?.show(isOpen);
  if (slot.timeRemainingMs !== null && slot.votingEndsAt) offset = slot.votingEndsAt - slot.timeRemainingMs - Date.now();
  slot.timeRemainingMs = null;
  tick();
}

function tick() {
  const runs = slot?.status === 'voting' && slot.votingEndsAt;
  $('clock').hidden = !runs;
  if (runs) $('time').textContent = left(slot.votingEndsAt - Date.now() - offset);
}
setInterval(tick, 1000);

function watch() {
  const channels = [`season-${season.id}`];
  if (slot) channels.push(`slot-${season.id}-${slot.position}`);
  if (detail) channels.push(`clip-${detail.id}`);
  // A name with a comma can't be in the list; ids have none.
  live.watch(channels);
}

function counted(id, ...counts) {
  const card = cards.get(id);
  if (card) card.ballot.pushed(...counts);
  else for (const pushes of early) pushes.set(id, counts);
}

function pushed(name, data) {
  if (name === 'counts-update') for (const [id, votes, weight] of data.counts) counted(id, votes, weight, data.seq);
  else if (name === 'vote-update') counted(data.clipId, data.voteCount, data.weightedScore, data.seq);
  else if (name.includes('comment')) detail?.comments.pushed(name, data);
  else if (name.startsWith('slot-') || name === 'plaudit:resync') {
    if (name === 'slot-closed') say(`Round ${data.slot.position} is decided${data.winner ? `: ${data.winner.title ?? ''} wins` : ''}.`);
    if (name === 'slot-corrected') say(`The result of round ${data.slot.position} was corrected${data.winner ? `: ${data.winner.title ?? ''} wins` : ''}.`);
    // The rounds before may have other results now.
    if (name === 'slot-corrected' || name === 'plaudit:resync') rounds.key = null;
    clearTimeout(pushed.timer);
    pushed.timer = setTimeout(load, 50);
    return;
  }
  // Many pushes, one drawing.
  if (!pushed.due) pushed.due = requestAnimationFrame(() => { pushed.due = null; draw(); });
}

// A clip, large: film, votes over time, comments.
function open(card) {
  const { clip, ballot } = card;
  const vote = voteButton(ballot, clip.title, budget, draw);
  const votes = h('strong');
  const what = h('span', { class: 'small' });
  const chart = h('div', { class: 'chart' });
  const comments = new Comments(clip.id, (total) => { card.comments = total; draw(); });
  const film = safeUrl(clip.video_url);
  const screen = h('div', { class: 'screen' }, picture(clip));
  if (film) {
    const video = h('video', { src: film, controls: true, playsinline: true, preload: 'metadata', 'aria-label': clip.title });
    video.addEventListener('loadedmetadata', () => screen.classList.add('plays'));
    video.addEventListener('error', () => video.remove());
    screen.append(video);
  }
  const drawChart = () => {
    const url = `/api/clips/${encodeURIComponent(clip.id)}/timeline.svg`;
    chart.replaceChildren(h('picture', {}, h('source', { media: '(prefers-color-scheme: dark)', srcset: `${url}?theme=dark` }), h('img', { src: url, alt: `Votes for ${clip.title} over time`, width: 640, height: 220 })));
  };
  drawChart();
  const dialog = $('detail');
  detail = { id: clip.id, comments, show: (isOpen) => { votes.textContent = count(ballot.shown); what.textContent = unit(ballot.shown, ballot.score); vote.show(isOpen); } };
  dialog.replaceChildren(
    h('header', {}, h('h2', { id: 'detail-title' }, clip.title), h('button', { type: 'button', class: 'close', 'aria-label': 'Close', onclick: () => dialog.close() }, '×')),
    h('div', { class: 'wide' },
      h('div', {}, screen, clip.username ? h('p', { class: 'small' }, `by ${clip.username}`) : '', h('div', { class: 'act' }, h('p', { class: 'votes' }, votes, what), vote.button), vote.stronger, vote.problem, h('h3', { class: 'heading' }, 'Votes over time (UTC)'), chart),
      comments.element));
  dialog.addEventListener('close', () => { detail = null; dialog.replaceChildren(); watch(); card.element.querySelector('.title').focus(); }, { once: true });
  dialog.showModal();
  draw();
  comments.load();
  watch();
}
$('detail').addEventListener('click', (event) => { if (event.target === $('detail')) $('detail').close(); });

takeToken();
ownData(() => load());
load();
