// The server's numbers as they run: read from /metrics each second, drawn as lines of the last two minutes.

import { h, number } from './dom.js';

const SVG = 'http://www.w3.org/2000/svg';
const KEPT = 120;

// Sums of each name, its labels aside, and of histograms the buckets by their bound.
export function read(text) {
  const values = new Map();
  const buckets = new Map();
  for (const line of text.split('\n')) {
    const found = line.match(/^(plaudit_\w+)(?:\{(.*)\})? (\S+)/);
    if (!found) continue;
    const [, name, labels, value] = found;
    values.set(name, (values.get(name) ?? 0) + Number(value));
    const bound = labels?.match(/le="([^"]+)"/)?.[1];
    if (bound) {
      if (!buckets.has(name)) buckets.set(name, new Map());
      const of = buckets.get(name);
      const at = bound === '+Inf' ? Infinity : Number(bound);
      of.set(at, (of.get(at) ?? 0) + Number(value));
    }
  }
  return { values, buckets };
}

// The bound under which that share of what came between two readings lies; null when nothing came.
export function quantile(share, before, now) {
  const bounds = [...(now ?? [])].sort(([a], [b]) => a - b).map(([bound, total]) => [bound, total - (before?.get(bound) ?? 0)]);
  const all = bounds.at(-1)?.[1] ?? 0;
  return all > 0 ? bounds.find(([, total]) => total >= share * all)[0] : null;
}

const plain = (value) => number.format(Math.round(value * 10) / 10);
const bytes = (value) => (value < 1 << 20 ? `${plain(value / 1024)} KiB` : `${plain(value / (1 << 20))} MiB`);
const ms = (value) => (value === Infinity ? 'over the scale' : `≤ ${plain(value * 1000)} ms`);
const gauge = (name) => ({ values }) => values.get(name) ?? null;
const sum = (...names) => ({ values }) => (names.some((name) => values.has(name)) ? names.reduce((all, name) => all + (values.get(name) ?? 0), 0) : null);
const rate = (name) => (now, before, seconds) => (before && now.values.has(name) ? (now.values.get(name) - (before.values.get(name) ?? 0)) / seconds : null);
const METERS = [
  ['Votes a second', rate('plaudit_votes_total'), plain],
  ['Flush, 99 of 100', (now, before) => before && quantile(0.99, before.buckets.get('plaudit_log_flush_seconds_bucket'), now.buckets.get('plaudit_log_flush_seconds_bucket')), ms],
  ['In the queue', gauge('plaudit_queued_events'), plain],
  ['Not yet applied', gauge('plaudit_unapplied_events'), plain],
  ['Drift', gauge('plaudit_drift'), plain],
  ['Storage', sum('plaudit_storage_log_bytes', 'plaudit_storage_tables_bytes'), bytes],
  ['Viewers', gauge('plaudit_viewers'), plain],
  ['Answers 5xx a second', rate('plaudit_answers_failed_total'), plain],
];

export function meters(into) {
  const drawn = METERS.map(([name, take, say]) => {
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 120 32');
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('aria-hidden', 'true');
    const line = document.createElementNS(SVG, 'polyline');
    svg.append(line);
    const value = h('strong', {}, '–');
    into.append(h('div', { class: 'meter' }, h('span', { class: 'small' }, name), value, svg));
    return { take, say, value, line, points: [] };
  });
  let [before, asks] = [null, false];
  const step = async () => {
    // A slow answer isn't overtaken: what came between two would be less than nothing.
    if (asks) return;
    asks = true;
    const text = await fetch('/metrics', { cache: 'no-store' }).then((answer) => answer.text()).catch(() => null);
    asks = false;
    if (text === null) return;
    const now = { ...read(text), at: performance.now() };
    for (const { take, say, value, line, points } of drawn) {
      const found = take(now, before, before ? (now.at - before.at) / 1000 : 1);
      value.textContent = found === null || found === undefined ? '–' : say(found);
      points.push(Number.isFinite(found) ? found : 0);
      if (points.length > KEPT) points.shift();
      const top = Math.max(...points, 1e-9);
      line.setAttribute('points', points.map((point, at) => `${KEPT - points.length + at},${30 - 28 * (point / top)}`).join(' '));
    }
    before = now;
  };
  step();
  return setInterval(() => { if (!document.hidden) step(); }, 1000);
}
