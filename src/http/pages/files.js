// Files of the demo chat: sent with their progress, shown small, saved whole.

import { Problem, token } from "./api.js";
import { $, h, reconcile, say } from "./dom.js";

const UNITS = ["B", "kB", "MB", "GB"];
/** Files sent at the same time: a person has few places at the server. */
const AT_ONCE = 4;
const GIVEN_UP = { status: 0, detail: "This file is not sent." };

/** 1234567 as "1.2 MB". */
export function amount(bytes) {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  return `${value >= 10 || power === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

let sending = 0;
const waiting = [];

/** Does `work` when it is its turn. */
async function inTurn(work) {
  if (sending < AT_ONCE) sending++;
  else await new Promise((resolve) => waiting.push(resolve));
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else sending--;
  }
}

/** Sends one file; `progress` hears the share that is sent. XMLHttpRequest, since fetch tells none. */
async function upload(file, progress, signal) {
  const access = await token();
  if (signal.aborted) throw new Problem(GIVEN_UP);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", file, file.name);
    request.open("POST", "/api/attachments");
    request.setRequestHeader("Authorization", `Bearer ${access}`);
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
    request.onload = () => request.status === 201 ? resolve(request.response)
      : reject(new Problem(request.response ?? { status: request.status, detail: `The server answered ${request.status}.` }));
    request.onerror = () => reject(new Problem({ status: 0, detail: "The server cannot be reached." }));
    request.onabort = () => reject(new Problem(GIVEN_UP));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** What is to be sent along with the next message. */
export class Tray {
  #items = [];
  #number = 0;

  constructor(changed) {
    this.changed = changed;
    $("attach").onclick = () => $("files").click();
    $("files").onchange = () => {
      for (const file of $("files").files) this.add(file);
      $("files").value = "";
    };
    const composer = $("composer");
    composer.ondragover = (event) => event.preventDefault();
    composer.ondrop = (event) => {
      event.preventDefault();
      for (const file of event.dataTransfer.files) this.add(file);
    };
    this.clear();
  }

  get isBusy() {
    return this.#items.some((item) => !item.made && !item.problem);
  }

  /** The files that are there; the tray is empty then. */
  take() {
    const made = this.#items.filter((item) => item.made).map((item) => item.made);
    this.#items = this.#items.filter((item) => !item.made);
    this.render();
    return made;
  }

  get hasFiles() {
    return this.#items.some((item) => item.made);
  }

  clear() {
    for (const item of this.#items) item.stop.abort();
    this.#items = [];
    this.render();
  }

  async add(file) {
    const item = { key: String(++this.#number), name: file.name, size: file.size, share: 0, made: null, problem: "", stop: new AbortController() };
    this.#items.push(item);
    this.render();
    try {
      item.made = await inTurn(() => upload(file, (share) => { item.share = share; this.render(); }, item.stop.signal));
      say($("tray-news"), `${item.name} is ready to be sent.`);
    } catch (problem) {
      item.problem = problem.detail;
    }
    this.render();
  }

  render() {
    $("tray").hidden = !this.#items.length;
    reconcile($("tray"), this.#items, (item) => item.key, (item) => this.#make(item), (row, item) => {
      const [, state, bar] = row.children;
      row.classList.toggle("failed", Boolean(item.problem));
      say(state, item.problem || (item.made ? amount(item.size) : `${Math.round(item.share * 100)} % of ${amount(item.size)}`));
      if (item.problem) state.setAttribute("role", "alert");
      bar.hidden = Boolean(item.made || item.problem);
      bar.value = item.share;
    });
    this.changed();
  }

  #make(item) {
    const remove = () => {
      item.stop.abort();
      this.#items = this.#items.filter((one) => one !== item);
      this.render();
      $("attach").focus();
    };
    return h("li", {}, h("span", { class: "clip" }, item.name), h("span", { class: "faint" }),
      h("progress", { max: 1, "aria-label": `Sending ${item.name}` }),
      h("button", { type: "button", class: "small", "aria-label": `Remove ${item.name}`, onclick: remove }, "×"));
  }
}

async function bytes(path) {
  const response = await fetch(path, { headers: { Authorization: `Bearer ${await token()}` } });
  if (!response.ok) throw new Problem({ status: response.status, detail: response.status === 404 ? "This file is no longer there." : `The server answered ${response.status}.` });
  return response.blob();
}

async function save(file, button, problem) {
  button.disabled = true;
  say(problem, "");
  try {
    const url = URL.createObjectURL(await bytes(`/api/attachments/${file.id}`));
    h("a", { href: url, download: file.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (failure) {
    say(problem, failure.detail ?? "The server cannot be reached.");
  }
  button.disabled = false;
}

/** The files of a message. */
export function showFiles(place, files = []) {
  reconcile(place, files, (file) => file.id, (file) => {
    const problem = h("span", { class: "error", role: "alert" });
    const button = h("button", { type: "button", class: "file", "aria-label": `Save ${file.name}, ${amount(file.size)}` });
    button.onclick = () => save(file, button, problem);
    if (file.thumbnail) {
      const shape = file.width && file.height ? { width: file.width, height: file.height } : {};
      const image = h("img", { alt: "", ...shape });
      image.onload = image.onerror = () => URL.revokeObjectURL(image.src);
      bytes(`/api/attachments/${file.id}/thumbnail`).then((blob) => (image.src = URL.createObjectURL(blob)), () => image.remove());
      button.append(image);
    }
    button.append(h("span", { class: "file-name" }, file.name), h("span", { class: "faint" }, amount(file.size)));
    return h("li", {}, button, problem);
  });
}
