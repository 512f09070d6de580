// What the chat knows: conversations, messages, contacts, and what waits to be sent.

import { all, call, kept, renew, token, untilRenewal } from "./api.js";
import { changed } from "./chat-words.js";
import { Line } from "./socket.js";

const OUTBOX = "securevox.outbox";
const PAGE = 50;
const TYPING_EVERY = 3_000;
const TYPING_LASTS = 5_000;

/** Hooks: `changed()` after changes, `said(conversation, message)` for news, `ended(words)`. */
export class Chats {
  conversations = new Map();
  contacts = null;
  names = new Map();
  asked = new Map(); // phone numbers of people asked in this tab: the server does not show them
  outbox = readOutbox();
  isLoaded = false;
  openId = null;
  #hooks;
  #line;
  #isSending = false;
  #isStopped = false;
  #isDirty = false;
  #renewal = null;
  #describing = new Set();

  constructor(hooks) {
    this.#hooks = hooks;
    this.me = kept().user;
    this.names.set(this.me.id, this.me.name);
    this.#line = new Line({
      prepare: (anew) => this.#prepare(anew),
      opened: () => this.#sync(),
      event: (name, data) => this.#hear(name, data),
      state: () => this.changed(),
      ended: (words) => this.#end(words),
    });
    this.#line.open();
  }

  get line() {
    return this.#line.state;
  }

  again() {
    this.#line.again();
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#renewal);
    this.#line.stop();
    sessionStorage.removeItem(OUTBOX);
  }

  #end(words) {
    if (!this.#isStopped) this.#hooks.ended(words);
  }

  /** Several changes in a row are shown at once. */
  changed() {
    if (this.#isDirty) return;
    this.#isDirty = true;
    setTimeout(() => {
      this.#isDirty = false;
      if (!this.#isStopped) this.#hooks.changed();
    });
  }

  // Coming and staying current

  /** The list comes first: it says from where on messages are wanted. */
  async #prepare(anew) {
    if (anew) await renew();
    if (!this.isLoaded) await this.#loadList();
    this.isLoaded = true;
    this.#renewInTime();
    return token();
  }

  #renewInTime() {
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(async () => {
      try {
        await renew();
      } catch (problem) {
        if (!problem.isPassing) return this.#end(problem.detail);
      }
      this.#renewInTime();
    }, Math.max(5_000, untilRenewal()));
  }

  async #sync() {
    const cursors = Object.fromEntries([...this.conversations.values()].map((c) => [c.id, c.cursor]));
    const changes = Object.fromEntries([...this.conversations.values()].filter((c) => c.changes >= 0).map((c) => [c.id, c.changes]));
    const { conversations } = await this.#line.request("sync", { cursors, changes });
    const stay = new Set(conversations.map((summary) => summary.id));
    for (const id of this.conversations.keys()) if (!stay.has(id)) this.conversations.delete(id);
    for (const summary of conversations) {
      const conversation = this.#merge(summary);
      if (conversation.read_seq > summary.read_seq) this.#tellRead(conversation);
      this.#acknowledge(conversation);
      conversation.isDescribed = false; // receipts may have moved: asked again when shown
    }
    if (this.openId) this.details(this.openId);
    this.loadContacts().catch(() => {}); // shown as not loaded; comes again with the next sync
    setTimeout(() => this.#flush());
    this.changed();
  }

  async #loadList() {
    for (const summary of await all("/api/conversations")) this.#merge(summary);
    this.changed();
  }

  #merge(summary) {
    const old = this.conversations.get(summary.id) ?? stub(summary.id);
    const conversation = Object.assign(old, summary, {
      last_seq: Math.max(old.last_seq, summary.last_seq),
      read_seq: Math.max(old.read_seq, summary.read_seq),
      known_seq: summary.last_seq,
    });
    // Of a conversation seen first only the newest message is wanted; older ones are paged.
    conversation.changes ??= summary.revision;
    conversation.cursor ??= Math.max(summary.joined_seq, summary.last_seq - 1);
    if (summary.peer_id && summary.title) this.names.set(summary.peer_id, summary.title);
    this.conversations.set(summary.id, conversation);
    return conversation;
  }

  // What the server says

  #hear(name, data) {
    if (name === "message") this.#take(data, true);
    else if (["message_edited", "message_deleted", "reaction"].includes(name)) this.#change(name, data);
    else if (name === "receipt") this.#receipt(data);
    else if (name === "typing") this.#typing(data);
    else if (name === "conversation") this.#conversation(data);
    else if (name === "contact_request" || name === "contact_accepted") this.loadContacts().catch(() => {});
    this.changed();
  }

  #change(name, data) {
    const conversation = this.conversations.get(data.conversation_id);
    if (!conversation) return;
    conversation.changes = Math.max(conversation.changes ?? 0, data.revision);
    conversation.messages = conversation.messages.map((m) => (m.id === (data.message_id ?? data.id) ? changed(m, name, data) : m)).filter(Boolean);
  }

  /** Puts a message into its place; the same one again changes nothing. */
  #take(message, isNews = false) {
    const { conversation_id: id, seq, sender_id } = message;
    const conversation = this.conversations.get(id) ?? this.#newcomer(id, seq);
    const { messages } = conversation;
    let at = messages.length;
    while (at > 0 && messages[at - 1].seq > seq) at--;
    if (messages[at - 1]?.seq === seq) return;
    messages.splice(at, 0, message);
    while (messages[at]?.seq === conversation.cursor + 1) {
      conversation.cursor++;
      at++;
    }
    conversation.last_seq = Math.max(conversation.last_seq, seq);
    conversation.typing.delete(sender_id);
    if (sender_id === this.me.id) {
      this.#settle(message.client_id);
      if (isNews) conversation.read_seq = Math.max(conversation.read_seq, seq);
    } else if (!this.names.has(sender_id)) {
      this.details(id);
    }
    if (isNews) {
      this.#acknowledge(conversation);
      if (seq > conversation.known_seq && sender_id !== this.me.id) this.#hooks.said(conversation, message);
    }
  }

  /** A conversation we hear of before its summary: the first message said to us is our first. */
  #newcomer(id, seq) {
    const conversation = Object.assign(stub(id), { cursor: seq - 1, joined_seq: seq - 1, read_seq: seq - 1 });
    this.conversations.set(id, conversation);
    this.#loadList().catch(() => {});
    return conversation;
  }

  #receipt({ conversation_id, user_id, delivered_seq, read_seq }) {
    const conversation = this.conversations.get(conversation_id);
    if (!conversation) return;
    if (user_id === this.me.id) conversation.read_seq = Math.max(conversation.read_seq, read_seq);
    const member = conversation.members?.find((m) => m.user_id === user_id);
    if (member) Object.assign(member, { delivered_seq, read_seq });
  }

  #typing({ conversation_id, user_id }) {
    const conversation = this.conversations.get(conversation_id);
    if (!conversation || user_id === this.me.id) return;
    clearTimeout(conversation.typing.get(user_id));
    const timer = setTimeout(() => {
      conversation.typing.delete(user_id);
      this.changed();
    }, TYPING_LASTS);
    conversation.typing.set(user_id, timer);
    if (!this.names.has(user_id)) this.details(conversation_id);
  }

  #conversation(data) {
    if (data.left === this.me.id) this.conversations.delete(data.id);
    else if (data.left) this.details(data.id);
    else if (!this.conversations.has(data.id)) this.#loadList().catch(() => {});
    else this.#describe(data);
  }

  #describe(full) {
    const conversation = this.conversations.get(full.id);
    if (!conversation) return;
    Object.assign(conversation, { members: full.members, isDescribed: true });
    if (conversation.kind === "group") conversation.title = full.title;
    for (const member of full.members) this.names.set(member.user_id, member.name);
  }

  // What people do

  /** Asks for names and receipts, once however often it is wanted meanwhile. */
  async details(id) {
    if (this.#describing.has(id)) return;
    this.#describing.add(id);
    try {
      this.#describe(await call("GET", `/api/conversations/${id}`));
      this.changed();
    } catch { /* names and ticks come with the next sync */ }
    this.#describing.delete(id);
  }

  hasOlder({ messages, joined_seq, last_seq }) {
    return (messages[0]?.seq ?? last_seq + 1) > joined_seq + 1;
  }

  /** The page before what is shown. */
  async older(conversation) {
    if (conversation.isLoading || !this.hasOlder(conversation)) return;
    conversation.isLoading = true;
    conversation.error = "";
    this.changed();
    try {
      const before = conversation.messages[0]?.seq ?? conversation.last_seq + 1;
      const page = await call("GET", `/api/conversations/${conversation.id}/messages?before=${before}&limit=${PAGE}`);
      for (const message of page.items) this.#take(message);
    } catch (problem) {
      conversation.error = problem.detail;
    }
    conversation.isLoading = false;
    this.changed();
  }

  #acknowledge(conversation) {
    const seq = conversation.cursor;
    if (seq <= conversation.delivered_seq || conversation.isAcknowledging) return;
    conversation.isAcknowledging = true;
    setTimeout(() => {
      conversation.isAcknowledging = false;
      conversation.delivered_seq = conversation.cursor; // many messages, one word
      this.#line.request("ack", { conversation_id: conversation.id, seq: conversation.cursor }).catch(() => {});
    }, 50);
  }

  unread({ last_seq, read_seq, joined_seq }) {
    return Math.max(0, last_seq - Math.max(read_seq, joined_seq));
  }

  read(conversation) {
    if (conversation.cursor <= conversation.read_seq) return;
    conversation.read_seq = conversation.cursor;
    this.#tellRead(conversation);
    this.changed();
  }

  /** If it does not arrive, the next sync shows it and it is said again. */
  #tellRead({ id, read_seq }) {
    this.#line.request("read", { conversation_id: id, seq: read_seq }).catch(() => {});
  }

  writes(conversation) {
    if (Date.now() - conversation.wroteAt < TYPING_EVERY || this.line.kind !== "online") return;
    conversation.wroteAt = Date.now();
    this.#line.request("typing", { conversation_id: conversation.id }).catch(() => {});
  }

  say(conversation, body, attachments = [], reply_to) {
    this.outbox.push({ client_id: randomId(), conversation_id: conversation.id, body, attachments, reply_to, sent_at: new Date().toISOString(), problem: "" });
    conversation.wroteAt = 0;
    this.#saveOutbox();
    this.#flush();
  }

  /** Tries a refused message once more, under the same client_id. */
  retry(item) {
    item.problem = "";
    this.#saveOutbox();
    this.#flush();
  }

  discard(item) {
    this.#settle(item.client_id);
    this.changed();
  }

  #settle(clientId) {
    const rest = this.outbox.filter((item) => item.client_id !== clientId);
    if (rest.length === this.outbox.length) return;
    this.outbox = rest;
    this.#saveOutbox();
  }

  #saveOutbox() {
    sessionStorage.setItem(OUTBOX, JSON.stringify(this.outbox));
    this.changed();
  }

  /** One at a time keeps the order; what got no answer is sent again under the same client_id. */
  async #flush() {
    if (this.#isSending) return;
    this.#isSending = true;
    let item;
    while (this.line.kind === "online" && (item = this.outbox.find((one) => !one.problem))) {
      const { client_id, conversation_id, body, reply_to } = item;
      const attachments = (item.attachments ?? []).map((file) => file.id);
      try {
        this.#take(await this.#line.request("send_message", { conversation_id, client_id, body, attachments, reply_to }), true);
        this.#settle(client_id);
      } catch (problem) {
        if (!problem.isPassing) {
          item.problem = problem.detail;
          this.#saveOutbox();
        } else if (problem.status) await new Promise((resolve) => setTimeout(resolve, 1_000));
      }
      this.changed();
    }
    this.#isSending = false;
  }

  /** How far a message of ours has come: sent, delivered, read. */
  progress(conversation, seq) {
    const others = conversation.members?.filter((member) => member.user_id !== this.me.id) ?? [];
    if (!others.length) return "sent";
    if (others.every((member) => member.read_seq >= seq)) return "read";
    return others.every((member) => Math.max(member.delivered_seq, member.read_seq) >= seq) ? "delivered" : "sent";
  }

  async loadContacts() {
    this.contacts = await all("/api/contacts");
    for (const { user_id, name } of this.contacts) if (name) this.names.set(user_id, name);
    this.changed();
  }

  /** Asks somebody; gives what became of it. */
  async askContact(phone) {
    const { user_id, state } = await call("POST", "/api/contacts", { phone });
    this.asked.set(user_id, phone);
    await this.loadContacts();
    return state;
  }

  /** `deed`: accept, refuse, or remove. */
  async answerContact(userId, deed) {
    if (deed === "remove") await call("DELETE", `/api/contacts/${userId}`);
    else await call("POST", `/api/contacts/${userId}/${deed}`);
    await this.loadContacts();
  }

  /** Opens a direct conversation, or makes a group; gives its id. */
  async start(kind, members, title) {
    const made = await call("POST", "/api/conversations", { kind, members, ...(title && { title }) });
    if (!this.conversations.has(made.id)) await this.#loadList();
    this.#describe(made);
    return made.id;
  }
}

function stub(id) {
  return {
    id, kind: "direct", title: null, encryption: "none", last_seq: 0, joined_seq: 0, read_seq: 0, delivered_seq: 0,
    known_seq: 0, members: null, isDescribed: false, messages: [], typing: new Map(), isLoading: false, error: "", wroteAt: 0, draft: "",
  };
}

function readOutbox() {
  try {
    return JSON.parse(sessionStorage.getItem(OUTBOX)) ?? [];
  } catch {
    return [];
  }
}

/** Also where `crypto.randomUUID` is missing: on pages without TLS. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
