// People tab of the chat demo: contacts, contact requests, new groups.

import { renderAvatar } from "./chat-words.js";
import { $, h, reconcile, setText } from "./dom.js";

export class People {
  #chats;
  #hooks;

  /** Hooks: `open(conversationId)`, `trouble(text)`. */
  constructor(chats, hooks) {
    this.#chats = chats;
    this.#hooks = hooks;
    for (const id of ["requests", "contacts", "asked"]) $(id).replaceChildren();
    $("ask").onsubmit = (event) => this.#sendRequest(event);
    $("group-open").onclick = () => this.#openGroup();
    $("group-cancel").onclick = () => $("group").close();
    $("group-form").onsubmit = (event) => this.#createGroup(event);
    setText($("ask-outcome"), "");
  }

  #withState(state) {
    return (this.#chats.contacts ?? []).filter((contact) => contact.state === state);
  }

  render() {
    const [requests, contacts, sent] = ["pending_in", "accepted", "pending_out"].map((state) => this.#withState(state));
    const show = (id, items, ...buttons) => reconcile($(id), items, (c) => c.user_id, () => this.#row(...buttons), (row, contact) => this.#update(row, contact));
    show("requests", requests, ["Accept", "primary", (id) => this.#respond(id, "accept")], ["Refuse", "", (id) => this.#respond(id, "refuse")]);
    show("contacts", contacts, ["Write", "", (id) => this.#openDirect(id)]);
    show("asked", sent, ["Take back", "", (id) => this.#respond(id, "remove")]);
    $("requests-part").hidden = !requests.length;
    $("asked-part").hidden = !sent.length;
    $("group-open").hidden = !contacts.length;
    setText($("count-people"), requests.length ? String(requests.length) : "");
    $("count-people").setAttribute("aria-label", `${requests.length} requests`);
    const hint = this.#chats.contacts === null ? "Loading…" : "No contacts yet. Send a request by phone number; once it is accepted you can chat.";
    setText($("contacts-hint"), contacts.length ? "" : hint);
  }

  #row(...buttons) {
    const row = h("li", { class: "row person" },
      h("span", { class: "face", "aria-hidden": "true" }),
      h("span", { class: "grow clip" }, h("strong", { class: "clip" }), h("span", { class: "faint clip" })));
    for (const [label, kind, action] of buttons) {
      const button = h("button", { type: "button", class: `small ${kind}` }, label);
      button.onclick = () => this.#runDisabled(button, () => action(row.dataset.key));
      row.append(button);
    }
    return row;
  }

  #update(row, { user_id, name, phone }) {
    const label = name || this.#chats.asked.get(user_id) || "Pending request";
    renderAvatar(row.querySelector(".face"), user_id, name || "?");
    setText(row.querySelector("strong"), label);
    setText(row.querySelector(".faint"), phone ?? "");
    for (const button of row.querySelectorAll("button")) button.setAttribute("aria-label", `${button.textContent}: ${label}`);
  }

  async #runDisabled(button, action) {
    button.disabled = true;
    this.#hooks.trouble("");
    try {
      await action();
    } catch (problem) {
      this.#hooks.trouble(problem.detail ?? String(problem));
    }
    button.disabled = false;
  }

  async #sendRequest(event) {
    event.preventDefault();
    const input = $("ask-phone");
    const phone = input.value.trim();
    if (!phone) return input.focus();
    const button = event.target.querySelector("button");
    button.disabled = true;
    try {
      const state = await this.#chats.requestContact(phone);
      input.value = "";
      this.#showOutcome(state === "accepted" ? "They had already sent you a request: you are contacts now." : "Request sent. You can chat as soon as it is accepted.");
    } catch (problem) {
      this.#showOutcome(problem.detail, true);
      input.focus();
    }
    button.disabled = false;
  }

  #showOutcome(text, isBad = false) {
    const output = $("ask-outcome");
    output.className = isBad ? "error" : "hint";
    output.textContent = text;
  }

  /** The row disappears with the response; focus moves to the tab. */
  async #respond(id, action) {
    await this.#chats.respondToContact(id, action);
    $("tab-people").focus();
  }

  async #openDirect(id) {
    const existing = [...this.#chats.conversations.values()].find((c) => c.peer_id === id);
    this.#hooks.open(existing?.id ?? (await this.#chats.start("direct", [id])));
  }

  #openGroup() {
    const members = this.#withState("accepted").map(({ user_id, name }) =>
      h("li", {}, h("label", { class: "check" }, h("input", { type: "checkbox", value: user_id }), name)));
    $("group-members").replaceChildren(...members);
    $("group-name").value = "";
    this.#showGroupError("");
    $("group").showModal();
  }

  #showGroupError(text) {
    $("group-problem").textContent = text;
    $("group-problem").hidden = !text;
  }

  async #createGroup(event) {
    event.preventDefault();
    const members = [...$("group-members").querySelectorAll(":checked")].map((box) => box.value);
    const title = $("group-name").value.trim();
    if (!title) return this.#showGroupError("Enter a name for the group."), $("group-name").focus();
    if (!members.length) return this.#showGroupError("Choose at least one member.");
    const button = event.target.querySelector(".primary");
    button.disabled = true;
    try {
      const id = await this.#chats.start("group", members, title);
      $("group").close();
      this.#hooks.open(id);
    } catch (problem) {
      this.#showGroupError(problem.detail);
    }
    button.disabled = false;
  }
}
