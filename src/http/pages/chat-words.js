// How the chat names and dates things.

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const near = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long", year: "numeric" });

const dayNumber = (date) => Math.round(new Date(date.getFullYear(), date.getMonth(), date.getDate(), 12) / 86_400_000);

export const clock = (iso) => time.format(new Date(iso));

/** The time of today, the date of any other day. */
export function when(iso) {
  const date = new Date(iso);
  return dayNumber(date) === dayNumber(new Date()) ? time.format(date) : near.format(date);
}

/** A day's name, and a key by which days differ. */
export function day(iso) {
  const date = new Date(iso);
  const ago = dayNumber(new Date()) - dayNumber(date);
  const name = ago === 0 ? "Today" : ago === 1 ? "Yesterday" : full.format(date);
  return { key: dayNumber(date), name };
}

/** What a conversation is called. */
export function nameOf(chats, conversation) {
  const peer = chats.names.get(conversation.peer_id);
  return conversation.title || peer || (conversation.kind === "group" ? "Group without a name" : "Somebody");
}

/** Who is writing, in words; empty if nobody. */
export function writing(chats, conversation) {
  const names = [...conversation.typing.keys()].map((id) => chats.names.get(id) ?? "Somebody");
  if (!names.length) return "";
  if (names.length > 2) return `${names.length} people are writing…`;
  return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} writing…`;
}

export const UNREADABLE = "Encrypted end to end: this demo cannot show it.";

const HAPPENED = {
  joined: "joined by an invite", left: "left", added: "added", removed: "removed", renamed: "renamed the group to",
  role: "changed the role of", settings: "changed the settings",
};

/** What a message says, whatever became of it. */
export function words(chats, message) {
  if (message.deleted_at) return "This message is gone.";
  const { system } = message;
  if (!system) return message.body;
  const name = (id) => (id === chats.me.id ? "you" : chats.names.get(id) ?? "somebody");
  const rest = [HAPPENED[system.what] ?? "changed something", system.user_id && name(system.user_id), system.title, system.role && `to ${system.role}`];
  const sentence = [name(message.sender_id), ...rest].filter(Boolean).join(" ");
  return sentence[0].toUpperCase() + sentence.slice(1) + ".";
}

/** The same on one line. */
export function inShort(chats, message) {
  const text = words(chats, message) || (message.attachments ?? []).map((file) => file.name).join(", ");
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

/** What is said beside its time: that it was edited, is pinned, and who reacted. */
export function marks(message) {
  const reactions = (message.reactions ?? []).map((r) => (r.user_ids.length > 1 ? `${r.emoji} ${r.user_ids.length}` : r.emoji));
  return [message.edited_at && "edited", message.pinned_at && "pinned", ...reactions].filter(Boolean).join(" · ");
}

/** A message after a change, or `null` if it is gone for this person. The higher revision counts. */
export function changed(message, name, data) {
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

/** The line under a conversation's name. */
export function preview(chats, conversation) {
  const writes = writing(chats, conversation);
  if (writes) return writes;
  const newest = conversation.messages.at(-1);
  if (!newest) return "";
  if (conversation.encryption !== "none") return "Encrypted message";
  if (newest.system) return words(chats, newest);
  const own = newest.sender_id === chats.me.id;
  const who = own ? "You: " : conversation.kind === "group" ? `${chats.names.get(newest.sender_id) ?? "…"}: ` : "";
  const files = (newest.attachments ?? []).map((file) => file.name).join(", ");
  return who + (words(chats, newest).slice(0, 200) || files);
}

/** An initial on a colour that stays the same for a person or group. */
export function face(element, id, name) {
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  element.dataset.hue = sum % 6;
  const initial = ([...name.trim()][0] ?? "?").toUpperCase();
  if (element.textContent !== initial) element.textContent = initial;
}
