// Chat over Socket.IO with the unmodified client in all its ways, next to a bare WebSocket.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { BARE, TRANSPORTS, open } from './devices.mjs';
import { Person, assertWhole } from './people.mjs';
import { Server } from './server.mjs';
import { Watched, within } from './wait.mjs';

const WAYS = [...Object.keys(TRANSPORTS), BARE];

let server;
let opened = [];

/** A device that is closed when the story ends. */
async function device(person, way) {
  const one = await open(person, way);
  opened.push(one);
  return one;
}

/** A bare client of the library, without what an app does; closed when the story ends. */
function client(options) {
  const socket = io(server.url, { forceNew: true, ...options });
  opened.push({ close: () => socket.disconnect() });
  return socket;
}

const heard = (socket, event, ms = 5000) => within(ms, event, new Promise((resolve) => socket.once(event, (...all) => resolve(all))));

async function connected(options) {
  const socket = client(options);
  await heard(socket, 'connect');
  return socket;
}

/** People, each with one device on one of the ways, all in one group. */
async function company(ways = WAYS) {
  const people = await Promise.all(ways.map((way, n) => Person.register(server, `P${n} on ${way}`)));
  const group = await people[0].group('Together', ...people.slice(1));
  const devices = await Promise.all(ways.map((way, n) => device(people[n], way)));
  return { people, devices, group };
}

before(async () => {
  server = await Server.start();
});
afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});
after(() => server.end());

describe('people on all transports', () => {
  it('talk in a group, and each message comes once and in order', async () => {
    const { devices, group } = await company();
    assert.deepEqual(devices.map((one) => one.transport), ['websocket', 'websocket', 'polling', 'websocket']);
    for (const round of [1, 2, 3]) {
      for (const one of devices) {
        const message = await one.say(group, `round ${round}`);
        assert.equal(message.sender_id, one.person.id);
      }
    }
    await Promise.all(devices.map((one) => one.hears(group, 12)));

    for (const one of devices) {
      assertWhole(one.messages(group), 12, one.person.name);
      assert.deepEqual(one.messages(group), devices[0].messages(group));
    }
  });

  it('talk both ways in direct conversations', async () => {
    const { people, devices } = await company();
    for (const [a, b] of [[0, 3], [1, 2], [3, 2]]) {
      const direct = await people[a].direct(people[b]);
      for (const n of [1, 2, 3]) {
        await devices[a].say(direct, `there ${n}`);
        await devices[b].say(direct, `back ${n}`);
      }
      await Promise.all([devices[a].hears(direct, 6), devices[b].hears(direct, 6)]);

      assertWhole(devices[a].messages(direct), 6);
      assert.deepEqual(devices[a].messages(direct), devices[b].messages(direct));
      const others = devices.filter((_, n) => n !== a && n !== b);
      assert.ok(others.every((one) => one.messages(direct).length === 0), 'nobody else hears it');
    }
  });

  it('say a hundred things each, all at once, and nothing is lost, doubled or swapped', async () => {
    const { people, devices, group } = await company();
    const senders = devices.slice(0, 3);
    const all = senders.flatMap((one) => Array.from({ length: 100 }, (_, n) => one.say(group, `${n}`)));
    const stored = await Promise.all(all);
    await Promise.all(devices.map((one) => one.hears(group, 300, 20_000)));

    assert.equal(new Set(stored.map((message) => message.seq)).size, 300);
    for (const one of devices) assertWhole(one.messages(group), 300, one.person.name);
    for (const one of senders) {
      const own = devices[3].messages(group).filter((message) => message.sender_id === one.person.id);
      assert.deepEqual(own.map((message) => Number(message.body)), Array.from({ length: 100 }, (_, n) => n));
    }
    assertWhole(await people[3].history(group), 300);
  });

  it('see each other write, receive and read', async () => {
    const { people, devices, group } = await company();
    await devices[0].say(group, 'who reads this?');
    for (const one of devices.slice(1)) {
      await one.hears(group, 1);
      await one.ask('typing', { conversation_id: group });
      await one.ask('ack', { conversation_id: group, seq: 1 });
      await one.ask('read', { conversation_id: group, seq: 1 });
    }

    for (const person of people.slice(1)) {
      const of = (event) => devices[0].events.filter((one) => one.event === event && one.data.user_id === person.id);
      await devices[0].until(`${person.name} writes`, () => of('typing').length > 0);
      await devices[0].until(`${person.name} has read`, () => of('receipt').some(({ data }) => data.read_seq === 1));
    }
  });

  it('get the first message back when they say it twice', async () => {
    const { devices, group } = await company();
    for (const [n, one] of devices.entries()) {
      const first = await one.say(group, 'once', 'the-same-id');
      const second = await one.say(group, 'once', 'the-same-id');

      assert.deepEqual(second, first);
      assert.equal(first.seq, n + 1);
    }
  });
});

