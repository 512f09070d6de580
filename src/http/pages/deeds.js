// Actions on a message of the chat demo: react, reply, edit, pin, delete.

import { call } from "./api.js";
import { shortText } from "./chat-words.js";
import { $, h, setText } from "./dom.js";

const EMOJI = { "👍": "thumbs up", "❤️": "heart", "😂": "laughing", "😮": "surprised", "😢": "sad", "🙏": "thanks" };

/** Hooks: `answer(message)` and `edit(message)` start a reply or an edit in the composer. */
export class MessageActions {
  #chats;
  #hooks;

  constructor(chats, hooks) {
    this.#chats = chats;
    this.#hooks = hooks;
    $("deeds-close").onclick = () => $("deeds").close();
  }

  /** Opens the dialog with the actions of a message. */
  open(conversation, message) {
    const path = `/api/conversations/${conversation.id}/messages/${message.id}`;
    const isOwn = message.sender_id === this.#chats.me.id;
    setText($("deeds-title"), shortText(this.#chats, message));
    this.#showError("");
    const thenClose = (action) => () => ($("deeds").close(), action(message));
    const requestAction = (method, path, question) => () => (!question || confirm(question)) && this.#perform(method, path);
    const actionButton = (text, onclick) => h("button", { type: "button", onclick }, text);
    $("deeds-emoji").replaceChildren(...Object.entries(EMOJI).map(([emoji, name]) => {
      const isOn = message.reactions?.some((group) => group.emoji === emoji && group.user_ids.includes(this.#chats.me.id)) ?? false;
      const onclick = requestAction(isOn ? "DELETE" : "PUT", `${path}/reactions/${encodeURIComponent(emoji)}`);
      return h("button", { type: "button", "aria-label": name, "aria-pressed": String(isOn), onclick }, emoji);
    }));
    $("deeds-choices").replaceChildren(...[
      actionButton("Answer", thenClose(this.#hooks.answer)),
      isOwn && actionButton("Edit", thenClose(this.#hooks.edit)),
      message.pinned_at ? actionButton("Unpin", requestAction("DELETE", `${path}/pin`)) : actionButton("Pin", requestAction("PUT", `${path}/pin`)),
      actionButton("Delete for me", requestAction("DELETE", `${path}?for=me`)),
      isOwn && actionButton("Delete for everybody", requestAction("DELETE", `${path}?for=all`, "Delete this message for everybody?")),
    ].filter(Boolean));
    $("deeds").showModal();
  }

  /** Performs the action; its result arrives as an event, as for everybody else. */
  async #perform(method, path) {
    this.#showError("");
    const buttons = $("deeds").querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    try {
      await call(method, path);
      $("deeds").close();
    } catch (problem) {
      this.#showError(problem.detail ?? String(problem));
    }
    for (const button of buttons) button.disabled = false;
  }

  #showError(text) {
    $("deeds-problem").textContent = text;
    $("deeds-problem").hidden = !text;
  }
}
