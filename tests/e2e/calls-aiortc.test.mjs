// Interoperability with a WebRTC stack that no browser uses.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Browser } from './browser.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { ChangeNotifier } from './wait.mjs';

const PYTHON = process.env.E2E_PYTHON ?? fileURLToPath(new URL('../../target/aiortc/bin/python', import.meta.url));

describe('aiortc client', () => {
  let server, browser, peer;

  before(async () => {
    server = await Server.start({ MEDIA__EXTERNAL_ADDRESSES: '[]' }); // addresses of this machine: aiortc does not send to 127.0.0.1
    browser = await Browser.open();
  });
  after(async () => {
    peer?.kill();
    await browser?.close();
    await server?.end();
  });

  it('call between aiortc and a browser carries audio and video both ways', async () => {
    const [alice, bob] = await Promise.all(['Alice', 'Bob'].map((name) => Person.register(server, name)));
    const a = await browser.join(server, alice, { sessionId: 'stacks' });
    const script = fileURLToPath(new URL('aiortc_peer.py', import.meta.url));
    peer = spawn(PYTHON, [script, `${server.url.replace('http', 'ws')}/ws`, bob.token, 'stacks'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const notifier = new ChangeNotifier();
    let status = {};
    createInterface(peer.stdout).on('line', (line) => {
      status = JSON.parse(line);
      notifier.changed();
    });
    await notifier.until('aiortc receives video and audio', () => status.video > 30 && status.energy > 0, 30_000);
    await a.waitForMedia({ id: status.me });

    peer.stdin.end();
    const [code] = await once(peer, 'exit');
    assert.equal(code, 0);
  });
});