for (const way of WAYS) {
  describe(`a device with ${way}`, () => {
    it('is greeted with an acknowledgement and an event that say the same', async () => {
      const person = await Person.register(server, 'Ann');
      const one = await device(person, way);
      const [greeting] = one.greetings;

      assert.equal(greeting.user_id, person.id);
      assert.equal(greeting.device_id, person.device);
      assert.ok(greeting.session_id && !Number.isNaN(Date.parse(greeting.server_time)));
    });

    it('is told why its data are refused, and stays', async () => {
      const person = await Person.register(server, 'Ann');
      const one = await device(person, way);
      const group = await person.group('Alone');
      const wrong = [
        ['no_such_event', {}, 'event/unknown'],
        ['send_message', { conversation_id: group }, 'event/invalid'],
        ['send_message', { conversation_id: group, client_id: 'c', body: 'x', more: 1 }, 'event/invalid'],
        ['send_message', [], 'event/invalid'],
        ['authenticate', { token: person.token }, 'event/already-authenticated'],
      ];
      for (const [event, data, code] of wrong) {
        const refusal = await one.ask(event, data).then(assert.fail, (error) => error);
        assert.equal(refusal.code, code, event);
        assert.ok(refusal.problem.title && refusal.problem.status >= 400);
      }
      await one.say(group, 'still here');
      assert.deepEqual(one.ends, []);
    });

    it('comes back by itself after the server was killed, and has every message once', async () => {
      const own = await Server.start();
      try {
        const [ann, ben] = await Promise.all(['Ann', 'Ben'].map((name) => Person.register(own, name)));
        const group = await ann.group('Through the storm', ben);
        const [there, here] = [await device(ann, way), await device(ben, BARE)];
        const said = Array.from({ length: 20 }, (_, n) => [`thing ${n}`, `id-${n}`]);
        for (const [body, id] of said.slice(0, 8)) await there.say(group, body, id);
        const unsure = said.slice(8).map(([body, id]) => there.say(group, body, id).catch(() => 'unknown'));
        await own.kill();
        await own.again();
        await there.until('the device is back', () => there.greetings.length === 2 && there.isReady, 20_000);
        for (const [body, id] of said.slice(8)) await there.say(group, body, id);
        await Promise.all([there, here].map((one) => one.hears(group, 20, 20_000)));
        await Promise.all(unsure);

        for (const one of [there, here]) {
          assertWhole(one.messages(group), 20, one.person.name);
          assert.equal(one.ends.length, 1);
          assert.equal(one.failure, undefined);
        }
      } finally {
        for (const one of opened.splice(0)) one.close();
        await own.end();
      }
    });

    it('is put out within a second when it is removed, and does not come back', async () => {
      const ann = await Person.register(server, 'Ann');
      const phone = await ann.another('lost phone');
      const [kept, lost] = [await device(ann, way), await device(phone, way)];
      const group = await ann.group('Alone');
      await ann.call('DELETE', `/api/me/devices/${phone.device}`);
      await lost.until('the lost phone is out', () => lost.ends.length === 1, 1000);

      const [end] = lost.ends;
      assert.equal(end.comesBack, false, JSON.stringify(end));
      if (way === BARE) assert.deepEqual([end.code, end.reason], [1008, 'signed-out']);
      else assert.equal(end.reason, 'io server disconnect');
      await kept.say(group, 'the other device stays');
      assert.deepEqual(kept.ends, []);
    });

    it('hears `reconnect` when the server stops, and the process ends well', async () => {
      const own = await Server.start();
      try {
        const one = await device(await Person.register(own, 'Ann'), way);
        const { code, signal } = await own.stop();

        assert.deepEqual([code, signal], [0, null]);
        await one.until('the socket closes', () => one.ends.length === 1, 2000);
        const told = one.events.find(({ event }) => event === 'reconnect');
        assert.ok(told.data.after_ms > 0);
        assert.ok(one.ends[0].comesBack, JSON.stringify(one.ends[0]));
        if (way === BARE) assert.deepEqual([one.ends[0].code, one.ends[0].reason], [1012, 'leaving']);
      } finally {
        for (const one of opened.splice(0)) one.close();
        await own.end();
      }
    });
  });
}

