// What people notice when the broker, the cache or the network between nodes is away, and when clocks disagree.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Line } from './balancer.mjs';
import { Cluster, isPossible } from './cluster.mjs';
import { BARE, open } from './devices.mjs';
import { assertWhole, Person } from './people.mjs';
import { eventually } from './wait.mjs';

const FAKETIME = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`).find(existsSync);
const SERVICES = fileURLToPath(new URL('../services', import.meta.url));
const passes = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A cluster whose nodes reach the broker over a line each. */
async function cut() {
  const url = new URL(process.env.SECUREVOX_TEST_AMQP);
  const lines = [];
  for (let n = 0; n < 3; n++) lines.push(await new Line(Number(url.port)).listen());
  const through = (n) => ({ CLUSTER__BUS: `amqp://${url.username}:${url.password}@127.0.0.1:${lines[n].port}` });
  const cluster = await Cluster.start(3, {}, { own: through });
  return { cluster, lines };
}

/** Alice at node 0, Bob at node 1, Eve at node 0, in one group. */
async function gather(cluster) {
  const ways = [await cluster.way(0), await cluster.way(1), await cluster.way(0)];
  const people = [];
  for (const [n, name] of ['Alice', 'Bob', 'Eve'].entries()) people.push(await Person.register({ url: ways[n].url }, name));
  const group = await people[0].group('Three', ...people.slice(1));
  const devices = [];
  for (const person of people) devices.push(await open(person, BARE));
  return { group, devices, people };
}

