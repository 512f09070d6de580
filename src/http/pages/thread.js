// One conversation of the chat demo: messages, typing indicator, composer.

import { call } from "./api.js";
import { UNREADABLE, clock, day, renderAvatar, shortText, messageDetails, conversationName, messageText, typingText } from "./chat-words.js";
import { MessageActions } from "./deeds.js";
import { $, h, reconcile, setText } from "./dom.js";
import { AttachmentTray, showFiles } from "./files.js";

const EDGE_PX = 80; // distance from an end that counts as being there

const LABELS = { waiting: "Waiting to be sent", failed: "Not sent", sent: "Sent", delivered: "Delivered", read: "Read" };

export class Thread {
  #chats;
  #id = null;
  #isFresh = false;
  #isAtEnd = true;
  #newest = null;
  #oldest = null;
  #tray = null;
  #actions = null;
  #target = null; // the message that is answered or edited: { message, isEdit }

  constructor(chats) {
    this.#chats = chats;
    this.#tray = new AttachmentTray(() => ($("send").disabled = this.#isSendBlocked()));
    this.#actions = new MessageActions(chats, { answer: (message) => this.#setTarget(message, false), edit: (message) => this.#setTarget(message, true) });
    $("about-drop").onclick = () => this.#setTarget(null);
    $("messages").replaceChildren();
    $("scroll").onscroll = () => this.#onScroll();
    new ResizeObserver(() => this.#isAtEnd && this.#scrollToEnd()).observe($("scroll")); // an on-screen keyboard opens
    $("older").onclick = () => this.#chats.loadOlder(this.#conversation);
    $("newest").onclick = () => this.#scrollToEnd();
    $("composer").onsubmit = (event) => this.#send(event);
    $("body").onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#send(event);
      else if (event.key === "Escape" && this.#target) this.#setTarget(null);
    };
    $("body").oninput = () => this.#onInput();
  }

  get #conversation() {
    return this.#chats.conversations.get(this.#id);
  }

