// Engine.IO packets sent by hand: faulty, stalled and abusive clients, and the deadlines for them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { Person } from './people.mjs';
import { BINARY, Server } from './server.mjs';
import { ChangeNotifier, withTimeout } from './wait.mjs';

/** Starts one server with these settings for all tests of a suite. */
function withServer(settings) {
  const fixture = { opened: [] };
  before(async () => {
    fixture.server = await Server.start(settings);
  });
  after(async () => {
    for (const ws of fixture.opened) ws.terminate();
    await fixture.server.end();
  });
  return fixture;
}

const urlOf = (fixture, sid) => `${fixture.server.url}/socket.io/?EIO=4&transport=polling${sid ? `&sid=${sid}` : ''}`;
const get = (fixture, sid, init) => fetch(urlOf(fixture, sid), { signal: AbortSignal.timeout(20_000), ...init });
const poll = async (fixture, sid) => (await get(fixture, sid)).text();
const post = (fixture, sid, body) => get(fixture, sid, { method: 'POST', body });
const handshake = async (fixture) => JSON.parse((await poll(fixture)).slice(1));
const packetsOf = (text) => text.split('\x1e');

/** Opens a polling session and its namespace; returns the session id. */
async function openPollingSession(fixture) {
  const { sid } = await handshake(fixture);
  await post(fixture, sid, '40');
  assert.match(await poll(fixture, sid), /^40\{/);
  return sid;
}

/** Opens a WebSocket; without a session id it starts a session of its own. */
async function openWebSocket(fixture, sid) {
  const url = `${fixture.server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket${sid ? `&sid=${sid}` : ''}`;
  const ws = new WebSocket(url);
  fixture.opened.push(ws);
  const connection = Object.assign(new ChangeNotifier(), { frames: [], closed: undefined, send: (text) => ws.send(text) });
  ws.on('message', (bytes) => connection.frames.push(bytes.toString()) && connection.changed());
  ws.on('close', (code, reason) => Object.assign(connection, { closed: [code, reason.toString()] }).changed());
  await withTimeout(5000, 'the WebSocket opens', once(ws, 'open'));
  return connection;
}

describe('Engine.IO transport', { concurrency: true }, () => {
  const fixture = withServer({ SESSIONS__AUTHENTICATE_TIMEOUT_SECONDS: 60 });

  it('WebSocket is closed when its session only waits for its last packets to be polled', async () => {
    const sid = await openPollingSession(fixture);
    await post(fixture, sid, 'zzz');
    const late = await openWebSocket(fixture, sid);
    await late.until('WebSocket is closed', () => late.closed, 3000);

    assert.deepEqual(late.closed, [1011, 'session-lost']);
  });

  it('WebSocket that sends no probe is closed and does not disturb polling', async () => {
    const sid = await openPollingSession(fixture);
    const silent = await openWebSocket(fixture, sid);
    const pendingPoll = poll(fixture, sid);
    assert.equal(await Promise.race([pendingPoll, sleep(1000, 'still waiting')]), 'still waiting');
    await silent.until('WebSocket is closed', () => silent.closed, 11_500);
    await post(fixture, sid, '420["nothing"]');

    assert.match(await pendingPoll, /^430\[/);
  });

  it('upgrade that stalls after its probe is closed and causes no rapid polling', async () => {
    const sid = await openPollingSession(fixture);
    const stalled = await openWebSocket(fixture, sid);
    stalled.send('2probe');
    await stalled.until('the probe is answered', () => stalled.frames.includes('3probe'));
    let polls = 0;
    for (const end = Date.now() + 1000; Date.now() < end; polls++) assert.equal(await poll(fixture, sid), '6');
    assert.ok(polls <= 15, `${polls} polls in a second`);
    await stalled.until('WebSocket is closed', () => stalled.closed, 11_000);
    const pendingPoll = poll(fixture, sid);
    assert.equal(await Promise.race([pendingPoll, sleep(1000, 'still waiting')]), 'still waiting');
    await post(fixture, sid, '420["nothing"]');

    assert.match(await pendingPoll, /^430\[/);
  });

  it('WebSocket transport closes when the client leaves the namespace', async () => {
    const connection = await openWebSocket(fixture);
    connection.send('40');
    await connection.until('the namespace is open', () => connection.frames.some((frame) => frame.startsWith('40')));
    connection.send('41');
    await connection.until('WebSocket is closed', () => connection.closed, 3000);

    assert.deepEqual(connection.closed, [1000, '']);
  });

  it('polling transport closes when the client leaves the namespace', async () => {
    const sid = await openPollingSession(fixture);
    const pendingPoll = poll(fixture, sid);
    await post(fixture, sid, '41');

    assert.equal(await withTimeout(3000, 'poll is answered', pendingPoll), '1');
    assert.equal((await get(fixture, sid)).status, 400);
  });

  it('transport stays open when the client leaves a namespace it has not joined', async () => {
    const sid = await openPollingSession(fixture);
    await post(fixture, sid, '41/chat,\x1e420["nothing"]');

    assert.match(await poll(fixture, sid), /^430\[/);
  });

  it('transport closes after an aborted poll but delivers unsent packets first', async () => {
    const sid = await openPollingSession(fixture);
    const { port } = fixture.server;
    const aborted = connect(port, '127.0.0.1');
    aborted.write(`GET /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await sleep(200);
    aborted.resetAndDestroy();
    await sleep(200);
    await post(fixture, sid, '420["nothing"]');

    assert.match(await withTimeout(3000, 'unsent packet is delivered', poll(fixture, sid)), /^430\[/);
    assert.equal(await withTimeout(3000, 'close packet is delivered', poll(fixture, sid)), '1');
  });

  it('request body that never arrives is answered with 408', async () => {
    const { sid } = await handshake(fixture);
    const slow = connect(fixture.server.port, '127.0.0.1');
    slow.write(`POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4`);
    const [response] = await withTimeout(12_000, 'a response', once(slow, 'data'));
    slow.destroy();

    assert.match(response.toString(), /^HTTP\/1\.1 408 [^]*"code":"http\/body-timeout"/);
  });
});

describe('Engine.IO session id', () => {
  const fixture = withServer({ TELEMETRY__LOG_FILTER: 'debug' });

  it('full session id appears neither in actor paths nor in the log', async () => {
    const { sid } = await handshake(fixture);
    const { token } = await Person.operator(fixture.server);
    const tree = await fetch(`${fixture.server.url}/api/admin/actors`, { headers: { authorization: `Bearer ${token}` } });
    const paths = (await tree.json()).items.map(({ path }) => path).filter((path) => path.startsWith('/node/http/socketio/'));
    const actorNames = paths.map((path) => path.split('/')).filter((parts) => parts.length === 6).map((parts) => parts.at(-1));

    assert.equal(actorNames.length, 1, paths.join(' '));
    assert.ok(sid.startsWith(actorNames[0]), 'actor name is a prefix of the session id');
    for (const wrongSid of [actorNames[0], `${actorNames[0]}.`, `${sid.slice(0, -1)}${sid.endsWith('0') ? 1 : 0}`]) {
      assert.equal((await get(fixture, wrongSid)).status, 400, wrongSid);
      assert.equal((await post(fixture, wrongSid, '40')).status, 400, wrongSid);
      await assert.rejects(openWebSocket(fixture, wrongSid), wrongSid);
    }
    await post(fixture, sid, '1');
    assert.equal(await poll(fixture, sid), '1');
    assert.ok(!fixture.server.readLog().includes(sid));
  });
});

describe('Engine.IO handshake rate limit', () => {
  const settings = { LIMITS__API_PER_SECOND: 1, LIMITS__API_BURST: 4, HTTP__TRUSTED_PROXIES: '["127.0.0.1"]' };
  const fixture = withServer(settings);

  it('IPv6 handshakes are counted per /64 prefix', async () => {
    const statusFor = async (address) => (await get(fixture, undefined, { headers: { 'x-forwarded-for': address } })).status;
    for (const host of [1, 2, 3, 4]) assert.equal(await statusFor(`2001:db8:1:2::${host}`), 200);

    assert.equal(await statusFor('2001:db8:1:2:ffff::1'), 429);
    assert.equal(await statusFor('2001:db8:1:3::1'), 200);
  });
});

describe('packets without a request', { concurrency: true }, () => {
  const fixture = withServer({ LIMITS__EVENTS_PER_SECOND: 1, LIMITS__EVENTS_BURST: 10, LIMITS__EVENTS_MAX_VIOLATIONS: 10 });

  for (const packet of ['2', '3', '5', '6', '40', '40/chat,', '41/chat,', '43[]']) {
    it(`packet ${packet} counts towards the rate limit`, async () => {
      const connection = await openWebSocket(fixture);
      connection.send('40');
      for (let n = 0; n < 40; n++) connection.send(packet);
      await connection.until('WebSocket is closed', () => connection.closed, 5000);

      assert.deepEqual(connection.closed, [1008, 'abuse']);
    });
  }
});

describe('Engine.IO pings', { concurrency: true }, () => {
  const fixture = withServer({ SESSIONS__PING_INTERVAL_SECONDS: 1, SESSIONS__AUTHENTICATE_TIMEOUT_SECONDS: 60 });

  it('transport closes after two unanswered pings in a row', async () => {
    const connection = await openWebSocket(fixture);
    await connection.until('WebSocket is closed', () => connection.closed);

    assert.deepEqual(connection.closed, [1001, 'silent']);
    assert.equal(connection.frames.filter((frame) => frame === '2').length, 2);
  });

  it('single unanswered ping does not close the transport', async () => {
    const connection = await openWebSocket(fixture);
    const pings = () => connection.frames.filter((frame) => frame === '2').length;
    for (const n of [2, 4, 6]) {
      await connection.until(`ping ${n}`, () => pings() === n);
      connection.send('3');
    }

    assert.equal(connection.closed, undefined);
  });
});

describe('device that leaves the namespace', () => {
  const fixture = withServer();

  it('transport closes without a disconnect packet and the device can authenticate on a new one', async () => {
    const ann = await Person.register(fixture.server, 'Ann');
    const authenticate = `420["authenticate",${JSON.stringify({ token: ann.token })}]`;
    for (const round of [1, 2]) {
      const connection = await openWebSocket(fixture);
      for (const packet of ['40', authenticate]) connection.send(packet);
      await connection.until(`authenticated in round ${round}`, () => connection.frames.some((frame) => frame.startsWith('42["authenticated"')));
      connection.send('41');
      connection.send('40');
      await connection.until('WebSocket is closed', () => connection.closed, 3000);
      assert.ok(!packetsOf(connection.frames.at(-1)).includes('41'));
    }
  });
});