// Most of their time they wait: they do so beside each other.
describe('when something between nodes is away', { skip: !isPossible(), timeout: 300_000, concurrency: true }, () => {
  it('without a broker each node goes on alone, and what was missed comes when it is back', async () => {
    const { cluster, lines } = await cut();
    try {
      const { group, devices: [alice, bob, eve] } = await gather(cluster);
      await alice.say(group, 'before');
      await bob.hears(group, 1);
      for (const line of lines) line.set('refuse');
      const deaf = async () => (await fetch(`${cluster.nodes[0].url}/health/ready`)).status === 503;
      await eventually(20_000, 'readiness is red', deaf);
      await alice.say(group, 'in between');
      await eve.hears(group, 2, 1_000);
      const { call_id } = await alice.ask('join_call', { sessionId: 'alone' });
      assert.ok((await eve.ask('join_call', { sessionId: 'alone' })).call_id === call_id, 'a call inside the node');
      await passes(30_000);
      await alice.say(group, 'much later');
      await eve.hears(group, 3, 1_000);
      assert.ok(!bob.messages(group).some(({ body }) => body === 'much later'), 'nothing goes between the nodes');
      await alice.ask('mute_audio', { call_id, muted: true });
      for (const line of lines) line.set('pass');
      const back = Date.now();
      await bob.hears(group, 3, 10_000);
      await alice.say(group, 'after');
      await bob.hears(group, 4, 10_000);
      console.log(`the other node heard what it had missed ${Date.now() - back} ms after the broker's return`);
      assert.ok(Date.now() - back < 5_000, `${Date.now() - back} ms`);
      await eve.hears(group, 4);
      for (const device of [alice, bob, eve]) assertWhole(device.messages(group), 4, device.person.name);
      assert.equal((await alice.ask('join_call', { sessionId: 'alone' })).call_id, call_id, 'the call went on');
      for (const device of [alice, bob, eve]) device.close();
    } finally {
      await cluster.end();
      for (const line of lines) line.close();
    }
  });

  it('a node that a silent network cuts off is not deaf when the network is back', async () => {
    const { cluster, lines } = await cut();
    try {
      const { group, devices: [alice, bob, eve] } = await gather(cluster);
      lines[1].set('hole');
      for (let n = 1; n <= 5; n++) await alice.say(group, `unheard ${n}`);
      await passes(20_000);
      lines[1].set('pass');
      const back = Date.now();
      await bob.hears(group, 5, 15_000);
      await bob.say(group, 'heard');
      await alice.hears(group, 6, 15_000 - (Date.now() - back));
      await eve.hears(group, 6);
      console.log(`it spoke and heard ${Date.now() - back} ms after the network's return`);
      for (const device of [alice, bob, eve]) {
        assertWhole(device.messages(group), 6, device.person.name);
        device.close();
      }
      await cluster.complete(3);
    } finally {
      await cluster.end();
      for (const line of lines) line.close();
    }
  });

  it('a broker that takes nothing more, for lack of memory, makes nobody wait', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'securevox-broker-'));
    const services = async (command, ...more) => {
      const [code] = await once(spawn(SERVICES, [command, directory, ...more], { stdio: 'ignore' }), 'exit');
      assert.equal(code, 0, `${command} ${more}`);
    };
    let cluster;
    try {
      await services('broker');
      const [bus] = readFileSync(join(directory, 'env'), 'utf8').match(/amqp:[^']*/);
      cluster = await Cluster.start(3, { CLUSTER__BUS: bus });
      const { group, devices: [alice, bob, eve] } = await gather(cluster);
      const { call_id } = await alice.ask('join_call', { sessionId: 'full' });
      await bob.ask('join_call', { call_id });
      const refused = () => bob.ask('mute_audio', { call_id, muted: true }).then(() => null, ({ code }) => code);
      assert.equal(await refused(), null, 'across the nodes');

      await services('control', 'set_vm_memory_high_watermark', 'absolute', '1');
      // The broker says that it takes nothing more when a node tells it something.
      await eventually(10_000, 'it is noticed', async () => (await refused()) === 'calls/unavailable');
      const asked = Date.now();
      assert.equal((await eve.ask('join_call', { call_id })).call_id, call_id, 'in the node of the call');
      const own = await bob.ask('join_call', { sessionId: 'another' });
      assert.notEqual(own.call_id, call_id, 'one that begins at the other node');
      await alice.ask('mute_audio', { call_id, muted: true });
      await alice.say(group, 'in between');
      await eve.hears(group, 1, 1_000);
      assert.equal(await refused(), 'calls/unavailable');
      console.log(`five that need no broker, and one that is refused for want of it: ${Date.now() - asked} ms`);
      assert.ok(Date.now() - asked < 5_000, `${Date.now() - asked} ms`);

      await services('control', 'set_vm_memory_high_watermark', '0.9');
      const over = Date.now();
      await bob.hears(group, 1, 10_000);
      await eventually(10_000, 'his call goes on', async () => (await refused()) === null);
      console.log(`all as before ${Date.now() - over} ms later`);
      for (const device of [alice, bob, eve]) {
        assertWhole(device.messages(group), 1, device.person.name);
        device.close();
      }
    } finally {
      await cluster?.end();
      await services('stop');
    }
  });

  it('without a cache people stay and chat, and nobody comes in', async () => {
    const port = await new Line(0).listen().then((line) => (line.close(), line.port));
    const redis = () => spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: 'ignore' });
    const answers = () => new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true)));
      socket.on('error', () => resolve(false));
    });
    let server = redis();
    await eventually(10_000, 'Redis answers', answers);
    const cluster = await Cluster.start(3, { CLUSTER__CACHE: `redis://127.0.0.1:${port}` });
    try {
      const { group, devices: [alice, bob, eve], people } = await gather(cluster);
      server.kill('SIGKILL');
      await once(server, 'exit');
      await alice.say(group, 'hello');
      await bob.hears(group, 1);
      assert.equal((await people[1].call('GET', '/api/me')).name, 'Bob', 'signed in as before');
      const { phone, password } = people[0];
      const login = () => fetch(`${cluster.nodes[2].url}/api/auth/login`, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ phone, password }),
      });
      assert.equal((await login()).status, 503, 'what cannot be counted is refused');
      server = redis();
      await eventually(10_000, 'it heals by itself', async () => (await login()).status === 200);
      for (const device of [alice, bob, eve]) device.close();
    } finally {
      await cluster.end();
      server.kill('SIGKILL');
    }
  });

  it('clocks that are 30 s apart make no difference', { skip: !FAKETIME && !process.env.SECUREVOX_TEST_ALL }, async () => {
    const environment = (n) => (n === 1 ? { LD_PRELOAD: FAKETIME, FAKETIME: '+30s', FAKETIME_DONT_FAKE_MONOTONIC: '1' } : {});
    const cluster = await Cluster.start(3, {}, { environment });
    try {
      const { group, devices: [alice, bob, eve], people } = await gather(cluster);
      assert.equal((await people[0].call('GET', '/api/me')).name, 'Alice');
      const ahead = { ...people[0], server: { url: cluster.nodes[1].url } };
      Object.setPrototypeOf(ahead, Person.prototype);
      assert.equal((await ahead.call('GET', '/api/me')).name, 'Alice', 'her token is good where the clock is ahead');
      const behind = Object.setPrototypeOf({ ...people[1], server: { url: cluster.nodes[2].url } }, Person.prototype);
      assert.equal((await behind.call('GET', '/api/me')).name, 'Bob', 'and his, made there, where it is not');
      const times = [];
      for (let n = 0; n < 6; n++) times.push(Date.parse((await [alice, bob][n % 2].say(group, `${n}`)).sent_at));
      assert.deepEqual(times, [...times].sort((a, b) => a - b), 'time goes one way');
      assert.ok(times.at(-1) - times[0] < 5_000, `${times}`);
      const post = (node, path, body) => fetch(cluster.nodes[node].url + path, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
      });
      const { phone, password } = people[0];
      const signed = await (await post(1, '/api/auth/login', { phone, password })).json();
      const [one, two] = [await post(1, '/api/auth/refresh', { refresh_token: signed.refresh_token }), await post(0, '/api/auth/refresh', { refresh_token: signed.refresh_token })];
      assert.deepEqual([one.status, two.status], [200, 200], 'within the grace on either clock');
      const { call_id } = await bob.ask('join_call', { sessionId: 'clocks' });
      assert.equal((await alice.ask('join_call', { sessionId: 'clocks' })).call_id, call_id);
      for (const device of [alice, bob, eve]) device.close();
    } finally {
      await cluster.end();
      for (const kind of ['faketime_shm', 'sem.faketime_sem']) rmSync(`/dev/shm/${kind}_${cluster.nodes[1].process.pid}`, { force: true });
    }
  });
});
