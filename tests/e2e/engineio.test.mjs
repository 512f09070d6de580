// Engine.IO spoken by hand: what a client that errs, stalls or lies may do, and for how long.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { Person } from './people.mjs';
import { BINARY, Server } from './server.mjs';
import { Watched, within } from './wait.mjs';

/** One server with these settings for the stories of a group. */
function withServer(settings) {
  const there = { opened: [] };
  before(async () => {
    there.server = await Server.start(settings);
  });
  after(async () => {
    for (const socket of there.opened) socket.terminate();
    await there.server.end();
  });
  return there;
}

const at = (there, sid) => `${there.server.url}/socket.io/?EIO=4&transport=polling${sid ? `&sid=${sid}` : ''}`;
const get = (there, sid, init) => fetch(at(there, sid), { signal: AbortSignal.timeout(20_000), ...init });
const poll = async (there, sid) => (await get(there, sid)).text();
const post = (there, sid, body) => get(there, sid, { method: 'POST', body });
const handshake = async (there) => JSON.parse((await poll(there)).slice(1));
const packetsOf = (text) => text.split('\x1e');

/** A polling session with an open namespace. */
async function session(there) {
  const { sid } = await handshake(there);
  await post(there, sid, '40');
  assert.match(await poll(there, sid), /^40\{/);
  return sid;
}

/** A WebSocket; without a session id one of its own. */
async function socket(there, sid) {
  const url = `${there.server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket${sid ? `&sid=${sid}` : ''}`;
  const socket = new WebSocket(url);
  there.opened.push(socket);
  const watched = Object.assign(new Watched(), { frames: [], closed: undefined, send: (text) => socket.send(text) });
  socket.on('message', (bytes) => watched.frames.push(bytes.toString()) && watched.changed());
  socket.on('close', (code, reason) => Object.assign(watched, { closed: [code, reason.toString()] }).changed());
  await within(5000, 'the WebSocket opens', once(socket, 'open'));
  return watched;
}

describe('a transport', { concurrency: true }, () => {
  const there = withServer({ SESSIONS__AUTHENTICATE_SECONDS: 60 });

  it('is closed when its session waits only for its last words to be fetched', async () => {
    const sid = await session(there);
    await post(there, sid, 'zzz');
    const late = await socket(there, sid);
    await late.until('it is closed', () => late.closed, 3000);

    assert.deepEqual(late.closed, [1011, 'session-lost']);
  });

  it('that never says why it came is closed, and does not disturb the polls meanwhile', async () => {
    const sid = await session(there);
    const silent = await socket(there, sid);
    const waiting = poll(there, sid);
    assert.equal(await Promise.race([waiting, sleep(1000, 'it waits')]), 'it waits');
    await silent.until('it is closed', () => silent.closed, 11_500);
    await post(there, sid, '420["nothing"]');

    assert.match(await waiting, /^430\[/);
  });

  it('that stalls after its probe does not make the client poll in a circle, and is closed', async () => {
    const sid = await session(there);
    const stalled = await socket(there, sid);
    stalled.send('2probe');
    await stalled.until('the probe is answered', () => stalled.frames.includes('3probe'));
    let polls = 0;
    for (const end = Date.now() + 1000; Date.now() < end; polls++) assert.equal(await poll(there, sid), '6');
    assert.ok(polls <= 15, `${polls} polls in a second`);
    await stalled.until('it is closed', () => stalled.closed, 11_000);
    const waiting = poll(there, sid);
    assert.equal(await Promise.race([waiting, sleep(1000, 'it waits')]), 'it waits');
    await post(there, sid, '420["nothing"]');

    assert.match(await waiting, /^430\[/);
  });

  it('ends when its client leaves the namespace, on a WebSocket', async () => {
    const one = await socket(there);
    one.send('40');
    await one.until('the namespace is open', () => one.frames.some((frame) => frame.startsWith('40')));
    one.send('41');
    await one.until('it is closed', () => one.closed, 3000);

    assert.deepEqual(one.closed, [1000, '']);
  });

  it('ends when its client leaves the namespace, on polling', async () => {
    const sid = await session(there);
    const waiting = poll(there, sid);
    await post(there, sid, '41');

    assert.equal(await within(3000, 'the poll ends', waiting), '1');
    assert.equal((await get(there, sid)).status, 400);
  });

  it('stays when its client leaves a namespace that it is not in', async () => {
    const sid = await session(there);
    await post(there, sid, '41/chat,\x1e420["nothing"]');

    assert.match(await poll(there, sid), /^430\[/);
  });

  it('ends when what it had to say may not have been heard, and keeps what was not sent', async () => {
    const sid = await session(there);
    const { port } = there.server;
    const gone = connect(port, '127.0.0.1');
    gone.write(`GET /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await sleep(200);
    gone.resetAndDestroy();
    await sleep(200);
    await post(there, sid, '420["nothing"]');

    assert.match(await within(3000, 'what was not sent', poll(there, sid)), /^430\[/);
    assert.equal(await within(3000, 'the end', poll(there, sid)), '1');
  });

  it('does not wait for a body that never comes', async () => {
    const { sid } = await handshake(there);
    const slow = connect(there.server.port, '127.0.0.1');
    slow.write(`POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4`);
    const [answer] = await within(12_000, 'an answer', once(slow, 'data'));
    slow.destroy();

    assert.match(answer.toString(), /^HTTP\/1\.1 408 [^]*"code":"http\/body-timeout"/);
  });
});

describe('a session id', () => {
  const there = withServer({ TELEMETRY__LEVEL: 'debug' });

  it('is a secret that neither its engine\'s place in the tree nor the log tells', async () => {
    const { sid } = await handshake(there);
    const { token } = await Person.operator(there.server);
    const tree = await fetch(`${there.server.url}/api/admin/actors`, { headers: { authorization: `Bearer ${token}` } });
    const paths = (await tree.json()).items.map(({ path }) => path).filter((path) => path.startsWith('/node/http/socketio/'));
    const names = paths.map((path) => path.split('/')).filter((parts) => parts.length === 6).map((parts) => parts.at(-1));

    assert.equal(names.length, 1, paths.join(' '));
    assert.ok(sid.startsWith(names[0]), 'the name is a part of it');
    for (const guess of [names[0], `${names[0]}.`, `${sid.slice(0, -1)}${sid.endsWith('0') ? 1 : 0}`]) {
      assert.equal((await get(there, guess)).status, 400, guess);
      assert.equal((await post(there, guess, '40')).status, 400, guess);
      await assert.rejects(socket(there, guess), guess);
    }
    await post(there, sid, '1');
    assert.equal(await poll(there, sid), '1');
    assert.ok(!there.server.said().includes(sid));
  });
});

describe('handshakes', () => {
  const settings = { LIMITS__API_PER_SECOND: 1, LIMITS__API_BURST: 4, HTTP__TRUSTED_PROXIES: '["127.0.0.1"]' };
  const there = withServer(settings);

  it('are counted by whoever holds the address, which is a /64 of IPv6', async () => {
    const from = async (address) => (await get(there, undefined, { headers: { 'x-forwarded-for': address } })).status;
    for (const host of [1, 2, 3, 4]) assert.equal(await from(`2001:db8:1:2::${host}`), 200);

    assert.equal(await from('2001:db8:1:2:ffff::1'), 429);
    assert.equal(await from('2001:db8:1:3::1'), 200);
  });
});

describe('packets that ask for nothing', { concurrency: true }, () => {
  const there = withServer({ LIMITS__EVENTS_PER_SECOND: 1, LIMITS__EVENTS_BURST: 10, LIMITS__EVENTS_BREACHES: 10 });

  for (const noise of ['2', '3', '5', '6', '40', '40/chat,', '41/chat,', '43[]']) {
    it(`are counted, as ${noise}`, async () => {
      const one = await socket(there);
      one.send('40');
      for (let n = 0; n < 40; n++) one.send(noise);
      await one.until('it is cut off', () => one.closed, 5000);

      assert.deepEqual(one.closed, [1008, 'abuse']);
    });
  }
});

describe('pings', { concurrency: true }, () => {
  const there = withServer({ SESSIONS__PING_SECONDS: 1, SESSIONS__AUTHENTICATE_SECONDS: 60 });

  it('end the transport when two in a row are not answered', async () => {
    const one = await socket(there);
    await one.until('it is closed', () => one.closed);

    assert.deepEqual(one.closed, [1001, 'silent']);
    assert.equal(one.frames.filter((frame) => frame === '2').length, 2);
  });

  it('may be missed now and then', async () => {
    const one = await socket(there);
    const pings = () => one.frames.filter((frame) => frame === '2').length;
    for (const n of [2, 4, 6]) {
      await one.until(`ping ${n}`, () => pings() === n);
      one.send('3');
    }

    assert.equal(one.closed, undefined);
  });
});

describe('a device that leaves the namespace', () => {
  const there = withServer();

  it('hears nothing more on this transport, and is itself again on the next', async () => {
    const ann = await Person.register(there.server, 'Ann');
    const who = `420["authenticate",${JSON.stringify({ token: ann.token })}]`;
    for (const round of [1, 2]) {
      const one = await socket(there);
      for (const packet of ['40', who]) one.send(packet);
      await one.until(`it is in, ${round}`, () => one.frames.some((frame) => frame.startsWith('42["authenticated"')));
      one.send('41');
      one.send('40');
      await one.until('it is closed', () => one.closed, 3000);
      assert.ok(!packetsOf(one.frames.at(-1)).includes('41'));
    }
  });
});
