// The operator's page in Chromium.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { quantile, read } from '../../src/http/pages/site/meters.js';
import { newest } from '../../src/http/pages/site/office.js';
import { ADMIN, browser, call, certified, comment, faults, says, serve, shot, visitor, vote } from './support.js';

async function entered(t, server, options) {
  const page = await visitor(t, await browser(t), `${server.url}/admin`, options);
  await page.getByLabel('Token').fill(ADMIN);
  await page.getByRole('button', { name: 'Open', exact: true }).click();
  await page.locator('#office').waitFor();
  return page;
}

test('an operator runs a round from its creation to its certificate', async (t) => {
  const server = await serve(t, ['--no-demo', '--rounds', 'manual']);
  const page = await entered(t, server);
  const button = (name) => page.getByRole('button', { name, exact: true });
  await page.locator('#seasons').getByLabel('Name').fill('Spring');
  await page.locator('#seasons').getByLabel('Id (optional)').fill('spring');
  await button('Create season').click();
  await button('Add round 1').click();
  await page.locator('summary').click();
  for (const title of ['Neon', 'Rain']) {
    await page.getByLabel('Title').fill(title);
    await page.locator('details').getByLabel('Id (optional)').fill(title.toLowerCase());
    await button('Add clip').click();
    await says(page.locator('tbody th'), title);
  }
  await page.locator('details').getByRole('button', { name: 'Open', exact: true }).click();
  await says(page.locator('summary'), 'voting');
  await vote(server, 'rain', 'ada');
  await page.getByLabel('End', { exact: true }).fill('2099-01-01T12:00');
  await button('Set end').click();
  await says(page.locator('summary'), '2099');
  await button('Freeze').click();
  await says(page.locator('#sure li'), '1 vote in 2 clips');
  await page.locator('#sure').getByRole('button', { name: 'Leave it' }).click();
  await says(page.locator('summary'), 'voting');
  await button('Freeze').click();
  await page.locator('#sure').getByRole('button', { name: 'Freeze' }).click();
  await says(page.locator('summary'), 'frozen');
  await assert.rejects(vote(server, 'neon', 'ben'), /VOTING_CLOSED/);
  await button('Lock').click();
  await says(page.locator('#sure li'), 'The winner is Rain');
  await button('Lock for good').click();
  await says(page.locator('summary'), 'locked');
  const link = page.getByRole('link', { name: 'Certificate of round 1 of spring' });
  const href = await link.getAttribute('href');
  const certificate = await certified(server, href);
  assert.ok(JSON.stringify(certificate).includes('rain'));
});

for (const colorScheme of ['light', 'dark']) {
  test(`moderation, bans and meters, without a serious fault: ${colorScheme}`, async (t) => {
    const server = await serve(t, ['--moderation', 'before']);
    const { comment: held } = await comment(server, 'clip-1', 'Is it up yet?', 'lena');
    const page = await entered(t, server, { colorScheme });
    await says(page.locator('#moderation .content'), 'Is it up yet?');
    await says(page.locator('.meter', { hasText: 'Drift' }).locator('strong'), '0');
    await says(page.locator('.meter', { hasText: 'Storage' }).locator('strong'), /[1-9].* [KM]iB/);
    assert.deepEqual(await faults(page), []);
    await shot(page, `admin-${colorScheme}`);
    await page.getByRole('button', { name: 'Approve' }).click();
    await says(page.locator('#moderation h3'), 'pending (0)');
    const { comments } = await call(server, 'GET', '/api/comments?clipId=clip-1');
    assert.deepEqual(comments.map((one) => one.id), [held.id]);
    await page.getByLabel('User (sub or userId)').fill('mallory');
    await page.getByRole('button', { name: 'Ban', exact: true }).click();
    await page.locator('#sure').getByRole('button', { name: 'Ban', exact: true }).click();
    await page.getByRole('button', { name: 'Lift' }).waitFor();
    await assert.rejects(vote(server, 'clip-1', 'mallory'), /BANNED/);
    await page.getByRole('button', { name: 'Lift' }).click();
    await page.getByRole('button', { name: 'Lift' }).waitFor({ state: 'detached' });
    await vote(server, 'clip-1', 'mallory');
  });
}

