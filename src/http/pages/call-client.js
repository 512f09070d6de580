// A call over the public protocol: joins, publishes, receives, and switches from peer-to-peer to
// SFU without interruption. It has no user interface; a page listens to its events.

import { DirectConnection } from "./call-direct.js";
import { SfuConnection } from "./call-sfu.js";

/** Source that each section of a peer-to-peer connection carries. */
const KIND_SOURCE = { audio: "microphone", video: "camera" };

/**
 * `request(event, data)` sends to the server and returns the reply. Events from the server are passed to
 * `onEvent(name, data)`. Emits the events `change` and `ended` ({ detail: reason }).
 */
export class Call extends EventTarget {
  #request;
  #configuration;
  #published = new Map(); // source → { track, undo: [function] }
  #tracks = new Map(); // track_id → { track_id, participant_id, kind, source, media }
  #directs = new Map(); // participant_id → DirectConnection
  #playing = new Map(); // participant_id/source → { track, isFromSfu }
  #sfu = null;
  #oldSfu = null; // connection to a room that has moved; it plays until the new one does
  #epoch = 0;
  #ice = [];
  #isJoining = true;
  #queued = []; // events received before the join reply
  participants = new Map(); // participant_id → { name, audio, video, speaking }
  quality = null;
  state = "new";

  constructor(request, configuration = {}) {
    super();
    this.#request = request;
    this.#configuration = configuration;
  }

  /** Joins: `{ call_id }` or `{ sessionId }`, or `{}` with a call token. */
  async join(which) {
    const joined = await this.#request("join_call", which);
    Object.assign(this, { id: joined.call_id, me: joined.participant_id, mode: joined.mode });
    this.#epoch = joined.epoch;
    this.#ice = joined.ice_servers;
    for (const participant of joined.participants) this.participants.set(participant.participant_id, { ...participant });
    for (const track of joined.tracks) this.#tracks.set(track.track_id, { ...track });
    if (this.mode === "sfu") this.#connectSfu();
    else for (const other of this.participants.keys()) this.#connectDirect(other);
    this.#replayQueued();
    this.#changed();
    return joined;
  }

