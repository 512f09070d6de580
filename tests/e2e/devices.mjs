// Devices of users: do what an app does with its socket, over third-party client libraries.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { ProblemError } from './people.mjs';
import { ChangeNotifier, withTimeout } from './wait.mjs';

/** Socket.IO client types by name, with their `transports` option; `undefined` is the library's default. */
export const TRANSPORTS = {
  'Socket.IO with default transports': undefined,
  'Socket.IO over WebSocket only': ['websocket'],
  'Socket.IO over polling only': ['polling'],
};
export const PLAIN_WEBSOCKET = 'plain WebSocket';

/** Opens a device of a user; it authenticates and syncs on every new connection. */
export async function openDevice(person, clientType) {
  const device = clientType === PLAIN_WEBSOCKET ? new PlainWebSocketDevice(person) : new SocketIoDevice(person, TRANSPORTS[clientType]);
  try {
    await device.until(`${person.name} is authenticated and synced`, () => device.authenticatedEvents.length > 0 && device.isReady);
  } catch (error) {
    device.close();
    throw error;
  }
  return device;
}

class Device extends ChangeNotifier {
  /** All events, oldest first: `{ event, data }`. */
  events = [];
  /** One entry for each time the connection closed, with the reason. */
  disconnects = [];
  isReady = false;

  constructor(person) {
    super();
    this.person = person;
    this.cursors = {};
  }

  handleEvent(event, data) {
    this.events.push({ event, data });
    if (event === 'message') {
      const previous = this.cursors[data.conversation_id] ?? 0;
      this.cursors[data.conversation_id] = Math.max(previous, data.seq);
    }
    this.changed();
  }

  get authenticatedEvents() {
    return this.events.filter(({ event }) => event === 'authenticated').map(({ data }) => data);
  }

  /** The messages of a conversation in order of arrival. */
  messages(conversation) {
    const received = this.events.filter(({ event, data }) => event === 'message' && data.conversation_id === conversation);
    return received.map(({ data }) => data);
  }

  /** Sends a message; returns it as stored. */
  sendMessage(conversation, body, client_id = randomUUID()) {
    return this.request('send_message', { conversation_id: conversation, client_id, body });
  }

  /** Waits until message `seq` of a conversation has arrived. */
  waitForSeq(conversation, seq, ms) {
    const newest = () => this.cursors[conversation] >= seq;
    return this.until(`${this.person.name} receives message ${seq}`, newest, ms);
  }

  /** What an app does on a new connection. */
  async authenticateAndSync() {
    const session = await this.request('authenticate', { token: this.person.token });
    assert.equal(session.user_id, this.person.id);
    this.synced = await this.request('sync', { cursors: this.cursors });
    this.isReady = true;
    this.changed();
  }

  handleConnect() {
    this.authenticateAndSync().catch((error) => {
      this.failure = error;
      this.changed();
    });
  }

  handleDisconnect(reason) {
    this.isReady = false;
    this.disconnects.push(reason);
    this.changed();
  }
}
