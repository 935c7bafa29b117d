// The season's closed rounds, newest first: winner, result, certificate.

import { call } from './api.js';
import { picture } from './cards.js';
import { $, count, h, plural } from './dom.js';

const AT_ONCE = 4;

export class Rounds {
  constructor() {
    this.drawn = new Set();
    $('more-rounds').addEventListener('click', () => this.more());
  }

  show(season) {
    const locked = season.slots.filter((slot) => slot.status === 'locked').sort((a, b) => b.position - a.position);
    const key = `${season.id}/${locked.map((slot) => `${slot.position} ${slot.winnerClipId}`).join()}`;
    if (key === this.key) return;
    Object.assign(this, { key, season, waiting: locked });
    $('history').hidden = !locked.length;
    $('rounds').replaceChildren();
    return this.more();
  }

  async more() {
    const now = this.waiting.splice(0, AT_ONCE);
    $('more-rounds').hidden = !this.waiting.length;
    const drawn = now.map((slot) => this.round(slot));
    $('rounds').append(...drawn);
  }

  round(slot) {
    const base = `/api/seasons/${encodeURIComponent(slot.season)}/slots/${slot.position}`;
    const title = h('h3', {}, 'Loading …');
    const about = h('p', { class: 'small' });
    const table = h('tbody');
    const art = h('div', { class: 'thumb' });
    const corrections = h('div', { class: 'small' });
    call('GET', `/api/vote?season=${encodeURIComponent(slot.season)}&slot=${slot.position}`).then((clips) => {
      const winner = clips.find((clip) => clip.id === slot.winnerClipId);
      title.textContent = winner?.title ?? 'No winner';
      about.textContent = winner ? `${winner.username ? `by ${winner.username} · ` : ''}${plural(winner.vote_count ?? 0, 'vote')}${slot.decidedBy === 'operator' ? ' · named by the operators' : ''}` : 'Nobody voted.';
      if (winner) art.append(picture(winner));
      const sorted = [...clips].sort((a, b) => (b.weighted_score ?? 0) - (a.weighted_score ?? 0));
      table.append(...sorted.map((clip) => h('tr', {}, h('th', { scope: 'row' }, clip.title), h('td', {}, count(clip.vote_count)))));
      correct(base, clips, corrections);
    }, () => { title.textContent = 'The result can’t be loaded just now'; });
    return h('article', { class: 'past' }, art, h('div', {},
      h('p', { class: 'small' }, `Round ${slot.position}`), title, about, corrections,
      h('p', { class: 'links' }, h('a', { href: `${base}/certificate`, 'aria-label': `Certificate of round ${slot.position}` }, 'Certificate')),
      h('details', {}, h('summary', {}, 'Full result'), h('table', {}, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Clip'), h('th', { scope: 'col' }, 'Votes'))), table))));
  }
}

// Votes that operators took out of a round, and who had won before.
async function correct(base, clips, into) {
  const past = await call('GET', `${base}/history`).catch(() => null);
  if (!past) return;
  const won = past.steps.find((step) => step.step === 'locked')?.winnerClipId;
  if (won && won !== past.winnerClipId) into.append(h('p', {}, `Corrected: ${clips.find((clip) => clip.id === won)?.title ?? won} had won before votes were taken out.`));
  const taken = past.voids.filter((one) => one.takenAt !== null);
  into.append(...taken.map((one) => h('p', {}, `${plural(one.votes, 'vote')} taken out: ${one.reason}${one.liftedAt === null ? '' : ` · counted again: ${one.liftReason}`}`)));
}
