// Chat over Socket.IO with the unmodified client on every transport, and over a plain WebSocket.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { PLAIN_WEBSOCKET, TRANSPORTS, openDevice } from './devices.mjs';
import { Person, assertCompleteSequence } from './people.mjs';
import { Server } from './server.mjs';
import { ChangeNotifier, withTimeout } from './wait.mjs';

const CLIENT_TYPES = [...Object.keys(TRANSPORTS), PLAIN_WEBSOCKET];

let server;
let opened = [];

/** Opens a device that is closed when the test ends. */
async function connectDevice(person, clientType) {
  const device = await openDevice(person, clientType);
  opened.push(device);
  return device;
}

/** Opens a client of the library without the behaviour of an app; closed when the test ends. */
function openClient(options) {
  const socket = io(server.url, { forceNew: true, ...options });
  opened.push({ close: () => socket.disconnect() });
  return socket;
}

const nextEvent = (socket, event, ms = 5000) => withTimeout(ms, event, new Promise((resolve) => socket.once(event, (...args) => resolve(args))));

async function connectedClient(options) {
  const socket = openClient(options);
  await nextEvent(socket, 'connect');
  return socket;
}

/** Registers one user per client type, connects a device of each, and puts all in one group. */
async function connectGroup(clientTypes = CLIENT_TYPES) {
  const people = await Promise.all(clientTypes.map((clientType, n) => Person.register(server, `P${n} on ${clientType}`)));
  const group = await people[0].group('Together', ...people.slice(1));
  const devices = await Promise.all(clientTypes.map((clientType, n) => connectDevice(people[n], clientType)));
  return { people, devices, group };
}

before(async () => {
  server = await Server.start();
});
afterEach(() => {
  for (const resource of opened.splice(0)) resource.close();
});
after(() => server.end());

describe('chat across client types', () => {
  it('group messages across client types arrive in order, each once', async () => {
    const { devices, group } = await connectGroup();
    assert.deepEqual(devices.map((device) => device.transport), ['websocket', 'websocket', 'polling', 'websocket']);
    for (const round of [1, 2, 3]) {
      for (const device of devices) {
        const message = await device.sendMessage(group, `round ${round}`);
        assert.equal(message.sender_id, device.person.id);
      }
    }
    await Promise.all(devices.map((device) => device.waitForSeq(group, 12)));

    for (const device of devices) {
      assertCompleteSequence(device.messages(group), 12, device.person.name);
      assert.deepEqual(device.messages(group), devices[0].messages(group));
    }
  });

  it('direct messages arrive at both members and nobody else', async () => {
    const { people, devices } = await connectGroup();
    for (const [a, b] of [[0, 3], [1, 2], [3, 2]]) {
      const direct = await people[a].direct(people[b]);
      for (const n of [1, 2, 3]) {
        await devices[a].sendMessage(direct, `there ${n}`);
        await devices[b].sendMessage(direct, `back ${n}`);
      }
      await Promise.all([devices[a].waitForSeq(direct, 6), devices[b].waitForSeq(direct, 6)]);

      assertCompleteSequence(devices[a].messages(direct), 6);
      assert.deepEqual(devices[a].messages(direct), devices[b].messages(direct));
      const others = devices.filter((_, n) => n !== a && n !== b);
      assert.ok(others.every((device) => device.messages(direct).length === 0), 'nobody else receives it');
    }
  });

  it('three hundred concurrent messages are stored and delivered in order, each once', async () => {
    const { people, devices, group } = await connectGroup();
    const senders = devices.slice(0, 3);
    const sends = senders.flatMap((device) => Array.from({ length: 100 }, (_, n) => device.sendMessage(group, `${n}`)));
    const stored = await Promise.all(sends);
    await Promise.all(devices.map((device) => device.waitForSeq(group, 300, 20_000)));

    assert.equal(new Set(stored.map((message) => message.seq)).size, 300);
    for (const device of devices) assertCompleteSequence(device.messages(group), 300, device.person.name);
    for (const device of senders) {
      const own = devices[3].messages(group).filter((message) => message.sender_id === device.person.id);
      assert.deepEqual(own.map((message) => Number(message.body)), Array.from({ length: 100 }, (_, n) => n));
    }
    assertCompleteSequence(await people[3].history(group), 300);
  });

  it('typing events and receipts reach the sender', async () => {
    const { people, devices, group } = await connectGroup();
    await devices[0].sendMessage(group, 'who reads this?');
    for (const device of devices.slice(1)) {
      await device.waitForSeq(group, 1);
      await device.request('typing', { conversation_id: group });
      await device.request('ack', { conversation_id: group, seq: 1 });
      await device.request('read', { conversation_id: group, seq: 1 });
    }

    for (const person of people.slice(1)) {
      const of = (event) => devices[0].events.filter((entry) => entry.event === event && entry.data.user_id === person.id);
      await devices[0].until(`${person.name} is typing`, () => of('typing').length > 0);
      await devices[0].until(`${person.name} has read`, () => of('receipt').some(({ data }) => data.read_seq === 1));
    }
  });

  it('message sent twice with one client_id is stored once', async () => {
    const { devices, group } = await connectGroup();
    for (const [n, device] of devices.entries()) {
      const first = await device.sendMessage(group, 'once', 'the-same-id');
      const second = await device.sendMessage(group, 'once', 'the-same-id');

      assert.deepEqual(second, first);
      assert.equal(first.seq, n + 1);
    }
  });
});

