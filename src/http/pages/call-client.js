// A call over the public contract: joins, publishes, receives, and moves from direct to forwarded
// media without a gap. It shows nothing; a page listens to its changes.

import { Direct } from "./call-direct.js";
import { Forwarded } from "./call-sfu.js";

/** What a direct connection's sections carry. */
const KIND_SOURCE = { audio: "microphone", video: "camera" };

/**
 * `request(event, data)` speaks to the server and gives its reply. Events from the server go to
 * `hear(name, data)`. Changes are told as events: `change`, `ended` ({ detail: reason }).
 */
export class Call extends EventTarget {
  #request;
  #configuration;
  #published = new Map(); // source → { track, undo: [function] }
  #tracks = new Map(); // track_id → { track_id, participant_id, kind, source, media }
  #directs = new Map(); // participant_id → Direct
  #played = new Map(); // participant_id/source → { track, isForwarded }
  #forwarded = null;
  #old = null; // a connection to a room that has moved; it plays until the new one does
  #epoch = 0;
  #ice = [];
  #isComing = true;
  #early = []; // what was heard before we knew that we are in
  participants = new Map(); // participant_id → { name, audio, video, speaking }
  quality = null;
  state = "new";

  constructor(request, configuration = {}) {
    super();
    this.#request = request;
    this.#configuration = configuration;
  }

  /** Takes part: `{ call_id }` or `{ sessionId }`, or `{}` with a call token. */
  async join(which) {
    const joined = await this.#request("join_call", which);
    Object.assign(this, { id: joined.call_id, me: joined.participant_id, mode: joined.mode });
    this.#epoch = joined.epoch;
    this.#ice = joined.ice_servers;
    for (const participant of joined.participants) this.participants.set(participant.participant_id, { ...participant });
    for (const track of joined.tracks) this.#tracks.set(track.track_id, { ...track });
    if (this.mode === "sfu") this.#forward();
    else for (const other of this.participants.keys()) this.#direct(other);
    this.#heardAgain();
    this.#changed();
    return joined;
  }

