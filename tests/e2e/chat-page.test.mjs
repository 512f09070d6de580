// What two people do on the page of the demo chat, each in a browser of their own.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';

/** What an authenticator app shows now (RFC 6238). */
function codeOf(secret) {
  const bits = [...secret.replace(/=+$/, '')].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const count = Buffer.alloc(8);
  count.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const hash = createHmac('sha1', key).update(count).digest();
  const at = hash[19] & 15;
  return String((hash.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

// ms. On a quick line a story may come through that acts before its words were acknowledged; on this none does.
const LINE_DELAY = 150;

describe('On the page of the chat', { timeout: 120_000 }, () => {
  let server, browser;
  before(async () => {
    server = await Server.start();
    browser = await Browser.open();
  });
  afterEach(() => browser.clear());
  after(async () => {
    await browser?.close();
    await server?.end();
  });

  async function visit(viewport) {
    const context = await browser.chromium.newContext({ viewport: viewport ?? { width: 1100, height: 800 } });
    context.setDefaultTimeout(10_000);
    await context.routeWebSocket(/\/ws/, (socket) => {
      const far = socket.connectToServer();
      far.onMessage((message) => setTimeout(() => socket.send(message), LINE_DELAY));
    });
    const page = await context.newPage();
    page.on('pageerror', (error) => console.error('in the browser:', error));
    await page.goto(`${server.url}/demo/chat`);
    return page;
  }

  async function enter(person, viewport) {
    const page = await visit(viewport);
    await page.getByLabel('Phone number', { exact: true }).fill(person.phone);
    await page.getByLabel('Password', { exact: true }).fill(person.password);
    await page.locator('#enter').click();
    return page;
  }

  /** Two contacts with the page open at their conversation. */
  async function two(viewport) {
    const [alice, bob] = [await Person.register(server, 'Alice'), await Person.register(server, 'Bob')];
    await alice.call('POST', '/api/contacts', { user_id: bob.id });
    await bob.call('POST', `/api/contacts/${alice.id}/accept`);
    const conversation = await alice.direct(bob);
    const pages = [];
    for (const person of [alice, bob]) {
      const page = await enter(person, viewport);
      await page.locator(`#chats a[href="#${conversation}"]`).click();
      pages.push(page);
    }
    return pages;
  }

  const write = async (page, words) => {
    await page.locator('#body').fill(words);
    await page.locator('#body').press('Enter');
  };
  const message = (page, words) => page.locator('.message', { has: page.locator('.body', { hasText: words }) });
  const choose = async (page, words, choice) => {
    await message(page, words).hover();
    await message(page, words).locator('.more').click();
    await page.locator('#deeds').getByRole('button', { name: choice, exact: true }).click();
  };

  it('people register, find each other, and talk', async () => {
    const pages = [];
    for (const [n, name] of ['Ann', 'Ben'].entries()) {
      const page = await visit();
      await page.getByRole('tab', { name: 'Register' }).click();
      await page.getByLabel('Phone number', { exact: true }).fill(`+491517000000${n}`);
      await page.getByLabel('Your name').fill(name);
      await page.getByLabel('Password', { exact: true }).fill('opens the door');
      await page.locator('#enter').click();
      await page.locator('#me', { hasText: name }).waitFor();
      pages.push(page);
    }
    const [ann, ben] = pages;
    for (const page of pages) await page.getByRole('tab', { name: 'People' }).click();
    await ann.getByLabel('Add somebody by phone number').fill('+4915170000001');
    await ann.getByRole('button', { name: 'Ask' }).click();
    await ben.getByRole('button', { name: /accept/i }).click();
    await ann.getByRole('button', { name: /write/i }).click();
    await write(ann, 'Hello Ben');
    await ben.getByRole('tab', { name: 'Chats' }).click();
    await ben.locator('#chats a', { hasText: 'Hello Ben' }).click();
    await message(ben, 'Hello Ben').waitFor();
    await ann.locator('.mark[data-state="read"]').waitFor();
  });

  it('a message is reacted to, answered, mended, pinned and taken back', async () => {
    const [alice, bob] = await two();
    await write(alice, 'Shall we met at noon?');
    await choose(bob, 'Shall we', 'thumbs up');
    await message(alice, 'Shall we').locator('.foot', { hasText: '👍' }).waitFor();
    await choose(alice, 'Shall we', 'Edit');
    assert.equal(await alice.locator('#body').inputValue(), 'Shall we met at noon?');
    await write(alice, 'Shall we meet at noon?');
    await message(bob, 'Shall we meet at noon?').locator('.foot', { hasText: 'edited' }).waitFor();
    await choose(bob, 'Shall we', 'Answer');
    await bob.locator('#about-words', { hasText: 'Answering: Shall we meet' }).waitFor();
    await write(bob, 'Gladly');
    await message(alice, 'Gladly').locator('p.faint', { hasText: 'Answers: Shall we meet at noon?' }).waitFor();
    assert.ok(await bob.locator('#about').isHidden(), 'what is written next stands for itself');
    await choose(bob, 'Shall we', 'Pin');
    await message(alice, 'Shall we').locator('.foot', { hasText: 'pinned' }).waitFor();
    alice.on('dialog', (dialog) => dialog.accept());
    await choose(alice, 'Shall we', 'Delete for everybody');
    await bob.locator('.body', { hasText: 'This message is gone.' }).waitFor();
    await choose(bob, 'Gladly', 'Delete for me');
    await message(bob, 'Gladly').waitFor({ state: 'detached' });
    assert.equal(await message(alice, 'Gladly').count(), 1, 'for others it is still there');
  });

  it('a change that is refused says why, and what was written is still there', async () => {
    const [alice] = await two();
    await write(alice, 'short');
    await choose(alice, 'short', 'Edit');
    const long = 'x'.repeat(20_000);
    await alice.route('**/messages/*', (route) => route.fulfill({
      status: 422, contentType: 'application/problem+json', body: JSON.stringify({ status: 422, code: 'chat/too-long', detail: 'This is too long.' }),
    }));
    await write(alice, long);
    await alice.locator('#about-words', { hasText: 'This is too long.' }).waitFor();
    assert.equal(await alice.locator('#body').inputValue(), long);
    await alice.locator('#body').press('Escape');
    assert.ok(await alice.locator('#about').isHidden());
    assert.equal(await alice.locator('#body').inputValue(), '');
  });

  it('a phone shows everything, and the keyboard reaches everything', async () => {
    const [alice] = await two({ width: 360, height: 640 });
    await write(alice, 'A message that is long enough to be wider than the narrow screen of a small phone');
    await message(alice, 'A message').waitFor();
    assert.equal(await alice.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, 'nothing hangs over');
    const more = message(alice, 'A message').locator('.more');
    await more.waitFor(); // nothing is to be done with a message that has not been sent
    await more.focus();
    await alice.keyboard.press('Enter');
    await alice.locator('#deeds[open]').waitFor();
    await alice.keyboard.press('Escape');
    await alice.locator('#deeds').waitFor({ state: 'hidden' });
  });

  it('who has a second factor is asked for a code', async () => {
    const eve = await Person.register(server, 'Eve');
    const { secret } = await eve.call('POST', '/api/me/totp', { password: eve.password });
    const { recovery_codes } = await eve.call('POST', '/api/me/totp/confirm', { code: codeOf(secret) });
    const page = await enter(eve);
    await page.getByLabel('Code').fill('000000');
    await page.locator('#enter').click();
    await page.locator('#code-error:not(:empty)').waitFor();
    await page.getByLabel('Code').fill(recovery_codes[0]);
    await page.locator('#enter').click();
    await page.locator('#me', { hasText: 'Eve' }).waitFor();
  });

  it('files are sent some at a time, one that was given up is not, and pictures are shown small', async () => {
    const [alice, bob] = await two();
    const dot = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');
    const texts = [...'abcdefg'].map((name) => ({ name: `${name}.txt`, mimeType: 'text/plain', buffer: Buffer.from(`text ${name}`) }));
    await alice.locator('#files').setInputFiles([{ name: 'dot.png', mimeType: 'image/png', buffer: dot }, ...texts]);
    await alice.getByRole('button', { name: 'Remove g.txt' }).click();
    await alice.waitForFunction(() => document.querySelectorAll('#tray progress[hidden]').length === 7);
    await alice.locator('#send').click();

    await bob.waitForFunction(() => document.querySelectorAll('.message .file').length === 7);
    assert.deepEqual(await bob.locator('.message .file-name').allTextContents(), ['dot.png', ...[...'abcdef'].map((name) => `${name}.txt`)]);
    await bob.waitForFunction(() => document.querySelector('.message .file img')?.naturalWidth === 1);
  });
});
