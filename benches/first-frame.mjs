// Time from `join_call` to the first picture that a browser shows, as a distribution: one user publishes, others join
// one after the other. Uses the browsers of tests/e2e.
import { appendFileSync, readFileSync } from 'node:fs';
import { Browser } from '../tests/e2e/browser.mjs';
import { Person } from '../tests/e2e/people.mjs';
import { Server } from '../tests/e2e/server.mjs';

const JOINS = 40;
const server = await Server.start();
const browser = await Browser.open();
const [alice, bob] = await Promise.all(['Alice', 'Bob'].map((name) => Person.register(server, name)));
const which = { sessionId: 'first-frame' };
const a = await browser.join(server, alice, which, { publish: ['camera'] });
const times = [];
for (let n = 0; n < JOINS; n++) {
  const b = await browser.join(server, bob, which, { publish: [] });
  times.push(await b.until('a picture is shown', ({ frames }) => frames[`${a.id}/camera`]?.first));
  await b.page.context().close();
}
await browser.close();
await server.end();

times.sort((one, other) => one - other);
const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
const values = { p50: at(0.5), p90: at(0.9), max: times.at(-1) };
const what = 'Chromium: join_call to the first picture shown';
const text = `${Object.entries(values).map(([name, value]) => `${name} ${Math.round(value)}`).join(' · ')} ms`;
console.log(`${what}: ${text}`);
const rows = process.env.SECUREVOX_BENCH_ROWS;
if (rows) {
  const load = Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
  const reached = values.p50 <= 1000;
  const aim = { value: 'p50', most: 1000, reached };
  appendFileSync(`${rows}.md`, `| calls | ${what} | ${text} | p50 1000 ms: ${reached ? 'reached' : 'missed'} | ${load} |\n`);
  appendFileSync(`${rows}.jsonl`, `${JSON.stringify({ bench: 'calls', what, unit: 'ms', values, aim, load })}\n`);
}
