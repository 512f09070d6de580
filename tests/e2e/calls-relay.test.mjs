// Calls of clients that reach only a TURN relay: the embedded one, or an external coturn with the same secret.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { withTimeout } from './wait.mjs';

const RELAY_ONLY = { configuration: { iceTransportPolicy: 'relay' } };
const SECRET = 'a secret that both of them know';

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  return port;
}

/** Starts Debian's coturn on a free port; returns the port and a function that stops it. */
async function startCoturn() {
  const port = await freePort();
  const child = spawn('turnserver', [
    '-n', '--listening-ip', '127.0.0.1', '--relay-ip', '127.0.0.1', '--listening-port', String(port), '--use-auth-secret',
    `--static-auth-secret=${SECRET}`, '--realm=story', '--allow-loopback-peers', '--no-cli', '--no-tls', '--no-dtls',
    '--log-file=stdout', '--pidfile=', '--verbose',
  ], { stdio: ['ignore', 'pipe', 'inherit'] });
  const listening = new Promise((resolve) => createInterface(child.stdout).on('line', (line) => /UDP listener opened/.test(line) && resolve()));
  await withTimeout(10_000, 'coturn listens', listening);
  return { port, end: () => child.kill() };
}

describe('call restricted to a TURN relay', () => {
  let browser, turnServer, server;

  before(async () => {
    browser = await Browser.open();
  });
  after(async () => {
    turnServer?.end();
    await browser?.close();
  });

  async function assertRelayed(settings, expectedType) {
    server = await Server.start(settings);
    try {
      const [alice, bob] = await Promise.all(['Alice', 'Bob'].map((name) => Person.register(server, name)));
      const a = await browser.join(server, alice, { sessionId: 'relay' }, RELAY_ONLY);
      const b = await browser.join(server, bob, { sessionId: 'relay' });
      await Promise.all([a.waitForMedia(b), b.waitForMedia(a)]);
      const candidateType = await a.page.evaluate(async () => {
        const reports = [...(await globalThis.harness.call.connections[0].getStats()).values()];
        const pair = reports.find(({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded');
        return reports.find(({ id }) => id === pair.localCandidateId).candidateType;
      });
      assert.equal(candidateType, expectedType);
    } finally {
      await browser.closePages();
      await server.end();
    }
  }

  it('media flows through the embedded relay', () =>
    assertRelayed({ TURN__ALLOW_PRIVATE_PEERS: true, TURN__EXTERNAL_RELAY_ADDRESSES: '["127.0.0.1"]' }, 'relay'));

  it('media flows through an external coturn', async () => {
    turnServer = await startCoturn();
    await assertRelayed({ TURN__SECRET: SECRET, TURN__EXTERNAL_URLS: `["turn:127.0.0.1:${turnServer.port}?transport=udp"]` }, 'relay');
  });
});
