// Devices of people: what an app does with a socket, over the clients that others wrote.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { Refused } from './people.mjs';
import { Watched, within } from './wait.mjs';

/** The ways in, each by its name; `undefined` is what the client does when it is told nothing. */
export const TRANSPORTS = {
  'Socket.IO as it comes': undefined,
  'Socket.IO on WebSocket only': ['websocket'],
  'Socket.IO on polling only': ['polling'],
};
export const BARE = 'a bare WebSocket';

/** Opens a device of a person that signs in and syncs each time it gets a connection. */
export async function open(person, way) {
  const device = way === BARE ? new BareDevice(person) : new SocketIoDevice(person, TRANSPORTS[way]);
  try {
    await device.until(`${person.name} is in`, () => device.greetings.length > 0 && device.isReady);
  } catch (error) {
    device.close();
    throw error;
  }
  return device;
}

class Device extends Watched {
  /** All events, oldest first: `{ event, data }`. */
  events = [];
  /** How the connection ended, each time it did. */
  ends = [];
  isReady = false;

  constructor(person) {
    super();
    this.person = person;
    this.cursors = {};
  }

  heard(event, data) {
    this.events.push({ event, data });
    if (event === 'message') {
      const before = this.cursors[data.conversation_id] ?? 0;
      this.cursors[data.conversation_id] = Math.max(before, data.seq);
    }
    this.changed();
  }

  get greetings() {
    return this.events.filter(({ event }) => event === 'authenticated').map(({ data }) => data);
  }

  /** The messages of a conversation in the order in which they came. */
  messages(conversation) {
    const said = this.events.filter(({ event, data }) => event === 'message' && data.conversation_id === conversation);
    return said.map(({ data }) => data);
  }

  /** Says something; gives the stored message. */
  say(conversation, body, client_id = randomUUID()) {
    return this.ask('send_message', { conversation_id: conversation, client_id, body });
  }

  /** Waits until a conversation has come up to `seq`. */
  hears(conversation, seq, ms) {
    const newest = () => this.cursors[conversation] >= seq;
    return this.until(`${this.person.name} hears message ${seq}`, newest, ms);
  }

  /** What an app does with a new connection. */
  async begin() {
    const who = await this.ask('authenticate', { token: this.person.token });
    assert.equal(who.user_id, this.person.id);
    this.synced = await this.ask('sync', { cursors: this.cursors });
    this.isReady = true;
    this.changed();
  }

  begun() {
    this.begin().catch((error) => {
      this.failure = error;
      this.changed();
    });
  }

  ended(reason) {
    this.isReady = false;
    this.ends.push(reason);
    this.changed();
  }
}

class SocketIoDevice extends Device {
  constructor(person, transports) {
    super(person);
    this.socket = io(person.server.url, { forceNew: true, ...(transports && { transports }) });
    this.socket.onAny((event, data) => this.heard(event, data));
    this.socket.on('connect', () => this.begun());
    this.socket.on('disconnect', (reason, details) => this.ended({ reason, details, comesBack: this.socket.active }));
  }

  get transport() {
    return this.socket.io.engine.transport.name;
  }

  async ask(event, data) {
    const answer = await this.socket.timeout(15_000).emitWithAck(event, data);
    if (answer.error) throw new Refused(answer.error);
    return answer.data;
  }

  close() {
    this.socket.disconnect();
  }
}

/** A device on `/ws`, which comes back half a second after it lost its connection. */
class BareDevice extends Device {
  #asked = new Map();
  #number = 0;
  transport = 'websocket';

  constructor(person) {
    super(person);
    this.connect();
  }

  connect() {
    this.socket = new WebSocket(this.person.server.url.replace('http', 'ws') + '/ws');
    this.socket.on('open', () => this.begun());
    this.socket.on('message', (bytes, isBinary) => this.frame(bytes, isBinary));
    this.socket.on('error', () => {}); // 'close' follows
    this.socket.on('close', (code, reason) => {
      const comesBack = !this.closed && code !== 1008;
      for (const { reject } of this.#asked.values()) reject(new Error(`closed with ${code}`));
      this.#asked.clear();
      this.ended({ code, reason: reason.toString(), comesBack });
      if (comesBack) setTimeout(() => !this.closed && this.connect(), 500);
    });
  }

  frame(bytes, isBinary) {
    assert.ok(!isBinary, 'the server speaks text');
    const frame = JSON.parse(bytes);
    if ('event' in frame) return this.heard(frame.event, frame.data);
    const asked = this.#asked.get(frame.reply);
    if (!asked) return this.heard('error', frame.error);
    this.#asked.delete(frame.reply);
    if (frame.error) asked.reject(new Refused(frame.error));
    else asked.resolve(frame.data);
  }

  ask(event, data) {
    const id = ++this.#number;
    const answer = new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
    this.socket.send(JSON.stringify({ id, event, data }));
    return within(15_000, `an answer to ${event}`, answer);
  }

  close() {
    this.closed = true;
    this.socket.terminate();
  }
}
