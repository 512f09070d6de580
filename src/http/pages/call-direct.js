// A peer-to-peer connection to another participant. One of the two offers, exactly once, one audio
// and one video section in both directions; tracks published later only fill them. So offers never
// collide: a browser that rolls an offer back before it is connected may never gather candidates
// again.

const KINDS = ["audio", "video"];

/**
 * Hooks: `send(event, data)` sends to the other participant, `track(mediaStreamTrack)` is called when a
 * track starts, `failed()`. The side with `offers` starts the negotiation.
 */
export class DirectConnection {
  #hooks;
  #pc;
  #localTracks = new Map(); // kind → track that is sent, or null
  #pendingCandidates = [];

  constructor(iceServers, offers, hooks, configuration = {}) {
    this.#hooks = hooks;
    this.#pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle", ...configuration });
    this.#pc.onicecandidate = ({ candidate }) => candidate && hooks.send("ice_candidate", { candidate: candidate.toJSON() });
    this.#pc.ontrack = ({ track }) => {
      if (track.muted) track.addEventListener("unmute", () => hooks.track(track), { once: true });
      else hooks.track(track);
    };
    this.#pc.onconnectionstatechange = () => {
      if (this.#pc.connectionState === "failed") hooks.failed();
    };
    if (offers) this.#offer();
  }

  get connection() {
    return this.#pc;
  }

  /** Sends a track; returns a function that stops it. */
  publish(track) {
    this.#setTrack(track.kind, track);
    return () => {
      if (this.#localTracks.get(track.kind) === track) this.#setTrack(track.kind, null);
    };
  }

  #setTrack(kind, track) {
    this.#localTracks.set(kind, track);
    const transceiver = this.#pc.getTransceivers().find(({ receiver }) => receiver.track.kind === kind);
    if (this.#pc.signalingState !== "closed") transceiver?.sender.replaceTrack(track);
  }

  /** Puts the published tracks into the sections, which now exist. */
  #applyTracks() {
    for (const [kind, track] of this.#localTracks) this.#setTrack(kind, track);
  }

  async #offer() {
    for (const kind of KINDS) this.#pc.addTransceiver(kind, { direction: "sendrecv" });
    this.#applyTracks();
    await this.#pc.setLocalDescription();
    this.#hooks.send("offer", { sdp: this.#pc.localDescription.sdp });
  }

  async offer(sdp) {
    if (this.#pc.signalingState !== "stable") return; // this side offers
    await this.#pc.setRemoteDescription({ type: "offer", sdp });
    for (const transceiver of this.#pc.getTransceivers()) transceiver.direction = "sendrecv";
    this.#applyTracks();
    await this.#pc.setLocalDescription();
    this.#hooks.send("answer", { sdp: this.#pc.localDescription.sdp });
    await this.#addPendingCandidates();
  }

  async answer(sdp) {
    if (this.#pc.signalingState !== "have-local-offer") return;
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
    await this.#addPendingCandidates();
  }

  async candidate(candidate) {
    if (this.#pc.signalingState === "closed") return;
    if (!this.#pc.remoteDescription) return void this.#pendingCandidates.push(candidate);
    await this.#pc.addIceCandidate(candidate).catch((error) => console.warn("ICE candidate rejected", error));
  }

  async #addPendingCandidates() {
    for (const candidate of this.#pendingCandidates.splice(0)) await this.candidate(candidate);
  }

  close() {
    this.#pc.close();
  }
}
