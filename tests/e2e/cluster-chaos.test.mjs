// A hundred people chat while nodes are killed, and while they are restarted one after the other: nothing is lost.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { Balancer } from './balancer.mjs';
import { Cluster, isPossible } from './cluster.mjs';
import { BARE, open } from './devices.mjs';
import { assertWhole, Person } from './people.mjs';
import { within } from './wait.mjs';

const PEOPLE = 100;
const GROUP = 10;
const SECONDS = Number(process.env.E2E_CHAOS_SECONDS ?? 120);
/** On a machine that is this busy a device may say `sync` later than a server usually waits for it before messages flow. */
const PATIENT = { SESSIONS__SYNC_HOLD_MS: 10_000 };
const passes = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Everybody in groups of ten, each with a device at one of the nodes. */
async function crowd(cluster) {
  const balancer = await Balancer.inTurn(cluster.nodes.map(({ port }) => port)).listen();
  cluster.balancers.push(balancer);
  const people = [];
  for (let n = 0; n < PEOPLE; n++) people.push(await Person.register({ url: balancer.url }, `Person ${n}`));
  const groups = [];
  for (let n = 0; n < PEOPLE; n += GROUP) groups.push(await people[n].group(`Group ${n / GROUP}`, ...people.slice(n + 1, n + GROUP)));
  const devices = await Promise.all(people.map((person) => open(person, BARE)));
  return devices.map((device, n) => ({ device, group: groups[Math.floor(n / GROUP)] }));
}

/** Says something until it is acknowledged, each time with the same `client_id`; gives its `seq`. */
async function insist({ device, group }, body) {
  const client_id = randomUUID();
  for (;;) {
    await device.until('a connection', () => device.isReady, 30_000);
    try {
      return (await device.say(group, body, client_id)).seq;
    } catch (error) {
      if (error.code && !(error.problem.status >= 500)) throw error;
      await passes(100);
    }
  }
}

/** Everybody talks while `trouble()` goes on; then everybody has everything, once and in order. */
async function talk(members, trouble) {
  try {
    return await converse(members, trouble);
  } finally {
    for (const { device } of members) device.close();
  }
}

async function converse(members, trouble) {
  let isOver = false;
  const said = new Map();
  const talking = members.map(async (member, n) => {
    await passes((n * 2_000) / members.length);
    for (let m = 0; !isOver; m++) {
      const body = `${n}: ${m}`;
      said.set(`${member.group}/${body}`, await insist(member, body));
      await passes(2_000);
    }
  });
  await trouble().finally(() => (isOver = true));
  await within(60_000, 'everybody has said their last', Promise.all(talking));
  for (const { device, group } of members) {
    const all = await device.person.history(group);
    await device.hears(group, all.length, 60_000);
    assertWhole(device.messages(group), all.length, device.person.name);
    const bodies = new Map(all.map(({ body, seq }) => [body, seq]));
    assert.equal(bodies.size, all.length, 'none is there twice');
    for (const [key, seq] of said) {
      const [place, body] = key.split('/');
      if (place === group) assert.equal(bodies.get(body), seq, `acknowledged and lost: ${body}`);
    }
  }
  return said.size;
}

describe('a hundred people', { skip: !isPossible(), timeout: 600_000 }, () => {
  it('lose nothing while a node is killed every five seconds', async () => {
    const cluster = await Cluster.start(3, PATIENT);
    try {
      const members = await crowd(cluster);
      let kills = 0;
      const count = await talk(members, async () => {
        const end = Date.now() + SECONDS * 1_000;
        while (Date.now() < end) {
          const node = cluster.nodes[kills++ % 3];
          await node.kill();
          const up = node.again();
          await passes(5_000);
          await up;
        }
      });
      console.log(`${count} messages, ${kills} kills`);
      assert.ok(count > PEOPLE && kills >= Math.floor(SECONDS / 10));
    } finally {
      await cluster.end();
    }
  });

  it('lose nothing while all nodes are restarted one after the other', async () => {
    const cluster = await Cluster.start(3, PATIENT);
    try {
      const members = await crowd(cluster);
      const count = await talk(members, async () => {
        for (const node of cluster.nodes) {
          assert.deepEqual(await node.stop(), { code: 0, signal: null });
          await node.again();
          await cluster.complete(3);
        }
      });
      console.log(`${count} messages`);
    } finally {
      await cluster.end();
    }
  });
});