  /** Shows a conversation, or none. Drafts stay with their conversation. */
  show(id) {
    if (id === this.#id) return;
    this.#id = id || null;
    this.#isFresh = true;
    this.#isAtEnd = true;
    this.#newest = this.#oldest = null;
    $("messages").replaceChildren();
    this.#tray.clear();
    this.#showTarget(null);
  }

  #isSendBlocked() {
    return Boolean(this.#tray?.isBusy) || this.#conversation?.encryption === "mls";
  }

  render() {
    const conversation = this.#conversation;
    $("thread").hidden = !conversation;
    $("nothing").hidden = Boolean(conversation);
    if (!conversation) return this.#renderNothing();
    if (this.#isFresh) this.#onOpened(conversation);
    if (!conversation.isDescribed && this.#chats.connection.kind === "online") {
      conversation.isDescribed = true;
      this.#chats.loadDetails(conversation.id);
    }
    this.#renderHeader(conversation);
    this.#renderMessages(conversation);
    if (this.#isAtEnd && !document.hidden && document.hasFocus()) this.#chats.markRead(conversation);
  }

  #renderNothing() {
    const text = this.#id && this.#chats.isLoaded ? "This conversation does not exist, or you are no longer a member." : "Choose a conversation, or write to one of your contacts.";
    setText($("nothing").querySelector("p"), text);
  }

  #onOpened(conversation) {
    this.#isFresh = false;
    $("body").value = conversation.draft;
    this.#resizeField();
    if (conversation.messages.length < 2) this.#chats.loadOlder(conversation);
    // On a phone the keyboard would cover the messages.
    if (matchMedia("(pointer: fine)").matches) $("body").focus();
    else $("title").focus();
  }

  #renderHeader(conversation) {
    const name = conversationName(this.#chats, conversation);
    setText($("title"), name);
    renderAvatar($("face"), conversation.peer_id ?? conversation.id, name);
    const { kind, members } = conversation;
    setText($("subtitle"), kind === "group" && members ? members.map((m) => (m.user_id === this.#chats.me.id ? "You" : m.name)).join(", ") : "");
    setText($("typing"), typingText(this.#chats, conversation));
    const isLocked = conversation.encryption !== "none";
    $("body").disabled = isLocked;
    $("attach").disabled = isLocked;
    $("send").disabled = this.#isSendBlocked();
    $("body").placeholder = isLocked ? UNREADABLE : "Message";
  }

  #renderMessages(conversation) {
    const scroll = $("scroll");
    const { messages } = conversation;
    const fromEnd = scroll.scrollHeight - scroll.scrollTop;
    const grewAbove = messages[0]?.seq !== this.#oldest;
    $("older").hidden = !this.#chats.hasOlder(conversation) || (conversation.isLoading && !messages.length);
    $("older").disabled = conversation.isLoading;
    setText($("older"), conversation.isLoading ? "Loading…" : "Earlier messages");
    setText($("older-problem"), conversation.error);
    const items = this.#items(conversation);
    reconcile($("messages"), items, (item) => item.key, (item) => (item.day ? makeDay(item) : this.#createMessage()), (element, item) => item.day || this.#update(element, item));
    $("quiet").hidden = items.length > 0;
    setText($("quiet"), conversation.isLoading ? "Loading…" : "No messages yet.");
    const isNew = messages.at(-1)?.seq !== this.#newest;
    if (this.#isAtEnd) this.#scrollToEnd();
    else if (grewAbove) scroll.scrollTop = scroll.scrollHeight - fromEnd; // keep the reading position
    else if (isNew) $("newest").hidden = false;
    this.#newest = messages.at(-1)?.seq;
    this.#oldest = messages[0]?.seq;
  }

  /** Messages and outbox entries, with a separator before each day. */
  #items(conversation) {
    const pending = this.#chats.outbox.filter((item) => item.conversation_id === conversation.id);
    const items = [];
    let lastDay = null, lastSender = null;
    for (const message of [...conversation.messages, ...pending]) {
      const { key, name } = day(message.sent_at);
      if (key !== lastDay) {
        items.push({ key: `day-${key}`, day: name });
        lastSender = null;
      }
      const sender = message.sender_id ?? this.#chats.me.id;
      const isOwn = sender === this.#chats.me.id && !message.system;
      // Own messages are keyed by client_id, so that they do not flicker when they are
      // acknowledged.
      items.push({ key: isOwn ? message.client_id : message.id, message, conversation, sender, isOwn, isFirst: sender !== lastSender });
      [lastDay, lastSender] = [key, sender];
    }
    return items;
  }

  #update(element, { message, conversation, sender, isOwn, isFirst }) {
    const state = !isOwn ? "" : message.seq ? this.#chats.deliveryState(conversation, message.seq) : message.problem ? "failed" : "waiting";
    const name = this.#chats.names.get(sender) ?? "Somebody";
    element.className = `message ${message.system ? "system" : ""} ${isOwn ? "own" : ""} ${isFirst ? "first" : ""} ${state === "failed" ? "failed" : ""}`;
    element.shown = { message, conversation };
    element.lastElementChild.hidden = !message.seq || Boolean(message.system || message.deleted_at) || conversation.encryption !== "none";
    const [who, answers, files, body, foot, problem] = element.firstElementChild.children;
    showFiles(files, message.attachments);
    setText(who, isOwn ? "You" : name);
    who.classList.toggle("unseen", isOwn || Boolean(message.system) || conversation.kind === "direct" || !isFirst);
    setText(body, conversation.encryption === "none" || message.system || message.deleted_at ? messageText(this.#chats, message) : UNREADABLE);
    const parent = message.reply_to && conversation.messages.find((m) => m.id === message.reply_to);
    setText(answers, parent ? `Answers: ${shortText(this.#chats, parent)}` : "");
    answers.hidden = !parent;
    body.classList.toggle("faint", Boolean(message.system || message.deleted_at));
    const [extra, time, mark] = foot.children;
    setText(extra, messageDetails(message));
    setText(time, clock(message.sent_at));
    time.dateTime = message.sent_at;
    if (mark.dataset.state !== state) {
      mark.dataset.state = state;
      mark.replaceChildren(...(state ? [tick(state), h("span", { class: "unseen" }, LABELS[state])] : []));
      mark.title = LABELS[state] ?? "";
    }
    problem.hidden = state !== "failed";
    if (state === "failed") this.#showProblem(problem, message);
  }

  #showProblem(output, item) {
    if (output.dataset.words === item.problem) return;
    output.dataset.words = item.problem;
    output.replaceChildren(
      h("span", { role: "alert" }, item.problem), " ",
      h("button", { type: "button", class: "small", onclick: () => this.#chats.retry(item) }, "Try again"), " ",
      h("button", { type: "button", class: "small", onclick: () => this.#chats.discard(item) }, "Discard"));
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = $("scroll");
    const conversation = this.#conversation;
    if (!conversation) return;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < EDGE_PX;
    if (this.#isAtEnd) {
      $("newest").hidden = true;
      if (document.hasFocus()) this.#chats.markRead(conversation);
    }
    if (scrollTop < EDGE_PX && scrollHeight > clientHeight && !conversation.error) this.#chats.loadOlder(conversation);
  }

  #scrollToEnd() {
    this.#isAtEnd = true;
    $("newest").hidden = true;
    $("scroll").scrollTop = $("scroll").scrollHeight;
  }

  #onInput() {
    const conversation = this.#conversation;
    if (!this.#target?.isEdit) conversation.draft = $("body").value;
    if ($("body").value.trim()) this.#chats.sendTyping(conversation);
    this.#resizeField();
  }

  /** The field grows with its text, up to the height the style allows. */
  #resizeField() {
    const field = $("body");
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + 2}px`;
  }

  #send(event) {
    event.preventDefault();
    const conversation = this.#conversation;
    const body = $("body").value.trim();
    if (!conversation || this.#tray.isBusy || !(body || this.#tray.hasFiles)) return;
    if (this.#target?.isEdit) return this.#edit(conversation, this.#target.message, body);
    $("body").value = conversation.draft = "";
    this.#isAtEnd = true;
    this.#chats.sendMessage(conversation, body, this.#tray.take(), this.#target?.message.id);
    this.#setTarget(null);
  }

  /** The next text replies to or edits this message; `null` for a new message. */
  #setTarget(message, isEdit = false) {
    this.#showTarget(message && { message, isEdit });
    $("body").value = isEdit ? message.body : this.#conversation.draft;
    this.#resizeField();
    $("body").focus();
  }

  #showTarget(target) {
    this.#target = target;
    $("about").hidden = !target;
    setText($("about-words"), target ? `${target.isEdit ? "Editing" : "Answering"}: ${shortText(this.#chats, target.message)}` : "");
  }

  async #edit(conversation, message, body) {
    if (!body) return;
    $("send").disabled = true;
    try {
      await call("PATCH", `/api/conversations/${conversation.id}/messages/${message.id}`, { body });
      if (this.#target?.message === message) this.#setTarget(null);
    } catch (problem) {
      setText($("about-words"), problem.detail ?? String(problem));
    }
    $("send").disabled = this.#isSendBlocked();
  }

  #createMessage() {
    const element = createMessageElement();
    element.lastElementChild.onclick = () => this.#actions.open(element.shown.conversation, element.shown.message);
    return element;
  }
}

function makeDay({ day: name }) {
  return h("li", { class: "day" }, h("span", {}, name));
}

function createMessageElement() {
  return h("li", {}, h("div", { class: "bubble" },
    h("strong", { class: "who" }), h("p", { class: "answers faint", dir: "auto", hidden: true }), h("ul", { class: "files", "aria-label": "Files" }),
    h("p", { class: "body", dir: "auto" }),
    h("span", { class: "foot" }, h("span", {}), h("time", {}), h("span", { class: "mark" })), h("p", { class: "problem", hidden: true })),
    h("button", { type: "button", class: "more", "aria-label": "Actions for this message", "aria-haspopup": "dialog" }, "⋯"));
}

const TICK_PATHS = {
  waiting: "M8 2a6 6 0 1 1 0 12a6 6 0 1 1 0-12M8 5v3.5l2 1.5",
  failed: "M8 3v6M8 12.5v.5",
  sent: "M3 8.5l3.5 3.5L13 4.5",
  delivered: "M1 8.5l3.5 3.5L11 4.5M9.5 12L16 4.5",
  read: "M1 8.5l3.5 3.5L11 4.5M9.5 12L16 4.5",
};

function tick(state) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  const path = document.createElementNS(namespace, "path");
  svg.setAttribute("viewBox", "0 0 17 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", TICK_PATHS[state]);
  svg.append(path);
  return svg;
}
