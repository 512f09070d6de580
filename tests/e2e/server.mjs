// A server of our own for each file of stories: the real binary, a free port, a directory that goes when the story ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, openSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { within } from './wait.mjs';

export const BINARY = process.env.SECUREVOX_BIN ?? fileURLToPath(new URL('../../target/debug/securevox', import.meta.url));

/** Stories say much in little time from one address; limits have stories of their own. */
const GENEROUS = {
  LIMITS__API_PER_SECOND: 100_000,
  LIMITS__API_BURST: 100_000,
  LIMITS__LOGIN_PER_MINUTE: 100_000,
  LIMITS__REGISTRATION_PER_MINUTE: 100_000,
  LIMITS__CONTACT_REQUESTS_PER_MINUTE: 100_000,
  LIMITS__EVENTS_PER_SECOND: 100_000,
  LIMITS__EVENTS_BURST: 100_000,
  SESSIONS__IN_FLIGHT: 1000,
  MEDIA__PORT: 0,
  MEDIA__ADDRESSES: '["127.0.0.1"]',
  TELEMETRY__FORMAT: 'json',
  TURN__PORT: 0,
};

let added = 0;
/** The password of those who are added on the command line. */
export const PASSWORD = 'a long enough password';

/** Servers that must not outlive this process, however it ends. */
const alive = new Set();
process.on('exit', () => alive.forEach((server) => server.drop()));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

export class Server {
  /** Starts a server; `settings` are further settings, as in `{ SESSIONS__PING_SECONDS: 1 }`; `environment` is its process's. */
  static async start(settings = {}, environment = {}) {
    const server = new Server();
    server.environment = environment;
    server.directory = mkdtempSync(join(tmpdir(), 'securevox-e2e-'));
    server.settings = { ...GENEROUS, ...settings };
    alive.add(server);
    await server.up(0);
    return server;
  }

  /** Starts the binary on a port; 0 is any free one. */
  async up(port) {
    const settings = { ...this.settings, HTTP__BIND: `127.0.0.1:${port}`, NODE__DATA_DIR: join(this.directory, 'data') };
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SECUREVOX'));
    const ours = Object.entries(settings).map(([name, value]) => [`SECUREVOX__${name}`, String(value)]);
    const log = openSync(this.log, 'a');
    this.process = spawn(BINARY, ['serve'], {
      env: { ...Object.fromEntries([...inherited, ...ours]), ...this.environment },
      stdio: ['ignore', 'pipe', log],
    });
    closeSync(log);
    this.exited = once(this.process, 'exit').then(([code, signal]) => ({ code, signal }));
    this.exited.catch(() => {}); // told below
    const first = new Promise((resolve) => createInterface(this.process.stdout).once('line', resolve));
    const gone = this.exited.then(({ code }) => assert.fail(`the server ended with ${code}: ${this.said()}`));
    const line = await within(20_000, 'the server says that it is ready', Promise.race([first, gone]));
    const [, address] = line.match(/is ready at .* \(listening on (127\.0\.0\.1:\d+)\)/) ?? assert.fail(line);
    this.port = Number(address.split(':')[1]);
    this.url = `http://${address}`;
  }

  /** Makes an account of this role on the command line; gives its phone number. */
  async add(role) {
    const settings = { ...this.settings, NODE__DATA_DIR: join(this.directory, 'data') };
    const ours = Object.entries(settings).map(([name, value]) => [`SECUREVOX__${name}`, String(value)]);
    const phone = `+491522${String(++added).padStart(7, '0')}`;
    const made = spawn(BINARY, ['user', 'add', phone, role, '--role', role], {
      env: { ...process.env, ...Object.fromEntries(ours) },
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    made.stdin.end(`${PASSWORD}\n`);
    assert.deepEqual(await once(made, 'exit'), [0, null]);
    return phone;
  }

  get log() {
    return join(this.directory, 'log');
  }

  /** What the server logged. */
  said() {
    return readFileSync(this.log, 'utf8');
  }

  /** Ends the process without a word, as a crash does. */
  async kill() {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  /** The same data on the same port. */
  async again() {
    await this.up(this.port);
  }

  /** Asks the process to stop and tells how it ended. */
  async stop() {
    this.process.kill('SIGTERM');
    return within(20_000, 'the server stops', this.exited);
  }

  /** The end of the story: the process and its directory go; an error in the log fails the story. */
  async end() {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.kill();
    const errors = this.said().split('\n').filter((line) => line.includes('"level":"ERROR"'));
    this.drop();
    assert.deepEqual(errors, [], 'the server logged errors');
  }

  drop() {
    this.process?.kill('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
    alive.delete(this);
  }
}