for (const clientType of CLIENT_TYPES) {
  describe(`device on ${clientType}`, () => {
    it('authentication is confirmed with user, device, session and server time', async () => {
      const person = await Person.register(server, 'Ann');
      const device = await connectDevice(person, clientType);
      const [greeting] = device.authenticatedEvents;

      assert.equal(greeting.user_id, person.id);
      assert.equal(greeting.device_id, person.device);
      assert.ok(greeting.session_id && !Number.isNaN(Date.parse(greeting.server_time)));
    });

    it('invalid request is rejected with a problem code and the connection stays open', async () => {
      const person = await Person.register(server, 'Ann');
      const device = await connectDevice(person, clientType);
      const group = await person.group('Alone');
      const wrong = [
        ['no_such_event', {}, 'event/unknown'],
        ['send_message', { conversation_id: group }, 'event/invalid'],
        ['send_message', { conversation_id: group, client_id: 'c', body: 'x', more: 1 }, 'event/invalid'],
        ['send_message', [], 'event/invalid'],
        ['authenticate', { token: person.token }, 'event/already-authenticated'],
      ];
      for (const [event, data, code] of wrong) {
        const refusal = await device.request(event, data).then(assert.fail, (error) => error);
        assert.equal(refusal.code, code, event);
        assert.ok(refusal.problem.title && refusal.problem.status >= 400);
      }
      await device.sendMessage(group, 'still here');
      assert.deepEqual(device.disconnects, []);
    });

    it('device reconnects after the server is killed and has every message once', async () => {
      const own = await Server.start();
      try {
        const [ann, ben] = await Promise.all(['Ann', 'Ben'].map((name) => Person.register(own, name)));
        const group = await ann.group('Through the storm', ben);
        const [sender, receiver] = [await connectDevice(ann, clientType), await connectDevice(ben, PLAIN_WEBSOCKET)];
        const messages = Array.from({ length: 20 }, (_, n) => [`thing ${n}`, `id-${n}`]);
        for (const [body, id] of messages.slice(0, 8)) await sender.sendMessage(group, body, id);
        const unconfirmed = messages.slice(8).map(([body, id]) => sender.sendMessage(group, body, id).catch(() => 'unknown'));
        await own.kill();
        await own.relaunch();
        await sender.until('device has reconnected', () => sender.authenticatedEvents.length === 2 && sender.isReady, 20_000);
        for (const [body, id] of messages.slice(8)) await sender.sendMessage(group, body, id);
        await Promise.all([sender, receiver].map((device) => device.waitForSeq(group, 20, 20_000)));
        await Promise.all(unconfirmed);

        for (const device of [sender, receiver]) {
          assertCompleteSequence(device.messages(group), 20, device.person.name);
          assert.equal(device.disconnects.length, 1);
          assert.equal(device.failure, undefined);
        }
      } finally {
        for (const resource of opened.splice(0)) resource.close();
        await own.end();
      }
    });

    it('removed device is disconnected within 1 s and does not reconnect', async () => {
      const ann = await Person.register(server, 'Ann');
      const phone = await ann.loginDevice('lost phone');
      const [kept, lost] = [await connectDevice(ann, clientType), await connectDevice(phone, clientType)];
      const group = await ann.group('Alone');
      await ann.call('DELETE', `/api/me/devices/${phone.device}`);
      await lost.until('removed phone is disconnected', () => lost.disconnects.length === 1, 1000);

      const [end] = lost.disconnects;
      assert.equal(end.willReconnect, false, JSON.stringify(end));
      if (clientType === PLAIN_WEBSOCKET) assert.deepEqual([end.code, end.reason], [1008, 'signed-out']);
      else assert.equal(end.reason, 'io server disconnect');
      await kept.sendMessage(group, 'the other device stays');
      assert.deepEqual(kept.disconnects, []);
    });

    it('server shutdown sends reconnect and the process exits cleanly', async () => {
      const own = await Server.start();
      try {
        const device = await connectDevice(await Person.register(own, 'Ann'), clientType);
        const { code, signal } = await own.stop();

        assert.deepEqual([code, signal], [0, null]);
        await device.until('socket is closed', () => device.disconnects.length === 1, 2000);
        const notification = device.events.find(({ event }) => event === 'reconnect');
        assert.ok(notification.data.after_ms > 0);
        assert.ok(device.disconnects[0].willReconnect, JSON.stringify(device.disconnects[0]));
        if (clientType === PLAIN_WEBSOCKET) assert.deepEqual([device.disconnects[0].code, device.disconnects[0].reason], [1012, 'leaving']);
      } finally {
        for (const resource of opened.splice(0)) resource.close();
        await own.end();
      }
    });
  });
}

