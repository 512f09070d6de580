// Runs the real server binary for a test file: on a free port, with a temporary directory that is removed at the end.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, openSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { withTimeout } from './wait.mjs';

export const BINARY = process.env.SECUREVOX_BIN ?? fileURLToPath(new URL('../../target/debug/securevox', import.meta.url));

/** Tests send many requests from one address, so limits are out of the way; rate limits have tests of their own. */
const RELAXED_LIMITS = {
  LIMITS__API_PER_SECOND: 100_000,
  LIMITS__API_BURST: 100_000,
  LIMITS__LOGIN_PER_MINUTE: 100_000,
  LIMITS__REGISTRATION_PER_MINUTE: 100_000,
  LIMITS__CONTACT_REQUESTS_PER_MINUTE: 100_000,
  LIMITS__EVENTS_PER_SECOND: 100_000,
  LIMITS__EVENTS_BURST: 100_000,
  SESSIONS__MAX_IN_FLIGHT_REQUESTS: 1000,
  MEDIA__PORT_BASE: 0,
  MEDIA__EXTERNAL_ADDRESSES: '["127.0.0.1"]',
  TELEMETRY__LOG_FORMAT: 'json',
  TURN__PORT: 0,
};

let usersAdded = 0;
/** Password of users added on the command line. */
export const PASSWORD = 'a long enough password';

/** Servers to kill when this process exits, for whatever reason. */
const running = new Set();
process.on('exit', () => running.forEach((server) => server.killAndRemove()));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

export class Server {
  /** Starts a server with extra `settings`, such as `{ SESSIONS__PING_INTERVAL_SECONDS: 1 }`, and extra environment variables. */
  static async start(settings = {}, environment = {}) {
    const server = new Server();
    server.environment = environment;
    server.directory = mkdtempSync(join(tmpdir(), 'securevox-e2e-'));
    server.settings = { ...RELAXED_LIMITS, ...settings };
    running.add(server);
    await server.launch(0);
    return server;
  }

  /** Starts the binary on a port; 0 picks a free one. */
  async launch(port) {
    const settings = { ...this.settings, HTTP__BIND: `127.0.0.1:${port}`, NODE__DATA_DIR: join(this.directory, 'data') };
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SECUREVOX'));
    const overrides = Object.entries(settings).map(([name, value]) => [`SECUREVOX__${name}`, String(value)]);
    const logFile = openSync(this.logPath, 'a');
    this.process = spawn(BINARY, ['serve'], {
      env: { ...Object.fromEntries([...inherited, ...overrides]), ...this.environment },
      stdio: ['ignore', 'pipe', logFile],
    });
    closeSync(logFile);
    this.exited = once(this.process, 'exit').then(([code, signal]) => ({ code, signal }));
    this.exited.catch(() => {}); // reported through `exitedEarly`
    const firstLine = new Promise((resolve) => createInterface(this.process.stdout).once('line', resolve));
    const exitedEarly = this.exited.then(({ code }) => assert.fail(`the server exited with ${code}: ${this.readLog()}`));
    const line = await withTimeout(20_000, 'the server reports that it is ready', Promise.race([firstLine, exitedEarly]));
    const [, address] = line.match(/is ready at .* \(listening on (127\.0\.0\.1:\d+)\)/) ?? assert.fail(line);
    this.port = Number(address.split(':')[1]);
    this.url = `http://${address}`;
  }

  /** Adds a user with this role on the command line; returns the phone number. */
  async addUser(role) {
    const settings = { ...this.settings, NODE__DATA_DIR: join(this.directory, 'data') };
    const overrides = Object.entries(settings).map(([name, value]) => [`SECUREVOX__${name}`, String(value)]);
    const phone = `+491522${String(++usersAdded).padStart(7, '0')}`;
    const child = spawn(BINARY, ['user', 'add', phone, role, '--role', role], {
      env: { ...process.env, ...Object.fromEntries(overrides) },
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    child.stdin.end(`${PASSWORD}\n`);
    assert.deepEqual(await once(child, 'exit'), [0, null]);
    return phone;
  }

  get logPath() {
    return join(this.directory, 'log');
  }

  /** The log so far. */
  readLog() {
    return readFileSync(this.logPath, 'utf8');
  }

  /** Kills the process with SIGKILL, as a crash would. */
  async kill() {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  /** Starts the binary again with the same data on the same port. */
  async relaunch() {
    await this.launch(this.port);
  }

  /** Stops the process with SIGTERM; returns its exit code and signal. */
  async stop() {
    this.process.kill('SIGTERM');
    return withTimeout(20_000, 'the server exits after SIGTERM', this.exited);
  }

  /** Kills the process and removes its directory; fails if the log contains an error. */
  async end() {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.kill();
    const errors = this.readLog().split('\n').filter((line) => line.includes('"level":"ERROR"'));
    this.killAndRemove();
    assert.deepEqual(errors, [], 'the server logged errors');
  }

  killAndRemove() {
    this.process?.kill('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
    running.delete(this);
  }
}
