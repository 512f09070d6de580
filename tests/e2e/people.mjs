// People with accounts, as the HTTP interface knows them.
import assert from 'node:assert/strict';
import { PASSWORD } from './server.mjs';

let numbers = 0;

/** A refusal: a problem with its stable code. */
export class Refused extends Error {
  constructor(problem) {
    super(`${problem?.code}: ${problem?.detail ?? problem?.title}`);
    this.code = problem?.code;
    this.problem = problem;
  }
}

export class Person {
  /** Makes an account; its first device is signed in. */
  static async register(server, name) {
    const person = new Person();
    Object.assign(person, { server, name, phone: `+491511${String(++numbers).padStart(7, '0')}`, password: `${name} opens the door` });
    const { phone, password } = person;
    const signed = await person.call('POST', '/api/auth/register', { phone, password, name, device: { name: 'first', platform: 'test' } });
    person.id = signed.user.id;
    person.token = signed.access_token;
    person.device = signed.device.id;
    return person;
  }

  /** An operator, made on the command line. */
  static async operator(server) {
    const person = Object.assign(new Person(), { server, name: 'operator', phone: await server.add('operator'), password: PASSWORD });
    return person.another('first');
  }

  /** Signs another device in, and gives it a face of the same person. */
  async another(device) {
    const { phone, password } = this;
    const signed = await this.call('POST', '/api/auth/login', { phone, password, device: { name: device, platform: 'test' } });
    const other = Object.assign(new Person(), this);
    other.token = signed.access_token;
    other.device = signed.device.id;
    return other;
  }

  /** One request; gives the JSON of the answer, throws {@link Refused}. */
  async call(method, path, body) {
    const headers = { 'content-type': 'application/json' };
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    const answer = await fetch(this.server.url + path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
    });
    const text = await answer.text();
    const json = text ? JSON.parse(text) : undefined;
    if (!answer.ok) throw new Refused(json);
    return json;
  }

  /** Opens a group with others; gives its id. */
  async group(title, ...others) {
    const members = others.map((other) => other.id);
    return (await this.call('POST', '/api/conversations', { kind: 'group', title, members })).id;
  }

  /** Opens the direct conversation with somebody; gives its id. */
  async direct(other) {
    return (await this.call('POST', '/api/conversations', { kind: 'direct', members: [other.id] })).id;
  }

  /** What was said in a conversation, as the database has it. */
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

/** Holds if these are the messages 1 to `count` of a conversation, each once and in order. */
export function assertWhole(messages, count, whose = '') {
  assert.deepEqual(messages.map((message) => message.seq), Array.from({ length: count }, (_, n) => n + 1), whose);
}
