// What one may do with a message of the demo chat: react, answer, edit, pin, delete.

import { call } from "./api.js";
import { inShort } from "./chat-words.js";
import { $, h, say } from "./dom.js";

const EMOJI = { "👍": "thumbs up", "❤️": "heart", "😂": "laughing", "😮": "surprised", "😢": "sad", "🙏": "thanks" };

/** Hooks: `answer(message)` and `edit(message)`, which go on in the field to write in. */
export class Deeds {
  #chats;
  #hooks;

  constructor(chats, hooks) {
    this.#chats = chats;
    this.#hooks = hooks;
    $("deeds-close").onclick = () => $("deeds").close();
  }

  /** Asks what is to be done with a message. */
  open(conversation, message) {
    const path = `/api/conversations/${conversation.id}/messages/${message.id}`;
    const isOwn = message.sender_id === this.#chats.me.id;
    say($("deeds-title"), inShort(this.#chats, message));
    this.#complain("");
    const later = (deed) => () => ($("deeds").close(), deed(message));
    const now = (method, path, sure) => () => (!sure || confirm(sure)) && this.#do(method, path);
    const choice = (text, onclick) => h("button", { type: "button", onclick }, text);
    $("deeds-emoji").replaceChildren(...Object.entries(EMOJI).map(([emoji, name]) => {
      const isOn = message.reactions?.some((one) => one.emoji === emoji && one.user_ids.includes(this.#chats.me.id)) ?? false;
      const onclick = now(isOn ? "DELETE" : "PUT", `${path}/reactions/${encodeURIComponent(emoji)}`);
      return h("button", { type: "button", "aria-label": name, "aria-pressed": String(isOn), onclick }, emoji);
    }));
    $("deeds-choices").replaceChildren(...[
      choice("Answer", later(this.#hooks.answer)),
      isOwn && choice("Edit", later(this.#hooks.edit)),
      message.pinned_at ? choice("Pin no longer", now("DELETE", `${path}/pin`)) : choice("Pin", now("PUT", `${path}/pin`)),
      choice("Delete for me", now("DELETE", `${path}?for=me`)),
      isOwn && choice("Delete for everybody", now("DELETE", `${path}?for=all`, "Delete this message for everybody?")),
    ].filter(Boolean));
    $("deeds").showModal();
  }

  /** What became of it comes as an event, as it does to everybody else. */
  async #do(method, path) {
    this.#complain("");
    const buttons = $("deeds").querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    try {
      await call(method, path);
      $("deeds").close();
    } catch (problem) {
      this.#complain(problem.detail ?? String(problem));
    }
    for (const button of buttons) button.disabled = false;
  }

  #complain(text) {
    $("deeds-problem").textContent = text;
    $("deeds-problem").hidden = !text;
  }
}
