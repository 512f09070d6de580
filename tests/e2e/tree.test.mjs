// `securevox tree` must not send secrets to a server that is not SecureVOX.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { it } from 'node:test';
import { BINARY } from './server.mjs';
import { withTimeout } from './wait.mjs';

const TOKEN = 'a-very-secret-token';

/** Runs the command; returns its exit code and standard error. */
async function runTree(options, settings = {}) {
  const child = spawn(BINARY, ['tree', '--once', ...options], {
    env: { PATH: process.env.PATH, ...settings },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (bytes) => (stderr += bytes));
  child.stdin.on('error', () => {}); // a command that needs no password ends without reading it
  child.stdin.end('a-very-secret-password\n');
  const [code] = await withTimeout(10_000, 'command exits', once(child, 'close'));
  return { code, stderr };
}

/** Starts a TCP server that is not SecureVOX and records what it receives. */
async function foreignServer(response) {
  const received = [];
  const server = createServer((socket) => {
    socket.on('error', () => {}); // the client may close at any time
    socket.on('data', (bytes) => {
      received.push(bytes.toString());
      socket.end(response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { address: `127.0.0.1:${server.address().port}`, received, close: () => server.close() };
}

const TLS_ALERT = Buffer.from([0x15, 3, 3, 0, 2, 2, 70]);
const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n';

for (const [kind, response] of [['a TLS listener', TLS_ALERT], ['a TLS proxy', BAD_REQUEST], ['a server that closes the connection', '']]) {
  for (const credentials of [['--token', TOKEN], ['--phone', '+4915550100001']]) {
    it(`no secret is sent to ${kind} with ${credentials[0]}`, async () => {
      const foreign = await foreignServer(response);
      const { code, stderr } = await runTree(['--server', foreign.address, ...credentials]);
      foreign.close();

      assert.equal(code, 76, stderr);
      assert.match(stderr, /--server/);
      assert.deepEqual(foreign.received.join('').match(/^(GET|POST) \S+/gm), ['GET /health/live']);
      assert.doesNotMatch(foreign.received.join(''), /secret|4915550100001|authorization/i);
    });
  }
}

it('TLS in the settings makes the command exit with a hint to use --server', async () => {
  const foreign = await foreignServer(TLS_ALERT);
  const settings = {
    SECUREVOX__HTTP__BIND: foreign.address,
    SECUREVOX__HTTP__TLS_CERTIFICATE_FILE: '/nowhere/chain.pem',
    SECUREVOX__HTTP__TLS_KEY_FILE: '/nowhere/key.pem',
  };
  const { code, stderr } = await runTree(['--token', TOKEN], settings);
  foreign.close();

  assert.equal(code, 64, stderr);
  assert.match(stderr, /TLS.*--server/);
  assert.deepEqual(foreign.received, []);
});
