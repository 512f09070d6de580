// Three nodes, and people who chat as if there were one.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { Cluster, isPossible } from './cluster.mjs';
import { BARE, open } from './devices.mjs';
import { assertWhole, Person } from './people.mjs';
import { BINARY } from './server.mjs';
import { eventually, within } from './wait.mjs';

describe('people on three nodes', { skip: !isPossible(), timeout: 240_000 }, () => {
  let cluster, ways;
  before(async () => {
    cluster = await Cluster.start(3, { SESSIONS__GRACE_SECONDS: 3 });
    ways = [await cluster.way(0), await cluster.way(1), await cluster.way(2)];
  });
  after(() => cluster?.end());

  /** People whose devices are at the nodes 0, 1 and 2. */
  async function three() {
    const people = [];
    for (const [n, name] of ['Alice', 'Bob', 'Eve'].entries()) people.push(await Person.register({ url: ways[n].url }, name));
    return people;
  }

  it('hear each other in order, each message once', async () => {
    const people = await three();
    const group = await people[0].group('Three nodes', ...people.slice(1));
    const devices = [];
    for (const person of people) devices.push(await open(person, BARE));
    await Promise.all(devices.map(async (device, n) => {
      for (let m = 0; m < 20; m++) await device.say(group, `${n}: ${m}`);
    }));

    for (const device of devices) {
      await device.hears(group, 60);
      assertWhole(device.messages(group), 60, device.person.name);
      device.close();
    }
  });

  it('see who is here, and what becomes of messages, on whichever node they are', async () => {
    const [alice, bob] = await three();
    await alice.call('POST', '/api/contacts', { user_id: bob.id });
    await bob.call('POST', `/api/contacts/${alice.id}/accept`);
    const phone = await open(alice, BARE);
    const tablet = await open(bob, BARE);
    const presence = (of) => phone.events.filter(({ event, data }) => event === 'presence' && data.user_id === of.id).at(-1)?.data;
    await phone.until('Bob is here', () => presence(bob)?.state === 'online');
    await bob.call('PUT', '/api/me/status', { state: 'away', text: 'Lunch' });
    await phone.until('Bob is away', () => presence(bob)?.state === 'away' && presence(bob).text === 'Lunch', 30_000);
    const conversation = await alice.direct(bob);
    const { id } = await phone.say(conversation, 'helo');
    await tablet.hears(conversation, 1);
    await alice.call('PATCH', `/api/conversations/${conversation}/messages/${id}`, { body: 'hello' });
    await tablet.until('it is mended', () => tablet.events.find(({ event, data }) => event === 'message_edited' && data.body === 'hello'));
    await bob.call('PUT', `/api/conversations/${conversation}/messages/${id}/reactions/${encodeURIComponent('👍')}`);
    await phone.until('he likes it', () => phone.events.find(({ event }) => event === 'reaction'));
    tablet.close();
    await phone.until('Bob is gone', () => presence(bob)?.state === 'offline', 60_000);
    phone.close();
  });

  it('are signed out on every node at once', async () => {
    const [alice] = await three();
    const other = await alice.another('tablet');
    const tablet = await open(Object.assign(other, { server: { url: ways[1].url } }), BARE);
    await alice.call('DELETE', `/api/me/devices/${other.device}`);

    const end = await tablet.until('the tablet is put out', () => tablet.ends.at(-1), 1_500);
    assert.equal(end.code, 1008);
    tablet.close();
  });

  it('are one person to a refresh token that is used on two nodes at once', async () => {
    const [, path] = [null, '/api/auth/refresh'];
    const phone = '+4915119990001';
    const answer = await fetch(`${ways[0].url}/api/auth/register`, {
      method: 'POST', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ phone, password: 'a long password', name: 'Twin', device: { name: 'first', platform: 'test' } }),
    });
    const { refresh_token } = await answer.json();
    const refresh = (way) => fetch(way.url + path, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ refresh_token }),
    });
    const [one, two] = await Promise.all([refresh(ways[0]), refresh(ways[1])]);
    const [first, second] = [await one.json(), await two.json()];

    assert.deepEqual([one.status, two.status], [200, 200], 'an honest client that asked twice');
    assert.equal(first.refresh_token, second.refresh_token, 'one successor, whichever node was asked');
  });

  it('are bounded by one cap, however many register at once', async () => {
    const capped = await Cluster.start(2, { AUTH__MAX_USERS: 5 });
    try {
      const numbers = Array.from({ length: 12 }, (_, n) => `+49151188800${String(n).padStart(2, '0')}`);
      const answers = await Promise.all(numbers.map((phone, n) => fetch(`${capped.nodes[n % 2].url}/api/auth/register`, {
        method: 'POST', headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ phone, password: 'a long password', name: 'One of many', device: { name: 'first', platform: 'test' } }),
      })));
      assert.equal(answers.filter(({ status }) => status === 201).length, 5);
    } finally {
      await capped.end();
    }
  });

  it('find their calls on whichever node they are', async () => {
    const [alice, bob] = await three();
    await alice.call('POST', '/api/contacts', { user_id: bob.id });
    await bob.call('POST', `/api/contacts/${alice.id}/accept`);
    const [phone, tablet] = [await open(alice, BARE), await open(bob, BARE)];
    const { call_id } = await phone.ask('start_call', { user_id: bob.id, media: 'audio' });
    await tablet.until('it rings', () => tablet.events.find(({ event, data }) => event === 'incoming_call' && data.call_id === call_id));
    const late = await open(Object.assign(await bob.another('late'), { server: { url: ways[2].url } }), BARE);
    await late.until('it rings there too', () => late.events.find(({ event, data }) => event === 'incoming_call' && data.call_id === call_id));
    await tablet.ask('accept_call', { call_id });
    await late.until('it stops ringing', () => late.events.find(({ event }) => event === 'call_answered'));
    const joined = await phone.ask('join_call', { call_id });
    await tablet.ask('join_call', { call_id });
    await phone.until('he is in', () => phone.events.find(({ event }) => event === 'participant_joined'));
    await tablet.ask('offer', { call_id, to: joined.participant_id, sdp: 'v=0' });
    await phone.until('the offer has come', () => phone.events.find(({ event, data }) => event === 'offer' && data.sdp === 'v=0'));
    const eve = await Person.register({ url: ways[2].url }, 'Eve');
    await eve.call('POST', '/api/contacts', { user_id: bob.id });
    await bob.call('POST', `/api/contacts/${eve.id}/accept`);
    const eves = await open(eve, BARE);
    await eves.ask('start_call', { user_id: bob.id, media: 'audio' });
    const busy = await eves.until('he is busy', () => eves.events.find(({ event }) => event === 'call_ended'));
    assert.equal(busy.data.reason, 'busy');
    await phone.ask('leave_call', { call_id });
    await tablet.until('it is over', () => tablet.events.find(({ event, data }) => event === 'call_ended' && data.call_id === call_id));

    assert.equal(cluster.sql(`SELECT count(*) FROM calls WHERE ended_at IS NOT NULL AND reason = 'hangup'`), '1');
    const left = async () => cluster.sql(`SELECT count(*) FROM leases WHERE key LIKE 'call/%'`);
    await eventually(5_000, 'nothing is left', async () => (await left()) === '0');
    for (const device of [phone, tablet, late, eves]) device.close();
  });

  it('are seen and served by operators of every node', async () => {
    const operator = await Person.operator(cluster.nodes[0]);
    const { items } = await operator.call('GET', '/api/admin/nodes');
    assert.deepEqual(items.map(({ name }) => name).sort(), ['node-0', 'node-1', 'node-2']);
    const other = items.find(({ name }) => name === 'node-2');
    const tree = () => operator.call('GET', `/api/admin/actors?node=${other.id}`);
    assert.equal((await tree()).node, other.id);
    await operator.call('POST', `/api/admin/actors/node/chat/3/restart?node=${other.id}`);
    const lane = (await tree()).items.find(({ path }) => path === '/node/chat/3');
    assert.equal(lane.restarts, 1);
    assert.equal(cluster.sql(`SELECT count(*) FROM audit_entries WHERE action = 'actor.restart' AND subject = '${other.id}/node/chat/3'`), '1');
    const schedulers = [];
    for (const node of cluster.nodes) {
      const page = await (await fetch(`${node.url}/metrics`)).text();
      schedulers.push(Number(page.match(/securevox_cluster_scheduler (\d)/)[1]));
    }
    assert.equal(schedulers.reduce((sum, one) => sum + one), 1, 'one node does the work of all');
  });

  it('are served on after a node was drained from the command line', async () => {
    const operator = await Person.operator(cluster.nodes[0]);
    const run = async (...words) => {
      const server = new URL(cluster.nodes[0].url).host;
      const child = spawn(BINARY, [...words, '--server', server, '--token', operator.token], { env: { PATH: process.env.PATH } });
      let said = '';
      for (const out of [child.stdout, child.stderr]) out.on('data', (bytes) => (said += bytes));
      const [code] = await within(60_000, 'the command ends', once(child, 'close'));
      return { code, said };
    };
    const trees = await run('tree', '--all', '--once');
    assert.equal(trees.code, 0, trees.said);
    for (const node of ['node-0', 'node-1', 'node-2']) assert.match(trees.said, new RegExp(`^${node} \\(up\\) node nod_`, 'm'));
    assert.equal(trees.said.match(/^ +membership /gm).length, 3);

    const { code, said } = await run('drain', 'node-2');

    assert.equal(code, 0, said);
    assert.match(said, /node-2 has left/);
    assert.deepEqual(await within(10_000, 'its process ends', cluster.nodes[2].exited), { code: 0, signal: null });
    const nodes = await run('nodes');
    assert.match(nodes.said, /^\* node-0 /m);
    assert.match(nodes.said, /^ {2}node-1 /m);
    assert.doesNotMatch(nodes.said, /node-2/);
  });
});
