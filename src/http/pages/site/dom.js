// Elements. What a user wrote goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

// h('p', { class: 'x', onclick: f, hidden: true }, 'text', element, …)
export function h(name, props = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A link that a user may have chosen: the web's own schemes alone.
export function safeUrl(text) {
  if (!text) return null;
  try {
    const url = new URL(text, location.href);
    return ['http:', 'https:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

// Tells a screen reader, once and politely.
export function say(text) {
  const said = $('said');
  if (said) said.textContent = text;
}

export const number = new Intl.NumberFormat('en');
export const count = (votes) => (votes === null ? 'hidden' : number.format(votes));
export const plural = (n, one, many = `${one}s`) => `${number.format(n)} ${n === 1 ? one : many}`;
