// Chat demo: sign-in, the two tabs, the list of conversations, and the page state.

import { request, call, device, removeSession, storeSession, storedSession } from "./api.js";
import { Chats } from "./chats.js";
import { renderAvatar, conversationName, preview, timeOrDate } from "./chat-words.js";
import { $, fieldErrors, h, markFields, reconcile, setText } from "./dom.js";
import { People } from "./people.js";
import { Thread } from "./thread.js";

let chats = null;
let thread = null;
let people = null;

// Sign-in

const form = $("entry-form");
let isNew = false;

function showEntry(text = "") {
  $("app").hidden = true;
  $("entry").hidden = false;
  document.title = "Chat · SecureVOX";
  setMode(isNew);
  showError(text);
  form.elements.phone.focus();
}

function setMode(register) {
  isNew = register;
  chooseTab(register ? "tab-register" : "tab-login");
  $("entry-panel").setAttribute("aria-labelledby", register ? "tab-register" : "tab-login");
  $("name-field").hidden = !register;
  showCodeField(false);
  form.elements.password.autocomplete = register ? "new-password" : "current-password";
  $("enter").textContent = register ? "Register" : "Sign in";
  showError("");
  markFields(form, {});
}

/** The code field is shown when the server requires a second factor. */
function showCodeField(isVisible) {
  $("code-field").hidden = !isVisible;
  form.elements.code.value = "";
}

function showError(text) {
  $("entry-problem").textContent = text;
  $("entry-problem").hidden = !text;
}

async function enter(event) {
  event.preventDefault();
  const { phone, name, password, code } = form.elements;
  const missing = {};
  if (!phone.value.trim()) missing.phone = "Enter your phone number.";
  if (isNew && !name.value.trim()) missing.name = "Enter your name.";
  if (!password.value) missing.password = "Enter your password.";
  showError("");
  if (markFields(form, missing)) return;
  const body = { phone: phone.value, password: password.value, device, ...(isNew && { name: name.value.trim() }), ...(code.value.trim() && { code: code.value.trim() }) };
  $("enter").disabled = true;
  try {
    storeSession(await request("POST", isNew ? "/api/auth/register" : "/api/auth/login", body));
    form.reset();
    showCodeField(false);
    form.elements.password.type = "password";
    start();
  } catch (problem) {
    if (problem.code === "auth/second-factor-required") {
      showCodeField(true);
      code.focus();
    } else if (!markFields(form, fieldErrors(problem, form))) {
      showError(problem.detail);
      $("entry-problem").focus();
    }
  }
  $("enter").disabled = false;
}

// The chat

function start() {
  $("entry").hidden = true;
  $("app").hidden = false;
  chats = new Chats({ changed: render, received: announce, ended: end });
  thread = new Thread(chats);
  people = new People(chats, { open, trouble: showTrouble });
  setText($("me"), chats.me.name);
  showPanel("chats");
  route();
}

/** Returns to sign-in: signed out here, or by the server. */
function end(text) {
  chats?.stop();
  chats = thread = people = null;
  removeSession();
  history.replaceState(null, "", location.pathname);
  showEntry(text);
}

async function signOut() {
  const unsent = chats.outbox.length;
  if (unsent && !confirm(`${unsent === 1 ? "One message has" : `${unsent} messages have`} not been sent. Sign out all the same?`)) return;
  $("leave").disabled = true;
  const notice = await call("POST", "/api/auth/logout").then(() => "", () => "Signed out in this tab only: the server could not be reached.");
  $("leave").disabled = false;
  end(notice);
}

/** The fragment names the open conversation, so that the browser's back button works. */
function route() {
  if (!chats) return;
  const id = location.hash.slice(1);
  const previous = chats.openId;
  chats.openId = id || null;
  $("app").dataset.open = Boolean(id);
  thread.show(id);
  if (!id && previous) document.querySelector(`#chats a[href="#${CSS.escape(previous)}"]`)?.focus();
  render();
}

function open(id) {
  showPanel("chats");
  location.hash = id;
}

function render() {
  if (!chats) return;
  renderConnection();
  renderList();
  people.render();
  thread.render();
}