  /** Takes part again after the socket was lost, perhaps at another node. If the room is the same, media goes on as it is. */
  async rejoin() {
    this.#isComing = true;
    const joined = await this.#request("join_call", { call_id: this.id, participant_id: this.me }).catch((problem) => {
      this.#heardAgain();
      throw problem;
    });
    const isSame = joined.participant_id === this.me && joined.epoch === this.#epoch;
    Object.assign(this, { me: joined.participant_id, mode: joined.mode });
    this.#ice = joined.ice_servers;
    const present = new Map(joined.participants.map((participant) => [participant.participant_id, participant]));
    for (const id of [...this.participants.keys()]) if (!present.has(id)) this.#gone(id);
    for (const [id, participant] of present) this.participants.set(id, { ...this.participants.get(id), ...participant });
    if (this.mode === "sfu") {
      if (isSame) {
        const known = new Set(joined.tracks.map(({ track_id }) => track_id));
        for (const id of [...this.#tracks.keys()]) if (!known.has(id)) this.#tracks.delete(id);
        for (const track of joined.tracks) if (!this.#tracks.has(track.track_id)) this.#tracks.set(track.track_id, { ...track });
        if (this.#forwarded) this.#forwarded.receive(this.tracks);
        else this.#forward();
      } else {
        this.#move(joined.epoch, joined.tracks);
      }
    } else {
      for (const other of this.participants.keys()) this.#direct(other);
    }
    this.#heardAgain();
    this.#changed();
    return joined;
  }

  /** What was said while we came in is newer than what we were told of the call. */
  #heardAgain() {
    this.#isComing = false;
    for (const [name, data] of this.#early.splice(0)) this.hear(name, data);
  }

  /** The room is another one: what played plays on until the same comes from the new one. */
  #move(epoch, tracks = []) {
    this.#epoch = epoch;
    this.#old?.close();
    this.#old = this.#forwarded;
    this.#forwarded = null;
    for (const entry of this.#played.values()) entry.isForwarded = false;
    this.#tracks = new Map(tracks.map((track) => [track.track_id, { ...track }]));
    this.#forward();
    const old = this.#old;
    setTimeout(() => this.#old === old && this.#letGo(), 8_000);
  }

  /** Lets go of a room that has moved; what is silent in the new one is so for good. */
  #letGo() {
    if (!this.#old) return;
    this.#old.close();
    this.#old = null;
    for (const { participant_id, source, media } of this.#tracks.values()) {
      const entry = this.#played.get(`${participant_id}/${source}`);
      if (media && entry && !entry.isForwarded) Object.assign(entry, { track: media, isForwarded: true });
    }
    this.#changed();
  }

  #gone(participant) {
    this.participants.delete(participant);
    this.#directs.get(participant)?.close();
    this.#directs.delete(participant);
    for (const key of this.#played.keys()) if (key.startsWith(`${participant}/`)) this.#played.delete(key);
    for (const [id, track] of this.#tracks) if (track.participant_id === participant) this.#tracks.delete(id);
  }

  /** Publishes a track of ours as `microphone`, `camera`, `screen` or `screen_audio`. */
  publish(track, source) {
    this.unpublish(source);
    const entry = { track, undo: [] };
    this.#published.set(source, entry);
    if (this.#forwarded) entry.undo.push(this.#forwarded.publish(track, source));
    if (KIND_SOURCE[track.kind] === source) {
      for (const direct of this.#directs.values()) entry.undo.push(direct.publish(track));
    } else if (!this.#forwarded) {
      this.#request("upgrade_call", { call_id: this.id }); // a shared screen goes through the server
    }
    track.addEventListener("ended", () => this.unpublish(source));
    this.#changed();
  }

  unpublish(source) {
    const entry = this.#published.get(source);
    this.#published.delete(source);
    for (const undo of entry?.undo ?? []) undo();
    this.#changed();
  }

  /** What we publish, by source. */
  get published() {
    return new Map([...this.#published].map(([source, { track }]) => [source, track]));
  }

  /** What can be played: [{ participant_id, source, track }]. */
  get playing() {
    return [...this.#played].map(([key, { track }]) => {
      const [participant_id, source] = key.split("/");
      return { participant_id, source, track };
    });
  }

  /** Connections, for statistics. */
  get connections() {
    const all = [...this.#directs.values()].map((direct) => direct.connection);
    return this.#forwarded ? [this.#forwarded.connection, ...all] : all;
  }

  /** Switches our microphone or camera off or on. */
  async mute(kind, muted) {
    const source = KIND_SOURCE[kind];
    const entry = this.#published.get(source);
    if (entry) entry.track.enabled = !muted;
    await this.#request(`mute_${kind}`, { call_id: this.id, muted });
  }

  limit(track_id, max) {
    return this.#request("set_layer", { call_id: this.id, track_id, max });
  }

  get tracks() {
    return [...this.#tracks.values()];
  }

  /** Looks for another way through the network, as after a change of it. */
  restart() {
    this.#forwarded?.restart();
  }

  async leave() {
    this.#close();
    await this.#request("leave_call", { call_id: this.id });
  }

  #forward() {
    this.#forwarded?.close();
    const forwarded = new Forwarded(this.#ice, {
      offer: (offer) => this.#request("offer", { call_id: this.id, ...offer }),
      track: (id, track) => this.#arrived(id, track),
      state: (state) => {
        this.state = state;
        this.#changed();
      },
    }, this.#configuration);
    this.#forwarded = forwarded;
    for (const [source, entry] of this.#published) entry.undo.push(forwarded.publish(entry.track, source));
    forwarded.receive(this.tracks);
    forwarded.negotiate();
  }

  #arrived(id, track) {
    const info = this.#tracks.get(id);
    if (!info || info.media === track) return;
    info.media = track;
    const key = `${info.participant_id}/${info.source}`;
    const play = () => {
      if (this.#tracks.get(id) !== info) return;
      this.#played.set(key, { track, isForwarded: true });
      this.#retire(info.participant_id);
      if (this.#old && [...this.#played.values()].every(({ isForwarded }) => isForwarded)) this.#letGo();
      this.#changed();
    };
    // The old way plays until the new one does.
    if (track.muted && this.#played.get(key)?.isForwarded === false) track.addEventListener("unmute", play, { once: true });
    else play();
  }

  /** Lets go of a direct connection once all it carried is forwarded. */
  #retire(participant) {
    const left = [...this.#played].some(([key, { isForwarded }]) => key.startsWith(`${participant}/`) && !isForwarded);
    if (left || !this.#directs.has(participant) || this.mode !== "sfu") return;
    // The other one may still play what we send over it.
    const direct = this.#directs.get(participant);
    this.#directs.delete(participant);
    setTimeout(() => direct.close(), 3_000);
  }

  #direct(participant) {
    let direct = this.#directs.get(participant);
    if (direct) return direct;
    // Names are compared, so that exactly one of the two offers.
    direct = new Direct(this.#ice, this.me < participant, {
      send: (event, data) => this.#request(event, { call_id: this.id, to: participant, ...data }).catch(() => {}),
      track: (track) => {
        const key = `${participant}/${KIND_SOURCE[track.kind]}`;
        if (!this.#played.get(key)?.isForwarded) this.#played.set(key, { track, isForwarded: false });
        this.#changed();
      },
      failed: () => this.#request("upgrade_call", { call_id: this.id }).catch(() => {}),
    }, this.#configuration);
    this.#directs.set(participant, direct);
    for (const [source, entry] of this.#published) {
      if (KIND_SOURCE[entry.track.kind] === source) entry.undo.push(direct.publish(entry.track));
    }
    return direct;
  }

  /** An event from the server. */
  hear(name, data) {
    if (this.#isComing) return void this.#early.push([name, data]);
    if (data.call_id !== this.id) return;
    const participant = data.participant_id;
    switch (name) {
      case "participant_joined":
        this.participants.set(participant, { ...data });
        if (this.mode === "p2p") this.#direct(participant);
        break;
      case "participant_updated":
        Object.assign(this.participants.get(participant) ?? {}, data);
        break;
      case "participant_left":
        this.#gone(participant);
        this.#forwarded?.receive(this.tracks);
        break;
      case "offer":
        if (this.mode === "p2p") this.#direct(data.from).offer(data.sdp);
        break;
      case "answer":
        if (data.from) this.#directs.get(data.from)?.answer(data.sdp);
        else if (data.epoch >= this.#epoch) this.#forwarded?.answer(data.sdp); // not one of a room that was
        break;
      case "ice_candidate":
        this.#directs.get(data.from)?.candidate(data.candidate);
        break;
      case "track_published":
        this.#tracks.set(data.track_id, { ...data });
        this.#forwarded?.receive(this.tracks);
        break;
      case "track_unpublished": {
        const track = this.#tracks.get(data.track_id);
        this.#tracks.delete(data.track_id);
        if (track) this.#played.delete(`${track.participant_id}/${track.source}`);
        this.#forwarded?.receive(this.tracks);
        break;
      }
      case "track_wanted":
        this.#forwarded?.wanted(data.layers);
        break;
      case "active_speaker":
        for (const [id, other] of this.participants) other.speaking = data.participant_ids.includes(id);
        break;
      case "call_mode":
        this.mode = data.mode;
        if (data.mode === "sfu" && !this.#forwarded) this.#forward();
        break;
      case "call_moved":
        if (data.epoch > this.#epoch) this.#move(data.epoch);
        break;
      case "call_quality":
        this.quality = data;
        break;
      case "call_ended":
        this.#close();
        this.dispatchEvent(new CustomEvent("ended", { detail: data.reason }));
        return;
    }
    this.#changed();
  }

  #close() {
    this.#letGo();
    this.#forwarded?.close();
    for (const direct of this.#directs.values()) direct.close();
    this.#directs.clear();
    this.#forwarded = null;
    this.#played.clear();
    this.state = "closed";
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
