// Users and their HTTP requests.
import assert from 'node:assert/strict';
import { PASSWORD } from './server.mjs';

let registered = 0;

/** A rejected request, with its problem details and stable problem code. */
export class ProblemError extends Error {
  constructor(problem) {
    super(`${problem?.code}: ${problem?.detail ?? problem?.title}`);
    this.code = problem?.code;
    this.problem = problem;
  }
}

export class Person {
  /** Registers a user, logged in on a first device. */
  static async register(server, name) {
    const person = new Person();
    Object.assign(person, { server, name, phone: `+491511${String(++registered).padStart(7, '0')}`, password: `${name} opens the door` });
    const { phone, password } = person;
    const session = await person.call('POST', '/api/auth/register', { phone, password, name, device: { name: 'first', platform: 'test' } });
    person.id = session.user.id;
    person.token = session.access_token;
    person.device = session.device.id;
    return person;
  }

  /** Adds an operator on the command line and logs in. */
  static async operator(server) {
    const person = Object.assign(new Person(), { server, name: 'operator', phone: await server.addUser('operator'), password: PASSWORD });
    return person.loginDevice('first');
  }

  /** Logs in from a new device; returns the same user with that device's token. */
  async loginDevice(device) {
    const { phone, password } = this;
    const session = await this.call('POST', '/api/auth/login', { phone, password, device: { name: device, platform: 'test' } });
    const other = Object.assign(new Person(), this);
    other.token = session.access_token;
    other.device = session.device.id;
    return other;
  }

  /** Sends one request; returns the JSON of the response or throws {@link ProblemError}. */
  async call(method, path, body) {
    const headers = { 'content-type': 'application/json' };
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    const response = await fetch(this.server.url + path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
    });
    const text = await response.text();
    const json = text ? JSON.parse(text) : undefined;
    if (!response.ok) throw new ProblemError(json);
    return json;
  }

  /** Creates a group with others; returns its id. */
  async group(title, ...others) {
    const members = others.map((other) => other.id);
    return (await this.call('POST', '/api/conversations', { kind: 'group', title, members })).id;
  }

  /** Creates the direct conversation with another user; returns its id. */
  async direct(other) {
    return (await this.call('POST', '/api/conversations', { kind: 'direct', members: [other.id] })).id;
  }

  /** All stored messages of a conversation. */
  async history(conversation) {
    const all = [];
    for (;;) {
      const after = all.at(-1)?.seq ?? 0;
      const page = await this.call('GET', `/api/conversations/${conversation}/messages?after=${after}&limit=200`);
      all.push(...page.items);
      if (page.items.length === 0) return all;
    }
  }
}

/** Asserts that these are the messages 1 to `count` of a conversation, each once and in order. */
export function assertCompleteSequence(messages, count, label = '') {
  assert.deepEqual(messages.map((message) => message.seq), Array.from({ length: count }, (_, n) => n + 1), label);
}
