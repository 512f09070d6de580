// Clients in the field call over the unmodified socket.io-client.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { io } from 'socket.io-client';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { Watched } from './wait.mjs';

const OFFER = readFileSync(new URL('../../src/media/tests/offers/chromium-sendrecv.sdp', import.meta.url), 'utf8').replaceAll(/\r?\n/g, '\r\n');

describe('A client of Socket.IO', () => {
  let server, alice, bob;

  before(async () => {
    server = await Server.start();
    [alice, bob] = await Promise.all(['Alice', 'Bob'].map((name) => Person.register(server, name)));
  });
  after(() => server?.end());

  for (const transports of [['polling', 'websocket'], ['websocket']]) {
    it(`calls in the order in which it always has (${transports.join(', ')})`, async () => {
      const heard = [];
      const watched = new Watched();
      const open = () => {
        const socket = io(server.url, { transports, forceNew: true });
        socket.onAny((name, data) => {
          heard.push([socket, name, data]);
          watched.changed();
        });
        return socket;
      };
      const hears = (socket, name) => watched.until(name, () => heard.find(([who, what]) => who === socket && what === name)?.[2]);
      const token = (person) => person.call('POST', '/api/call/token', { userId: person.id, sessionId: `field-${transports.length}`, role: 'participant' });
      const [first, second] = [open(), open()];
      const { token: mine, sessionId, iceServers } = await token(alice);
      assert.ok(Array.isArray(iceServers));

      first.emit('authenticate', { token: mine });
      const { user_id } = await hears(first, 'authenticated');
      assert.equal(user_id, alice.id);
      first.emit('join_call', { sessionId });
      const joined = await hears(first, 'call_joined');
      second.emit('authenticate', { token: (await token(bob)).token });
      await hears(second, 'authenticated');
      second.emit('join_call', { sessionId });
      await hears(second, 'call_joined');
      await hears(first, 'participant_joined');

      first.emit('offer', { call_id: joined.call_id, sdp: OFFER });
      const { sdp } = await hears(first, 'answer');
      assert.match(sdp, /a=ice-lite/);
      first.emit('ice_candidate', { call_id: joined.call_id, candidate: { candidate: 'candidate:1 1 udp 1 192.0.2.9 9 typ host', sdpMid: '0' } });
      first.emit('mute_audio', { call_id: joined.call_id, muted: true });
      assert.equal((await hears(second, 'participant_updated')).audio, false);
      first.emit('leave_call', { call_id: joined.call_id });
      const left = await hears(second, 'participant_left');
      assert.equal(left.participant_id, joined.participant_id);

      assert.deepEqual(heard.filter(([, name]) => name === 'error'), []);
      first.close();
      second.close();
    });
  }
});
