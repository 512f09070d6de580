// The demo chat page, used by two users in separate browser contexts.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';

/** The current TOTP code for a secret (RFC 6238). */
function totpCode(secret) {
  const bits = [...secret.replace(/=+$/, '')].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const count = Buffer.alloc(8);
  count.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const hash = createHmac('sha1', key).update(count).digest();
  const at = hash[19] & 15;
  return String((hash.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

// Without a delay, a test that acts before its message was acknowledged could pass by luck.
const SERVER_DELAY_MS = 150;

describe('demo chat page', { timeout: 120_000 }, () => {
  let server, browser;
  before(async () => {
    server = await Server.start();
    browser = await Browser.open();
  });
  afterEach(() => browser.closePages());
  after(async () => {
    await browser?.close();
    await server?.end();
  });

  async function openPage(viewport) {
    const context = await browser.chromium.newContext({ viewport: viewport ?? { width: 1100, height: 800 } });
    context.setDefaultTimeout(10_000);
    await context.routeWebSocket(/\/ws/, (socket) => {
      const upstream = socket.connectToServer();
      upstream.onMessage((message) => setTimeout(() => socket.send(message), SERVER_DELAY_MS));
    });
    const page = await context.newPage();
    page.on('pageerror', (error) => console.error('page error:', error));
    await page.goto(`${server.url}/demo/chat`);
    return page;
  }

  async function logIn(person, viewport) {
    const page = await openPage(viewport);
    await page.getByLabel('Phone number', { exact: true }).fill(person.phone);
    await page.getByLabel('Password', { exact: true }).fill(person.password);
    await page.locator('#enter').click();
    return page;
  }

  /** Registers two contacts and opens the page at their conversation for each. */
  async function openConversation(viewport) {
    const [alice, bob] = [await Person.register(server, 'Alice'), await Person.register(server, 'Bob')];
    await alice.call('POST', '/api/contacts', { user_id: bob.id });
    await bob.call('POST', `/api/contacts/${alice.id}/accept`);
    const conversation = await alice.direct(bob);
    const pages = [];
    for (const person of [alice, bob]) {
      const page = await logIn(person, viewport);
      await page.locator(`#chats a[href="#${conversation}"]`).click();
      pages.push(page);
    }
    return pages;
  }

  const sendText = async (page, text) => {
    await page.locator('#body').fill(text);
    await page.locator('#body').press('Enter');
  };
  const message = (page, text) => page.locator('.message', { has: page.locator('.body', { hasText: text }) });
  const chooseAction = async (page, text, action) => {
    await message(page, text).hover();
    await message(page, text).locator('.more').click();
    await page.locator('#deeds').getByRole('button', { name: action, exact: true }).click();
  };

  it('two users register, become contacts and exchange a message', async () => {
    const pages = [];
    for (const [n, name] of ['Ann', 'Ben'].entries()) {
      const page = await openPage();
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
    await sendText(ann, 'Hello Ben');
    await ben.getByRole('tab', { name: 'Chats' }).click();
    await ben.locator('#chats a', { hasText: 'Hello Ben' }).click();
    await message(ben, 'Hello Ben').waitFor();
    await ann.locator('.mark[data-state="read"]').waitFor();
  });

  it('message can be reacted to, edited, replied to, pinned and deleted', async () => {
    const [alice, bob] = await openConversation();
    await sendText(alice, 'Shall we met at noon?');
    await chooseAction(bob, 'Shall we', 'thumbs up');
    await message(alice, 'Shall we').locator('.foot', { hasText: '👍' }).waitFor();
    await chooseAction(alice, 'Shall we', 'Edit');
    assert.equal(await alice.locator('#body').inputValue(), 'Shall we met at noon?');
    await sendText(alice, 'Shall we meet at noon?');
    await message(bob, 'Shall we meet at noon?').locator('.foot', { hasText: 'edited' }).waitFor();
    await chooseAction(bob, 'Shall we', 'Answer');
    await bob.locator('#about-words', { hasText: 'Answering: Shall we meet' }).waitFor();
    await sendText(bob, 'Gladly');
    await message(alice, 'Gladly').locator('p.faint', { hasText: 'Answers: Shall we meet at noon?' }).waitFor();
    assert.ok(await bob.locator('#about').isHidden(), 'reply mode ends after sending');
    await chooseAction(bob, 'Shall we', 'Pin');
    await message(alice, 'Shall we').locator('.foot', { hasText: 'pinned' }).waitFor();
    alice.on('dialog', (dialog) => dialog.accept());
    await chooseAction(alice, 'Shall we', 'Delete for everybody');
    await bob.locator('.body', { hasText: 'This message is gone.' }).waitFor();
    await chooseAction(bob, 'Gladly', 'Delete for me');
    await message(bob, 'Gladly').waitFor({ state: 'detached' });
    assert.equal(await message(alice, 'Gladly').count(), 1, 'message is still shown to the other user');
  });

  it('rejected edit shows the reason and keeps the typed text', async () => {
    const [alice] = await openConversation();
    await sendText(alice, 'short');
    await chooseAction(alice, 'short', 'Edit');
    const long = 'x'.repeat(20_000);
    await alice.route('**/messages/*', (route) => route.fulfill({
      status: 422, contentType: 'application/problem+json', body: JSON.stringify({ status: 422, code: 'chat/too-long', detail: 'This is too long.' }),
    }));
    await sendText(alice, long);
    await alice.locator('#about-words', { hasText: 'This is too long.' }).waitFor();
    assert.equal(await alice.locator('#body').inputValue(), long);
    await alice.locator('#body').press('Escape');
    assert.ok(await alice.locator('#about').isHidden());
    assert.equal(await alice.locator('#body').inputValue(), '');
  });

  it('page fits a phone screen and message actions are reachable by keyboard', async () => {
    const [alice] = await openConversation({ width: 360, height: 640 });
    await sendText(alice, 'A message that is long enough to be wider than the narrow screen of a small phone');
    await message(alice, 'A message').waitFor();
    assert.equal(await alice.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, 'no horizontal overflow');
    const more = message(alice, 'A message').locator('.more');
    await more.waitFor(); // shown once the message has been sent
    await more.focus();
    await alice.keyboard.press('Enter');
    await alice.locator('#deeds[open]').waitFor();
    await alice.keyboard.press('Escape');
    await alice.locator('#deeds').waitFor({ state: 'hidden' });
  });

  it('login with a second factor asks for a code', async () => {
    const eve = await Person.register(server, 'Eve');
    const { secret } = await eve.call('POST', '/api/me/totp', { password: eve.password });
    const { recovery_codes } = await eve.call('POST', '/api/me/totp/confirm', { code: totpCode(secret) });
    const page = await logIn(eve);
    await page.getByLabel('Code').fill('000000');
    await page.locator('#enter').click();
    await page.locator('#code-error:not(:empty)').waitFor();
    await page.getByLabel('Code').fill(recovery_codes[0]);
    await page.locator('#enter').click();
    await page.locator('#me', { hasText: 'Eve' }).waitFor();
  });

  it('several files are sent, a removed one is not, and images are shown inline', async () => {
    const [alice, bob] = await openConversation();
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