for (const [way, transports] of Object.entries(TRANSPORTS)) {
  const options = transports && { transports };

  describe(`the client with ${way}`, () => {
    it('is refused with a wrong token, and may try again on the same socket', async () => {
      const person = await Person.register(server, 'Ann');
      const socket = await connected(options);
      const wrong = await socket.timeout(5000).emitWithAck('authenticate', { token: 'nonsense' });
      const right = await socket.timeout(5000).emitWithAck('authenticate', { token: person.token });

      assert.equal(wrong.error.code, 'auth/invalid-token');
      assert.equal(wrong.error.status, 401);
      assert.equal(right.data.user_id, person.id);
    });

    it('is refused anything before it says who it is', async () => {
      const socket = await connected(options);
      const early = await socket.timeout(5000).emitWithAck('sync', { cursors: {} });

      assert.equal(early.error.code, 'event/not-authenticated');
      assert.ok(socket.connected);
    });

    it('is told of a refusal by the event `error` when it wants no acknowledgement', async () => {
      const socket = await connected(options);
      const told = heard(socket, 'error');
      socket.emit('typing', { conversation_id: 'x' });
      const [problem] = await told;

      assert.equal(problem.code, 'event/invalid');
    });

    it('gets an answer to what it asked right behind `authenticate`, in the same breath', async () => {
      const person = await Person.register(server, 'Ann');
      const group = await person.group('Alone');
      const socket = client(options);
      const who = socket.timeout(5000).emitWithAck('authenticate', { token: person.token });
      const said = socket.timeout(5000).emitWithAck('send_message', { conversation_id: group, client_id: 'c', body: 'early' });

      assert.equal((await who).data.user_id, person.id);
      assert.equal((await said).data.seq, 1);
    });

    it('is cut off when it says too much at once, and comes back by itself', async () => {
      const person = await Person.register(server, 'Ann');
      const one = await device(person, way);
      one.ask('send_message', { conversation_id: 'x', client_id: 'c', body: 'x'.repeat(300_000) }).catch(() => {});
      await one.until('the transport closes', () => one.ends.length === 1);

      const [end] = one.ends;
      assert.ok(end.comesBack);
      if (transports?.[0] === 'polling') {
        assert.deepEqual([end.reason, end.details.description], ['transport error', 413]);
      } else {
        assert.equal(end.reason, 'transport close');
        assert.equal(end.details.context.code, 1009);
      }
      await one.until('it is back', () => one.greetings.length === 2 && one.isReady);
    });

    it('is cut off when it sends binary, which has no meaning here', async () => {
      const one = await device(await Person.register(server, 'Ann'), way);
      one.socket.emit('send_message', Buffer.from([1, 2, 3]));
      await one.until('the transport closes', () => one.ends.length === 1);

      assert.notEqual(one.ends[0].reason, 'io server disconnect');
      await one.until('it is back', () => one.greetings.length === 2 && one.isReady);
    });

    it('cannot open a namespace that does not exist', async () => {
      const socket = io(`${server.url}/nope`, { forceNew: true, ...options });
      opened.push({ close: () => socket.disconnect() });
      const [error] = await heard(socket, 'connect_error');

      assert.equal(error.message, 'Invalid namespace');
      assert.equal(socket.active, false);
    });

    it('is refused under a foreign origin', async () => {
      const socket = client({ ...options, reconnection: false, extraHeaders: { Origin: 'https://evil.example' } });
      await heard(socket, 'connect_error');

      assert.equal(socket.connected, false);
    });
  });
}