for (const [clientType, transports] of Object.entries(TRANSPORTS)) {
  const options = transports && { transports };

  describe(`unmodified client, ${clientType}`, () => {
    it('invalid token is rejected and a valid one is accepted on the same socket', async () => {
      const person = await Person.register(server, 'Ann');
      const socket = await connectedClient(options);
      const wrong = await socket.timeout(5000).emitWithAck('authenticate', { token: 'nonsense' });
      const right = await socket.timeout(5000).emitWithAck('authenticate', { token: person.token });

      assert.equal(wrong.error.code, 'auth/invalid-token');
      assert.equal(wrong.error.status, 401);
      assert.equal(right.data.user_id, person.id);
    });

    it('request before authentication is rejected', async () => {
      const socket = await connectedClient(options);
      const early = await socket.timeout(5000).emitWithAck('sync', { cursors: {} });

      assert.equal(early.error.code, 'event/not-authenticated');
      assert.ok(socket.connected);
    });

    it('rejection of a request without acknowledgement arrives as error event', async () => {
      const socket = await connectedClient(options);
      const errorEvent = nextEvent(socket, 'error');
      socket.emit('typing', { conversation_id: 'x' });
      const [problem] = await errorEvent;

      assert.equal(problem.code, 'event/invalid');
    });

    it('request sent right after authenticate without waiting is answered', async () => {
      const person = await Person.register(server, 'Ann');
      const group = await person.group('Alone');
      const socket = openClient(options);
      const authenticated = socket.timeout(5000).emitWithAck('authenticate', { token: person.token });
      const sent = socket.timeout(5000).emitWithAck('send_message', { conversation_id: group, client_id: 'c', body: 'early' });

      assert.equal((await authenticated).data.user_id, person.id);
      assert.equal((await sent).data.seq, 1);
    });

    it('oversized packet closes the transport and the client reconnects', async () => {
      const person = await Person.register(server, 'Ann');
      const device = await connectDevice(person, clientType);
      device.request('send_message', { conversation_id: 'x', client_id: 'c', body: 'x'.repeat(300_000) }).catch(() => {});
      await device.until('transport is closed', () => device.disconnects.length === 1);

      const [end] = device.disconnects;
      assert.ok(end.willReconnect);
      if (transports?.[0] === 'polling') {
        assert.deepEqual([end.reason, end.details.description], ['transport error', 413]);
      } else {
        assert.equal(end.reason, 'transport close');
        assert.equal(end.details.context.code, 1009);
      }
      await device.until('device has reconnected', () => device.authenticatedEvents.length === 2 && device.isReady);
    });

    it('binary packet closes the transport and the client reconnects', async () => {
      const device = await connectDevice(await Person.register(server, 'Ann'), clientType);
      device.socket.emit('send_message', Buffer.from([1, 2, 3]));
      await device.until('transport is closed', () => device.disconnects.length === 1);

      assert.notEqual(device.disconnects[0].reason, 'io server disconnect');
      await device.until('device has reconnected', () => device.authenticatedEvents.length === 2 && device.isReady);
    });

    it('unknown namespace is rejected', async () => {
      const socket = io(`${server.url}/nope`, { forceNew: true, ...options });
      opened.push({ close: () => socket.disconnect() });
      const [error] = await nextEvent(socket, 'connect_error');

      assert.equal(error.message, 'Invalid namespace');
      assert.equal(socket.active, false);
    });

    it('foreign origin is rejected', async () => {
      const socket = openClient({ ...options, reconnection: false, extraHeaders: { Origin: 'https://evil.example' } });
      await nextEvent(socket, 'connect_error');

      assert.equal(socket.connected, false);
    });
  });
}

