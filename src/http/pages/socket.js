// WebSocket of the demos: connects, authenticates, and reconnects with exponential backoff.

import { Problem } from "./api.js";

const INITIAL_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;
const REPLY_TIMEOUT_MS = 15_000;
const HIDDEN_TIMEOUT_MS = 30_000;

/** Close reasons after which the client does not reconnect, since it would only fail again. */
const FINAL_REASONS = {
  "abuse": "The server closed the connection: too many requests.",
  "garbled": "The server closed the connection: a message was invalid.",
  "too-large": "The server closed the connection: a message was too large.",
  "too-many-sessions": "The chat is open in too many tabs: this one was closed.",
};

const connectionLost = () => new Problem({ status: 0, code: "client/unreachable", detail: "The connection was lost." });

/**
 * Hooks: `prepare()` returns an access token (`prepare(true)`: a new one), `opened()` is called after
 * authentication and synchronises, `event(name, data)`, `state(state)`, `ended(text)`.
 */
export class ReconnectingSocket {
  #hooks;
  #socket = null;
  #pending = new Map();
  #nextId = 1;
  #attempts = 0;
  #minDelayMs = 0;
  #needsNewToken = false;
  #timer = null;
  #hiddenAt = 0;
  #stop = new AbortController();
  state = { kind: "connecting" };

  constructor(hooks) {
    this.#hooks = hooks;
    const signal = this.#stop.signal;
    addEventListener("online", () => this.reconnect(), { signal });
    addEventListener("offline", () => this.#socket?.close(), { signal });
    document.addEventListener("visibilitychange", () => this.#onVisibilityChange(), { signal });
  }

  /** Connects now, unless connected or connecting. */
  reconnect() {
    if (this.state.kind === "waiting" || this.state.kind === "halted") this.open();
  }

  stop() {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  get #isStopped() {
    return this.#stop.signal.aborted;
  }

  #setState(state) {
    this.state = state;
    this.#hooks.state(state);
  }

  async open() {
    clearTimeout(this.#timer);
    this.#setState({ kind: "connecting" });
    let token;
    try {
      token = await this.#hooks.prepare(this.#needsNewToken);
      this.#needsNewToken = false;
    } catch (problem) {
      if (!this.#isStopped) this.#onPrepareFailed(problem);
      return;
    }
    if (this.#isStopped) return;
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/ws`);
    this.#socket = socket;
    socket.onopen = () => this.#authenticate(socket, token);
    socket.onmessage = ({ data }) => this.#onFrame(JSON.parse(data));
    socket.onclose = ({ reason }) => this.#onClose(reason);
  }

  async #authenticate(socket, token) {
    try {
      await this.request("authenticate", { token });
      await this.#hooks.opened();
      this.#attempts = 0;
      this.#setState({ kind: "online" });
    } catch (problem) {
      this.#needsNewToken = problem.status === 401;
      socket.close();
    }
  }

  #onFrame(frame) {
    if ("reply" in frame) {
      const pending = this.#pending.get(frame.reply);
      this.#pending.delete(frame.reply);
      if (frame.error) pending?.reject(new Problem(frame.error));
      else pending?.resolve(frame.data);
    } else if (frame.event === "reconnect") {
      this.#minDelayMs = frame.data.after_ms;
    } else {
      this.#hooks.event(frame.event, frame.data);
    }
  }

  /** Sends an event and waits for the reply. A missing reply rejects with a Problem of status 0. */
  request(event, data) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.reject(connectionLost());
    const id = this.#nextId++;
    const { promise, resolve, reject } = withResolvers();
    // A socket that does not reply is dead, even if the browser has not noticed.
    const timer = setTimeout(() => this.#socket?.close(), REPLY_TIMEOUT_MS);
    this.#pending.set(id, { resolve, reject });
    this.#socket.send(JSON.stringify({ id, event, data }));
    return promise.finally(() => clearTimeout(timer));
  }

  #onClose(reason) {
    this.#socket = null;
    for (const pending of this.#pending.values()) pending.reject(connectionLost());
    this.#pending.clear();
    if (this.#isStopped) return;
    if (reason === "signed-out") this.#hooks.ended("This device was signed out.");
    else if (FINAL_REASONS[reason]) this.#setState({ kind: "halted", detail: FINAL_REASONS[reason] });
    else this.#scheduleReconnect();
  }

  #onPrepareFailed(problem) {
    if (problem.isTransient) this.#scheduleReconnect();
    else this.#hooks.ended(problem.detail);
  }

  /** Exponential backoff with jitter, so that a restarted server is not overloaded by reconnects. */
  #scheduleReconnect() {
    const maxDelay = Math.min(MAX_BACKOFF_MS, INITIAL_BACKOFF_MS * 2 ** this.#attempts++);
    const delay = Math.max(this.#minDelayMs, maxDelay * (0.5 + Math.random() / 2));
    this.#minDelayMs = 0;
    this.#setState({ kind: "waiting", until: Date.now() + delay });
    this.#timer = setTimeout(() => this.open(), delay);
  }

  /** After a suspension the socket may be dead without notice; synchronising detects it. */
  #onVisibilityChange() {
    if (document.hidden) this.#hiddenAt = Date.now();
    else if (this.state.kind !== "online") this.reconnect();
    else if (Date.now() - this.#hiddenAt > HIDDEN_TIMEOUT_MS) this.#hooks.opened().catch(() => this.#socket?.close());
  }
}

/** `Promise.withResolvers`, for browsers without it. */
function withResolvers() {
  let resolve, reject;
  const promise = new Promise((onResolve, onReject) => ([resolve, reject] = [onResolve, onReject]));
  return { promise, resolve, reject };
}
