// Outages of the broker, the cache or the network between nodes, and clock skew, as users see them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TcpProxy } from './balancer.mjs';
import { Cluster, servicesAvailable } from './cluster.mjs';
import { PLAIN_WEBSOCKET, openDevice } from './devices.mjs';
import { assertCompleteSequence, Person } from './people.mjs';
import { eventually } from './wait.mjs';

const FAKETIME = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`).find(existsSync);
const SERVICES = fileURLToPath(new URL('../services', import.meta.url));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Starts a cluster whose nodes reach the broker through one proxy each. */
async function startWithProxiedBroker() {
  const url = new URL(process.env.SECUREVOX_TEST_AMQP);
  const proxies = [];
  for (let n = 0; n < 3; n++) proxies.push(await new TcpProxy(Number(url.port)).listen());
  const viaProxy = (n) => ({ CLUSTER__AMQP_URL: `amqp://${url.username}:${url.password}@127.0.0.1:${proxies[n].port}` });
  const cluster = await Cluster.start(3, {}, { nodeSettings: viaProxy });
  return { cluster, proxies };
}

/** Connects Alice to node 0, Bob to node 1 and Eve to node 0, all in one group. */
async function connectGroup(cluster) {
  const balancers = [await cluster.addBalancer(0), await cluster.addBalancer(1), await cluster.addBalancer(0)];
  const people = [];
  for (const [n, name] of ['Alice', 'Bob', 'Eve'].entries()) people.push(await Person.register({ url: balancers[n].url }, name));
  const group = await people[0].group('Three', ...people.slice(1));
  const devices = [];
  for (const person of people) devices.push(await openDevice(person, PLAIN_WEBSOCKET));
  return { group, devices, people };
}