describe('plain WebSocket', () => {
  const openSocket = async (path = '/ws', options = {}) => {
    const socket = new WebSocket(server.url.replace('http', 'ws') + path, options);
    const connection = Object.assign(new ChangeNotifier(), { frames: [], closed: undefined, refused: undefined, socket });
    opened.push({ close: () => socket.terminate() });
    socket.on('message', (bytes) => connection.frames.push(bytes.toString()) && connection.changed());
    socket.on('close', (code, reason) => Object.assign(connection, { closed: [code, reason.toString()] }).changed());
    socket.on('unexpected-response', (_, response) => Object.assign(connection, { refused: response.statusCode }).changed());
    socket.on('error', () => {}); // reported by 'close' or 'unexpected-response'
    await connection.until('response to the upgrade', () => socket.readyState === WebSocket.OPEN || connection.refused || (socket.once('open', () => connection.changed()), false));
    return connection;
  };

  it('invalid frame is answered with an error and the socket stays open', async () => {
    const connection = await openSocket();
    const wrong = [
      ['{', null, 'event/invalid-frame'],
      ['{"id":1,"event":"sync","data":{},"more":1}', null, 'event/invalid-frame'],
      ['{"id":2,"event":"sync","data":{"cursors":{}}}', 2, 'event/not-authenticated'],
      ['{"id":3,"event":"nothing"}', 3, 'event/unknown'],
      ['{"id":4,"event":"authenticate","data":{"token":"nonsense"}}', 4, 'auth/invalid-token'],
      [Buffer.from([1, 2, 3]), null, 'event/invalid-frame'],
    ];
    for (const [n, [frame, reply, code]] of wrong.entries()) {
      connection.socket.send(frame);
      await connection.until(`reply to ${frame}`, () => connection.frames.length === n + 1);
      const response = JSON.parse(connection.frames[n]);
      assert.deepEqual([response.reply, response.error.code], [reply, code], String(frame));
    }
    assert.equal(connection.closed, undefined);
  });

  it('oversized message is closed with 1009, fragmented or not', async () => {
    const [whole, parts] = [await openSocket(), await openSocket()];
    whole.socket.send('x'.repeat(300_000));
    for (let n = 0; n < 7; n += 1) parts.socket.send('x'.repeat(45_000), { fin: n === 6 });

    for (const connection of [whole, parts]) {
      await connection.until('socket is closed', () => connection.closed);
      assert.deepEqual(connection.closed, [1009, 'too-large']);
    }
  });

  it('fragmented message is accepted', async () => {
    const person = await Person.register(server, 'Ann');
    const connection = await openSocket();
    const frame = JSON.stringify({ id: 1, event: 'authenticate', data: { token: person.token } });
    for (let n = 0; n < frame.length; n += 100) connection.socket.send(frame.slice(n, n + 100), { fin: n + 100 >= frame.length });
    await connection.until('authenticated', () => connection.frames.length === 2);

    const [reply, event] = connection.frames.map((text) => JSON.parse(text));
    assert.equal(reply.reply, 1);
    assert.deepEqual(reply.data, event.data);
  });

  it('foreign origin is rejected on both WebSocket paths', async () => {
    for (const path of ['/ws', '/socket.io/?EIO=4&transport=websocket']) {
      const foreign = await openSocket(path, { origin: 'https://evil.example' });
      const own = await openSocket(path, { origin: server.url });

      assert.equal(foreign.refused, 403, path);
      assert.equal(own.refused, undefined, path);
    }
  });

  it('WebSocket upgrade with transport=polling is accepted, as some clients send it', async () => {
    const connection = await openSocket('/socket.io/?EIO=4&transport=polling');
    await connection.until('handshake packet', () => connection.frames.length === 1);

    assert.deepEqual(JSON.parse(connection.frames[0].slice(1)).upgrades, []);
  });

  it('invalid first Engine.IO packet closes the socket without a response', async () => {
    for (const packet of ['42["x"]', '40{bad', '45', '49', '4', 'zzz', Buffer.from([1])]) {
      const connection = await openSocket('/socket.io/?EIO=4&transport=websocket');
      await connection.until('handshake packet', () => connection.frames.length === 1);
      connection.socket.send(packet);
      await connection.until(`socket is closed after ${packet}`, () => connection.closed);

      assert.equal(connection.frames.length, 1, `no response to ${packet}`);
    }
  });
});

