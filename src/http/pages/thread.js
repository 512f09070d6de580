// One conversation of the demo chat: its messages, who is writing, and the field to write in.

import { call } from "./api.js";
import { UNREADABLE, clock, day, face, inShort, marks, nameOf, words, writing } from "./chat-words.js";
import { Deeds } from "./deeds.js";
import { $, h, reconcile, say } from "./dom.js";
import { Tray, showFiles } from "./files.js";

const NEAR = 80; // pixels from an end that count as being there

const LABELS = { waiting: "Waiting to be sent", failed: "Not sent", sent: "Sent", delivered: "Delivered", read: "Read" };

export class Thread {
  #chats;
  #id = null;
  #isFresh = false;
  #isAtEnd = true;
  #newest = null;
  #oldest = null;
  #tray = null;
  #deeds = null;
  #about = null; // the message that is answered or edited: { message, isEdit }

  constructor(chats) {
    this.#chats = chats;
    this.#tray = new Tray(() => ($("send").disabled = this.#isHeld()));
    this.#deeds = new Deeds(chats, { answer: (message) => this.#turnTo(message, false), edit: (message) => this.#turnTo(message, true) });
    $("about-drop").onclick = () => this.#turnTo(null);
    $("messages").replaceChildren();
    $("scroll").onscroll = () => this.#scrolled();
    new ResizeObserver(() => this.#isAtEnd && this.#toEnd()).observe($("scroll")); // a keyboard opens
    $("older").onclick = () => this.#chats.older(this.#conversation);
    $("newest").onclick = () => this.#toEnd();
    $("composer").onsubmit = (event) => this.#send(event);
    $("body").onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#send(event);
      else if (event.key === "Escape" && this.#about) this.#turnTo(null);
    };
    $("body").oninput = () => this.#written();
  }

  get #conversation() {
    return this.#chats.conversations.get(this.#id);
  }

