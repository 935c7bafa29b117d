// The open slot's clips: cards with counts and the button that votes.

import { Refusal, call, reason } from './api.js';
import { art } from './art.js';
import { count, h, plural, safeUrl, say } from './dom.js';

// The clip's own picture above one that is always there.
export function picture(clip) {
  const frame = h('span', { class: 'art' }, art(clip.id));
  const url = safeUrl(clip.thumbnail_url);
  if (url) {
    const image = h('img', { src: url, alt: '', loading: 'lazy', decoding: 'async' });
    image.addEventListener('error', () => image.remove());
    frame.append(image);
  }
  return frame;
}

// What a vote weighs, by its kind; and the kinds that weigh more than a standard one.
const WEIGHTS = JSON.parse(document.documentElement.dataset.weights);
const STRONGER = Object.entries(WEIGHTS).filter(([, weight]) => weight > WEIGHTS.standard);

// What a count is of: the score too, where votes weigh differently.
export const unit = (votes, score) => (votes === 1 ? ' vote' : ' votes') + (score === null || score === votes * WEIGHTS.standard ? '' : ` · ${plural(score, 'point')}`);

// A button that votes and takes the vote back, and one for each stronger kind. `after(answer)` when something was settled. Gives the
// elements and `show()`.
export function voteButton(ballot, title, after, changed) {
  const label = h('span');
  const button = h('button', { type: 'button', class: 'vote', 'aria-pressed': 'false' }, h('span', { class: 'tick', 'aria-hidden': 'true' }), label);
  const problem = h('p', { class: 'problem', role: 'alert' });
  const stronger = h('p', { class: 'stronger', hidden: true }, ...STRONGER.map(([kind, weight]) => {
    const name = kind[0].toUpperCase() + kind.slice(1);
    return h('button', { type: 'button', class: 'plain', 'aria-label': `${name} vote ×${weight} for ${title}: uses ${weight} of today’s votes`, onclick: () => cast(true, kind) }, `${name} vote ×${weight}`);
  }));
  const show = (open = true) => {
    stronger.hidden = !STRONGER.length || !open || ballot.isOn;
    label.textContent = ballot.isOn ? 'Voted' : 'Vote';
    button.setAttribute('aria-pressed', String(ballot.isOn));
    button.setAttribute('aria-label', `${label.textContent} for ${title}`);
    button.setAttribute('aria-busy', String(ballot.wish !== null));
    button.disabled = !open;
  };
  async function cast(on, kind) {
    if (!ballot.begin(on, WEIGHTS[kind])) return;
    problem.textContent = '';
    changed();
    try {
      const answer = await call(on ? 'POST' : 'DELETE', '/api/vote', { clipId: ballot.clip, voteType: on && kind !== 'standard' ? kind : undefined });
      ballot.settled(answer);
      after(answer);
      // The focus must not go with the button that had it.
      if (stronger.contains(document.activeElement)) button.focus();
      say(`${on ? (kind === 'standard' ? 'Voted for' : `${kind[0].toUpperCase()}${kind.slice(1)} vote for`) : 'Took the vote back from'} ${title}. ${plural(answer.remainingVotes, 'vote')} left today.`);
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      const stands = { ALREADY_VOTED: true, NOT_VOTED: false }[refusal.code];
      ballot.refused(stands);
      if (stands !== on) problem.textContent = reason(refusal);
      after(null);
    }
    changed();
  }
  button.addEventListener('click', () => cast(!ballot.isOn, 'standard'));
  return { button, stronger, problem, show };
}

export class Card {
  constructor(clip, ballot, { open, voted, changed }) {
    Object.assign(this, { clip, ballot, comments: clip.comment_count });
    this.vote = voteButton(ballot, clip.title, voted, changed);
    this.votes = h('strong');
    this.unit = h('span', { class: 'small' });
    this.bar = h('i');
    this.said = h('span', { class: 'small' });
    const title = h('button', { type: 'button', class: 'title', onclick: () => open(this) }, clip.title);
    this.element = h('li', { class: 'card' },
      h('div', { class: 'poster', onclick: () => open(this) }, picture(clip)),
      h('div', { class: 'text' },
        h('h3', {}, title),
        h('p', { class: 'small' }, clip.username ? `by ${clip.username} · ` : '', this.said)),
      h('div', { class: 'share', 'aria-hidden': 'true' }, this.bar),
      h('div', { class: 'act' }, h('p', { class: 'votes' }, this.votes, this.unit), this.vote.button),
      this.vote.problem);
  }

  show(most, isOpen) {
    this.votes.textContent = count(this.ballot.shown);
    this.unit.textContent = unit(this.ballot.shown, this.ballot.score);
    this.bar.style.width = most ? `${(100 * (this.ballot.score ?? 0)) / most}%` : '0';
    this.said.textContent = plural(this.comments, 'comment');
    this.element.classList.toggle('mine', this.ballot.isOn);
    this.vote.show(isOpen);
  }
}
