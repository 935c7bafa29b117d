// The season's closed rounds, newest first: winner, result, certificate.

import { call, reason } from './api.js';
import { picture, unit } from './cards.js';
import { $, count, h, plural } from './dom.js';
import { holds } from './proof.js';

const AT_ONCE = 4;
// Clips that a voter's ballots are looked for among, and questions about them at once.
const [LOOKED_MAX, LOOKS] = [200, 4];

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
    const found = h('div', { class: 'found small', role: 'status' });
    const check = h('button', { type: 'button', class: 'plain', hidden: true, 'aria-label': `Is my ballot in? Round ${slot.position}` }, 'Is my ballot in?');
    const clipsOf = (clips) => {
      check.hidden = !clips.length;
      check.addEventListener('click', async () => {
        check.disabled = true;
        found.replaceChildren(h('p', {}, 'Looking …'));
        found.replaceChildren(...await ballots(base, clips));
        check.disabled = false;
      });
    };
    call('GET', `/api/vote?season=${encodeURIComponent(slot.season)}&slot=${slot.position}`).then((clips) => {
      const winner = clips.find((clip) => clip.id === slot.winnerClipId);
      title.textContent = winner?.title ?? 'No winner';
      about.textContent = winner ? `${winner.username ? `by ${winner.username} · ` : ''}${count(winner.vote_count ?? 0)}${unit(winner.vote_count ?? 0, winner.weighted_score)}${slot.decidedBy === 'operator' ? ' · named by the operators' : ''}` : 'Nobody voted.';
      if (winner) art.append(picture(winner));
      const sorted = [...clips].sort((a, b) => (b.weighted_score ?? 0) - (a.weighted_score ?? 0));
      table.append(...sorted.map((clip) => h('tr', {}, h('th', { scope: 'row' }, clip.title), h('td', {}, count(clip.vote_count)))));
      correct(base, clips, corrections);
      clipsOf(clips);
    }, () => { title.textContent = 'The result can’t be loaded just now'; });
    return h('article', { class: 'past' }, art, h('div', {},
      h('p', { class: 'small' }, `Round ${slot.position}`), title, about, corrections,
      h('p', { class: 'links' }, h('a', { href: `${base}/certificate`, 'aria-label': `Certificate of round ${slot.position}` }, 'Certificate'), check),
      found,
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

// What to say of the voter's own ballots among a round's clips: each proof is checked here, against the certificate that everyone gets.
async function ballots(base, clips) {
  const proofs = [];
  const waiting = clips.slice(0, LOOKED_MAX);
  const ask = async () => {
    for (let clip = waiting.shift(); clip; clip = waiting.shift()) {
      const proof = await call('GET', `${base}/proof?clipId=${encodeURIComponent(clip.id)}`).catch((refusal) => (refusal.code === 'NOT_VOTED' ? null : Promise.reject(refusal)));
      if (proof) proofs.push({ clip, proof });
    }
  };
  try {
    const [certificate] = await Promise.all([call('GET', `${base}/certificate`), ...Array.from({ length: LOOKS }, ask)]);
    if (!proofs.length) return [h('p', {}, 'No ballot of yours is in this result.')];
    return proofs.map(({ clip, proof }) => {
      const good = holds(proof, certificate);
      const masked = certificate.voids.includes(proof.index);
      const file = URL.createObjectURL(new Blob([JSON.stringify(proof)], { type: 'application/json' }));
      const words = good ? `Your ballot for ${clip.title} is in: number ${proof.index + 1} of ${certificate.leaves}, checked against the certificate${masked ? '; the operators’ void leaves it uncounted' : ''}. ` : `The proof of your ballot for ${clip.title} does not fit the certificate. `;
      return h('p', { class: good ? '' : 'problem' }, words, h('a', { href: file, download: `proof-${proof.season}-${proof.slot}-${clip.id}.json`, 'aria-label': `Keep the proof of your ballot for ${clip.title}` }, 'Keep the proof'));
    });
  } catch (refusal) {
    waiting.length = 0;
    return [h('p', {}, refusal.code === 'UNAUTHORIZED' ? 'Nobody is known here: a ballot is shown where it was cast, or to whoever is signed in.' : reason(refusal))];
  }
}
