// Attachments of the chat demo: upload with progress, thumbnails, download.

import { Problem, token } from "./api.js";
import { $, h, reconcile, setText } from "./dom.js";

const UNITS = ["B", "kB", "MB", "GB"];
/** Concurrent uploads; the server limits them per user. */
const MAX_CONCURRENT_UPLOADS = 4;
const CANCELLED = { status: 0, detail: "This upload was cancelled." };

/** 1234567 as "1.2 MB". */
export function formatBytes(bytes) {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  return `${value >= 10 || power === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

let active = 0;
const queue = [];

/** Runs `work` when an upload slot is free. */
async function withUploadSlot(work) {
  if (active < MAX_CONCURRENT_UPLOADS) active++;
  else await new Promise((resolve) => queue.push(resolve));
  try {
    return await work();
  } finally {
    const next = queue.shift();
    if (next) next();
    else active--;
  }
}

/** Uploads one file; `progress` gets the share sent. XMLHttpRequest, since fetch has no progress. */
async function upload(file, progress, signal) {
  const accessToken = await token();
  if (signal.aborted) throw new Problem(CANCELLED);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", file, file.name);
    request.open("POST", "/api/attachments");
    request.setRequestHeader("Authorization", `Bearer ${accessToken}`);
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
    request.onload = () => request.status === 201 ? resolve(request.response)
      : reject(new Problem(request.response ?? { status: request.status, detail: `The server answered ${request.status}.` }));
    request.onerror = () => reject(new Problem({ status: 0, detail: "The server cannot be reached." }));
    request.onabort = () => reject(new Problem(CANCELLED));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** Attachments of the next message. */
export class AttachmentTray {
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
    return this.#items.some((item) => !item.uploaded && !item.problem);
  }

  /** Takes the uploaded files out of the tray. */
  take() {
    const uploaded = this.#items.filter((item) => item.uploaded).map((item) => item.uploaded);
    this.#items = this.#items.filter((item) => !item.uploaded);
    this.render();
    return uploaded;
  }

  get hasFiles() {
    return this.#items.some((item) => item.uploaded);
  }

  clear() {
    for (const item of this.#items) item.stop.abort();
    this.#items = [];
    this.render();
  }

  async add(file) {
    const item = { key: String(++this.#number), name: file.name, size: file.size, share: 0, uploaded: null, problem: "", stop: new AbortController() };
    this.#items.push(item);
    this.render();
    try {
      item.uploaded = await withUploadSlot(() => upload(file, (share) => { item.share = share; this.render(); }, item.stop.signal));
      setText($("tray-news"), `${item.name} is ready to send.`);
    } catch (problem) {
      item.problem = problem.detail;
    }
    this.render();
  }

  render() {
    $("tray").hidden = !this.#items.length;
    reconcile($("tray"), this.#items, (item) => item.key, (item) => this.#createRow(item), (row, item) => {
      const [, state, bar] = row.children;
      row.classList.toggle("failed", Boolean(item.problem));
      setText(state, item.problem || (item.uploaded ? formatBytes(item.size) : `${Math.round(item.share * 100)} % of ${formatBytes(item.size)}`));
      if (item.problem) state.setAttribute("role", "alert");
      bar.hidden = Boolean(item.uploaded || item.problem);
      bar.value = item.share;
    });
    this.changed();
  }

  #createRow(item) {
    const remove = () => {
      item.stop.abort();
      this.#items = this.#items.filter((other) => other !== item);
      this.render();
      $("attach").focus();
    };
    return h("li", {}, h("span", { class: "clip" }, item.name), h("span", { class: "faint" }),
      h("progress", { max: 1, "aria-label": `Sending ${item.name}` }),
      h("button", { type: "button", class: "small", "aria-label": `Remove ${item.name}`, onclick: remove }, "×"));
  }
}

async function fetchBlob(path) {
  const response = await fetch(path, { headers: { Authorization: `Bearer ${await token()}` } });
  if (!response.ok) throw new Problem({ status: response.status, detail: response.status === 404 ? "This file no longer exists." : `The server answered ${response.status}.` });
  return response.blob();
}

async function download(file, button, problem) {
  button.disabled = true;
  setText(problem, "");
  try {
    const url = URL.createObjectURL(await fetchBlob(`/api/attachments/${file.id}`));
    h("a", { href: url, download: file.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    setText(problem, error.detail ?? "The server cannot be reached.");
  }
  button.disabled = false;
}

/** Shows the attachments of a message. */
export function showFiles(list, files = []) {
  reconcile(list, files, (file) => file.id, (file) => {
    const problem = h("span", { class: "error", role: "alert" });
    const button = h("button", { type: "button", class: "file", "aria-label": `Save ${file.name}, ${formatBytes(file.size)}` });
    button.onclick = () => download(file, button, problem);
    if (file.thumbnail) {
      const dimensions = file.width && file.height ? { width: file.width, height: file.height } : {};
      const image = h("img", { alt: "", ...dimensions });
      image.onload = image.onerror = () => URL.revokeObjectURL(image.src);
      fetchBlob(`/api/attachments/${file.id}/thumbnail`).then((blob) => (image.src = URL.createObjectURL(blob)), () => image.remove());
      button.append(image);
    }
    button.append(h("span", { class: "file-name" }, file.name), h("span", { class: "faint" }, formatBytes(file.size)));
    return h("li", {}, button, problem);
  });
}
