// Chat, accounts, direct calls and administration with users on three nodes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { Cluster, servicesAvailable } from './cluster.mjs';
import { PLAIN_WEBSOCKET, openDevice } from './devices.mjs';
import { assertCompleteSequence, Person } from './people.mjs';
import { BINARY } from './server.mjs';
import { eventually, withTimeout } from './wait.mjs';

describe('users on three nodes', { skip: !servicesAvailable(), timeout: 240_000 }, () => {
  let cluster, balancers;
  before(async () => {
    cluster = await Cluster.start(3, { SESSIONS__RESUME_WINDOW_SECONDS: 3 });
    balancers = [await cluster.addBalancer(0), await cluster.addBalancer(1), await cluster.addBalancer(2)];
  });
  after(() => cluster?.end());

  /** Registers three users that connect to the nodes 0, 1 and 2. */
  async function registerOnEachNode() {
    const people = [];
    for (const [n, name] of ['Alice', 'Bob', 'Eve'].entries()) people.push(await Person.register({ url: balancers[n].url }, name));
    return people;
  }

  it('group messages from three nodes arrive in order, each once', async () => {
    const people = await registerOnEachNode();
    const group = await people[0].group('Three nodes', ...people.slice(1));
    const devices = [];
    for (const person of people) devices.push(await openDevice(person, PLAIN_WEBSOCKET));
    await Promise.all(devices.map(async (device, n) => {
      for (let m = 0; m < 20; m++) await device.sendMessage(group, `${n}: ${m}`);
    }));

    for (const device of devices) {
      await device.waitForSeq(group, 60);
      assertCompleteSequence(device.messages(group), 60, device.person.name);
      device.close();
    }
  });

  it('presence, edits and reactions reach users on other nodes', async () => {
    const [alice, bob] = await registerOnEachNode();
    await alice.call('POST', '/api/contacts', { user_id: bob.id });
    await bob.call('POST', `/api/contacts/${alice.id}/accept`);
    const phone = await openDevice(alice, PLAIN_WEBSOCKET);
    const tablet = await openDevice(bob, PLAIN_WEBSOCKET);
    const presence = (of) => phone.events.filter(({ event, data }) => event === 'presence' && data.user_id === of.id).at(-1)?.data;
    await phone.until('Bob is online', () => presence(bob)?.state === 'online');
    await bob.call('PUT', '/api/me/status', { state: 'away', text: 'Lunch' });
    await phone.until('Bob is away', () => presence(bob)?.state === 'away' && presence(bob).text === 'Lunch', 30_000);
    const conversation = await alice.direct(bob);
    const { id } = await phone.sendMessage(conversation, 'helo');
    await tablet.waitForSeq(conversation, 1);
    await alice.call('PATCH', `/api/conversations/${conversation}/messages/${id}`, { body: 'hello' });
    await tablet.until('edit arrives', () => tablet.events.find(({ event, data }) => event === 'message_edited' && data.body === 'hello'));
    await bob.call('PUT', `/api/conversations/${conversation}/messages/${id}/reactions/${encodeURIComponent('👍')}`);
    await phone.until('reaction arrives', () => phone.events.find(({ event }) => event === 'reaction'));
    tablet.close();
    await phone.until('Bob is offline', () => presence(bob)?.state === 'offline', 60_000);
    phone.close();
  });

  it('device removed on one node is disconnected from another within 1.5 s', async () => {
    const [alice] = await registerOnEachNode();
    const other = await alice.loginDevice('tablet');
    const tablet = await openDevice(Object.assign(other, { server: { url: balancers[1].url } }), PLAIN_WEBSOCKET);
    await alice.call('DELETE', `/api/me/devices/${other.device}`);

    const end = await tablet.until('tablet is disconnected', () => tablet.disconnects.at(-1), 1_500);
    assert.equal(end.code, 1008);
    tablet.close();
  });

  it('refresh token used on two nodes at once yields one successor', async () => {
    const [, path] = [null, '/api/auth/refresh'];
    const phone = '+4915119990001';
    const response = await fetch(`${balancers[0].url}/api/auth/register`, {
      method: 'POST', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ phone, password: 'a long password', name: 'Twin', device: { name: 'first', platform: 'test' } }),
    });
    const { refresh_token } = await response.json();
    const refresh = (balancer) => fetch(balancer.url + path, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ refresh_token }),
    });
    const [one, two] = await Promise.all([refresh(balancers[0]), refresh(balancers[1])]);
    const [first, second] = [await one.json(), await two.json()];

    assert.deepEqual([one.status, two.status], [200, 200], 'both concurrent refreshes succeed');
    assert.equal(first.refresh_token, second.refresh_token, 'both nodes return the same successor');
  });

  it('user limit holds for concurrent registrations on two nodes', async () => {
    const capped = await Cluster.start(2, { AUTH__MAX_USERS: 5 });
    try {
      const numbers = Array.from({ length: 12 }, (_, n) => `+49151188800${String(n).padStart(2, '0')}`);
      const responses = await Promise.all(numbers.map((phone, n) => fetch(`${capped.nodes[n % 2].url}/api/auth/register`, {
        method: 'POST', headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ phone, password: 'a long password', name: 'One of many', device: { name: 'first', platform: 'test' } }),
      })));
      assert.equal(responses.filter(({ status }) => status === 201).length, 5);
    } finally {
      await capped.end();
    }
  });

  it('direct call works with devices on different nodes', async () => {
    const [alice, bob] = await registerOnEachNode();
    await alice.call('POST', '/api/contacts', { user_id: bob.id });
    await bob.call('POST', `/api/contacts/${alice.id}/accept`);
    const [phone, tablet] = [await openDevice(alice, PLAIN_WEBSOCKET), await openDevice(bob, PLAIN_WEBSOCKET)];
    const { call_id } = await phone.request('start_call', { user_id: bob.id, media: 'audio' });
    await tablet.until('tablet rings', () => tablet.events.find(({ event, data }) => event === 'incoming_call' && data.call_id === call_id));
    const late = await openDevice(Object.assign(await bob.loginDevice('late'), { server: { url: balancers[2].url } }), PLAIN_WEBSOCKET);
    await late.until('late device rings', () => late.events.find(({ event, data }) => event === 'incoming_call' && data.call_id === call_id));
    await tablet.request('accept_call', { call_id });
    await late.until('late device stops ringing', () => late.events.find(({ event }) => event === 'call_answered'));
    const joined = await phone.request('join_call', { call_id });
    await tablet.request('join_call', { call_id });
    await phone.until('Bob has joined', () => phone.events.find(({ event }) => event === 'participant_joined'));
    await tablet.request('offer', { call_id, to: joined.participant_id, sdp: 'v=0' });
    await phone.until('offer arrives', () => phone.events.find(({ event, data }) => event === 'offer' && data.sdp === 'v=0'));
    const eve = await Person.register({ url: balancers[2].url }, 'Eve');
    await eve.call('POST', '/api/contacts', { user_id: bob.id });
    await bob.call('POST', `/api/contacts/${eve.id}/accept`);
    const evesDevice = await openDevice(eve, PLAIN_WEBSOCKET);
    await evesDevice.request('start_call', { user_id: bob.id, media: 'audio' });
    const busy = await evesDevice.until('Bob is reported busy', () => evesDevice.events.find(({ event }) => event === 'call_ended'));
    assert.equal(busy.data.reason, 'busy');
    await phone.request('leave_call', { call_id });
    await tablet.until('call has ended', () => tablet.events.find(({ event, data }) => event === 'call_ended' && data.call_id === call_id));

    assert.equal(cluster.sql(`SELECT count(*) FROM calls WHERE ended_at IS NOT NULL AND reason = 'hangup'`), '1');
    const remainingLeases = async () => cluster.sql(`SELECT count(*) FROM leases WHERE key LIKE 'call/%'`);
    await eventually(5_000, 'no call lease remains', async () => (await remainingLeases()) === '0');
    for (const device of [phone, tablet, late, evesDevice]) device.close();
  });

  it('operator of one node inspects and restarts actors of another', async () => {
    const operator = await Person.operator(cluster.nodes[0]);
    const { items } = await operator.call('GET', '/api/admin/nodes');
    assert.deepEqual(items.map(({ name }) => name).sort(), ['node-0', 'node-1', 'node-2']);
    const other = items.find(({ name }) => name === 'node-2');
    const tree = () => operator.call('GET', `/api/admin/actors?node=${other.id}`);
    assert.equal((await tree()).node, other.id);
    await operator.call('POST', `/api/admin/actors/node/chat/3/restart?node=${other.id}`);
    const shard = (await tree()).items.find(({ path }) => path === '/node/chat/3');
    assert.equal(shard.restarts, 1);
    assert.equal(cluster.sql(`SELECT count(*) FROM audit_entries WHERE action = 'actor.restart' AND subject = '${other.id}/node/chat/3'`), '1');
    const schedulers = [];
    for (const node of cluster.nodes) {
      const page = await (await fetch(`${node.url}/metrics`)).text();
      schedulers.push(Number(page.match(/securevox_cluster_scheduler_leader (\d)/)[1]));
    }
    assert.equal(schedulers.reduce((sum, one) => sum + one), 1, 'exactly one node is the scheduler');
  });

  it('node drained from the command line leaves the cluster and exits cleanly', async () => {
    const operator = await Person.operator(cluster.nodes[0]);
    const run = async (...args) => {
      const server = new URL(cluster.nodes[0].url).host;
      const child = spawn(BINARY, [...args, '--server', server, '--token', operator.token], { env: { PATH: process.env.PATH } });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (output += bytes));
      const [code] = await withTimeout(60_000, 'command exits', once(child, 'close'));
      return { code, output };
    };
    const trees = await run('tree', '--all', '--once');
    assert.equal(trees.code, 0, trees.output);
    for (const node of ['node-0', 'node-1', 'node-2']) assert.match(trees.output, new RegExp(`^${node} \\(up\\) node nod_`, 'm'));
    assert.equal(trees.output.match(/^ +membership /gm).length, 3);

    const { code, output } = await run('drain', 'node-2');

    assert.equal(code, 0, output);
    assert.match(output, /node-2 has left/);
    assert.deepEqual(await withTimeout(10_000, 'drained node exits', cluster.nodes[2].exited), { code: 0, signal: null });
    const nodes = await run('nodes');
    assert.match(nodes.output, /^\* node-0 /m);
    assert.match(nodes.output, /^ {2}node-1 /m);
    assert.doesNotMatch(nodes.output, /node-2/);
  });
});
