// The operator's page: the token, and the parts that it opens.

import { admin, attempt, button, enter, form, given, newest, sure } from './office.js';
import { $, count, h, plural } from './dom.js';
import { meters } from './meters.js';
import { ago } from './time.js';
import { Voids } from './voids.js';

const at = (text) => (text ? new Date(text).getTime() : undefined);
const when = (ms) => (ms ? new Date(ms).toLocaleString() : 'no end');
const path = (slot) => `seasons/${encodeURIComponent(slot.season)}/slots/${slot.position}`;
let ticking = null;
let seasons = [];
const voids = new Voids(() => rounds());
const [newestRounds, newestLists, newestFlagged, newestBans] = [newest(), newest(), newest(), newest()];
// Rounds whose details stay open when the list is drawn anew.
const opened = new Set();

$('enter').addEventListener('submit', async (event) => {
  event.preventDefault();
  enter($('token').value);
  if (await attempt(() => rounds()) === null) return;
  $('token').value = '';
  $('enter').hidden = true;
  $('office').hidden = false;
  ticking ??= meters($('meters'));
  await Promise.all([attempt(moderation), attempt(bans), flagged(), attempt(() => voids.show())]);
});

async function rounds() {
  const found = await newestRounds(async () => {
    const answer = await admin('GET', 'seasons');
    return [answer.seasons, await Promise.all([...answer.seasons].reverse().map(season))];
  });
  if (!found) return true;
  const [listed, drawn] = found;
  seasons = listed;
  voids.offer(seasons);
  $('seasons').replaceChildren(form('Create season', [['name', 'Name', { required: true }], ['id', 'Id (optional)']], (values) => act(() => admin('POST', 'seasons', given(values)), 'Season created')), ...drawn);
  return true;
}

const act = (what, done) => attempt(async () => {
  const found = await what();
  await rounds();
  return found;
}, done);

async function season(one) {
  const slots = await Promise.all(one.slots.map(round));
  return h('article', { class: 'season' }, h('h3', {}, `${one.name} `, h('span', { class: 'small' }, `${one.id} · ${one.status}`)), ...slots,
    one.status === 'active' && button(`Add round ${one.slots.length + 1}`, () => act(() => admin('POST', `seasons/${encodeURIComponent(one.id)}/slots`, {}), 'Round added')));
}

async function clipsOf(slot) {
  const answer = await fetch(`/api/vote?season=${encodeURIComponent(slot.season)}&slot=${slot.position}`, { cache: 'no-cache' });
  return answer.ok ? answer.json() : [];
}

