// A clip in another site's page: its vote button, count and comments.

import { call, reason, takeToken } from './api.js';
import { Ballot } from './ballot.js';
import { Comments } from './comments.js';
import { $, count, h, say, plural } from './dom.js';
import { Live } from './live.js';

const id = decodeURIComponent(location.pathname.split('/').pop());
takeToken();
const ballot = new Ballot(id, { votes: null });
const votes = h('strong');
const unit = h('span');
const label = h('span');
const button = h('button', { type: 'button', class: 'vote' }, label);
const problem = h('p', { class: 'problem', role: 'alert' });
const comments = new Comments(id);

function draw() {
  votes.textContent = count(ballot.shown);
  unit.textContent = ballot.shown === 1 ? ' vote' : ' votes';
  label.textContent = ballot.isOn ? '✓ Voted' : 'Vote';
  button.setAttribute('aria-pressed', String(ballot.isOn));
}

button.addEventListener('click', async () => {
  const on = !ballot.isOn;
  if (!ballot.begin(on)) return;
  problem.textContent = '';
  draw();
  try {
    const answer = await call(on ? 'POST' : 'DELETE', '/api/vote', { clipId: id });
    ballot.settled(answer);
    say(`${on ? 'Voted' : 'Vote taken back'}. ${plural(answer.remainingVotes, 'vote')} left today.`);
  } catch (refusal) {
    const stands = { ALREADY_VOTED: true, NOT_VOTED: false }[refusal.code];
    ballot.refused(stands);
    if (stands !== on) problem.textContent = reason(refusal);
  }
  draw();
});

async function load() {
  const mark = ballot.mark();
  try {
    const [{ counts }, { voted }] = await Promise.all([call('GET', `/api/vote/counts?clipIds=${encodeURIComponent(id)}`), call('GET', `/api/vote/mine?clipIds=${encodeURIComponent(id)}`)]);
    ballot.loaded({ votes: counts[id]?.voteCount ?? null, voted: voted.includes(id) }, mark);
    problem.textContent = '';
  } catch (refusal) {
    problem.textContent = reason(refusal);
  }
  draw();
  await comments.load(true);
}

$('embed').append(h('div', { class: 'act' }, h('p', {}, votes, unit), button), problem, comments.element);
let down = false;
new Live((name, data) => {
  if (name === 'vote-update') ballot.pushed(data.voteCount, data.weightedScore, data.seq);
  else if (name === 'plaudit:resync') load();
  else comments.pushed(name, data);
  draw();
}, (isUp, missed) => {
  if (isUp && (down || missed)) {
    // It may be a server that has begun anew. If not, what is pushed first is the count of now.
    ballot.forget();
    load();
  }
  down = !isUp;
}).watch([`clip-${id}`]);
load();
// The page around knows how high the frame must be; nothing else is told.
new ResizeObserver(() => parent.postMessage({ plaudit: id, height: Math.ceil(document.documentElement.scrollHeight) }, '*')).observe(document.body);
