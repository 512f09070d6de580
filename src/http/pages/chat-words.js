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

/** The line under a conversation's name. */
export function preview(chats, conversation) {
  const writes = writing(chats, conversation);
  if (writes) return writes;
  const newest = conversation.messages.at(-1);
  if (!newest) return "";
  if (conversation.encryption !== "none") return "Encrypted message";
  const own = newest.sender_id === chats.me.id;
  const who = own ? "You: " : conversation.kind === "group" ? `${chats.names.get(newest.sender_id) ?? "…"}: ` : "";
  const files = (newest.attachments ?? []).map((file) => file.name).join(", ");
  return who + (newest.body.slice(0, 200) || files);
}

/** An initial on a colour that stays the same for a person or group. */
export function face(element, id, name) {
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  element.dataset.hue = sum % 6;
  const initial = ([...name.trim()][0] ?? "?").toUpperCase();
  if (element.textContent !== initial) element.textContent = initial;
}
