// A hundred users chat while nodes are killed or restarted; no acknowledged message may be lost.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { Balancer } from './balancer.mjs';
import { Cluster, servicesAvailable } from './cluster.mjs';
import { PLAIN_WEBSOCKET, openDevice } from './devices.mjs';
import { assertCompleteSequence, Person } from './people.mjs';
import { withTimeout } from './wait.mjs';

const USERS = 100;
const GROUP_SIZE = 10;
const CHAOS_SECONDS = Number(process.env.E2E_CHAOS_SECONDS ?? 120);
/** On a machine this busy a device may send `sync` later than the default time for which the server holds messages back. */
const LONG_SYNC_HOLD = { SESSIONS__INITIAL_SYNC_WAIT_MS: 10_000 };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Registers all users in groups of ten and connects a device of each, spread over the nodes. */
async function connectUsers(cluster) {
  const balancer = await Balancer.roundRobin(cluster.nodes.map(({ port }) => port)).listen();
  cluster.balancers.push(balancer);
  const people = [];
  for (let n = 0; n < USERS; n++) people.push(await Person.register({ url: balancer.url }, `Person ${n}`));
  const groups = [];
  for (let n = 0; n < USERS; n += GROUP_SIZE) groups.push(await people[n].group(`Group ${n / GROUP_SIZE}`, ...people.slice(n + 1, n + GROUP_SIZE)));
  const devices = await Promise.all(people.map((person) => openDevice(person, PLAIN_WEBSOCKET)));
  return devices.map((device, n) => ({ device, group: groups[Math.floor(n / GROUP_SIZE)] }));
}

/** Sends a message until it is acknowledged, always with the same `client_id`; returns its `seq`. */
async function sendUntilAcknowledged({ device, group }, body) {
  const client_id = randomUUID();
  for (;;) {
    await device.until('device is connected', () => device.isReady, 30_000);
    try {
      return (await device.sendMessage(group, body, client_id)).seq;
    } catch (error) {
      if (error.code && !(error.problem.status >= 500)) throw error;
      await sleep(100);
    }
  }
}

/** All users send messages while `disrupt()` runs; afterwards each device must have all messages once and in order. */
async function chatDuring(members, disrupt) {
  try {
    return await chatAndVerify(members, disrupt);
  } finally {
    for (const { device } of members) device.close();
  }
}

async function chatAndVerify(members, disrupt) {
  let isOver = false;
  const acknowledged = new Map();
  const sending = members.map(async (member, n) => {
    await sleep((n * 2_000) / members.length);
    for (let m = 0; !isOver; m++) {
      const body = `${n}: ${m}`;
      acknowledged.set(`${member.group}/${body}`, await sendUntilAcknowledged(member, body));
      await sleep(2_000);
    }
  });
  await disrupt().finally(() => (isOver = true));
  await withTimeout(60_000, 'all last messages are acknowledged', Promise.all(sending));
  for (const { device, group } of members) {
    const all = await device.person.history(group);
    await device.waitForSeq(group, all.length, 60_000);
    assertCompleteSequence(device.messages(group), all.length, device.person.name);
    const bodies = new Map(all.map(({ body, seq }) => [body, seq]));
    assert.equal(bodies.size, all.length, 'no message is stored twice');
    for (const [key, seq] of acknowledged) {
      const [conversation, body] = key.split('/');
      if (conversation === group) assert.equal(bodies.get(body), seq, `acknowledged message is lost: ${body}`);
    }
  }
  return acknowledged.size;
}

describe('chat of a hundred users', { skip: !servicesAvailable(), timeout: 600_000 }, () => {
  it('no message is lost while a node is killed every 5 s', async () => {
    const cluster = await Cluster.start(3, LONG_SYNC_HOLD);
    try {
      const members = await connectUsers(cluster);
      let kills = 0;
      const count = await chatDuring(members, async () => {
        const end = Date.now() + CHAOS_SECONDS * 1_000;
        while (Date.now() < end) {
          const node = cluster.nodes[kills++ % 3];
          await node.kill();
          const relaunched = node.relaunch();
          await sleep(5_000);
          await relaunched;
        }
      });
      console.log(`${count} messages, ${kills} kills`);
      assert.ok(count > USERS && kills >= Math.floor(CHAOS_SECONDS / 10));
    } finally {
      await cluster.end();
    }
  });

  it('no message is lost during a rolling restart', async () => {
    const cluster = await Cluster.start(3, LONG_SYNC_HOLD);
    try {
      const members = await connectUsers(cluster);
      const count = await chatDuring(members, async () => {
        for (const node of cluster.nodes) {
          assert.deepEqual(await node.stop(), { code: 0, signal: null });
          await node.relaunch();
          await cluster.waitForMembership(3);
        }
      });
      console.log(`${count} messages`);
    } finally {
      await cluster.end();
    }
  });
});
