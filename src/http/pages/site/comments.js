// A clip's comments: the newest first, with replies and likes. What others write meanwhile waits behind a button. An answer may be
// older than what was pushed while it was on its way: it is shown, and then what was heard meanwhile is done to it once more.

import { call, mayComment, reason } from './api.js';
import { h, plural, say } from './dom.js';
import { ago } from './time.js';

const DEPTH_MAX = 5;
const HIDDEN = { hidden: 'Hidden by a moderator.', pending: 'Waits for a moderator.', deleted: 'Deleted.' };

export class Comments {
  constructor(clip, changed = () => {}) {
    Object.assign(this, { clip, changed, total: 0, cursor: null, shown: new Map(), waiting: new Set(), counted: new Set(), listening: new Set(), asked: 0, told: 0 });
    this.heading = h('h3', { class: 'heading' }, 'Comments');
    this.fresh = h('button', { type: 'button', class: 'fresh', hidden: true, onclick: () => this.load(true) });
    this.threads = h('ol', { class: 'threads' });
    this.more = h('button', { type: 'button', class: 'plain', hidden: true, onclick: () => this.load() }, 'Show older comments');
    this.problem = h('p', { class: 'problem', role: 'alert' });
    const write = mayComment() ? this.form(null) : h('p', { class: 'small' }, 'Sign in on the site to comment.');
    this.element = h('section', { class: 'comments', 'aria-label': 'Comments' }, this.heading, write, this.fresh, this.problem, this.threads, this.more);
  }

  // What is heard from here on, by what it is about: the newest of that alone. Until it is no longer listened to.
  listen() {
    const heard = new Map();
    this.listening.add(heard);
    return heard;
  }

  hear(about, again) {
    for (const heard of this.listening) {
      heard.delete(about);
      heard.set(about, again);
    }
  }

  async load(anew = false) {
    const cursor = anew ? null : this.cursor;
    const turn = (this.asked += 1);
    const heard = this.listen();
    try {
      const page = await call('GET', `/api/comments?clipId=${encodeURIComponent(this.clip)}&limit=20${cursor ? `&cursor=${cursor}` : ''}`);
      // A list that was asked for later is there, or the one that this goes on from isn't any more.
      if (cursor ? cursor !== this.cursor : turn < this.told) return;
      if (!cursor) {
        this.told = turn;
        // An answer that someone is writing must not go with the list.
        if (anew && this.threads.querySelector('textarea')) return this.showFresh();
        this.threads.replaceChildren();
        for (const known of [this.shown, this.waiting, this.counted]) known.clear();
        this.total = page.total;
      }
      for (const one of page.comments) if (!this.shown.has(one.id)) this.threads.append(this.thread(one));
      this.cursor = page.nextCursor;
      this.problem.textContent = '';
      heard.forEach((again) => again());
    } catch (refusal) {
      this.problem.textContent = reason(refusal);
    } finally {
      this.listening.delete(heard);
    }
    this.show();
  }

  show() {
    this.more.hidden = !this.cursor;
    this.heading.textContent = this.total ? plural(this.total, 'comment') : 'No comments yet';
    this.showFresh();
    this.changed(this.total);
  }

  showFresh() {
    const was = this.fresh.hidden;
    this.fresh.hidden = !this.waiting.size;
    this.fresh.textContent = plural(this.waiting.size, 'new comment');
    // Said for the first of them alone.
    if (was && !this.fresh.hidden) say('There are new comments.');
  }

  thread(comment) {
    const { id } = comment;
    const body = h('p', { class: 'content' });
    const like = h('button', { type: 'button', class: 'plain like' });
    const more = h('button', { type: 'button', class: 'plain', onclick: () => this.replies(id) });
    const answers = h('ol', { class: 'threads' });
    const slot = h('div');
    const problem = h('p', { class: 'problem', role: 'alert' });
    like.addEventListener('click', () => this.like(id));
    const acts = h('p', { class: 'acts' }, like);
    if (mayComment() && (comment.depth ?? 0) < DEPTH_MAX) {
      acts.append(h('button', { type: 'button', class: 'plain', 'aria-label': `Reply to ${comment.username}`, onclick: () => {
        if (slot.firstChild) return slot.replaceChildren();
        slot.replaceChildren(this.form(id, () => slot.replaceChildren()));
        slot.querySelector('textarea').focus();
      } }, 'Reply'));
    }
    if (comment.is_own) acts.append(h('button', { type: 'button', class: 'plain', onclick: () => this.act(id, problem, 'DELETE', '', () => this.erase(id)) }, 'Delete'));
    else acts.append(h('button', { type: 'button', class: 'plain', onclick: () => this.act(id, problem, 'POST', '/report', () => { problem.textContent = 'Reported. Thank you.'; }) }, 'Report'));
    const name = h('strong', {}, comment.username ?? '—');
    const head = h('p', { class: 'small by' }, name, ' · ', h('time', { datetime: new Date(comment.createdAt).toISOString() }, ago(comment.createdAt)));
    const element = h('li', { class: 'comment' }, head, body, acts, problem, slot, answers, more);
    this.shown.set(id, { comment: { likes_count: 0, total_replies: 0, status: 'visible', ...comment }, below: new Set(), body, like, more, answers, acts, problem, element });
    for (const reply of comment.replies ?? []) answers.append(this.thread(reply));
    this.draw(id);
    return element;
  }

