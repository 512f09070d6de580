// Calls of those who can reach nothing but a relay: ours, or an external coturn with the same secret.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { within } from './wait.mjs';

const RELAY_ONLY = { configuration: { iceTransportPolicy: 'relay' } };
const SECRET = 'a secret that both of them know';

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  return port;
}

/** Debian's coturn on a port of its own; gives the port and a way to end it. */
async function coturn() {
  const port = await freePort();
  const child = spawn('turnserver', [
    '-n', '--listening-ip', '127.0.0.1', '--relay-ip', '127.0.0.1', '--listening-port', String(port), '--use-auth-secret',
    `--static-auth-secret=${SECRET}`, '--realm=story', '--allow-loopback-peers', '--no-cli', '--no-tls', '--no-dtls',
    '--log-file=stdout', '--pidfile=', '--verbose',
  ], { stdio: ['ignore', 'pipe', 'inherit'] });
  const up = new Promise((resolve) => createInterface(child.stdout).on('line', (line) => /UDP listener opened/.test(line) && resolve()));
  await within(10_000, 'coturn listens', up);
  return { port, end: () => child.kill() };
}

describe('Through a relay only', () => {
  let browser, external, server;

  before(async () => {
    browser = await Browser.open();
  });
  after(async () => {
    external?.end();
    await browser?.close();
  });

  async function call(settings, kinds) {
    server = await Server.start(settings);
    try {
      const [alice, bob] = await Promise.all(['Alice', 'Bob'].map((name) => Person.register(server, name)));
      const a = await browser.join(server, alice, { sessionId: 'relay' }, RELAY_ONLY);
      const b = await browser.join(server, bob, { sessionId: 'relay' });
      await Promise.all([a.perceives(b), b.perceives(a)]);
      const kind = await a.page.evaluate(async () => {
        const reports = [...(await globalThis.story.call.connections[0].getStats()).values()];
        const pair = reports.find(({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded');
        return reports.find(({ id }) => id === pair.localCandidateId).candidateType;
      });
      assert.equal(kind, kinds);
    } finally {
      await browser.clear();
      await server.end();
    }
  }

  it('media goes through the embedded server', () =>
    call({ TURN__ALLOW_PRIVATE: true, TURN__RELAY_ADDRESSES: '["127.0.0.1"]' }, 'relay'));

  it('media goes through coturn', async () => {
    external = await coturn();
    await call({ TURN__SECRET: SECRET, TURN__URLS: `["turn:127.0.0.1:${external.port}?transport=udp"]` }, 'relay');
  });
});
