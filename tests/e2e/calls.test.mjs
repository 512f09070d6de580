// Browsers hold calls through the server's own forwarding, and straight with each other.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';

describe('A call in browsers', () => {
  let server, browser, alice, bob, eve, dan;

  before(async () => {
    server = await Server.start();
    browser = await Browser.open();
    [alice, bob, eve, dan] = await Promise.all(['Alice', 'Bob', 'Eve', 'Dan'].map((name) => Person.register(server, name)));
  });
  after(async () => {
    await browser?.close();
    await server?.end();
  });

  it('of two: both see and hear each other', async () => {
    const a = await browser.join(server, alice, { sessionId: 'two' });
    const b = await browser.join(server, bob, { sessionId: 'two' });
    await Promise.all([a.perceives(b), b.perceives(a)]);
    console.log(JSON.stringify(await b.senses()));
    await Promise.all([a, b].map((peer) => peer.page.close()));
  });
});
