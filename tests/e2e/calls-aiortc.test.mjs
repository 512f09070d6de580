// A second stack, written apart from browsers, takes part in the same call.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Browser } from './browser.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { Watched } from './wait.mjs';

const PYTHON = process.env.E2E_PYTHON ?? fileURLToPath(new URL('../../target/aiortc/bin/python', import.meta.url));

describe('aiortc', () => {
  let server, browser, process_;

  before(async () => {
    server = await Server.start({ MEDIA__ADDRESSES: '[]' }); // this machine's own: aiortc sends nothing to 127.0.0.1
    browser = await Browser.open();
  });
  after(async () => {
    process_?.kill();
    await browser?.close();
    await server?.end();
  });

  it('joins the call of a browser: both see and hear each other', async () => {
    const [alice, bob] = await Promise.all(['Alice', 'Bob'].map((name) => Person.register(server, name)));
    const a = await browser.join(server, alice, { sessionId: 'stacks' });
    const script = fileURLToPath(new URL('aiortc_peer.py', import.meta.url));
    process_ = spawn(PYTHON, [script, `${server.url.replace('http', 'ws')}/ws`, bob.token, 'stacks'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const watched = new Watched();
    let told = {};
    createInterface(process_.stdout).on('line', (line) => {
      told = JSON.parse(line);
      watched.changed();
    });
    await watched.until('aiortc sees and hears', () => told.video > 30 && told.energy > 0, 30_000);
    await a.perceives({ id: told.me });

    process_.stdin.end();
    const [code] = await once(process_, 'exit');
    assert.equal(code, 0);
  });
});