test('flagged votes are taken out after a look at what that changes, and come back', async (t) => {
  const server = await serve(t);
  const script = (n) => fetch(`${server.url}/api/vote`, { method: 'POST', headers: { 'content-type': 'application/json', 'user-agent': `curl/8.${n}` }, body: JSON.stringify({ clipId: 'clip-1' }) });
  for (let n = 0; n < 3; n += 1) assert.equal((await script(n)).status, 200);
  await vote(server, 'clip-2', 'ada');
  const votes = async () => (await call(server, 'GET', '/api/vote/counts?clipIds=clip-1')).counts['clip-1'].voteCount;
  const page = await entered(t, server);
  const panel = page.locator('#voids');
  const look = async (reason) => {
    await panel.getByLabel('Reason, for everyone', { exact: true }).fill(reason);
    await panel.getByRole('button', { name: 'What would it change?' }).click();
  };
  await look('scripts');
  await says(page.locator('#sure h2'), 'Take 3 votes of round 1 of demo out?');
  await says(page.locator('#sure li'), 'Place 1: clip-2, 1 vote, now place 2');
  await says(page.locator('#sure li'), 'clip-1, 3 → 0 votes, now place 1');
  await shot(page, 'admin-void');
  await page.locator('#sure').getByRole('button', { name: 'Leave it' }).click();
  assert.equal(await votes(), 3);
  assert.equal(await panel.locator('.item').count(), 0);
  await look('scripts');
  await page.locator('#sure').getByRole('button', { name: 'Take out', exact: true }).click();
  await says(panel.locator('.item'), 'Round 1 of demo · flagged · 3 votes');
  assert.equal(await votes(), 0);
  await says(page.locator('#seasons tbody tr', { hasText: 'clip-1)' }).locator('td'), '0');
  assert.deepEqual(await faults(page), []);
  await look('scripts');
  await says(page.getByRole('alert'), 'All of these votes are taken out already.');
  await panel.getByLabel('Why it is lifted').fill('they were people');
  await panel.getByRole('button', { name: 'Lift' }).click();
  await says(panel.locator('.item'), 'they were people');
  assert.equal(await panel.getByRole('button', { name: 'Lift' }).count(), 0);
  assert.equal(await votes(), 3);

  await page.locator('#flagged').getByRole('button', { name: 'Show' }).click();
  await page.locator('#flagged').getByRole('button', { name: 'Take votes out' }).first().click();
  assert.match(await panel.getByLabel('User (sub or userId)').inputValue(), /^[0-9a-f]{32}$/);
  await look('one of them');
  await says(page.locator('#sure h2'), 'Take 1 vote of round 1 of demo out?');
  await page.locator('#sure').getByRole('button', { name: 'Take out', exact: true }).click();
  await says(panel.locator('.item'), 'one of them');
  assert.equal(await votes(), 2);
});

test('on a phone the office fits the screen', async (t) => {
  const server = await serve(t, ['--moderation', 'before']);
  await comment(server, 'clip-1', 'Is it up yet? Averyveryverylongwordthathasnospaceinitanywhereandgoesonandon', 'lena');
  for (const n of [1, 2, 3]) await vote(server, `clip-${n}`, 'ada');
  await call(server, 'PUT', '/api/admin/bans/mallory', { reason: 'a farm of accounts, all from the same building' }, ADMIN);
  const page = await entered(t, server, { viewport: { width: 360, height: 740 } });
  await says(page.locator('#moderation .content'), 'Is it up yet?');
  await says(page.locator('.meter', { hasText: 'Drift' }).locator('strong'), '0');
  await page.locator('#flagged').getByRole('button', { name: 'Show' }).waitFor();
  await page.getByRole('button', { name: 'Lift' }).waitFor();
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'no sideways scroll');
  // What a finger has to meet.
  const small = await page.locator('#office :is(button, summary, select, input):visible').evaluateAll((all) => all.filter((one) => one.type !== 'checkbox' && one.getBoundingClientRect().height < 35).map((one) => one.outerHTML));
  assert.deepEqual(small, []);
  const cut = await page.locator('#office :is(button, input, select, label)').evaluateAll((all) => all.filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML));
  assert.deepEqual(cut, []);
  assert.deepEqual(await faults(page), []);
  await shot(page, 'admin-phone', { fullPage: true });
  await page.getByRole('button', { name: 'Lock', exact: true }).click();
  await page.locator('#sure').waitFor();
  assert.ok(await page.locator('#sure').evaluate((one) => one.scrollHeight - one.lastChild.offsetTop < 150), 'the question is as high as what it asks');
  await shot(page, 'admin-phone-sure');
});

test('a wrong token opens nothing, and the right one is forgotten with a reload', async (t) => {
  const server = await serve(t);
  const page = await visitor(t, await browser(t), `${server.url}/admin`);
  await page.getByLabel('Token').fill('wrong');
  await page.getByRole('button', { name: 'Open', exact: true }).click();
  await says(page.getByRole('alert'), 'bearer secret');
  assert.ok(await page.locator('#office').isHidden());
  await page.getByLabel('Token').fill(ADMIN);
  await page.getByRole('button', { name: 'Open', exact: true }).click();
  await page.locator('#office').waitFor();
  assert.ok(!(await page.evaluate((secret) => JSON.stringify({ ...localStorage, ...sessionStorage }) .includes(secret) || document.cookie.includes(secret), ADMIN)));
  await page.reload();
  assert.ok(await page.locator('#office').isHidden());
});

test('of what was asked for twice the first answer is left out where it comes last', async () => {
  const of = newest();
  let late;
  const first = of(() => new Promise((so) => { late = so; }));
  assert.equal(await of(async () => 'new'), 'new');
  late('old');
  assert.equal(await first, null);
  assert.equal(await of(async () => 'newer'), 'newer');
});

test('a quantile is of what came between two readings', () => {
  const text = (a, b, c) => read(`plaudit_x_seconds_bucket{le="0.1"} ${a}\nplaudit_x_seconds_bucket{le="1"} ${b}\nplaudit_x_seconds_bucket{le="+Inf"} ${c}\n`).buckets.get('plaudit_x_seconds_bucket');
  assert.equal(quantile(0.99, text(100, 100, 100), text(100, 110, 110)), 1);
  assert.equal(quantile(0.5, undefined, text(6, 10, 10)), 0.1);
  assert.equal(quantile(0.99, text(5, 5, 5), text(5, 5, 5)), null);
});
