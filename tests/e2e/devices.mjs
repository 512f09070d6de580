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

class SocketIoDevice extends Device {
  constructor(person, transports) {
    super(person);
    this.socket = io(person.server.url, { forceNew: true, ...(transports && { transports }) });
    this.socket.onAny((event, data) => this.handleEvent(event, data));
    this.socket.on('connect', () => this.handleConnect());
    this.socket.on('disconnect', (reason, details) => this.handleDisconnect({ reason, details, willReconnect: this.socket.active }));
  }

  get transport() {
    return this.socket.io.engine.transport.name;
  }

  async request(event, data) {
    const reply = await this.socket.timeout(15_000).emitWithAck(event, data);
    if (reply.error) throw new ProblemError(reply.error);
    return reply.data;
  }

  close() {
    this.socket.disconnect();
  }
}

/** A device on `/ws`, which reconnects half a second after it lost its connection. */
class PlainWebSocketDevice extends Device {
  #pending = new Map();
  #lastId = 0;
  transport = 'websocket';

  constructor(person) {
    super(person);
    this.connect();
  }

  connect() {
    this.socket = new WebSocket(this.person.server.url.replace('http', 'ws') + '/ws');
    this.socket.on('open', () => this.handleConnect());
    this.socket.on('message', (bytes, isBinary) => this.handleFrame(bytes, isBinary));
    this.socket.on('error', () => {}); // 'close' follows
    this.socket.on('close', (code, reason) => {
      const willReconnect = !this.closed && code !== 1008;
      for (const { reject } of this.#pending.values()) reject(new Error(`closed with ${code}`));
      this.#pending.clear();
      this.handleDisconnect({ code, reason: reason.toString(), willReconnect });
      if (willReconnect) setTimeout(() => !this.closed && this.connect(), 500);
    });
  }

  handleFrame(bytes, isBinary) {
    assert.ok(!isBinary, 'the server sends text frames');
    const frame = JSON.parse(bytes);
    if ('event' in frame) return this.handleEvent(frame.event, frame.data);
    const pending = this.#pending.get(frame.reply);
    if (!pending) return this.handleEvent('error', frame.error);
    this.#pending.delete(frame.reply);
    if (frame.error) pending.reject(new ProblemError(frame.error));
    else pending.resolve(frame.data);
  }

  request(event, data) {
    const id = ++this.#lastId;
    const reply = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.socket.send(JSON.stringify({ id, event, data }));
    return withTimeout(15_000, `reply to ${event}`, reply);
  }

  close() {
    this.closed = true;
    this.socket.terminate();
  }
}
