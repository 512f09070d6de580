// The people of the demo chat: contacts, requests in both directions, and new groups.

import { face } from "./chat-words.js";
import { $, h, reconcile, say } from "./dom.js";

export class People {
  #chats;
  #hooks;

  /** Hooks: `open(conversationId)`, `trouble(words)`. */
  constructor(chats, hooks) {
    this.#chats = chats;
    this.#hooks = hooks;
    for (const id of ["requests", "contacts", "asked"]) $(id).replaceChildren();
    $("ask").onsubmit = (event) => this.#ask(event);
    $("group-open").onclick = () => this.#openGroup();
    $("group-cancel").onclick = () => $("group").close();
    $("group-form").onsubmit = (event) => this.#makeGroup(event);
    say($("ask-outcome"), "");
  }

  #in(state) {
    return (this.#chats.contacts ?? []).filter((contact) => contact.state === state);
  }

  render() {
    const [requests, contacts, asked] = ["pending_in", "accepted", "pending_out"].map((state) => this.#in(state));
    const show = (id, items, ...buttons) => reconcile($(id), items, (c) => c.user_id, () => this.#row(...buttons), (row, contact) => this.#update(row, contact));
    show("requests", requests, ["Accept", "primary", (id) => this.#answer(id, "accept")], ["Refuse", "", (id) => this.#answer(id, "refuse")]);
    show("contacts", contacts, ["Write", "", (id) => this.#write(id)]);
    show("asked", asked, ["Take back", "", (id) => this.#answer(id, "remove")]);
    $("requests-part").hidden = !requests.length;
    $("asked-part").hidden = !asked.length;
    $("group-open").hidden = !contacts.length;
    say($("count-people"), requests.length ? String(requests.length) : "");
    $("count-people").setAttribute("aria-label", `${requests.length} requests`);
    const hint = this.#chats.contacts === null ? "Loading…" : "Nobody yet. Ask somebody who is registered here by their phone number; once they accept you can talk.";
    say($("contacts-hint"), contacts.length ? "" : hint);
  }

  #row(...buttons) {
    const row = h("li", { class: "row person" },
      h("span", { class: "face", "aria-hidden": "true" }),
      h("span", { class: "grow clip" }, h("strong", { class: "clip" }), h("span", { class: "faint clip" })));
    for (const [label, kind, deed] of buttons) {
      const button = h("button", { type: "button", class: `small ${kind}` }, label);
      button.onclick = () => this.#guarded(button, () => deed(row.dataset.key));
      row.append(button);
    }
    return row;
  }

  #update(row, { user_id, name, phone }) {
    const shown = name || this.#chats.asked.get(user_id) || "Somebody you asked";
    face(row.querySelector(".face"), user_id, name || "?");
    say(row.querySelector("strong"), shown);
    say(row.querySelector(".faint"), phone ?? "");
    for (const button of row.querySelectorAll("button")) button.setAttribute("aria-label", `${button.textContent}: ${shown}`);
  }

  async #guarded(button, deed) {
    button.disabled = true;
    this.#hooks.trouble("");
    try {
      await deed();
    } catch (problem) {
      this.#hooks.trouble(problem.detail ?? String(problem));
    }
    button.disabled = false;
  }

  async #ask(event) {
    event.preventDefault();
    const input = $("ask-phone");
    const phone = input.value.trim();
    if (!phone) return input.focus();
    const button = event.target.querySelector("button");
    button.disabled = true;
    try {
      const state = await this.#chats.askContact(phone);
      input.value = "";
      this.#outcome(state === "accepted" ? "They had asked you already: you are contacts now." : "Asked. You can talk as soon as they accept.");
    } catch (problem) {
      this.#outcome(problem.detail, true);
      input.focus();
    }
    button.disabled = false;
  }

  #outcome(words, isBad = false) {
    const place = $("ask-outcome");
    place.className = isBad ? "error" : "hint";
    place.textContent = words;
  }

  /** The row goes away with the answer; focus goes to the heading of the list instead of nowhere. */
  async #answer(id, deed) {
    await this.#chats.answerContact(id, deed);
    $("tab-people").focus();
  }

  async #write(id) {
    const known = [...this.#chats.conversations.values()].find((c) => c.peer_id === id);
    this.#hooks.open(known?.id ?? (await this.#chats.start("direct", [id])));
  }

  #openGroup() {
    const members = this.#in("accepted").map(({ user_id, name }) =>
      h("li", {}, h("label", { class: "check" }, h("input", { type: "checkbox", value: user_id }), name)));
    $("group-members").replaceChildren(...members);
    $("group-name").value = "";
    this.#groupProblem("");
    $("group").showModal();
  }

  #groupProblem(words) {
    $("group-problem").textContent = words;
    $("group-problem").hidden = !words;
  }

  async #makeGroup(event) {
    event.preventDefault();
    const members = [...$("group-members").querySelectorAll(":checked")].map((box) => box.value);
    const title = $("group-name").value.trim();
    if (!title) return this.#groupProblem("Give the group a name."), $("group-name").focus();
    if (!members.length) return this.#groupProblem("Choose at least one member.");
    const button = event.target.querySelector(".primary");
    button.disabled = true;
    try {
      const id = await this.#chats.start("group", members, title);
      $("group").close();
      this.#hooks.open(id);
    } catch (problem) {
      this.#groupProblem(problem.detail);
    }
    button.disabled = false;
  }
}
