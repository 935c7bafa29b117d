// Votes that are taken out: what it would change, the word for it, and the list of what was done.

import { admin, attempt, form, newest, sure } from './office.js';
import { $, h, plural } from './dom.js';
import { ago } from './time.js';

const SHOWN = 20;
const time = { type: 'datetime-local', step: 1, required: true };
// What finds them, and what that needs.
const KINDS = {
  flagged: ['that are flagged', []],
  voter: ['of one voter', [['voter', 'User (sub or userId)', { required: true }]]],
  network: ['of one network', [['network', 'Network, as in the list above', { required: true, pattern: '[0-9a-f]{16}' }]]],
  window: ['within a time', [['from', 'From', time], ['to', 'Until', time]]],
};

export class Voids {
  // `done` when counts have changed.
  constructor(done) {
    Object.assign(this, { done, newest: newest() });
    this.round = h('select', { 'aria-label': 'Round of the votes' });
    this.kind = h('select', { 'aria-label': 'Votes', onchange: () => this.draw() }, ...Object.entries(KINDS).map(([kind, [name]]) => h('option', { value: kind }, `Votes ${name}`)));
    this.fields = h('div');
    this.list = h('div');
    $('voids').replaceChildren(h('p', { class: 'row' }, this.kind, this.round), this.fields, this.list);
    this.draw();
  }

  // The rounds that there are now.
  offer(seasons) {
    const { value } = this.round;
    const begun = (slot) => ['voting', 'frozen', 'locked'].includes(slot.status);
    this.round.replaceChildren(...seasons.flatMap((one) => one.slots.filter(begun).map((slot) => h('option', { value: `${one.id}/${slot.position}`, selected: `${one.id}/${slot.position}` === value }, `${one.name}, round ${slot.position}`))));
  }

  draw() {
    const [, fields] = KINDS[this.kind.value];
    this.fields.replaceChildren(form('What would it change?', [...fields, ['reason', 'Reason, for everyone', { required: true, maxlength: 500 }]], (values) => this.ask(values)));
  }

  // Fills the form in for a voter of a list.
  begin(round, voter) {
    [this.round.value, this.kind.value] = [round, 'voter'];
    this.draw();
    this.fields.querySelector('[name=voter]').value = voter;
    this.fields.querySelector('[name=reason]').focus();
  }

  ask(values) {
    return attempt(async () => {
      const [season, slot] = this.round.value.split('/');
      const body = { ...values, by: this.kind.value, season, slot: Number(slot) };
      for (const end of ['from', 'to']) if (body[end]) body[end] = new Date(body[end]).getTime();
      const would = await admin('POST', 'voids', { ...body, dryRun: true });
      if (would.votes === would.already) throw new Error(would.votes ? 'All of these votes are taken out already.' : 'There are no such votes.');
      if (!await sure(`Take ${plural(would.votes - would.already, 'vote')} of round ${slot} of ${season} out?`, changes(would), 'Take out')) return null;
      await admin('POST', 'voids', body);
      await Promise.all([this.done(), this.show()]);
      return true;
    });
  }

  async show() {
    const answer = await this.newest(() => admin('GET', 'voids?limit=100'));
    if (!answer) return true;
    const { voids, nextCursor } = answer;
    this.list.replaceChildren(...voids.map((one) => this.item(one)), nextCursor ? h('p', { class: 'small' }, 'Older ones are not shown.') : '');
    return true;
  }

  item(one) {
    const whose = one.userId ?? one.network ?? (one.from ? `${new Date(one.from).toLocaleString()} to ${new Date(one.to).toLocaleString()}` : '');
    const votes = one.votes === null ? '' : ` · ${plural(one.votes, 'vote')}`;
    const end = one.liftedAt ? ` · lifted ${ago(one.liftedAt)}: ${one.liftReason}` : '';
    const text = `Round ${one.slot} of ${one.season} · ${one.by} ${whose}${votes} · ${ago(one.begunAt)} · ${one.reason}${one.status === 'dropped' ? ' · without effect' : end}`;
    const lift = ({ reason }) => attempt(async () => {
      await admin('DELETE', `voids/${one.id}`, { reason });
      await Promise.all([this.done(), this.show()]);
      return true;
    }, 'Lifted');
    const open = ['inForce', 'searching'].includes(one.status);
    return h('div', { class: 'item' }, h('p', {}, text), open && form('Lift', [['reason', 'Why it is lifted, for everyone', { required: true, maxlength: 500 }]], lift));
  }
}

// The order that there would be, with what is another than now.
function changes({ already, order }) {
  const lines = already ? [`${plural(already, 'further vote')} found ${already === 1 ? 'is' : 'are'} out already.`] : [];
  if (order) {
    const other = (row) => row.voteCount !== row.voteCountThen || row.place !== row.placeThen;
    const rows = order.filter((row, at) => at < 3 || other(row));
    const votes = (row) => (row.voteCount === row.voteCountThen ? plural(row.voteCount, 'vote') : `${row.voteCount} → ${plural(row.voteCountThen, 'vote')}`);
    const place = (row) => (row.place === row.placeThen ? '' : `, now place ${row.place}`);
    lines.push(...rows.slice(0, SHOWN).map((row) => `Place ${row.placeThen}: ${row.clipId}, ${votes(row)}${place(row)}`));
    if (rows.length > SHOWN) lines.push(`${rows.length - SHOWN} more clips change.`);
  } else {
    lines.push('Counts are hidden: what changes shows once the round is locked.');
  }
  return [...lines, 'These votes stop counting for everyone. That they were taken out, and the reason, is public. It can be lifted.'];
}
