// Calls of real browsers on three nodes: one hears the other wherever they are, and goes on when a node dies or leaves.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Cluster, isPossible } from './cluster.mjs';
import { Person } from './people.mjs';
import { bestOf, eventually } from './wait.mjs';

const RUNS = Number(process.env.E2E_KILLS ?? 3);

describe('calls on three nodes', { skip: !isPossible(), timeout: 600_000 }, () => {
  let cluster, browser, people;
  const ways = [];
  before(async () => {
    cluster = await Cluster.start(3, { CALLS__MAX_PER_PERSON: 100 });
    browser = await Browser.open();
    for (let n = 0; n < 3; n++) ways.push(await cluster.way(n, (n + 1) % 3, (n + 2) % 3));
    people = [];
    for (const name of ['Alice', 'Bob', 'Eve']) people.push(await Person.register({ url: ways[0].url }, name));
  });
  afterEach(() => browser?.clear());
  after(async () => {
    await browser?.close();
    await cluster?.end();
  });

  /** A call of three, each on another node; its owner is the node of the first. */
  async function meet(session) {
    const peers = [];
    for (const [n, person] of people.entries()) peers.push(await browser.join(ways[n], person, { sessionId: session }));
    for (const peer of peers) for (const other of peers) if (peer !== other) await peer.perceives(other);
    return peers;
  }

  const call = (session) => cluster.sql(`SELECT id FROM calls WHERE session = '${session}' ORDER BY started_at DESC LIMIT 1`);
  const records = (session) => Number(cluster.sql(`SELECT count(*) FROM calls WHERE session = '${session}'`));
  const epoch = (session) => Number(cluster.sql(`SELECT epoch FROM leases WHERE key = 'call/name/${session}'`));

  /** The node that has a call, by its number. */
  function owner(session) {
    const name = cluster.sql(`SELECT n.name FROM leases l JOIN nodes n ON n.id = l.owner WHERE l.key = 'call/name/${session}'`);
    return Number(name.split('-')[1]);
  }

  async function bringBack(n) {
    await cluster.nodes[n].again();
    await cluster.complete(3);
  }

  /** Everybody sees everybody again; how long each picture stood still at most, in ms. */
  async function gaps(peers) {
    for (const peer of peers) {
      peer.id = await peer.page.evaluate(() => globalThis.story.call.me);
    }
    for (const peer of peers) for (const other of peers) if (peer !== other) await peer.perceives(other, {}, 20_000);
    const all = [];
    for (const peer of peers) for (const other of peers) if (peer !== other) all.push(await peer.longestGap(other));
    return all;
  }

  const present = (peer) => peer.page.evaluate(() => globalThis.story.call.participants.size);

  it('are seen and heard across nodes', async () => {
    const peers = await meet('across');
    assert.equal(records('across'), 1);
    const views = await (await Person.operator(cluster.nodes[2])).call('GET', '/api/admin/calls');
    const view = views.items.find(({ session_id }) => session_id === 'across');
    assert.equal(view.participants.length, 3, 'any node tells of it');
    for (const peer of peers) assert.equal(await present(peer), 2);
  });

  it('go on when the node that has them is killed', () => bestOf(3, async (attempt) => {
    const times = [];
    for (let run = 0; run < RUNS; run++) {
      const session = `killed-${attempt}-${run}`;
      const peers = await meet(session);
      const first = call(session);
      const dead = owner(session);
      for (const peer of peers) await peer.forget();
      await cluster.nodes[dead].kill();
      const stood = await gaps(peers);
      times.push(Math.max(...stood));
      assert.notEqual(owner(session), dead);
      assert.equal(epoch(session), 2);
      for (const peer of peers) assert.equal(await present(peer), 2, 'nobody is doubled');
      assert.equal(records(session), 1);
      assert.equal(call(session), first, 'the call is the same');
      await browser.clear();
      await bringBack(dead);
    }
    times.sort((a, b) => a - b);
    console.log(`media was away for ${times.map(Math.round)} ms after a kill`);
    assert.ok(times[Math.floor((times.length - 1) / 2)] <= 1_500, `half within 1.5 s: ${times}`);
    assert.ok(times.at(-1) <= 3_000, `all within 3 s: ${times}`);
  }));

  it('keep their media when a node is killed that only brought somebody to them', () => bestOf(3, async (run) => {
    const session = `bystander-${run}`;
    const peers = await meet(session);
    const dead = (owner(session) + 1) % 3;
    const victim = peers[dead];
    for (const peer of peers) await peer.forget();
    await cluster.nodes[dead].kill();
    await victim.page.waitForFunction(() => globalThis.story.events.some(({ name }) => name === 'back'), null, { timeout: 10_000 });
    const stood = await gaps(peers);
    const epochs = epoch(session);
    await browser.clear();
    await bringBack(dead);
    assert.equal(epochs, 1);
    assert.ok(Math.max(...stood) < 500, `media never passed through it: ${stood}`);
  }));

  it('move without a gap when their node is drained, and the node ends well', async () => {
    await bestOf(3, async (run) => {
      const session = `drained-${run}`;
      const peers = await meet(session);
      const leaving = owner(session);
      for (const peer of peers) await peer.forget();
      const operator = await Person.operator(cluster.nodes[(leaving + 1) % 3]);
      const { items } = await operator.call('GET', '/api/admin/nodes');
      const { id } = items.find(({ name }) => name === `node-${leaving}`);
      await operator.call('POST', `/api/admin/nodes/${id}/drain`);
      const ended = await cluster.nodes[leaving].exited;
      const stood = await gaps(peers);
      await browser.clear();
      await bringBack(leaving);
      console.log(`media was away for ${stood.map(Math.round)} ms in a drain`);
      assert.deepEqual(ended, { code: 0, signal: null });
      assert.equal(records(session), 1);
      assert.ok(Math.max(...stood) <= 500, `a gap: ${stood}`);
    });
  });

  it('have one owner, also when a frozen one wakes up', async () => {
    const peers = await meet('frozen');
    const frozen = owner('frozen');
    const node = cluster.nodes[frozen];
    node.process.kill('SIGSTOP');
    const others = peers.filter((_, n) => n !== frozen);
    await new Promise((resolve) => setTimeout(resolve, 20_000)); // it is frozen for that long, whatever happens meanwhile
    node.process.kill('SIGCONT');
    assert.notEqual(owner('frozen'), frozen);
    assert.equal(epoch('frozen'), 2);
    await gaps(others);
    await cluster.complete(3);
    await eventually(5_000, 'it let go of the call, and of that only', async () => {
      const page = await (await fetch(`${node.url}/metrics`)).text();
      return page.includes('securevox_cluster_room_moves_total{reason="fenced"} 1\n');
    });
    assert.equal(records('frozen'), 1);
    assert.equal(epoch('frozen'), 2, 'it did not take it back');
  });
});