async function round(slot) {
  const clips = await clipsOf(slot);
  const sum = clips.reduce((all, clip) => all + (clip.vote_count ?? 0), 0);
  const key = path(slot);
  const name = `round ${slot.position} of ${slot.season}`;
  const standing = slot.resultsHidden && slot.status !== 'locked' ? 'Its counts are hidden.' : `${plural(sum, 'vote')} in ${plural(clips.length, 'clip')}.`;
  const step = (verb, body, done) => act(() => admin('POST', `${key}/${verb}`, body), done);
  const ask = async (title, changes, verb, go) => { if (await sure(title, changes, verb)) await go(); };
  const lead = [...clips].sort((a, b) => (b.weighted_score ?? 0) - (a.weighted_score ?? 0))[0];
  const freeze = button('Freeze', () => ask(`Freeze ${name}?`, [standing, 'No further vote is taken. Those before count.', 'It can be reopened until it is locked.'], 'Freeze', () => step('freeze', undefined, 'Frozen')), true);
  const lock = button('Lock', () => ask(`Lock ${name}?`, [standing, slot.resultsHidden ? 'The winner shows then.' : `The winner is ${lead?.title ?? 'nobody'} as it stands.`, 'The result is sealed for good, with a certificate. The next round may open by itself.'], 'Lock for good', () => step('lock', undefined, 'Locked')), true);
  const extend = form('Set end', [['end', 'End', { type: 'datetime-local', required: true }]], ({ end }) => step('extend', { votingEndsAt: at(end) }, 'End set'));
  const open = form('Open', [['end', 'End (optional)', { type: 'datetime-local' }], ['hidden', 'Hide counts', { type: 'checkbox' }]], ({ end, hidden }) => step('open', { votingEndsAt: at(end), resultsHidden: hidden }, 'Opened'));
  const winner = form('Name a winner', [['clipId', 'Clip id', { required: true }], ['reason', 'Reason', { required: true }]], async (values) => ((await sure(`Lock ${name} with ${values.clipId} as its winner?`, [standing, 'The votes do not decide. The reason goes into the log.', 'It can’t be taken back.'], 'Name and lock')) ? step('winner', values, 'Locked') : null));
  const acts = {
    upcoming: [open], waiting_for_clips: [open], voting: [freeze, lock, extend, winner],
    frozen: [lock, button('Reopen', () => step('reopen', {}, 'Reopened')), winner],
    locked: [h('a', { href: `/api/${key}/certificate` }, `Certificate of ${name}`)],
  }[slot.status];
  const add = ['upcoming', 'waiting_for_clips', 'voting'].includes(slot.status) && form('Add clip', [['title', 'Title', { required: true }], ['id', 'Id (optional)'], ['ownerId', 'Owner'], ['videoUrl', 'Film’s URL'], ['thumbnailUrl', 'Picture’s URL']], (values) => act(() => admin('POST', `${key}/clips`, given(values)), 'Clip added'));
  const table = clips.length > 0 && h('table', {}, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Clip'), h('th', { scope: 'col' }, 'Votes'))), h('tbody', {}, ...clips.map((clip) => h('tr', {}, h('th', { scope: 'row' }, `${clip.title} (${clip.id})${clip.id === slot.winnerClipId ? ' · winner' : ''}`), h('td', {}, count(clip.vote_count))))));
  const details = h('details', { open: opened.has(key) || slot.status === 'voting' || slot.status === 'frozen' }, h('summary', {}, h('strong', {}, `Round ${slot.position}`), ` ${slot.status.replaceAll('_', ' ')} · ${plural(clips.length, 'clip')}${slot.status === 'voting' ? ` · ${when(slot.votingEndsAt)}` : ''}`), h('div', { class: 'row' }, ...acts), add, table);
  details.addEventListener('toggle', () => (details.open ? opened.add(key) : opened.delete(key)));
  return details;
}

async function moderation() {
  const lists = await newestLists(() => Promise.all(['pending', 'reported', 'hidden'].map(async (status) => [status, await admin('GET', `comments?status=${status}&limit=50`)])));
  if (!lists) return true;
  const judge = (id, word) => attempt(async () => { await admin('POST', `comments/${id}/${word}`); await moderation(); }, word === 'hide' ? 'Hidden' : 'Approved');
  const parts = lists.map(([status, { comments, nextCursor }]) => [h('h3', {}, `${status} (${comments.length}${nextCursor ? '+' : ''})`), ...comments.map((one) => h('div', { class: 'item' }, h('p', { class: 'content' }, one.content ?? '—'), h('p', { class: 'small' }, `${one.username} on ${one.clipId} · ${ago(one.createdAt)} · ${plural(one.reports_count, 'report')}`), h('p', { class: 'row' }, button('Approve', () => judge(one.id, 'approve')), status !== 'hidden' && button('Hide', () => judge(one.id, 'hide'), true))))]);
  $('moderation').replaceChildren(button('Look again', () => attempt(moderation)), ...parts.flat());
  return true;
}

async function flagged() {
  const found = h('div');
  let cursor = null;
  const pick = h('select', { 'aria-label': 'Round' }, ...seasons.flatMap((one) => one.slots.map((slot) => h('option', { value: `${one.id}/${slot.position}` }, `${one.name}, round ${slot.position}`))));
  const where = () => { const [of, slot] = pick.value.split('/'); return { season: of, position: Number(slot) }; };
  const show = (anew) => attempt(async () => {
    const { season: of, position } = where();
    if (anew) { cursor = null; found.replaceChildren(); }
    const page = await newestFlagged(() => admin('GET', `votes?season=${encodeURIComponent(of)}&slot=${position}&flagged=1&limit=50${cursor ? `&cursor=${cursor}` : ''}`));
    if (!page) return true;
    cursor = page.nextCursor;
    found.append(...page.votes.map((vote) => h('p', { class: 'item' }, `${vote.userId} for ${vote.clipId} · risk ${vote.risk} · network ${vote.network ?? 'unknown'} · ${ago(vote.at)} `, button('Ban', () => ban(vote.userId, 'flagged votes'), true), ' ', button('Take votes out', () => voids.begin(`${of}/${position}`, vote.userId)))), h('p', { class: 'small' }, page.votes.length ? `As of event ${page.asOf}` : 'None here.'));
    more.hidden = !cursor;
    return true;
  });
  const more = button('More', () => show(false));
  more.hidden = true;
  $('flagged').replaceChildren(h('p', { class: 'row' }, pick, button('Show', () => show(true))), found, more);
}

async function ban(sub, reason, until) {
  if (!await sure(`Ban ${sub}?`, ['They can’t vote or comment any more. Votes that they cast go on counting.', until ? `Until ${when(until)}.` : 'Until it is lifted.'], 'Ban')) return null;
  return attempt(async () => { await admin('PUT', `bans/${encodeURIComponent(sub)}`, { reason, until }); await bans(); return true; }, 'Banned');
}

async function bans() {
  const answer = await newestBans(() => admin('GET', 'bans'));
  if (!answer) return true;
  const list = answer.bans;
  $('bans').replaceChildren(form('Ban', [['sub', 'User (sub or userId)', { required: true }], ['reason', 'Reason'], ['until', 'Until (optional)', { type: 'datetime-local' }]], ({ sub, reason, until }) => ban(sub, reason, at(until))),
    ...list.map((one) => h('p', { class: 'item' }, `${one.userId} · ${one.reason || 'no reason given'} · ${one.until ? `until ${when(one.until)}` : 'until lifted'} `, button('Lift', () => attempt(async () => { await admin('DELETE', `bans/${encodeURIComponent(one.userId)}`); await bans(); }, 'Lifted')))));
  return true;
}
