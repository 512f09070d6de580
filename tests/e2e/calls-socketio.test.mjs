// Call signalling over the unmodified socket.io-client, as released clients use it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { io } from 'socket.io-client';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { ChangeNotifier } from './wait.mjs';

const OFFER = readFileSync(new URL('../../src/media/tests/offers/chromium-sendrecv.sdp', import.meta.url), 'utf8').replaceAll(/\r?\n/g, '\r\n');

describe('Socket.IO client', () => {
  let server, alice, bob;

  before(async () => {
    server = await Server.start();
    [alice, bob] = await Promise.all(['Alice', 'Bob'].map((name) => Person.register(server, name)));
  });
  after(() => server?.end());

  for (const transports of [['polling', 'websocket'], ['websocket']]) {
    it(`call with the event order of released clients completes over ${transports.join(', ')}`, async () => {
      const events = [];
      const notifier = new ChangeNotifier();
      const open = () => {
        const socket = io(server.url, { transports, forceNew: true });
        socket.onAny((name, data) => {
          events.push([socket, name, data]);
          notifier.changed();
        });
        return socket;
      };
      const waitForEvent = (socket, name) => notifier.until(name, () => events.find(([receiver, event]) => receiver === socket && event === name)?.[2]);
      const token = (person) => person.call('POST', '/api/call/token', { userId: person.id, sessionId: `field-${transports.length}`, role: 'participant' });
      const [first, second] = [open(), open()];
      const { token: firstToken, sessionId, iceServers } = await token(alice);
      assert.ok(Array.isArray(iceServers));

      first.emit('authenticate', { token: firstToken });
      const { user_id } = await waitForEvent(first, 'authenticated');
      assert.equal(user_id, alice.id);
      first.emit('join_call', { sessionId });
      const joined = await waitForEvent(first, 'call_joined');
      second.emit('authenticate', { token: (await token(bob)).token });
      await waitForEvent(second, 'authenticated');
      second.emit('join_call', { sessionId });
      await waitForEvent(second, 'call_joined');
      await waitForEvent(first, 'participant_joined');

      first.emit('offer', { call_id: joined.call_id, sdp: OFFER });
      const { sdp } = await waitForEvent(first, 'answer');
      assert.match(sdp, /a=ice-lite/);
      first.emit('ice_candidate', { call_id: joined.call_id, candidate: { candidate: 'candidate:1 1 udp 1 192.0.2.9 9 typ host', sdpMid: '0' } });
      first.emit('mute_audio', { call_id: joined.call_id, muted: true });
      assert.equal((await waitForEvent(second, 'participant_updated')).audio, false);
      first.emit('leave_call', { call_id: joined.call_id });
      const left = await waitForEvent(second, 'participant_left');
      assert.equal(left.participant_id, joined.participant_id);

      assert.deepEqual(events.filter(([, name]) => name === 'error'), []);
      first.close();
      second.close();
    });
  }
});
