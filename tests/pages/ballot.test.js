// A count and a wish, in every order in which answers and pushes can come.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ballot } from '../../src/http/pages/site/ballot.js';
import { Budget } from '../../src/http/pages/site/budget.js';
import { ago, left } from '../../src/http/pages/site/time.js';

const fresh = () => new Ballot('c', { votes: 5 });
const answer = (voteCount, eventId) => ({ voteCount, weightedScore: voteCount, eventId: String(eventId) });

test('a wish counts at once, and once', () => {
  for (const pushFirst of [true, false]) {
    const one = fresh();
    assert.ok(one.begin(true));
    assert.equal(one.begin(true), false, 'no second while one is under way');
    assert.deepEqual([one.shown, one.isOn], [6, true]);
    if (pushFirst) one.pushed(6, 6, 10);
    assert.equal(one.shown, 6, 'a push may hold the vote already');
    one.settled(answer(6, 10));
    if (!pushFirst) one.pushed(6, 6, 10);
    assert.deepEqual([one.shown, one.voted], [6, true]);
  }
});

test('the newer of answer and push is true', () => {
  const one = fresh();
  one.begin(true);
  one.pushed(9, 9, 14);
  one.settled(answer(6, 10));
  assert.equal(one.shown, 9);
  one.pushed(7, 7, 12);
  assert.equal(one.shown, 9, 'an older push changes nothing');
});

test('an answer to a question for everything changes nothing that is newer', () => {
  const one = fresh();
  const early = one.mark();
  one.pushed(7, 7, 12);
  one.loaded({ votes: 5, weight: 5, voted: true }, early);
  assert.deepEqual([one.shown, one.voted], [7, true], 'the push came behind what was asked for, or says the same');
  const [first, second] = [one.mark(), one.mark()];
  one.loaded({ votes: 9, weight: 9, voted: true }, second);
  one.loaded({ votes: 8, weight: 8, voted: false }, first);
  assert.deepEqual([one.shown, one.score, one.voted], [9, 9, true], 'the one that was asked first comes last');
  const before = one.mark();
  one.begin(false);
  one.loaded({ votes: 9, weight: 9, voted: true }, before);
  assert.deepEqual([one.shown, one.isOn], [8, false], 'a wish under way');
  const during = one.mark();
  one.settled(answer(8, 20));
  one.loaded({ votes: 9, weight: 9, voted: true }, during);
  assert.deepEqual([one.shown, one.voted], [8, false], 'a wish that was answered meanwhile');
  one.loaded({ votes: 8, weight: 11, voted: false }, one.mark());
  assert.deepEqual([one.shown, one.score], [8, 11]);
});

test('a refusal takes back the wish and nothing else', () => {
  const one = fresh();
  one.begin(true);
  one.pushed(8, 8, 9);
  one.refused();
  assert.deepEqual([one.shown, one.isOn], [8, false]);
  one.begin(true);
  one.refused(true);
  assert.deepEqual([one.shown, one.isOn], [8, true], 'it stood already');
});

test('a server that has begun anew is believed', () => {
  const one = fresh();
  one.pushed(7, 7, 40);
  const before = one.mark();
  one.begin(true);
  one.pushed(8, 8, 41);
  one.forget();
  one.settled(answer(1, 23));
  assert.deepEqual([one.shown, one.voted], [1, true], 'and what waited is of before');
  one.pushed(2, 2, 24);
  one.loaded({ votes: 7, weight: 7, voted: false }, before);
  assert.deepEqual([one.shown, one.voted], [2, true], 'so is a late answer');
  const budget = new Budget();
  assert.equal(budget.voted('40'), true);
  budget.forget();
  assert.equal(budget.voted('23'), true);
});

test('a hidden count stays hidden', () => {
  const one = new Ballot('c', { votes: null });
  one.begin(true);
  assert.equal(one.shown, null);
  one.settled(answer(null, 3));
  assert.deepEqual([one.shown, one.voted], [null, true]);
});

test('what is left is what the newest answer says', () => {
  const one = new Budget();
  const [first, second] = [one.ask(), one.ask()];
  assert.equal(one.answered(second), true);
  assert.equal(one.answered(first), false, 'the one that was asked first comes last');
  const early = one.ask();
  assert.equal(one.voted('12'), true);
  assert.equal(one.answered(early), false, 'it may not know of the vote');
  assert.equal(one.answered(one.ask()), true);
  assert.equal(one.voted('11'), false, 'the vote before was answered behind it');
  assert.equal(one.voted('13'), true);
});

test('times read as people say them', () => {
  assert.deepEqual([left(61_000), left(3_661_000), left(90_000_000), left(-5)], ['1:01', '1:01:01', '1 d 1 h', '0:00']);
  assert.deepEqual([ago(0, 59_000), ago(0, 120_000), ago(0, 7_200_000)], ['just now', '2 min ago', '2 h ago']);
});
