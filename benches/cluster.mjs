// Cost of clustering: latency of a message within a node and between two, deliveries per second of CPU at one, two and three nodes, RabbitMQ messages
// per chat message and per call join. Uses the cluster of tests/e2e; run it with `tests/services with node benches/cluster.mjs`.
import { appendFileSync, readFileSync } from 'node:fs';
import { Cluster } from '../tests/e2e/cluster.mjs';
import { openDevice, PLAIN_WEBSOCKET } from '../tests/e2e/devices.mjs';
import { Person } from '../tests/e2e/people.mjs';

const MESSAGES = Number(process.env.BENCH_MESSAGES ?? 500);
const MEMBERS = 60;

function report(what, values, unit, aim) {
  const text = `${Object.entries(values).map(([name, value]) => `${name} ${Number(value.toFixed(2))}`).join(' · ')} ${unit}`;
  console.log(`${what}: ${text}`);
  const rows = process.env.SECUREVOX_BENCH_ROWS;
  if (!rows) return;
  const load = Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
  appendFileSync(`${rows}.md`, `| cluster | ${what} | ${text} | ${aim ?? ''} | ${load} |\n`);
  appendFileSync(`${rows}.jsonl`, `${JSON.stringify({ bench: 'cluster', what, unit, values, load })}\n`);
}

function percentiles(times) {
  times.sort((one, other) => one - other);
  const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  return { p50: at(0.5), p99: at(0.99) };
}

/** Times from `send_message` to the arrival at another device, one message after the other. */
async function latency(sender, receiver, group, count) {
  const times = [];
  for (let n = 0; n < count; n++) {
    const seen = receiver.messages(group).length;
    const start = performance.now();
    sender.sendMessage(group, `${n}`).catch(() => {});
    await receiver.until('the message arrives', () => receiver.messages(group).length > seen);
    times.push(performance.now() - start);
  }
  return times;
}

const cpu = (node) => {
  const fields = readFileSync(`/proc/${node.process.pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100; // in ticks of 10 ms, as on all Linux systems
};
async function busMessages(nodes, except = ['heartbeat']) {
  let sum = 0;
  for (const node of nodes) {
    const page = await (await fetch(`${node.url}/metrics`)).text();
    for (const [, event, count] of page.matchAll(/securevox_bus_events_published_total\{event="(\w+)"\} (\d+)/g)) if (!except.includes(event)) sum += Number(count);
    for (const [, count] of page.matchAll(/securevox_bus_requests_total\{[^}]*\} (\d+)/g)) sum += 2 * Number(count);
  }
  return sum;
}

{
  const cluster = await Cluster.start(3);
  const balancers = [await cluster.addBalancer(0), await cluster.addBalancer(1), await cluster.addBalancer(0)];
  const people = [];
  for (const [n, name] of ['Alice', 'Bob', 'Eve'].entries()) people.push(await Person.register({ url: balancers[n].url }, name));
  const group = await people[0].group('Three', ...people.slice(1));
  const [alice, bob, eve] = await Promise.all(people.map((person) => openDevice(person, PLAIN_WEBSOCKET)));
  await latency(alice, bob, group, 50); // warm-up
  const before = await busMessages(cluster.nodes);
  const across = percentiles(await latency(alice, bob, group, MESSAGES));
  report('RabbitMQ: for a chat message to members on one other node', { messages: (await busMessages(cluster.nodes) - before) / MESSAGES }, '');
  const within = percentiles(await latency(alice, eve, group, MESSAGES));
  report('a message within a node', within, 'ms');
  report('a message between two nodes', across, 'ms');
  report('between two nodes / within a node', { p50: across.p50 / within.p50, p99: across.p99 / within.p99 }, '');
  await alice.request('join_call', { sessionId: 'bench' });
  const joins = await busMessages(cluster.nodes);
  for (let n = 0; n < 20; n++) {
    await bob.request('join_call', { sessionId: 'bench' });
    await bob.request('leave_call', { sessionId: 'bench' });
  }
  report('RabbitMQ: for a join and a leave at another node', { messages: (await busMessages(cluster.nodes) - joins) / 20 }, '');
  for (const device of [alice, bob, eve]) device.close();
  await cluster.end();
}

for (const count of [1, 2, 3]) {
  const cluster = await Cluster.start(count);
  const people = [];
  for (let n = 0; n < MEMBERS; n++) people.push(await Person.register({ url: cluster.nodes[n % count].url }, `Person ${n}`));
  const group = await people[0].group('All', ...people.slice(1));
  const devices = await Promise.all(people.map((person) => openDevice(person, PLAIN_WEBSOCKET)));
  await devices[0].sendMessage(group, 'warm');
  const used = () => cluster.nodes.reduce((sum, node) => sum + cpu(node), 0);
  const [start, before] = [performance.now(), used()];
  const rounds = Math.ceil(MESSAGES / 20);
  for (let n = 0; n < rounds; n++) await Promise.all(devices.slice(0, 20).map((device, m) => device.sendMessage(group, `${n} ${m}`)));
  await Promise.all(devices.map((device) => device.waitForSeq(group, rounds * 20 + 1, 60_000)));
  const deliveries = rounds * 20 * MEMBERS;
  report(`deliveries in a group of ${MEMBERS} at ${count} node(s)`, {
    'per second': deliveries / ((performance.now() - start) / 1000), 'per second of CPU': deliveries / (used() - before),
  }, '');
  for (const device of devices) device.close();
  await cluster.end();
}
process.exit(0);
