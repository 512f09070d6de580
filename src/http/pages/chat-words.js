// Texts of the chat demo: names, dates, previews.

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const longDate = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long", year: "numeric" });

const dayNumber = (date) => Math.round(new Date(date.getFullYear(), date.getMonth(), date.getDate(), 12) / 86_400_000);

export const clock = (iso) => time.format(new Date(iso));

/** The time for today, the date for other days. */
export function timeOrDate(iso) {
  const date = new Date(iso);
  return dayNumber(date) === dayNumber(new Date()) ? time.format(date) : shortDate.format(date);
}

/** Name of a day, and a number that identifies it. */
export function day(iso) {
  const date = new Date(iso);
  const daysAgo = dayNumber(new Date()) - dayNumber(date);
  const name = daysAgo === 0 ? "Today" : daysAgo === 1 ? "Yesterday" : longDate.format(date);
  return { key: dayNumber(date), name };
}

/** Display name of a conversation. */
export function conversationName(chats, conversation) {
  const peer = chats.names.get(conversation.peer_id);
  return conversation.title || peer || (conversation.kind === "group" ? "Group without a name" : "Somebody");
}

/** Who is typing; empty if nobody. */
export function typingText(chats, conversation) {
  const names = [...conversation.typing.keys()].map((id) => chats.names.get(id) ?? "Somebody");
  if (!names.length) return "";
  if (names.length > 2) return `${names.length} people are writing…`;
  return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} writing…`;
}

export const UNREADABLE = "Encrypted end to end: this demo cannot show it.";

const SYSTEM_EVENTS = {
  joined: "joined by an invite", left: "left", added: "added", removed: "removed", renamed: "renamed the group to",
  role: "changed the role of", settings: "changed the settings",
};

/** Display text of a message, also if it is deleted or a system message. */
export function messageText(chats, message) {
  if (message.deleted_at) return "This message is gone.";
  const { system } = message;
  if (!system) return message.body;
  const name = (id) => (id === chats.me.id ? "you" : chats.names.get(id) ?? "somebody");
  const parts = [SYSTEM_EVENTS[system.what] ?? "changed something", system.user_id && name(system.user_id), system.title, system.role && `to ${system.role}`];
  const sentence = [name(message.sender_id), ...parts].filter(Boolean).join(" ");
  return sentence[0].toUpperCase() + sentence.slice(1) + ".";
}

/** Display text on one line, shortened to 80 characters. */
export function shortText(chats, message) {
  const text = messageText(chats, message) || (message.attachments ?? []).map((file) => file.name).join(", ");
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

/** Details next to the time of a message: edited, pinned, reactions. */
export function messageDetails(message) {
  const reactions = (message.reactions ?? []).map((r) => (r.user_ids.length > 1 ? `${r.emoji} ${r.user_ids.length}` : r.emoji));
  return [message.edited_at && "edited", message.pinned_at && "pinned", ...reactions].filter(Boolean).join(" · ");
}

/** Applies a change to a message; `null` if it is deleted for this user. The higher revision wins. */
export function applyChange(message, name, data) {
  if (data.revision <= message.revision) return message;
  if (name === "message_edited") return data;
  const { revision } = data;
  if (name === "message_deleted") return data.for === "me" ? null : { ...message, revision, body: "", reactions: [], deleted_at: message.sent_at };
  const groups = (message.reactions ?? []).map((r) => ({ ...r, user_ids: r.user_ids.filter((id) => r.emoji !== data.emoji || id !== data.user_id) }));
  if (data.added) {
    const group = groups.find((r) => r.emoji === data.emoji);
    if (group) group.user_ids.push(data.user_id);
    else groups.push({ emoji: data.emoji, user_ids: [data.user_id] });
  }
  return { ...message, revision, reactions: groups.filter((r) => r.user_ids.length) };
}

/** The line below the name of a conversation in the list. */
export function preview(chats, conversation) {
  const typing = typingText(chats, conversation);
  if (typing) return typing;
  const newest = conversation.messages.at(-1);
  if (!newest) return "";
  if (conversation.encryption !== "none") return "Encrypted message";
  if (newest.system) return messageText(chats, newest);
  const isOwn = newest.sender_id === chats.me.id;
  const prefix = isOwn ? "You: " : conversation.kind === "group" ? `${chats.names.get(newest.sender_id) ?? "…"}: ` : "";
  const files = (newest.attachments ?? []).map((file) => file.name).join(", ");
  return prefix + (messageText(chats, newest).slice(0, 200) || files);
}

/** Shows an initial on a colour that is fixed for a user or group. */
export function renderAvatar(element, id, name) {
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  element.dataset.hue = sum % 6;
  const initial = ([...name.trim()][0] ?? "?").toUpperCase();
  if (element.textContent !== initial) element.textContent = initial;
}
