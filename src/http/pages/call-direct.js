// A connection straight to another participant. One of the two offers, once, a section for sound and one
// for pictures, both ways; what is published later only fills them. So offers never cross: a browser that
// takes an offer back before it is connected may never look for a way again.

const KINDS = ["audio", "video"];

/**
 * Hooks: `send(event, data)` says something to the other one, `track(mediaStreamTrack)` is called once
 * something comes, `failed()`. The one with `offers` begins.
 */
export class Direct {
  #hooks;
  #pc;
  #wanted = new Map(); // kind → what we send, or null
  #early = [];

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

  /** Sends a track; gives a function that takes it back. */
  publish(track) {
    this.#send(track.kind, track);
    return () => {
      if (this.#wanted.get(track.kind) === track) this.#send(track.kind, null);
    };
  }

  #send(kind, track) {
    this.#wanted.set(kind, track);
    const section = this.#pc.getTransceivers().find(({ receiver }) => receiver.track.kind === kind);
    if (this.#pc.signalingState !== "closed") section?.sender.replaceTrack(track);
  }

  /** Puts what is published into the sections, which now exist. */
  #fill() {
    for (const [kind, track] of this.#wanted) this.#send(kind, track);
  }

  async #offer() {
    for (const kind of KINDS) this.#pc.addTransceiver(kind, { direction: "sendrecv" });
    this.#fill();
    await this.#pc.setLocalDescription();
    this.#hooks.send("offer", { sdp: this.#pc.localDescription.sdp });
  }

  async offer(sdp) {
    if (this.#pc.signalingState !== "stable") return; // it is we who offer
    await this.#pc.setRemoteDescription({ type: "offer", sdp });
    for (const section of this.#pc.getTransceivers()) section.direction = "sendrecv";
    this.#fill();
    await this.#pc.setLocalDescription();
    this.#hooks.send("answer", { sdp: this.#pc.localDescription.sdp });
    await this.#flush();
  }

  async answer(sdp) {
    if (this.#pc.signalingState !== "have-local-offer") return;
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
    await this.#flush();
  }

  async candidate(candidate) {
    if (this.#pc.signalingState === "closed") return;
    if (!this.#pc.remoteDescription) return void this.#early.push(candidate);
    await this.#pc.addIceCandidate(candidate).catch((error) => console.warn("a candidate", error));
  }

  async #flush() {
    for (const candidate of this.#early.splice(0)) await this.candidate(candidate);
  }

  close() {
    this.#pc.close();
  }
}