  draw(id) {
    const { comment, body, like, more, answers, acts } = this.shown.get(id);
    const gone = comment.content === null || comment.content === undefined;
    body.textContent = gone ? HIDDEN[comment.status] ?? 'Not shown.' : comment.content;
    body.classList.toggle('gone', gone);
    acts.hidden = gone;
    like.textContent = `${comment.is_liked ? '♥' : '♡'} ${comment.likes_count}`;
    like.setAttribute('aria-pressed', String(Boolean(comment.is_liked)));
    like.setAttribute('aria-label', `Like, ${comment.likes_count} so far`);
    const rest = comment.total_replies - answers.children.length;
    more.hidden = rest <= 0;
    more.textContent = `Show ${rest === 1 ? '1 more reply' : `${rest} more replies`}`;
  }

  async replies(id) {
    const { problem } = this.shown.get(id);
    const heard = this.listen();
    try {
      let cursor = '';
      const found = [];
      do {
        const page = await call('GET', `/api/comments?clipId=${encodeURIComponent(this.clip)}&parentId=${id}&limit=100${cursor}`);
        found.push(...page.comments);
        cursor = page.nextCursor && `&cursor=${page.nextCursor}`;
      } while (cursor);
      // The list may be another by now, without this one.
      if (!this.shown.has(id)) return;
      const { comment, answers, below } = this.shown.get(id);
      for (const [known, { element }] of this.shown) if (answers.contains(element)) this.shown.delete(known);
      answers.replaceChildren(...found.map((reply) => this.thread(reply)));
      comment.total_replies = found.length;
      below.clear();
      this.draw(id);
      heard.forEach((again) => again());
    } catch (refusal) {
      problem.textContent = reason(refusal);
    } finally {
      this.listening.delete(heard);
    }
  }

  async like(id) {
    const { comment: { is_liked: before, likes_count: likes }, problem } = this.shown.get(id);
    const on = !before;
    this.change(id, { is_liked: on, likes_count: Math.max(0, likes + (on ? 1 : -1)) });
    const heard = this.listen();
    let stands;
    try {
      const { likes_count, is_liked } = await call(on ? 'PUT' : 'DELETE', `/api/comments/${id}/like`);
      stands = { is_liked, likes_count };
      problem.textContent = '';
    } catch (refusal) {
      stands = { is_liked: before, likes_count: likes };
      problem.textContent = reason(refusal);
    }
    this.listening.delete(heard);
    // A number that was pushed meanwhile is the newer one, or another is on its way.
    if (heard.has(`likes ${id}`)) delete stands.likes_count;
    this.hear(`like ${id}`, () => this.change(id, stands));
    this.change(id, stands);
  }

  change(id, values) {
    const found = this.shown.get(id);
    if (!found) return;
    Object.assign(found.comment, values);
    this.draw(id);
  }

  async act(id, problem, method, path, done) {
    try {
      await call(method, `/api/comments/${id}${path}`);
      done();
    } catch (refusal) {
      problem.textContent = reason(refusal);
    }
  }

  erase(id, status = 'deleted') {
    this.change(id, { content: null, status });
  }

  form(parent, done = () => {}) {
    const text = h('textarea', { rows: 2, maxlength: 500, required: true, 'aria-label': parent ? 'Your reply' : 'Your comment', placeholder: parent ? 'Reply …' : 'Say something kind …' });
    const problem = h('p', { class: 'problem', role: 'alert' });
    const send = h('button', { type: 'submit', class: 'send' }, parent ? 'Reply' : 'Comment');
    return h('form', { class: 'write', onsubmit: async (event) => {
      event.preventDefault();
      if (!text.value.trim()) return;
      send.disabled = true;
      problem.textContent = '';
      try {
        const answer = await call('POST', '/api/comments', { clipId: this.clip, content: text.value, parentId: parent });
        text.value = '';
        done();
        this.own(answer.comment ?? answer, parent);
      } catch (refusal) {
        problem.textContent = reason(refusal);
      }
      send.disabled = false;
    } }, text, send, problem);
  }

  // One's own, at once; its push may have been faster.
  own(comment, parent) {
    this.hear(`own ${comment.id}`, () => this.add(comment, parent));
    this.add(comment, parent);
    say('Your comment is there.');
  }

  add(comment, parent) {
    this.waiting.delete(comment.id);
    if (this.shown.has(comment.id)) return;
    const element = this.thread({ ...comment, is_own: true, depth: comment.depth ?? (parent ? (this.shown.get(parent)?.comment.depth ?? 0) + 1 : 0) });
    if (parent && this.shown.has(parent)) {
      this.shown.get(parent).answers.append(element);
    } else this.threads.prepend(element);
    this.count(comment.id, parent);
    this.show();
  }

  // One more, once.
  count(id, parent) {
    if (!this.counted.has(id)) this.total += 1;
    this.counted.add(id);
    const above = this.shown.get(parent);
    if (!above) return;
    if (!above.below.has(id)) above.comment.total_replies += 1;
    above.below.add(id);
    this.draw(parent);
  }

  // What is pushed of this clip.
  pushed(name, data) {
    const about = { 'new-comment': 'new', 'delete-comment': 'gone', 'comment-updated': data.likesCount === undefined ? 'status' : 'likes' }[name];
    this.hear(`${about} ${data.commentId ?? data.comment?.id}`, () => this.take(name, data));
    this.take(name, data);
  }

  take(name, data) {
    if (name === 'new-comment') {
      const { comment: { id, parentId } } = data;
      if (this.shown.has(id)) return;
      if (!parentId) this.waiting.add(id);
      this.count(id, parentId);
      this.show();
    } else if (name === 'delete-comment') {
      this.waiting.delete(data.commentId);
      this.erase(data.commentId);
      this.showFresh();
    } else if (name === 'comment-updated') {
      if (data.likesCount !== undefined) this.change(data.commentId, { likes_count: data.likesCount });
      else if (data.status && data.status !== 'visible') this.erase(data.commentId, data.status);
    }
  }
}