describe('a bare WebSocket', () => {
  const raw = async (path = '/ws', options = {}) => {
    const socket = new WebSocket(server.url.replace('http', 'ws') + path, options);
    const watched = Object.assign(new Watched(), { frames: [], closed: undefined, refused: undefined, socket });
    opened.push({ close: () => socket.terminate() });
    socket.on('message', (bytes) => watched.frames.push(bytes.toString()) && watched.changed());
    socket.on('close', (code, reason) => Object.assign(watched, { closed: [code, reason.toString()] }).changed());
    socket.on('unexpected-response', (_, answer) => Object.assign(watched, { refused: answer.statusCode }).changed());
    socket.on('error', () => {}); // told by the others
    await watched.until('an answer to the upgrade', () => socket.readyState === WebSocket.OPEN || watched.refused || (socket.once('open', () => watched.changed()), false));
    return watched;
  };

  it('is told what is wrong with a frame, and stays', async () => {
    const one = await raw();
    const wrong = [
      ['{', null, 'event/bad-frame'],
      ['{"id":1,"event":"sync","data":{},"more":1}', null, 'event/bad-frame'],
      ['{"id":2,"event":"sync","data":{"cursors":{}}}', 2, 'event/not-authenticated'],
      ['{"id":3,"event":"nothing"}', 3, 'event/unknown'],
      ['{"id":4,"event":"authenticate","data":{"token":"nonsense"}}', 4, 'auth/invalid-token'],
      [Buffer.from([1, 2, 3]), null, 'event/bad-frame'],
    ];
    for (const [n, [frame, reply, code]] of wrong.entries()) {
      one.socket.send(frame);
      await one.until(`an answer to ${frame}`, () => one.frames.length === n + 1);
      const answer = JSON.parse(one.frames[n]);
      assert.deepEqual([answer.reply, answer.error.code], [reply, code], String(frame));
    }
    assert.equal(one.closed, undefined);
  });

  it('is closed with 1009 when a frame is too large, in one piece or in many', async () => {
    const [whole, parts] = [await raw(), await raw()];
    whole.socket.send('x'.repeat(300_000));
    for (let n = 0; n < 7; n += 1) parts.socket.send('x'.repeat(45_000), { fin: n === 6 });

    for (const one of [whole, parts]) {
      await one.until('it is closed', () => one.closed);
      assert.deepEqual(one.closed, [1009, 'too-large']);
    }
  });

  it('is understood in fragments', async () => {
    const person = await Person.register(server, 'Ann');
    const one = await raw();
    const frame = JSON.stringify({ id: 1, event: 'authenticate', data: { token: person.token } });
    for (let n = 0; n < frame.length; n += 100) one.socket.send(frame.slice(n, n + 100), { fin: n + 100 >= frame.length });
    await one.until('it is in', () => one.frames.length === 2);

    const [reply, event] = one.frames.map((text) => JSON.parse(text));
    assert.equal(reply.reply, 1);
    assert.deepEqual(reply.data, event.data);
  });

  it('is refused to pages of a foreign origin, on both paths', async () => {
    for (const path of ['/ws', '/socket.io/?EIO=4&transport=websocket']) {
      const foreign = await raw(path, { origin: 'https://evil.example' });
      const own = await raw(path, { origin: server.url });

      assert.equal(foreign.refused, 403, path);
      assert.equal(own.refused, undefined, path);
    }
  });

  it('is taken at its deed when it says `transport=polling`, as some clients do', async () => {
    const one = await raw('/socket.io/?EIO=4&transport=polling');
    await one.until('the handshake', () => one.frames.length === 1);

    assert.deepEqual(JSON.parse(one.frames[0].slice(1)).upgrades, []);
  });

  it('is closed without a word on wrong first packets of Engine.IO', async () => {
    for (const packet of ['42["x"]', '40{bad', '45', '49', '4', 'zzz', Buffer.from([1])]) {
      const one = await raw('/socket.io/?EIO=4&transport=websocket');
      await one.until('the handshake', () => one.frames.length === 1);
      one.socket.send(packet);
      await one.until(`${packet} closes it`, () => one.closed);

      assert.equal(one.frames.length, 1, `only the handshake before ${packet}`);
    }
  });
});

