// A connection straight to another participant, with offers that may cross (RFC 8829, "perfect negotiation").

/**
 * Hooks: `send(event, data)` says something to the other one, `track(source, mediaStreamTrack)`,
 * `failed()`. The one with `polite` gives way when offers cross.
 */
export class Direct {
  #hooks;
  #pc;
  #polite;
  #making = false;
  #ignoring = false;
  #early = [];

  constructor(iceServers, polite, hooks, configuration = {}) {
    this.#hooks = hooks;
    this.#polite = polite;
    this.#pc = new RTCPeerConnection({ iceServers, ...configuration });
    this.#pc.onnegotiationneeded = () => this.#offer();
    this.#pc.onicecandidate = ({ candidate }) => candidate && hooks.send("ice_candidate", { candidate: candidate.toJSON() });
    this.#pc.ontrack = ({ track, transceiver }) => hooks.track(transceiver.mid, track);
    this.#pc.onconnectionstatechange = () => {
      if (this.#pc.connectionState === "failed") hooks.failed();
    };
  }

  get connection() {
    return this.#pc;
  }

  /** Sends a track; gives a function that takes it back. */
  publish(track, stream) {
    const sender = this.#pc.addTrack(track, stream);
    return () => {
      if (this.#pc.signalingState !== "closed") this.#pc.removeTrack(sender);
    };
  }

  async #offer() {
    try {
      this.#making = true;
      await this.#pc.setLocalDescription();
      this.#hooks.send("offer", { sdp: this.#pc.localDescription.sdp });
    } finally {
      this.#making = false;
    }
  }

  async offer(sdp) {
    const crossing = this.#making || this.#pc.signalingState !== "stable";
    this.#ignoring = !this.#polite && crossing;
    if (this.#ignoring || this.#pc.signalingState === "closed") return;
    await this.#pc.setRemoteDescription({ type: "offer", sdp });
    await this.#flush();
    await this.#pc.setLocalDescription();
    this.#hooks.send("answer", { sdp: this.#pc.localDescription.sdp });
  }

  async answer(sdp) {
    if (this.#pc.signalingState !== "have-local-offer") return; // it answers an offer we took back
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
    await this.#flush();
  }

  async candidate(candidate) {
    if (this.#pc.signalingState === "closed") return;
    if (!this.#pc.remoteDescription) return void this.#early.push(candidate);
    await this.#pc.addIceCandidate(candidate).catch((error) => {
      if (!this.#ignoring) console.warn("a candidate", error);
    });
  }

  async #flush() {
    for (const candidate of this.#early.splice(0)) await this.candidate(candidate);
  }

  close() {
    this.#pc.close();
  }
}
