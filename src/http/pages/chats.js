// State of the chat demo: conversations, messages, contacts, and the outbox.

import { all, call, storedSession, renew, token, untilRenewal } from "./api.js";
import { applyChange } from "./chat-words.js";
import { ReconnectingSocket } from "./socket.js";

const OUTBOX_KEY = "securevox.outbox";
const PAGE_SIZE = 50;
const TYPING_INTERVAL_MS = 3_000;
const TYPING_TIMEOUT_MS = 5_000;

/** Hooks: `changed()` after changes, `received(conversation, message)`, `ended(text)`. */
export class Chats {
  conversations = new Map();
  contacts = null;
  names = new Map();
  asked = new Map(); // phone numbers of requests sent in this tab: the server does not return them
  outbox = readOutbox();
  isLoaded = false;
  openId = null;
  #hooks;
  #socket;
  #isSending = false;
  #isStopped = false;
  #isDirty = false;
  #renewalTimer = null;
  #loadingDetails = new Set();

  constructor(hooks) {
    this.#hooks = hooks;
    this.me = storedSession().user;
    this.names.set(this.me.id, this.me.name);
    this.#socket = new ReconnectingSocket({
      prepare: (forceRenewal) => this.#prepare(forceRenewal),
      opened: () => this.#sync(),
      event: (name, data) => this.#onEvent(name, data),
      state: () => this.changed(),
      ended: (text) => this.#end(text),
    });
    this.#socket.open();
  }

  get connection() {
    return this.#socket.state;
  }

  reconnect() {
    this.#socket.reconnect();
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#renewalTimer);
    this.#socket.stop();
    sessionStorage.removeItem(OUTBOX_KEY);
  }

  #end(text) {
    if (!this.#isStopped) this.#hooks.ended(text);
  }

  /** Combines several changes into one render. */
  changed() {
    if (this.#isDirty) return;
    this.#isDirty = true;
    setTimeout(() => {
      this.#isDirty = false;
      if (!this.#isStopped) this.#hooks.changed();
    });
  }

  // Synchronisation

  /** The list is loaded first: it tells from where messages are needed. */
  async #prepare(forceRenewal) {
    if (forceRenewal) await renew();
    if (!this.isLoaded) await this.#loadList();
    this.isLoaded = true;
    this.#scheduleRenewal();
    return token();
  }

  #scheduleRenewal() {
    clearTimeout(this.#renewalTimer);
    this.#renewalTimer = setTimeout(async () => {
      try {
        await renew();
      } catch (problem) {
        if (!problem.isTransient) return this.#end(problem.detail);
      }
      this.#scheduleRenewal();
    }, Math.max(5_000, untilRenewal()));
  }

  async #sync() {
    const cursors = Object.fromEntries([...this.conversations.values()].map((c) => [c.id, c.cursor]));
    const changes = Object.fromEntries([...this.conversations.values()].filter((c) => c.changes >= 0).map((c) => [c.id, c.changes]));
    const { conversations } = await this.#socket.request("sync", { cursors, changes });
    const remaining = new Set(conversations.map((summary) => summary.id));
    for (const id of this.conversations.keys()) if (!remaining.has(id)) this.conversations.delete(id);
    for (const summary of conversations) {
      const conversation = this.#merge(summary);
      if (conversation.read_seq > summary.read_seq) this.#sendRead(conversation);
      this.#acknowledge(conversation);
      conversation.isDescribed = false; // receipts may have changed: reloaded when shown
    }
    if (this.openId) this.loadDetails(this.openId);
    this.loadContacts().catch(() => {}); // shown as not loaded; retried at the next sync
    setTimeout(() => this.#flushOutbox());
    this.changed();
  }

  async #loadList() {
    for (const summary of await all("/api/conversations")) this.#merge(summary);
    this.changed();
  }

  #merge(summary) {
    const existing = this.conversations.get(summary.id) ?? stub(summary.id);
    const conversation = Object.assign(existing, summary, {
      last_seq: Math.max(existing.last_seq, summary.last_seq),
      read_seq: Math.max(existing.read_seq, summary.read_seq),
      known_seq: summary.last_seq,
    });
    // A conversation seen for the first time needs only its newest message; older ones are paged.
    conversation.changes ??= summary.revision;
    conversation.cursor ??= Math.max(summary.joined_seq, summary.last_seq - 1);
    if (summary.peer_id && summary.title) this.names.set(summary.peer_id, summary.title);
    this.conversations.set(summary.id, conversation);
    return conversation;
  }

  // Events from the server

  #onEvent(name, data) {
    if (name === "message") this.#addMessage(data, true);
    else if (["message_edited", "message_deleted", "reaction"].includes(name)) this.#applyChange(name, data);
    else if (name === "receipt") this.#applyReceipt(data);
    else if (name === "typing") this.#onTyping(data);
    else if (name === "conversation") this.#onConversation(data);
    else if (name === "contact_request" || name === "contact_accepted") this.loadContacts().catch(() => {});
    this.changed();
  }

  #applyChange(name, data) {
    const conversation = this.conversations.get(data.conversation_id);
    if (!conversation) return;
    conversation.changes = Math.max(conversation.changes ?? 0, data.revision);
    conversation.messages = conversation.messages.map((m) => (m.id === (data.message_id ?? data.id) ? applyChange(m, name, data) : m)).filter(Boolean);
  }

  /** Inserts a message in order; a duplicate changes nothing. */
  #addMessage(message, isNew = false) {
    const { conversation_id: id, seq, sender_id } = message;
    const conversation = this.conversations.get(id) ?? this.#addUnknown(id, seq);
    const { messages } = conversation;
    let index = messages.length;
    while (index > 0 && messages[index - 1].seq > seq) index--;
    if (messages[index - 1]?.seq === seq) return;
    messages.splice(index, 0, message);
    while (messages[index]?.seq === conversation.cursor + 1) {
      conversation.cursor++;
      index++;
    }
    conversation.last_seq = Math.max(conversation.last_seq, seq);
    conversation.typing.delete(sender_id);
    if (sender_id === this.me.id) {
      this.#removeFromOutbox(message.client_id);
      if (isNew) conversation.read_seq = Math.max(conversation.read_seq, seq);
    } else if (!this.names.has(sender_id)) {
      this.loadDetails(id);
    }
    if (isNew) {
      this.#acknowledge(conversation);
      if (seq > conversation.known_seq && sender_id !== this.me.id) this.#hooks.received(conversation, message);
    }
  }

  /** A conversation without a summary yet: its first received message is its first one. */
  #addUnknown(id, seq) {
    const conversation = Object.assign(stub(id), { cursor: seq - 1, joined_seq: seq - 1, read_seq: seq - 1 });
    this.conversations.set(id, conversation);
    this.#loadList().catch(() => {});
    return conversation;
  }

  #applyReceipt({ conversation_id, user_id, delivered_seq, read_seq }) {
    const conversation = this.conversations.get(conversation_id);
    if (!conversation) return;
    if (user_id === this.me.id) conversation.read_seq = Math.max(conversation.read_seq, read_seq);
    const member = conversation.members?.find((m) => m.user_id === user_id);
    if (member) Object.assign(member, { delivered_seq, read_seq });
  }

  #onTyping({ conversation_id, user_id }) {
    const conversation = this.conversations.get(conversation_id);
    if (!conversation || user_id === this.me.id) return;
    clearTimeout(conversation.typing.get(user_id));
    const timer = setTimeout(() => {
      conversation.typing.delete(user_id);
      this.changed();
    }, TYPING_TIMEOUT_MS);
    conversation.typing.set(user_id, timer);
    if (!this.names.has(user_id)) this.loadDetails(conversation_id);
  }

  #onConversation(data) {
    if (data.left === this.me.id) this.conversations.delete(data.id);
    else if (data.left) this.loadDetails(data.id);
    else if (!this.conversations.has(data.id)) this.#loadList().catch(() => {});
    else this.#applyDetails(data);
  }

  #applyDetails(details) {
    const conversation = this.conversations.get(details.id);
    if (!conversation) return;
    Object.assign(conversation, { members: details.members, isDescribed: true });
    if (conversation.kind === "group") conversation.title = details.title;
    for (const member of details.members) this.names.set(member.user_id, member.name);
  }

  // User actions

  /** Loads member names and receipts; concurrent calls are combined. */
  async loadDetails(id) {
    if (this.#loadingDetails.has(id)) return;
    this.#loadingDetails.add(id);
    try {
      this.#applyDetails(await call("GET", `/api/conversations/${id}`));
      this.changed();
    } catch { /* retried at the next sync */ }
    this.#loadingDetails.delete(id);
  }

  hasOlder({ messages, joined_seq, last_seq }) {
    return (messages[0]?.seq ?? last_seq + 1) > joined_seq + 1;
  }

  /** Loads the page before the oldest loaded message. */
  async loadOlder(conversation) {
    if (conversation.isLoading || !this.hasOlder(conversation)) return;
    conversation.isLoading = true;
    conversation.error = "";
    this.changed();
    try {
      const before = conversation.messages[0]?.seq ?? conversation.last_seq + 1;
      const page = await call("GET", `/api/conversations/${conversation.id}/messages?before=${before}&limit=${PAGE_SIZE}`);
      for (const message of page.items) this.#addMessage(message);
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
      conversation.delivered_seq = conversation.cursor; // one receipt for many messages
      this.#socket.request("ack", { conversation_id: conversation.id, seq: conversation.cursor }).catch(() => {});
    }, 50);
  }

  unread({ last_seq, read_seq, joined_seq }) {
    return Math.max(0, last_seq - Math.max(read_seq, joined_seq));
  }

  markRead(conversation) {
    if (conversation.cursor <= conversation.read_seq) return;
    conversation.read_seq = conversation.cursor;
    this.#sendRead(conversation);
    this.changed();
  }

  /** If it is lost, the next sync shows it and it is sent again. */
  #sendRead({ id, read_seq }) {
    this.#socket.request("read", { conversation_id: id, seq: read_seq }).catch(() => {});
  }

  sendTyping(conversation) {
    if (Date.now() - conversation.wroteAt < TYPING_INTERVAL_MS || this.connection.kind !== "online") return;
    conversation.wroteAt = Date.now();
    this.#socket.request("typing", { conversation_id: conversation.id }).catch(() => {});
  }

  sendMessage(conversation, body, attachments = [], reply_to) {
    this.outbox.push({ client_id: randomId(), conversation_id: conversation.id, body, attachments, reply_to, sent_at: new Date().toISOString(), problem: "" });
    conversation.wroteAt = 0;
    this.#saveOutbox();
    this.#flushOutbox();
  }

  /** Retries a rejected message with the same client_id. */
  retry(item) {
    item.problem = "";
    this.#saveOutbox();
    this.#flushOutbox();
  }

  discard(item) {
    this.#removeFromOutbox(item.client_id);
    this.changed();
  }

  #removeFromOutbox(clientId) {
    const remaining = this.outbox.filter((item) => item.client_id !== clientId);
    if (remaining.length === this.outbox.length) return;
    this.outbox = remaining;
    this.#saveOutbox();
  }

  #saveOutbox() {
    sessionStorage.setItem(OUTBOX_KEY, JSON.stringify(this.outbox));
    this.changed();
  }

  /** Sends one message at a time to keep the order; without a reply it is sent again with the same client_id. */
  async #flushOutbox() {
    if (this.#isSending) return;
    this.#isSending = true;
    let item;
    while (this.connection.kind === "online" && (item = this.outbox.find((entry) => !entry.problem))) {
      const { client_id, conversation_id, body, reply_to } = item;
      const attachments = (item.attachments ?? []).map((file) => file.id);
      try {
        this.#addMessage(await this.#socket.request("send_message", { conversation_id, client_id, body, attachments, reply_to }), true);
        this.#removeFromOutbox(client_id);
      } catch (problem) {
        if (!problem.isTransient) {
          item.problem = problem.detail;
          this.#saveOutbox();
        } else if (problem.status) await new Promise((resolve) => setTimeout(resolve, 1_000));
      }
      this.changed();
    }
    this.#isSending = false;
  }

  /** Delivery state of an own message: sent, delivered or read. */
  deliveryState(conversation, seq) {
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

  /** Sends a contact request; returns the resulting state. */
  async requestContact(phone) {
    const { user_id, state } = await call("POST", "/api/contacts", { phone });
    this.asked.set(user_id, phone);
    await this.loadContacts();
    return state;
  }

  /** `action`: accept, refuse or remove. */
  async respondToContact(userId, action) {
    if (action === "remove") await call("DELETE", `/api/contacts/${userId}`);
    else await call("POST", `/api/contacts/${userId}/${action}`);
    await this.loadContacts();
  }

  /** Opens a direct conversation or creates a group; returns its id. */
  async start(kind, members, title) {
    const created = await call("POST", "/api/conversations", { kind, members, ...(title && { title }) });
    if (!this.conversations.has(created.id)) await this.#loadList();
    this.#applyDetails(created);
    return created.id;
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
    return JSON.parse(sessionStorage.getItem(OUTBOX_KEY)) ?? [];
  } catch {
    return [];
  }
}

/** Random id; `crypto.randomUUID` is missing on pages without TLS. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
