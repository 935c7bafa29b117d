// What is kept of the viewer, to take along, and its erasure.

import { call, reason } from './api.js';
import { $, h, say } from './dom.js';

// `erased` is called once an erasure has begun: what is shown may have changed.
export function ownData(erased) {
  const dialog = $('own-data');
  const [steps, problem] = [h('div'), h('p', { class: 'problem', role: 'alert' })];
  const button = (text, onclick, look = 'plain') => h('button', { type: 'button', class: look, onclick }, text);
  // One thing at a time; what it came to is said.
  const attempt = (what) => async ({ currentTarget: pressed }) => {
    problem.textContent = '';
    pressed.disabled = true;
    try {
      await what();
    } catch (refusal) {
      problem.textContent = refusal.code === 'UNAUTHORIZED' ? 'Nobody is known here: nothing is kept of you until you vote or sign in.' : reason(refusal);
    }
    pressed.disabled = false;
  };
  const first = () => steps.replaceChildren(
    h('p', {}, 'All that is kept of you here: your votes, comments, likes and reports, and what you have left today.'),
    h('p', { class: 'row' }, button('Download', attempt(save), 'send'), button('Erase …', ask)));
  const ask = () => {
    const leave = button('Leave it', () => { first(); steps.querySelector('.plain').focus(); });
    steps.replaceChildren(
      h('p', {}, 'Your comments are emptied, your name and picture go, and so does what is kept of where you voted from. Your votes and likes go on counting, and you can’t vote a second time for the same clip. This can’t be taken back.'),
      h('p', { class: 'row' }, leave, button('Erase my data', attempt(erase), 'send danger')));
    leave.focus();
  };
  const erase = async () => {
    await call('DELETE', '/api/me');
    steps.replaceChildren(h('p', { role: 'status' }, 'Your data is being erased. What you do from now on is kept anew.'));
    say('Your data is being erased.');
    dialog.querySelector('.close').focus();
    erased();
  };
  $('own').addEventListener('click', () => {
    problem.textContent = '';
    first();
    dialog.replaceChildren(
      h('header', {}, h('h2', { id: 'own-title' }, 'Your data'), h('button', { type: 'button', class: 'close', 'aria-label': 'Close', onclick: () => dialog.close() }, '×')),
      steps, problem);
    dialog.showModal();
  });
}

async function save() {
  const data = await call('GET', '/api/me/export');
  const file = URL.createObjectURL(new Blob([JSON.stringify(data, null, 2)], { type: 'application/json' }));
  h('a', { href: file, download: 'plaudit-me.json' }).click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(file), 60_000);
  say('Your data was downloaded.');
}
