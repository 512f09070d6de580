// `securevox tree` and where it must not say a secret.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { it } from 'node:test';
import { BINARY } from './server.mjs';
import { within } from './wait.mjs';

const TOKEN = 'a-very-secret-token';

/** Runs the command; how it ended, and its words. */
async function tree(options, settings = {}) {
  const child = spawn(BINARY, ['tree', '--once', ...options], {
    env: { PATH: process.env.PATH, ...settings },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let words = '';
  child.stderr.on('data', (bytes) => (words += bytes));
  child.stdin.on('error', () => {}); // a command that needs no password ends without reading it
  child.stdin.end('a-very-secret-password\n');
  const [code] = await within(10_000, 'the command ends', once(child, 'close'));
  return { code, words };
}

/** Something that is no SecureVOX, and all that it was told. */
async function stranger(answer) {
  const heard = [];
  const server = createServer((socket) => {
    socket.on('error', () => {}); // it may go at any time
    socket.on('data', (bytes) => {
      heard.push(bytes.toString());
      socket.end(answer);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { address: `127.0.0.1:${server.address().port}`, heard, close: () => server.close() };
}

const alert = Buffer.from([0x15, 3, 3, 0, 2, 2, 70]);
const proxy = 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n';

for (const [what, answer] of [['a listener for TLS', alert], ['a proxy for TLS', proxy], ['one that hangs up', '']]) {
  for (const who of [['--token', TOKEN], ['--phone', '+4915550100001']]) {
    it(`tells ${what} nothing secret with ${who[0]}`, async () => {
      const other = await stranger(answer);
      const { code, words } = await tree(['--server', other.address, ...who]);
      other.close();

      assert.equal(code, 76, words);
      assert.match(words, /--server/);
      assert.deepEqual(other.heard.join('').match(/^(GET|POST) \S+/gm), ['GET /health/live']);
      assert.doesNotMatch(other.heard.join(''), /secret|4915550100001|authorization/i);
    });
  }
}

it('says what to do where the settings have TLS', async () => {
  const other = await stranger(alert);
  const settings = {
    SECUREVOX__HTTP__BIND: other.address,
    SECUREVOX__HTTP__TLS_CERTIFICATE: '/nowhere/chain.pem',
    SECUREVOX__HTTP__TLS_KEY: '/nowhere/key.pem',
  };
  const { code, words } = await tree(['--token', TOKEN], settings);
  other.close();

  assert.equal(code, 64, words);
  assert.match(words, /TLS.*--server/);
  assert.deepEqual(other.heard, []);
});