function renderConnection() {
  const { kind, until, detail } = chats.connection;
  // A short delay while the page loads is not shown.
  $("line").hidden = kind === "online" || (kind === "connecting" && !chats.isLoaded);
  const seconds = Math.max(1, Math.round((until - Date.now()) / 1000));
  const texts = { connecting: "Connecting…", waiting: `No connection. Trying again in ${seconds} s; your messages are sent then.`, halted: detail };
  setText($("line-words"), texts[kind] ?? "");
  $("line-again").hidden = kind === "connecting";
}

function renderList() {
  const list = [...chats.conversations.values()];
  const latest = (c) => c.messages.at(-1)?.sent_at ?? "";
  list.sort((a, b) => latest(b).localeCompare(latest(a)) || b.id.localeCompare(a.id));
  reconcile($("chats"), list, (c) => c.id, makeRow, updateRow);
  setText($("chats-hint"), !chats.isLoaded ? "Loading…" : list.length ? "" : "No conversations yet. Add a contact under People, then write to them.");
  const unread = list.reduce((sum, c) => sum + chats.unread(c), 0);
  setText($("count-chats"), unread ? String(unread) : "");
  document.title = `${unread ? `(${unread}) ` : ""}Chat · SecureVOX`;
}

function makeRow(conversation) {
  return h("li", {}, h("a", { class: "row", href: `#${conversation.id}` },
    h("span", { class: "face", "aria-hidden": "true" }),
    h("span", { class: "grow clip" },
      h("span", { class: "row-top" }, h("strong", { class: "grow clip" }), h("time", {})),
      h("span", { class: "row-top" }, h("span", { class: "grow clip faint" }), h("span", { class: "badge" })))));
}

function updateRow(row, conversation) {
  const name = conversationName(chats, conversation);
  const newest = conversation.messages.at(-1);
  const unread = chats.unread(conversation);
  const link = row.firstElementChild;
  if (conversation.id === chats.openId) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
  renderAvatar(row.querySelector(".face"), conversation.peer_id ?? conversation.id, name);
  setText(row.querySelector("strong"), name);
  setText(row.querySelector("time"), newest ? timeOrDate(newest.sent_at) : "");
  setText(row.querySelector(".faint"), preview(chats, conversation));
  setText(row.querySelector(".badge"), unread ? String(unread) : "");
  row.querySelector(".badge").setAttribute("aria-label", `${unread} unread`);
}

/** Announces a received message to screen readers, with its conversation unless it is visible. */
function announce(conversation, message) {
  const name = chats.names.get(message.sender_id) ?? "Somebody";
  const location = conversation.id === chats.openId || conversation.kind === "direct" ? "" : ` in ${conversationName(chats, conversation)}`;
  const files = (message.attachments ?? []).map((file) => file.name).join(", ");
  $("news").textContent = `${name}${location}: ${message.body.slice(0, 200)}${files && ` (${files})`}`;
}

function showTrouble(text) {
  $("trouble").hidden = !text;
  $("trouble-words").textContent = text;
}

// Tabs, by pointer and arrow keys

function chooseTab(id) {
  for (const tab of $(id).parentElement.children) {
    tab.setAttribute("aria-selected", tab.id === id);
    tab.tabIndex = tab.id === id ? 0 : -1;
  }
}

function showPanel(which) {
  chooseTab(`tab-${which}`);
  $("panel-chats").hidden = which !== "chats";
  $("panel-people").hidden = which !== "people";
}

function bindTab(id, onSelect) {
  $(id).addEventListener("click", onSelect);
  $(id).addEventListener("keydown", ({ key }) => {
    const other = key === "ArrowRight" || key === "ArrowDown" ? "nextElementSibling" : key === "ArrowLeft" || key === "ArrowUp" ? "previousElementSibling" : null;
    const target = other && $(id)[other];
    target?.focus();
    target?.click();
  });
}

bindTab("tab-login", () => setMode(false));
bindTab("tab-register", () => setMode(true));
bindTab("tab-chats", () => showPanel("chats"));
bindTab("tab-people", () => showPanel("people"));
form.addEventListener("submit", enter);
$("show").addEventListener("change", ({ target }) => (form.elements.password.type = target.checked ? "text" : "password"));
$("leave").addEventListener("click", signOut);
$("line-again").addEventListener("click", () => chats.reconnect());
$("trouble-close").addEventListener("click", () => showTrouble(""));
addEventListener("hashchange", route);
addEventListener("focus", () => render());
setInterval(() => chats?.connection.kind === "waiting" && renderConnection(), 1_000);

if (storedSession()) start();
else showEntry();