  /** Shows a conversation, or none. What was begun to be written stays with its conversation. */
  show(id) {
    if (id === this.#id) return;
    this.#id = id || null;
    this.#isFresh = true;
    this.#isAtEnd = true;
    this.#newest = this.#oldest = null;
    $("messages").replaceChildren();
    this.#tray.clear();
    this.#tellAbout(null);
  }

  #isHeld() {
    return Boolean(this.#tray?.isBusy) || this.#conversation?.encryption === "mls";
  }

  render() {
    const conversation = this.#conversation;
    $("thread").hidden = !conversation;
    $("nothing").hidden = Boolean(conversation);
    if (!conversation) return this.#renderNothing();
    if (this.#isFresh) this.#begin(conversation);
    if (!conversation.isDescribed && this.#chats.line.kind === "online") {
      conversation.isDescribed = true;
      this.#chats.details(conversation.id);
    }
    this.#renderHead(conversation);
    this.#renderMessages(conversation);
    if (this.#isAtEnd && !document.hidden && document.hasFocus()) this.#chats.read(conversation);
  }

  #renderNothing() {
    const words = this.#id && this.#chats.isLoaded ? "There is no such conversation, or you are no longer in it." : "Choose a conversation, or write to one of your contacts.";
    say($("nothing").querySelector("p"), words);
  }

  #begin(conversation) {
    this.#isFresh = false;
    $("body").value = conversation.draft;
    this.#fit();
    if (conversation.messages.length < 2) this.#chats.older(conversation);
    // On a phone the keyboard would hide what one came to read.
    if (matchMedia("(pointer: fine)").matches) $("body").focus();
    else $("title").focus();
  }

  #renderHead(conversation) {
    const name = nameOf(this.#chats, conversation);
    say($("title"), name);
    face($("face"), conversation.peer_id ?? conversation.id, name);
    const { kind, members } = conversation;
    say($("subtitle"), kind === "group" && members ? members.map((m) => (m.user_id === this.#chats.me.id ? "You" : m.name)).join(", ") : "");
    say($("typing"), writing(this.#chats, conversation));
    const isLocked = conversation.encryption !== "none";
    $("body").disabled = isLocked;
    $("attach").disabled = isLocked;
    $("send").disabled = this.#isHeld();
    $("body").placeholder = isLocked ? UNREADABLE : "Message";
  }

  #renderMessages(conversation) {
    const scroll = $("scroll");
    const { messages } = conversation;
    const fromEnd = scroll.scrollHeight - scroll.scrollTop;
    const grewAbove = messages[0]?.seq !== this.#oldest;
    $("older").hidden = !this.#chats.hasOlder(conversation) || (conversation.isLoading && !messages.length);
    $("older").disabled = conversation.isLoading;
    say($("older"), conversation.isLoading ? "Loading…" : "Earlier messages");
    say($("older-problem"), conversation.error);
    const items = this.#items(conversation);
    reconcile($("messages"), items, (item) => item.key, (item) => (item.day ? makeDay(item) : this.#makeMessage()), (element, item) => item.day || this.#update(element, item));
    $("quiet").hidden = items.length > 0;
    say($("quiet"), conversation.isLoading ? "Loading…" : "Nothing has been said yet.");
    const isNew = messages.at(-1)?.seq !== this.#newest;
    if (this.#isAtEnd) this.#toEnd();
    else if (grewAbove) scroll.scrollTop = scroll.scrollHeight - fromEnd; // stay at what is being read
    else if (isNew) $("newest").hidden = false;
    this.#newest = messages.at(-1)?.seq;
    this.#oldest = messages[0]?.seq;
  }

  /** Messages, then what waits to be sent, with a line before each day. */
  #items(conversation) {
    const waiting = this.#chats.outbox.filter((item) => item.conversation_id === conversation.id);
    const items = [];
    let lastDay = null, lastSender = null;
    for (const message of [...conversation.messages, ...waiting]) {
      const { key, name } = day(message.sent_at);
      if (key !== lastDay) {
        items.push({ key: `day-${key}`, day: name });
        lastSender = null;
      }
      const sender = message.sender_id ?? this.#chats.me.id;
      const isOwn = sender === this.#chats.me.id && !message.system;
      // One's own are known by client_id, so that they do not blink when they are acknowledged.
      items.push({ key: isOwn ? message.client_id : message.id, message, conversation, sender, isOwn, isFirst: sender !== lastSender });
      [lastDay, lastSender] = [key, sender];
    }
    return items;
  }

  #update(element, { message, conversation, sender, isOwn, isFirst }) {
    const state = !isOwn ? "" : message.seq ? this.#chats.progress(conversation, message.seq) : message.problem ? "failed" : "waiting";
    const name = this.#chats.names.get(sender) ?? "Somebody";
    element.className = `message ${message.system ? "system" : ""} ${isOwn ? "own" : ""} ${isFirst ? "first" : ""} ${state === "failed" ? "failed" : ""}`;
    element.told = { message, conversation };
    element.lastElementChild.hidden = !message.seq || Boolean(message.system || message.deleted_at) || conversation.encryption !== "none";
    const [who, answers, files, body, foot, problem] = element.firstElementChild.children;
    showFiles(files, message.attachments);
    say(who, isOwn ? "You" : name);
    who.classList.toggle("unseen", isOwn || Boolean(message.system) || conversation.kind === "direct" || !isFirst);
    say(body, conversation.encryption === "none" || message.system || message.deleted_at ? words(this.#chats, message) : UNREADABLE);
    const parent = message.reply_to && conversation.messages.find((m) => m.id === message.reply_to);
    say(answers, parent ? `Answers: ${inShort(this.#chats, parent)}` : "");
    answers.hidden = !parent;
    body.classList.toggle("faint", Boolean(message.system || message.deleted_at));
    const [extra, time, mark] = foot.children;
    say(extra, marks(message));
    say(time, clock(message.sent_at));
    time.dateTime = message.sent_at;
    if (mark.dataset.state !== state) {
      mark.dataset.state = state;
      mark.replaceChildren(...(state ? [tick(state), h("span", { class: "unseen" }, LABELS[state])] : []));
      mark.title = LABELS[state] ?? "";
    }
    problem.hidden = state !== "failed";
    if (state === "failed") this.#fillProblem(problem, message);
  }

  #fillProblem(place, item) {
    if (place.dataset.words === item.problem) return;
    place.dataset.words = item.problem;
    place.replaceChildren(
      h("span", { role: "alert" }, item.problem), " ",
      h("button", { type: "button", class: "small", onclick: () => this.#chats.retry(item) }, "Try again"), " ",
      h("button", { type: "button", class: "small", onclick: () => this.#chats.discard(item) }, "Discard"));
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = $("scroll");
    const conversation = this.#conversation;
    if (!conversation) return;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.#isAtEnd) {
      $("newest").hidden = true;
      if (document.hasFocus()) this.#chats.read(conversation);
    }
    if (scrollTop < NEAR && scrollHeight > clientHeight && !conversation.error) this.#chats.older(conversation);
  }

  #toEnd() {
    this.#isAtEnd = true;
    $("newest").hidden = true;
    $("scroll").scrollTop = $("scroll").scrollHeight;
  }

  #written() {
    const conversation = this.#conversation;
    if (!this.#about?.isEdit) conversation.draft = $("body").value;
    if ($("body").value.trim()) this.#chats.writes(conversation);
    this.#fit();
  }

  /** The field grows with what is written, up to the height the style allows. */
  #fit() {
    const field = $("body");
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + 2}px`;
  }

  #send(event) {
    event.preventDefault();
    const conversation = this.#conversation;
    const body = $("body").value.trim();
    if (!conversation || this.#tray.isBusy || !(body || this.#tray.hasFiles)) return;
    if (this.#about?.isEdit) return this.#edit(conversation, this.#about.message, body);
    $("body").value = conversation.draft = "";
    this.#isAtEnd = true;
    this.#chats.say(conversation, body, this.#tray.take(), this.#about?.message.id);
    this.#turnTo(null);
  }

  /** What is written next answers or mends this message; `null`: it stands for itself. */
  #turnTo(message, isEdit = false) {
    this.#tellAbout(message && { message, isEdit });
    $("body").value = isEdit ? message.body : this.#conversation.draft;
    this.#fit();
    $("body").focus();
  }

  #tellAbout(about) {
    this.#about = about;
    $("about").hidden = !about;
    say($("about-words"), about ? `${about.isEdit ? "Editing" : "Answering"}: ${inShort(this.#chats, about.message)}` : "");
  }

  async #edit(conversation, message, body) {
    if (!body) return;
    $("send").disabled = true;
    try {
      await call("PATCH", `/api/conversations/${conversation.id}/messages/${message.id}`, { body });
      if (this.#about?.message === message) this.#turnTo(null);
    } catch (problem) {
      say($("about-words"), problem.detail ?? String(problem));
    }
    $("send").disabled = this.#isHeld();
  }

  #makeMessage() {
    const element = makeMessage();
    element.lastElementChild.onclick = () => this.#deeds.open(element.told.conversation, element.told.message);
    return element;
  }
}

function makeDay({ day: name }) {
  return h("li", { class: "day" }, h("span", {}, name));
}

function makeMessage() {
  return h("li", {}, h("div", { class: "bubble" },
    h("strong", { class: "who" }), h("p", { class: "answers faint", dir: "auto", hidden: true }), h("ul", { class: "files", "aria-label": "Files" }),
    h("p", { class: "body", dir: "auto" }),
    h("span", { class: "foot" }, h("span", {}), h("time", {}), h("span", { class: "mark" })), h("p", { class: "problem", hidden: true })),
    h("button", { type: "button", class: "more", "aria-label": "What to do with this message", "aria-haspopup": "dialog" }, "⋯"));
}

const SHAPES = {
  waiting: "M8 2a6 6 0 1 1 0 12a6 6 0 1 1 0-12M8 5v3.5l2 1.5",
  failed: "M8 3v6M8 12.5v.5",
  sent: "M3 8.5l3.5 3.5L13 4.5",
  delivered: "M1 8.5l3.5 3.5L11 4.5M9.5 12L16 4.5",
  read: "M1 8.5l3.5 3.5L11 4.5M9.5 12L16 4.5",
};

function tick(state) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 17 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPES[state]);
  svg.append(path);
  return svg;
}