describe('polling', () => {
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

  /** A polling session with an open namespace. */
  const session = async () => {
    const { sid } = await handshake();
    assert.equal(await (await post(sid, '40')).text(), 'ok');
    assert.match(await poll(sid), /^40\{"sid":"[^"]+"\}$/);
    return sid;
  };

  it('begins with a handshake that offers the upgrade', async () => {
    const open = await handshake();

    assert.deepEqual(open.upgrades, ['websocket']);
    assert.ok(open.sid && open.pingInterval > 0 && open.pingTimeout > 0 && open.maxPayload > 0);
  });

  it('refuses what it does not speak, as Engine.IO does', async () => {
    const wrong = [
      ['GET', 'EIO=4&transport=polling&sid=nosuch', 1],
      ['POST', 'EIO=4&transport=polling&sid=nosuch', 1],
      ['GET', 'EIO=3&transport=polling', 5],
      ['GET', 'transport=polling', 5],
      ['GET', 'EIO=4&transport=foo', 0],
      ['POST', 'EIO=4&transport=polling', 2],
    ];
    for (const [method, query, code] of wrong) {
      const answer = await get(query, { method });
      const body = await answer.json();

      assert.deepEqual([answer.status, body.code], [400, code], `${method} ${query}`);
      assert.equal(typeof body.message, 'string');
    }
  });

  it('refuses a second poll while one waits', async () => {
    const sid = await session();
    const polls = [get(`EIO=4&transport=polling&sid=${sid}`), get(`EIO=4&transport=polling&sid=${sid}`)];
    const answers = await within(5000, 'both polls end', Promise.all(polls));

    assert.ok(answers.some((answer) => answer.status === 400));
  });

  it('answers several packets in one body, in order', async () => {
    const sid = await session();
    const events = ['420["sync",{}]', '421["nothing"]', '422["typing",{}]'];
    assert.equal(await (await post(sid, events.join('\x1e'))).text(), 'ok');
    const answers = [];
    while (answers.length < 3) answers.push(...packetsOf(await poll(sid)));

    assert.deepEqual(answers.map((text) => text.slice(0, 3)), ['430', '431', '432']);
  });

  it('ends when a packet is none, and says so to the next poll', async () => {
    for (const bad of ['zzz', '45', '4', '40{bad', 'bAQID']) {
      const sid = await session();
      assert.equal(await (await post(sid, bad)).text(), 'ok', bad);
      const last = await get(`EIO=4&transport=polling&sid=${sid}`);
      const text = await last.text();

      assert.equal(last.status, 200, `${bad}: ${text}`);
      assert.ok(packetsOf(text).includes('1'), `${bad}: ${text}`);
      assert.equal((await get(`EIO=4&transport=polling&sid=${sid}`)).status, 400);
    }
  });

  it('ends while a poll waits when a packet is none', async () => {
    const sid = await session();
    const waiting = poll(sid);
    assert.equal(await (await post(sid, 'zzz')).text(), 'ok');

    assert.ok(packetsOf(await within(5000, 'the poll ends', waiting)).includes('1'));
  });

  it('tells a removed device between two polls that it must not come back', async () => {
    const ann = await Person.register(server, 'Ann');
    const phone = await ann.another('lost phone');
    const sid = await session();
    await post(sid, `420["authenticate",${JSON.stringify({ token: phone.token })}]`);
    const greeting = [];
    while (!greeting.some((text) => text.startsWith('42["authenticated"'))) greeting.push(...packetsOf(await poll(sid)));
    await ann.call('DELETE', `/api/me/devices/${phone.device}`);
    const last = [];
    await within(3000, 'the farewell', (async () => {
      while (!last.includes('1')) {
        const answer = await get(`EIO=4&transport=polling&sid=${sid}`);
        const text = await answer.text();
        assert.equal(answer.status, 200, text);
        last.push(...packetsOf(text));
      }
    })());

    assert.ok(last.includes('41'), last.join(' '));
  });

  it('refuses a body that is too large', async () => {
    const sid = await session();

    assert.equal((await post(sid, `42["x","${'x'.repeat(300_000)}"]`)).status, 413);
  });

  it('is closed to pages of a foreign origin, and open to its own', async () => {
    const foreign = await get('EIO=4&transport=polling', { headers: { origin: 'https://evil.example' } });
    const own = await get('EIO=4&transport=polling', { headers: { origin: server.url } });

    assert.equal(foreign.status, 403);
    assert.equal(foreign.headers.get('access-control-allow-origin'), null);
    assert.equal(own.status, 200);
    assert.equal(own.headers.get('access-control-allow-origin'), server.url);
  });

  it('hands over to a WebSocket without losing a packet', async () => {
    const sid = await session();
    const waiting = poll(sid);
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket&sid=${sid}`);
    opened.push({ close: () => socket.terminate() });
    const frames = [];
    const watched = new Watched();
    socket.on('message', (bytes) => frames.push(bytes.toString()) && watched.changed());
    await within(5000, 'the WebSocket opens', new Promise((resolve) => socket.once('open', resolve)));
    socket.send('2probe');
    await watched.until('the probe is answered', () => frames.includes('3probe'));
    assert.deepEqual(packetsOf(await within(5000, 'the poll is released', waiting)), ['6']);
    assert.equal(await (await post(sid, '420["nothing"]')).text(), 'ok');
    socket.send('5');
    await watched.until('the answer', () => frames.some((frame) => frame.startsWith('430[')));

    assert.equal((await get(`EIO=4&transport=polling&sid=${sid}`)).status, 400);
  });
});
