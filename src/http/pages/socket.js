// The socket of the chat: opened, authenticated, and opened again with growing pauses.

import { Problem } from "./api.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
const ANSWER_WITHIN = 15_000;
const LONG_HIDDEN = 30_000;

/** Ends after which coming back by ourselves would only repeat the mistake. */
const HALTS = {
  "abuse": "The server closed the connection: too many requests.",
  "garbled": "The server closed the connection: it did not understand us.",
  "too-large": "The server closed the connection: something was too large.",
  "too-many-sessions": "The chat is open in too many tabs: this one was closed.",
};

const gone = () => new Problem({ status: 0, code: "client/unreachable", detail: "The connection is gone." });

/**
 * Hooks: `prepare()` gives an access token (`prepare(true)`: a new one), `opened()` is called once
 * authenticated and makes us current, `event(name, data)`, `state(state)`, `ended(words)`.
 */
export class Line {
  #hooks;
  #socket = null;
  #answers = new Map();
  #nextId = 1;
  #tries = 0;
  #atLeast = 0;
  #needsNewToken = false;
  #timer = null;
  #hiddenAt = 0;
  #stop = new AbortController();
  state = { kind: "connecting" };

  constructor(hooks) {
    this.#hooks = hooks;
    const signal = this.#stop.signal;
    addEventListener("online", () => this.again(), { signal });
    addEventListener("offline", () => this.#socket?.close(), { signal });
    document.addEventListener("visibilitychange", () => this.#seen(), { signal });
  }

  /** Connects now, if we are not connected or about to be. */
  again() {
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

  #set(state) {
    this.state = state;
    this.#hooks.state(state);
  }

  async open() {
    clearTimeout(this.#timer);
    this.#set({ kind: "connecting" });
    let token;
    try {
      token = await this.#hooks.prepare(this.#needsNewToken);
      this.#needsNewToken = false;
    } catch (problem) {
      if (!this.#isStopped) this.#failed(problem);
      return;
    }
    if (this.#isStopped) return;
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/ws`);
    this.#socket = socket;
    socket.onopen = () => this.#greet(socket, token);
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ reason }) => this.#closed(reason);
  }

  async #greet(socket, token) {
    try {
      await this.request("authenticate", { token });
      await this.#hooks.opened();
      this.#tries = 0;
      this.#set({ kind: "online" });
    } catch (problem) {
      this.#needsNewToken = problem.status === 401;
      socket.close();
    }
  }

  #hear(frame) {
    if ("reply" in frame) {
      const answer = this.#answers.get(frame.reply);
      this.#answers.delete(frame.reply);
      if (frame.error) answer?.reject(new Problem(frame.error));
      else answer?.resolve(frame.data);
    } else if (frame.event === "reconnect") {
      this.#atLeast = frame.data.after_ms;
    } else {
      this.#hooks.event(frame.event, frame.data);
    }
  }

  /** Says something and waits for the reply. No reply means unknown, as a Problem of status 0. */
  request(event, data) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.reject(gone());
    const id = this.#nextId++;
    const { promise, resolve, reject } = withResolvers();
    // A socket that swallows requests is dead, even if nobody told the browser.
    const timer = setTimeout(() => this.#socket?.close(), ANSWER_WITHIN);
    this.#answers.set(id, { resolve, reject });
    this.#socket.send(JSON.stringify({ id, event, data }));
    return promise.finally(() => clearTimeout(timer));
  }

  #closed(reason) {
    this.#socket = null;
    for (const answer of this.#answers.values()) answer.reject(gone());
    this.#answers.clear();
    if (this.#isStopped) return;
    if (reason === "signed-out") this.#hooks.ended("This device was signed out.");
    else if (HALTS[reason]) this.#set({ kind: "halted", detail: HALTS[reason] });
    else this.#later();
  }

  #failed(problem) {
    if (problem.isPassing) this.#later();
    else this.#hooks.ended(problem.detail);
  }

  /** Pauses double and are scattered, so that a restarted server is not met by everybody at once. */
  #later() {
    const most = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#tries++);
    const pause = Math.max(this.#atLeast, most * (0.5 + Math.random() / 2));
    this.#atLeast = 0;
    this.#set({ kind: "waiting", until: Date.now() + pause });
    this.#timer = setTimeout(() => this.open(), pause);
  }

  /** After a sleep the socket may be dead without a sign: becoming current again finds out. */
  #seen() {
    if (document.hidden) this.#hiddenAt = Date.now();
    else if (this.state.kind !== "online") this.again();
    else if (Date.now() - this.#hiddenAt > LONG_HIDDEN) this.#hooks.opened().catch(() => this.#socket?.close());
  }
}

/** `Promise.withResolvers`, for browsers that do not have it yet. */
function withResolvers() {
  let resolve, reject;
  const promise = new Promise((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}