describe('HTTP polling', () => {
  const at = (query) => `${server.url}/socket.io/?${query}`;
  const get = (query, init) => fetch(at(query), { signal: AbortSignal.timeout(10_000), ...init });
  const post = (sid, body) => get(`EIO=4&transport=polling&sid=${sid}`, { method: 'POST', body, headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  const poll = async (sid) => (await get(`EIO=4&transport=polling&sid=${sid}`)).text();
  const packetsOf = (text) => text.split('\x1e');

  const handshake = async () => {
    const text = await (await get('EIO=4&transport=polling')).text();
    assert.equal(text[0], '0');
    return JSON.parse(text.slice(1));
  };

  /** Opens a polling session and its namespace; returns the session id. */
  const session = async () => {
    const { sid } = await handshake();
    assert.equal(await (await post(sid, '40')).text(), 'ok');
    assert.match(await poll(sid), /^40\{"sid":"[^"]+"\}$/);
    return sid;
  };

  it('handshake offers the WebSocket upgrade', async () => {
    const offer = await handshake();

    assert.deepEqual(offer.upgrades, ['websocket']);
    assert.ok(offer.sid && offer.pingInterval > 0 && offer.pingTimeout > 0 && offer.maxPayload > 0);
  });

  it('unsupported request is rejected with an Engine.IO error code', async () => {
    const wrong = [
      ['GET', 'EIO=4&transport=polling&sid=nosuch', 1],
      ['POST', 'EIO=4&transport=polling&sid=nosuch', 1],
      ['GET', 'EIO=3&transport=polling', 5],
      ['GET', 'transport=polling', 5],
      ['GET', 'EIO=4&transport=foo', 0],
      ['POST', 'EIO=4&transport=polling', 2],
    ];
    for (const [method, query, code] of wrong) {
      const response = await get(query, { method });
      const body = await response.json();

      assert.deepEqual([response.status, body.code], [400, code], `${method} ${query}`);
      assert.equal(typeof body.message, 'string');
    }
  });

  it('second concurrent poll is rejected', async () => {
    const sid = await session();
    const polls = [get(`EIO=4&transport=polling&sid=${sid}`), get(`EIO=4&transport=polling&sid=${sid}`)];
    const responses = await withTimeout(5000, 'both polls are answered', Promise.all(polls));

    assert.ok(responses.some((response) => response.status === 400));
  });

  it('several packets in one body are answered in order', async () => {
    const sid = await session();
    const events = ['420["sync",{}]', '421["nothing"]', '422["typing",{}]'];
    assert.equal(await (await post(sid, events.join('\x1e'))).text(), 'ok');
    const responses = [];
    while (responses.length < 3) responses.push(...packetsOf(await poll(sid)));

    assert.deepEqual(responses.map((text) => text.slice(0, 3)), ['430', '431', '432']);
  });

  it('invalid packet closes the session and the next poll reports it', async () => {
    for (const packet of ['zzz', '45', '4', '40{bad', 'bAQID']) {
      const sid = await session();
      assert.equal(await (await post(sid, packet)).text(), 'ok', packet);
      const last = await get(`EIO=4&transport=polling&sid=${sid}`);
      const text = await last.text();

      assert.equal(last.status, 200, `${packet}: ${text}`);
      assert.ok(packetsOf(text).includes('1'), `${packet}: ${text}`);
      assert.equal((await get(`EIO=4&transport=polling&sid=${sid}`)).status, 400);
    }
  });

  it('invalid packet closes the session while a poll is waiting', async () => {
    const sid = await session();
    const pendingPoll = poll(sid);
    assert.equal(await (await post(sid, 'zzz')).text(), 'ok');

    assert.ok(packetsOf(await withTimeout(5000, 'poll is answered', pendingPoll)).includes('1'));
  });

  it('removed device gets a disconnect packet at its next poll', async () => {
    const ann = await Person.register(server, 'Ann');
    const phone = await ann.loginDevice('lost phone');
    const sid = await session();
    await post(sid, `420["authenticate",${JSON.stringify({ token: phone.token })}]`);
    const greeting = [];
    while (!greeting.some((text) => text.startsWith('42["authenticated"'))) greeting.push(...packetsOf(await poll(sid)));
    await ann.call('DELETE', `/api/me/devices/${phone.device}`);
    const last = [];
    await withTimeout(3000, 'disconnect and close packets', (async () => {
      while (!last.includes('1')) {
        const response = await get(`EIO=4&transport=polling&sid=${sid}`);
        const text = await response.text();
        assert.equal(response.status, 200, text);
        last.push(...packetsOf(text));
      }
    })());

    assert.ok(last.includes('41'), last.join(' '));
  });

  it('oversized body is rejected with 413', async () => {
    const sid = await session();

    assert.equal((await post(sid, `42["x","${'x'.repeat(300_000)}"]`)).status, 413);
  });

  it('foreign origin is rejected and own origin is accepted for polling', async () => {
    const foreign = await get('EIO=4&transport=polling', { headers: { origin: 'https://evil.example' } });
    const own = await get('EIO=4&transport=polling', { headers: { origin: server.url } });

    assert.equal(foreign.status, 403);
    assert.equal(foreign.headers.get('access-control-allow-origin'), null);
    assert.equal(own.status, 200);
    assert.equal(own.headers.get('access-control-allow-origin'), server.url);
  });

  it('upgrade to WebSocket loses no packet', async () => {
    const sid = await session();
    const pendingPoll = poll(sid);
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket&sid=${sid}`);
    opened.push({ close: () => socket.terminate() });
    const frames = [];
    const notifier = new ChangeNotifier();
    socket.on('message', (bytes) => frames.push(bytes.toString()) && notifier.changed());
    await withTimeout(5000, 'the WebSocket opens', new Promise((resolve) => socket.once('open', resolve)));
    socket.send('2probe');
    await notifier.until('the probe is answered', () => frames.includes('3probe'));
    assert.deepEqual(packetsOf(await withTimeout(5000, 'the poll is released', pendingPoll)), ['6']);
    assert.equal(await (await post(sid, '420["nothing"]')).text(), 'ok');
    socket.send('5');
    await notifier.until('reply after the upgrade', () => frames.some((frame) => frame.startsWith('430[')));

    assert.equal((await get(`EIO=4&transport=polling&sid=${sid}`)).status, 400);
  });
});
