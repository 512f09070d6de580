// One connection to the SFU for a whole call: published and received tracks.

/** Simulcast layers by width, as many as browsers encode; with more they omit the largest. */
const LAYERS = [
  { minWidth: 960, layers: [
    { rid: "l", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
    { rid: "m", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: "h", maxBitrate: 1_700_000 },
  ] },
  { minWidth: 480, layers: [
    { rid: "l", scaleResolutionDownBy: 2, maxBitrate: 150_000 },
    { rid: "h", maxBitrate: 700_000 },
  ] },
  { minWidth: 0, layers: [] },
];
const LAYER_OF_RID = { l: "low", m: "medium", h: "high" };
const DISCONNECT_TIMEOUT_MS = 2_000;

function layersFor(track) {
  const { width = 640 } = track.getSettings();
  return structuredClone(LAYERS.find(({ minWidth }) => width >= minWidth).layers);
}

/**
 * Hooks: `offer({ sdp, publish, receive })` sends an offer, `track(track_id, mediaStreamTrack)` is
 * called for each track that can be played, `state(connectionState)`.
 */
export class SfuConnection {
  #hooks;
  #pc;
  #sources = new Map(); // transceiver → source, while it publishes
  #tracks = new Map(); // transceiver → track_id, while it receives
  #isNegotiating = false;
  #needsOffer = false;
  #resolveAnswer = null;
  #timer = null;

  constructor(iceServers, hooks, configuration = {}) {
    this.#hooks = hooks;
    this.#pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle", ...configuration });
    this.#pc.onconnectionstatechange = () => this.#onConnectionState();
  }

  /** The connection itself, for statistics. */
  get connection() {
    return this.#pc;
  }

  /** Publishes a track; returns a function that unpublishes it. */
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

  /** Receives exactly these tracks: `wanted` is [{ track_id, kind }]. */
  receive(wanted) {
    const ids = new Set(wanted.map(({ track_id }) => track_id));
    for (const [transceiver, id] of this.#tracks) {
      if (ids.has(id)) continue;
      transceiver.direction = "inactive";
      this.#tracks.delete(transceiver);
      this.#needsOffer = true;
    }
    const received = new Set(this.#tracks.values());
    for (const { track_id, kind } of wanted) {
      if (received.has(track_id)) continue;
      const transceiver = this.#reusable(kind) ?? this.#pc.addTransceiver(kind, { direction: "recvonly" });
      transceiver.direction = "recvonly";
      this.#tracks.set(transceiver, track_id);
      this.#needsOffer = true;
    }
    if (this.#needsOffer) this.negotiate();
  }

  /** An unused transceiver of this kind. */
  #reusable(kind) {
    return this.#pc.getTransceivers().find((transceiver) =>
      transceiver.direction === "inactive" && transceiver.mid !== null && !transceiver.sender.track &&
      transceiver.receiver.track.kind === kind && !this.#tracks.has(transceiver) && !this.#sources.has(transceiver));
  }

  /** Sends offers with the current state, one at a time. */
  async negotiate() {
    this.#needsOffer = true;
    if (this.#isNegotiating) return;
    this.#isNegotiating = true;
    try {
      while (this.#needsOffer && this.#pc.signalingState !== "closed") {
        this.#needsOffer = false;
        await this.#offer();
      }
    } finally {
      this.#isNegotiating = false;
    }
  }

  async #offer() {
    if (!this.#pc.getTransceivers().length) return; // nothing to offer yet
    await this.#pc.setLocalDescription();
    const publish = {}, receive = {};
    for (const [transceiver, source] of this.#sources) if (transceiver.mid) publish[transceiver.mid] = { source };
    for (const [transceiver, id] of this.#tracks) if (transceiver.mid) receive[transceiver.mid] = id;
    const answer = new Promise((resolve) => (this.#resolveAnswer = resolve));
    try {
      await this.#hooks.offer({ sdp: this.#pc.localDescription.sdp, publish, receive });
    } catch (problem) {
      if (this.#pc.signalingState === "closed") return;
      await this.#pc.setLocalDescription({ type: "rollback" });
      if (problem.code === "calls/track-not-found") return; // the track was unpublished meanwhile; an event follows
      if (!problem.isTransient) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 500));
      this.#needsOffer = true;
      return;
    }
    const sdp = await answer;
    if (sdp === null || this.#pc.signalingState === "closed") return;
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
    for (const [transceiver, id] of this.#tracks) {
      if (transceiver.currentDirection?.includes("recv")) this.#hooks.track(id, transceiver.receiver.track);
    }
  }

  /** The server's SDP answer. */
  answer(sdp) {
    this.#resolveAnswer?.(sdp);
  }

  /** Layers of the camera that have subscribers; the others are not encoded. */
  async setActiveLayers(layers) {
    for (const [transceiver, source] of this.#sources) {
      if (source !== "camera") continue;
      const parameters = transceiver.sender.getParameters();
      for (const encoding of parameters.encodings) {
        if (encoding.rid) encoding.active = layers.includes(LAYER_OF_RID[encoding.rid]);
      }
      await transceiver.sender.setParameters(parameters).catch(() => {}); // the sender may have stopped
    }
  }

  #onConnectionState() {
    clearTimeout(this.#timer);
    const state = this.#pc.connectionState;
    this.#hooks.state?.(state);
    if (state === "failed") this.restart();
    if (state === "disconnected") this.#timer = setTimeout(() => this.restart(), DISCONNECT_TIMEOUT_MS);
  }

  /** Restarts ICE to find another network path. */
  restart() {
    if (this.#pc.signalingState === "closed") return;
    this.#pc.restartIce();
    this.negotiate();
  }

  close() {
    clearTimeout(this.#timer);
    this.#resolveAnswer?.(null);
    this.#pc.close();
  }
}