// These tests mostly wait, so they run concurrently.
describe('cluster outages', { skip: !servicesAvailable(), timeout: 300_000, concurrency: true }, () => {
  it('broker outage leaves each node working alone and missed messages arrive after recovery', async () => {
    const { cluster, proxies } = await startWithProxiedBroker();
    try {
      const { group, devices: [alice, bob, eve] } = await connectGroup(cluster);
      await alice.sendMessage(group, 'before');
      await bob.waitForSeq(group, 1);
      for (const proxy of proxies) proxy.setMode('refuse');
      const isNotReady = async () => (await fetch(`${cluster.nodes[0].url}/health/ready`)).status === 503;
      await eventually(20_000, 'readiness probe fails', isNotReady);
      await alice.sendMessage(group, 'in between');
      await eve.waitForSeq(group, 2, 1_000);
      const { call_id } = await alice.request('join_call', { sessionId: 'alone' });
      assert.ok((await eve.request('join_call', { sessionId: 'alone' })).call_id === call_id, 'join of a call on the same node');
      await sleep(30_000);
      await alice.sendMessage(group, 'much later');
      await eve.waitForSeq(group, 3, 1_000);
      assert.ok(!bob.messages(group).some(({ body }) => body === 'much later'), 'no message crosses nodes during the outage');
      await alice.request('mute_audio', { call_id, muted: true });
      for (const proxy of proxies) proxy.setMode('forward');
      const recoveredAt = Date.now();
      await bob.waitForSeq(group, 3, 10_000);
      await alice.sendMessage(group, 'after');
      await bob.waitForSeq(group, 4, 10_000);
      console.log(`missed messages arrived at the other node ${Date.now() - recoveredAt} ms after the broker recovered`);
      assert.ok(Date.now() - recoveredAt < 5_000, `${Date.now() - recoveredAt} ms`);
      await eve.waitForSeq(group, 4);
      for (const device of [alice, bob, eve]) assertCompleteSequence(device.messages(group), 4, device.person.name);
      assert.equal((await alice.request('join_call', { sessionId: 'alone' })).call_id, call_id, 'call continues');
      for (const device of [alice, bob, eve]) device.close();
    } finally {
      await cluster.end();
      for (const proxy of proxies) proxy.close();
    }
  });

  it('node behind a silent network partition sends and receives after the network recovers', async () => {
    const { cluster, proxies } = await startWithProxiedBroker();
    try {
      const { group, devices: [alice, bob, eve] } = await connectGroup(cluster);
      proxies[1].setMode('blackhole');
      for (let n = 1; n <= 5; n++) await alice.sendMessage(group, `unheard ${n}`);
      await sleep(20_000);
      proxies[1].setMode('forward');
      const recoveredAt = Date.now();
      await bob.waitForSeq(group, 5, 15_000);
      await bob.sendMessage(group, 'heard');
      await alice.waitForSeq(group, 6, 15_000 - (Date.now() - recoveredAt));
      await eve.waitForSeq(group, 6);
      console.log(`node sent and received ${Date.now() - recoveredAt} ms after the network recovered`);
      for (const device of [alice, bob, eve]) {
        assertCompleteSequence(device.messages(group), 6, device.person.name);
        device.close();
      }
      await cluster.waitForMembership(3);
    } finally {
      await cluster.end();
      for (const proxy of proxies) proxy.close();
    }
  });

  it('broker blocked by its memory limit does not delay local requests', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'securevox-broker-'));
    const services = async (command, ...args) => {
      const [code] = await once(spawn(SERVICES, [command, directory, ...args], { stdio: 'ignore' }), 'exit');
      assert.equal(code, 0, `${command} ${args}`);
    };
    let cluster;
    try {
      await services('broker');
      const [bus] = readFileSync(join(directory, 'env'), 'utf8').match(/amqp:[^']*/);
      cluster = await Cluster.start(3, { CLUSTER__AMQP_URL: bus });
      const { group, devices: [alice, bob, eve] } = await connectGroup(cluster);
      const { call_id } = await alice.request('join_call', { sessionId: 'full' });
      await bob.request('join_call', { call_id });
      const muteError = () => bob.request('mute_audio', { call_id, muted: true }).then(() => null, ({ code }) => code);
      assert.equal(await muteError(), null, 'request to the node of the call works');

      await services('control', 'set_vm_memory_high_watermark', 'absolute', '1');
      // The broker reports that it is blocked only when a node publishes.
      await eventually(10_000, 'node detects the blocked broker', async () => (await muteError()) === 'calls/unavailable');
      const startedAt = Date.now();
      assert.equal((await eve.request('join_call', { call_id })).call_id, call_id, 'join on the node of the call');
      const created = await bob.request('join_call', { sessionId: 'another' });
      assert.notEqual(created.call_id, call_id, 'new call on the other node');
      await alice.request('mute_audio', { call_id, muted: true });
      await alice.sendMessage(group, 'in between');
      await eve.waitForSeq(group, 1, 1_000);
      assert.equal(await muteError(), 'calls/unavailable');
      console.log(`five local requests and one rejected remote request took ${Date.now() - startedAt} ms`);
      assert.ok(Date.now() - startedAt < 5_000, `${Date.now() - startedAt} ms`);

      await services('control', 'set_vm_memory_high_watermark', '0.9');
      const unblockedAt = Date.now();
      await bob.waitForSeq(group, 1, 10_000);
      await eventually(10_000, 'requests to the node of the call work again', async () => (await muteError()) === null);
      console.log(`back to normal ${Date.now() - unblockedAt} ms after the broker was unblocked`);
      for (const device of [alice, bob, eve]) {
        assertCompleteSequence(device.messages(group), 1, device.person.name);
        device.close();
      }
    } finally {
      await cluster?.end();
      await services('stop');
    }
  });

  it('cache outage keeps logged-in users chatting and rejects logins', async () => {
    const port = await new TcpProxy(0).listen().then((proxy) => (proxy.close(), proxy.port));
    const redis = () => spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: 'ignore' });
    const accepts = () => new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true)));
      socket.on('error', () => resolve(false));
    });
    let server = redis();
    await eventually(10_000, 'Redis accepts connections', accepts);
    const cluster = await Cluster.start(3, { CLUSTER__REDIS_URL: `redis://127.0.0.1:${port}` });
    try {
      const { group, devices: [alice, bob, eve], people } = await connectGroup(cluster);
      server.kill('SIGKILL');
      await once(server, 'exit');
      await alice.sendMessage(group, 'hello');
      await bob.waitForSeq(group, 1);
      assert.equal((await people[1].call('GET', '/api/me')).name, 'Bob', 'access token is still valid');
      const { phone, password } = people[0];
      const login = () => fetch(`${cluster.nodes[2].url}/api/auth/login`, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ phone, password }),
      });
      assert.equal((await login()).status, 503, 'login that cannot be rate limited is rejected');
      server = redis();
      await eventually(10_000, 'login works again', async () => (await login()).status === 200);
      for (const device of [alice, bob, eve]) device.close();
    } finally {
      await cluster.end();
      server.kill('SIGKILL');
    }
  });

  it('clock skew of 30 s between nodes has no effect', { skip: !FAKETIME && !process.env.SECUREVOX_TEST_ALL }, async () => {
    const environment = (n) => (n === 1 ? { LD_PRELOAD: FAKETIME, FAKETIME: '+30s', FAKETIME_DONT_FAKE_MONOTONIC: '1' } : {});
    const cluster = await Cluster.start(3, {}, { environment });
    try {
      const { group, devices: [alice, bob, eve], people } = await connectGroup(cluster);
      assert.equal((await people[0].call('GET', '/api/me')).name, 'Alice');
      const ahead = { ...people[0], server: { url: cluster.nodes[1].url } };
      Object.setPrototypeOf(ahead, Person.prototype);
      assert.equal((await ahead.call('GET', '/api/me')).name, 'Alice', 'token is valid where the clock is ahead');
      const behind = Object.setPrototypeOf({ ...people[1], server: { url: cluster.nodes[2].url } }, Person.prototype);
      assert.equal((await behind.call('GET', '/api/me')).name, 'Bob', 'token issued there is valid where the clock is correct');
      const times = [];
      for (let n = 0; n < 6; n++) times.push(Date.parse((await [alice, bob][n % 2].sendMessage(group, `${n}`)).sent_at));
      assert.deepEqual(times, [...times].sort((a, b) => a - b), 'sent_at never decreases');
      assert.ok(times.at(-1) - times[0] < 5_000, `${times}`);
      const post = (node, path, body) => fetch(cluster.nodes[node].url + path, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
      });
      const { phone, password } = people[0];
      const session = await (await post(1, '/api/auth/login', { phone, password })).json();
      const [first, second] = [await post(1, '/api/auth/refresh', { refresh_token: session.refresh_token }), await post(0, '/api/auth/refresh', { refresh_token: session.refresh_token })];
      assert.deepEqual([first.status, second.status], [200, 200], 'both refreshes are within the reuse grace period');
      const { call_id } = await bob.request('join_call', { sessionId: 'clocks' });
      assert.equal((await alice.request('join_call', { sessionId: 'clocks' })).call_id, call_id);
      for (const device of [alice, bob, eve]) device.close();
    } finally {
      await cluster.end();
      for (const prefix of ['faketime_shm', 'sem.faketime_sem']) rmSync(`/dev/shm/${prefix}_${cluster.nodes[1].process.pid}`, { force: true });
    }
  });
});