  /** Rejoins after the socket was lost, perhaps on another node. If the room is the same, media continues. */
  async rejoin() {
    this.#isJoining = true;
    const joined = await this.#request("join_call", { call_id: this.id, participant_id: this.me }).catch((problem) => {
      this.#replayQueued();
      throw problem;
    });
    const isSame = joined.participant_id === this.me && joined.epoch === this.#epoch;
    Object.assign(this, { me: joined.participant_id, mode: joined.mode });
    this.#ice = joined.ice_servers;
    const present = new Map(joined.participants.map((participant) => [participant.participant_id, participant]));
    for (const id of [...this.participants.keys()]) if (!present.has(id)) this.#removeParticipant(id);
    for (const [id, participant] of present) this.participants.set(id, { ...this.participants.get(id), ...participant });
    if (this.mode === "sfu") {
      if (isSame) {
        const known = new Set(joined.tracks.map(({ track_id }) => track_id));
        for (const id of [...this.#tracks.keys()]) if (!known.has(id)) this.#tracks.delete(id);
        for (const track of joined.tracks) if (!this.#tracks.has(track.track_id)) this.#tracks.set(track.track_id, { ...track });
        if (this.#sfu) this.#sfu.receive(this.tracks);
        else this.#connectSfu();
      } else {
        this.#moveToRoom(joined.epoch, joined.tracks);
      }
    } else {
      for (const other of this.participants.keys()) this.#connectDirect(other);
    }
    this.#replayQueued();
    this.#changed();
    return joined;
  }

  /** Applies events that were received while joining; they are newer than the join reply. */
  #replayQueued() {
    this.#isJoining = false;
    for (const [name, data] of this.#queued.splice(0)) this.onEvent(name, data);
  }

  /** Connects to a new room; tracks of the old one play until the new ones arrive. */
  #moveToRoom(epoch, tracks = []) {
    this.#epoch = epoch;
    this.#oldSfu?.close();
    this.#oldSfu = this.#sfu;
    this.#sfu = null;
    for (const entry of this.#playing.values()) entry.isFromSfu = false;
    this.#tracks = new Map(tracks.map((track) => [track.track_id, { ...track }]));
    this.#connectSfu();
    const oldSfu = this.#oldSfu;
    setTimeout(() => this.#oldSfu === oldSfu && this.#closeOldSfu(), 8_000);
  }

  /** Closes the connection to the old room; tracks that are silent in the new one stay silent. */
  #closeOldSfu() {
    if (!this.#oldSfu) return;
    this.#oldSfu.close();
    this.#oldSfu = null;
    for (const { participant_id, source, media } of this.#tracks.values()) {
      const entry = this.#playing.get(`${participant_id}/${source}`);
      if (media && entry && !entry.isFromSfu) Object.assign(entry, { track: media, isFromSfu: true });
    }
    this.#changed();
  }

  #removeParticipant(participant) {
    this.participants.delete(participant);
    this.#directs.get(participant)?.close();
    this.#directs.delete(participant);
    for (const key of this.#playing.keys()) if (key.startsWith(`${participant}/`)) this.#playing.delete(key);
    for (const [id, track] of this.#tracks) if (track.participant_id === participant) this.#tracks.delete(id);
  }

  /** Publishes a local track as `microphone`, `camera`, `screen` or `screen_audio`. */
  publish(track, source) {
    this.unpublish(source);
    const entry = { track, undo: [] };
    this.#published.set(source, entry);
    if (this.#sfu) entry.undo.push(this.#sfu.publish(track, source));
    if (KIND_SOURCE[track.kind] === source) {
      for (const direct of this.#directs.values()) entry.undo.push(direct.publish(track));
    } else if (!this.#sfu) {
      this.#request("upgrade_call", { call_id: this.id }); // screen sharing requires the SFU
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

  /** Published tracks by source. */
  get published() {
    return new Map([...this.#published].map(([source, { track }]) => [source, track]));
  }

  /** Tracks to play: [{ participant_id, source, track }]. */
  get playing() {
    return [...this.#playing].map(([key, { track }]) => {
      const [participant_id, source] = key.split("/");
      return { participant_id, source, track };
    });
  }

  /** Connections, for statistics. */
  get connections() {
    const all = [...this.#directs.values()].map((direct) => direct.connection);
    return this.#sfu ? [this.#sfu.connection, ...all] : all;
  }

  /** Switches the own microphone or camera off or on. */
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

  /** Restarts ICE, for example after a network change. */
  restart() {
    this.#sfu?.restart();
  }

  async leave() {
    this.#close();
    await this.#request("leave_call", { call_id: this.id });
  }

  #connectSfu() {
    this.#sfu?.close();
    const sfu = new SfuConnection(this.#ice, {
      offer: (offer) => this.#request("offer", { call_id: this.id, ...offer }),
      track: (id, track) => this.#onTrack(id, track),
      state: (state) => {
        this.state = state;
        this.#changed();
      },
    }, this.#configuration);
    this.#sfu = sfu;
    for (const [source, entry] of this.#published) entry.undo.push(sfu.publish(entry.track, source));
    sfu.receive(this.tracks);
    sfu.negotiate();
  }

  #onTrack(id, track) {
    const info = this.#tracks.get(id);
    if (!info || info.media === track) return;
    info.media = track;
    const key = `${info.participant_id}/${info.source}`;
    const play = () => {
      if (this.#tracks.get(id) !== info) return;
      this.#playing.set(key, { track, isFromSfu: true });
      this.#closeDirectIfReplaced(info.participant_id);
      if (this.#oldSfu && [...this.#playing.values()].every(({ isFromSfu }) => isFromSfu)) this.#closeOldSfu();
      this.#changed();
    };
    // The previous track plays until the new one does.
    if (track.muted && this.#playing.get(key)?.isFromSfu === false) track.addEventListener("unmute", play, { once: true });
    else play();
  }

  /** Closes a peer-to-peer connection once the SFU carries all its tracks. */
  #closeDirectIfReplaced(participant) {
    const isNeeded = [...this.#playing].some(([key, { isFromSfu }]) => key.startsWith(`${participant}/`) && !isFromSfu);
    if (isNeeded || !this.#directs.has(participant) || this.mode !== "sfu") return;
    // The other side may still play what is sent over it.
    const direct = this.#directs.get(participant);
    this.#directs.delete(participant);
    setTimeout(() => direct.close(), 3_000);
  }

  #connectDirect(participant) {
    let direct = this.#directs.get(participant);
    if (direct) return direct;
    // The ids are compared, so that exactly one of the two sides offers.
    direct = new DirectConnection(this.#ice, this.me < participant, {
      send: (event, data) => this.#request(event, { call_id: this.id, to: participant, ...data }).catch(() => {}),
      track: (track) => {
        const key = `${participant}/${KIND_SOURCE[track.kind]}`;
        if (!this.#playing.get(key)?.isFromSfu) this.#playing.set(key, { track, isFromSfu: false });
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

  /** Handles an event from the server. */
  onEvent(name, data) {
    if (this.#isJoining) return void this.#queued.push([name, data]);
    if (data.call_id !== this.id) return;
    const participant = data.participant_id;
    switch (name) {
      case "participant_joined":
        this.participants.set(participant, { ...data });
        if (this.mode === "p2p") this.#connectDirect(participant);
        break;
      case "participant_updated":
        Object.assign(this.participants.get(participant) ?? {}, data);
        break;
      case "participant_left":
        this.#removeParticipant(participant);
        this.#sfu?.receive(this.tracks);
        break;
      case "offer":
        if (this.mode === "p2p") this.#connectDirect(data.from).offer(data.sdp);
        break;
      case "answer":
        if (data.from) this.#directs.get(data.from)?.answer(data.sdp);
        else if (data.epoch >= this.#epoch) this.#sfu?.answer(data.sdp); // not from an earlier room
        break;
      case "ice_candidate":
        this.#directs.get(data.from)?.candidate(data.candidate);
        break;
      case "track_published":
        this.#tracks.set(data.track_id, { ...data });
        this.#sfu?.receive(this.tracks);
        break;
      case "track_unpublished": {
        const track = this.#tracks.get(data.track_id);
        this.#tracks.delete(data.track_id);
        if (track) this.#playing.delete(`${track.participant_id}/${track.source}`);
        this.#sfu?.receive(this.tracks);
        break;
      }
      case "track_wanted":
        this.#sfu?.setActiveLayers(data.layers);
        break;
      case "active_speaker":
        for (const [id, other] of this.participants) other.speaking = data.participant_ids.includes(id);
        break;
      case "call_mode":
        this.mode = data.mode;
        if (data.mode === "sfu" && !this.#sfu) this.#connectSfu();
        break;
      case "call_moved":
        if (data.epoch > this.#epoch) this.#moveToRoom(data.epoch);
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
    this.#closeOldSfu();
    this.#sfu?.close();
    for (const direct of this.#directs.values()) direct.close();
    this.#directs.clear();
    this.#sfu = null;
    this.#playing.clear();
    this.state = "closed";
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
