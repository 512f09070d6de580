// One connection to the server for a whole call: what we publish, and what we receive of others.

/** As many layers as browsers encode at a width; of more they would leave out the largest. */
const LAYERS = [
  { from: 960, layers: [
    { rid: "l", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
    { rid: "m", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: "h", maxBitrate: 1_700_000 },
  ] },
  { from: 480, layers: [
    { rid: "l", scaleResolutionDownBy: 2, maxBitrate: 150_000 },
    { rid: "h", maxBitrate: 700_000 },
  ] },
  { from: 0, layers: [] },
];
const LAYER_OF_RID = { l: "low", m: "medium", h: "high" };
const TROUBLE = 2_000;

function layersFor(track) {
  const { width = 640 } = track.getSettings();
  return structuredClone(LAYERS.find(({ from }) => width >= from).layers);
}

/**
 * Hooks: `offer({ sdp, publish, receive })` sends an offer, `track(track_id, mediaStreamTrack)` is
 * called for each track that can be shown, `state(connectionState)`.
 */
export class Forwarded {
  #hooks;
  #pc;
  #sources = new Map(); // transceiver → source, while it publishes
  #tracks = new Map(); // transceiver → track_id, while it receives
  #busy = false;
  #dirty = false;
  #answered = null;
  #timer = null;

  constructor(iceServers, hooks, configuration = {}) {
    this.#hooks = hooks;
    this.#pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle", ...configuration });
    this.#pc.onconnectionstatechange = () => this.#watch();
  }

  /** The connection itself, for statistics. */
  get connection() {
    return this.#pc;
  }

  /** Publishes a track; gives a function that takes it back. */
  publish(track, source) {
    const layers = source === "camera" ? layersFor(track) : [];
    const init = { direction: "sendonly", ...(layers.length && { sendEncodings: layers }) };
    const transceiver = this.#pc.addTransceiver(track, init);
    if (source === "screen") track.contentHint = "detail";
    this.#sources.set(transceiver, source);
    this.negotiate();
    return () => {
      if (!this.#sources.delete(transceiver)) return;
      transceiver.direction = "inactive";
      transceiver.sender.replaceTrack(null);
      this.negotiate();
    };
  }

  /** Receives what can be received, and no longer what cannot: `wanted` is [{ track_id, kind }]. */
  receive(wanted) {
    const ids = new Set(wanted.map(({ track_id }) => track_id));
    for (const [transceiver, id] of this.#tracks) {
      if (ids.has(id)) continue;
      transceiver.direction = "inactive";
      this.#tracks.delete(transceiver);
      this.#dirty = true;
    }
    const received = new Set(this.#tracks.values());
    for (const { track_id, kind } of wanted) {
      if (received.has(track_id)) continue;
      const transceiver = this.#free(kind) ?? this.#pc.addTransceiver(kind, { direction: "recvonly" });
      transceiver.direction = "recvonly";
      this.#tracks.set(transceiver, track_id);
      this.#dirty = true;
    }
    if (this.#dirty) this.negotiate();
  }

  /** A section of this kind that nobody uses any more. */
  #free(kind) {
    return this.#pc.getTransceivers().find((transceiver) =>
      transceiver.direction === "inactive" && transceiver.mid !== null && !transceiver.sender.track &&
      transceiver.receiver.track.kind === kind && !this.#tracks.has(transceiver) && !this.#sources.has(transceiver));
  }

  /** Offers what we have and want; one offer at a time, the newest state in each. */
  async negotiate() {
    this.#dirty = true;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#dirty && this.#pc.signalingState !== "closed") {
        this.#dirty = false;
        await this.#offer();
      }
    } finally {
      this.#busy = false;
    }
  }

  async #offer() {
    if (!this.#pc.getTransceivers().length) return; // nothing to say yet
    await this.#pc.setLocalDescription();
    const publish = {}, receive = {};
    for (const [transceiver, source] of this.#sources) if (transceiver.mid) publish[transceiver.mid] = { source };
    for (const [transceiver, id] of this.#tracks) if (transceiver.mid) receive[transceiver.mid] = id;
    const answer = new Promise((resolve) => (this.#answered = resolve));
    try {
      await this.#hooks.offer({ sdp: this.#pc.localDescription.sdp, publish, receive });
    } catch (problem) {
      if (this.#pc.signalingState === "closed") return;
      await this.#pc.setLocalDescription({ type: "rollback" });
      if (problem.code === "calls/track-not-found") return; // it went while we asked: we are told
      if (!problem.isPassing) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 500));
      this.#dirty = true;
      return;
    }
    const sdp = await answer;
    if (sdp === null || this.#pc.signalingState === "closed") return;
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
    for (const [transceiver, id] of this.#tracks) {
      if (transceiver.currentDirection?.includes("recv")) this.#hooks.track(id, transceiver.receiver.track);
    }
  }

  /** The server's answer. */
  answer(sdp) {
    this.#answered?.(sdp);
  }

  /** Which layers of our camera anybody watches: the others are not even encoded. */
  async wanted(layers) {
    for (const [transceiver, source] of this.#sources) {
      if (source !== "camera") continue;
      const parameters = transceiver.sender.getParameters();
      for (const encoding of parameters.encodings) {
        if (encoding.rid) encoding.active = layers.includes(LAYER_OF_RID[encoding.rid]);
      }
      await transceiver.sender.setParameters(parameters).catch(() => {}); // it stopped meanwhile
    }
  }

  #watch() {
    clearTimeout(this.#timer);
    const state = this.#pc.connectionState;
    this.#hooks.state?.(state);
    if (state === "failed") this.restart();
    if (state === "disconnected") this.#timer = setTimeout(() => this.restart(), TROUBLE);
  }

  /** Looks for another way through the network. */
  restart() {
    if (this.#pc.signalingState === "closed") return;
    this.#pc.restartIce();
    this.negotiate();
  }

  close() {
    clearTimeout(this.#timer);
    this.#answered?.(null);
    this.#pc.close();
  }
}
