// What the operator's parts share: calls with the token, the question before what can't be taken back, forms.

import { Refusal } from './api.js';
import { $, h, say } from './dom.js';

// In memory alone: a reload forgets it.
let token = null;
export const enter = (text) => { token = text; };

export async function admin(method, path, body) {
  const headers = { authorization: `Bearer ${token}` };
  if (body !== undefined) headers['content-type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(`/api/admin/${path}`, { method, headers, cache: 'no-store', body: body && JSON.stringify(body) });
  } catch {
    // Not sent again: whether it was carried out is not known.
    throw new Refusal(0, { error: 'OFFLINE', message: 'the server can’t be reached: look whether it was done' });
  }
  const text = await answer.text();
  const read = text ? JSON.parse(text) : {};
  if (!answer.ok) throw new Refusal(answer.status, read);
  return read;
}

// Does something, and says what became of it.
export async function attempt(what, done) {
  $('problem').textContent = '';
  try {
    const found = await what();
    if (done) say(done);
    return found;
  } catch (refusal) {
    $('problem').textContent = refusal.message;
    return null;
  }
}

// For what is asked for again and again: gives the answer to the last question, and null for one that another came after, since
// answers come in any order.
export function newest() {
  let asked = 0;
  return async (what) => {
    const turn = (asked += 1);
    const found = await what();
    return turn === asked ? found : null;
  };
}

// Asks once, with what will change. Gives whether it was meant.
export function sure(title, changes, verb) {
  const dialog = $('sure');
  return new Promise((resolve) => {
    const answer = (yes) => { dialog.close(); resolve(yes); };
    dialog.replaceChildren(h('h2', { id: 'sure-title' }, title), h('ul', { class: 'changes' }, ...changes.map((line) => h('li', {}, line))),
      h('p', { class: 'row' }, h('button', { type: 'button', class: 'quiet', onclick: () => answer(false) }, 'Leave it'), h('button', { type: 'button', class: 'danger', onclick: () => answer(true) }, verb)));
    dialog.oncancel = () => resolve(false);
    dialog.showModal();
  });
}

// A row of fields and a button. A field is [name, label, props].
export function form(verb, fields, submit) {
  const inputs = fields.map(([name, label, props = {}]) => [name, h('label', {}, label, ' ', h('input', { name, ...props }))]);
  const element = h('form', { class: 'row', onsubmit: async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(inputs.map(([name, label]) => { const input = label.querySelector('input'); return [name, input.type === 'checkbox' ? input.checked : input.value.trim()]; }));
    if (await submit(values) !== null) element.reset();
  } }, ...inputs.map(([, label]) => label), h('button', { class: 'quiet' }, verb));
  return element;
}

export const button = (text, onclick, danger = false) => h('button', { type: 'button', class: danger ? 'danger' : 'quiet', onclick }, text);
export const given = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ''));
