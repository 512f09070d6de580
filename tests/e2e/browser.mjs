// Real browsers with fake cameras, and what one of them sees and hears of a call.
import { chromium } from 'playwright-core';
import { within } from './wait.mjs';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
  '--auto-select-desktop-capture-source=Entire screen', '--autoplay-policy=no-user-gesture-required',
  '--disable-renderer-backgrounding', '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows',
];

export class Browser {
  static async open(flags = []) {
    const browser = new Browser();
    browser.chromium = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: [...FLAGS, ...flags],
    });
    return browser;
  }

  /** A page of the server's own, from which its scripts can be used. */
  async page(server) {
    // A window of its own: what is covered by another is drawn once a second only.
    const context = await this.chromium.newContext();
    const page = await context.newPage();
    page.on('pageerror', (error) => console.error('in the browser:', error));
    if (process.env.E2E_CONSOLE) page.on('console', (message) => console.log('browser:', message.text()));
    await page.goto(`${server.url}/demo/call`);
    await page.evaluate(install);
    return page;
  }

  /** Somebody's page that has joined a call. `which` is as in `join_call`. */
  async join(server, person, which, { network, ...options } = {}) {
    const peer = new Peer(await this.page(server));
    if (network) await peer.page.exposeFunction('throughNetwork', (port) => network.through(port));
    await peer.join(person.token, which, options);
    return peer;
  }

  /** Closes all pages. */
  async clear() {
    await Promise.all(this.chromium.contexts().map((context) => context.close()));
  }

  async close() {
    await this.chromium.close();
  }
}

export class Peer {
  constructor(page) {
    this.page = page;
  }

  async join(token, which, options = {}) {
    const joined = await within(20_000, 'a browser joins', this.page.evaluate(
      ([token, which, options]) => globalThis.story.join(token, which, options), [token, which, options],
    ));
    this.id = joined.participant_id;
    this.call = joined.call_id;
    return joined;
  }

  /** What is seen and heard of others, as `install` tells. */
  senses() {
    return this.page.evaluate(() => globalThis.story.senses());
  }

  /** Waits until `look(senses)` is truthy, and gives that. */
  async until(what, look, ms = 15_000) {
    const start = Date.now();
    let senses;
    for (;;) {
      senses = await this.senses();
      const found = look(senses);
      if (found) return found;
      if (Date.now() - start > ms) throw new Error(`not within ${ms} ms: ${what}; ${JSON.stringify(senses)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Waits until the other's picture moves and their voice is heard. */
  async perceives(other, { video = true, audio = true } = {}, ms = 15_000) {
    const before = await this.senses();
    const frames = before.frames[`${other.id}/camera`]?.count ?? 0;
    await this.until(`${this.id} perceives ${other.id}`, ({ frames: now, energy }) => {
      const sees = !video || (now[`${other.id}/camera`]?.count ?? 0) > frames + 5;
      const hears = !audio || (energy[`${other.id}/microphone`] ?? 0) > 0;
      return sees && hears;
    }, ms);
  }

  /** The longest time in which the picture stood still since `forget`, in ms. */
  async longestGap(other, source = 'camera') {
    return (await this.senses()).frames[`${other.id}/${source}`]?.longest;
  }

  forget() {
    return this.page.evaluate(() => globalThis.story.forget());
  }
}

/** Runs in the page. Frames are counted when they are shown, energy is what the decoder made. */
function install() {
  const story = (globalThis.story = {
    events: [],
    async join(token, which, { publish = ['microphone', 'camera'], size = { width: 320, height: 240, frameRate: 15 }, configuration = {}, tcpOnly = false, noise = false, layers } = {}) {
      Object.assign(story, { tcpOnly, token });
      const { Call } = await import('/assets/call-client.js');
      if (layers) story.film(layers);
      await story.connect();
      const request = (event, data) => story.request(event, data);
      const call = (story.call = new Call(request, configuration));
      call.addEventListener('change', () => story.show());
      story.joinedAt = performance.now();
      const joined = await call.join(which);
      if (publish.length) {
        const stream = await navigator.mediaDevices.getUserMedia({ audio: publish.includes('microphone'), video: publish.includes('camera') && !noise && size });
        if (noise) stream.addTrack(story.noise(size));
        for (const track of stream.getTracks()) call.publish(track, track.kind === 'audio' ? 'microphone' : 'camera');
      }
      return joined;
    },
    answers: new Map(),
    next: 1,
    /** One request; while there is no socket it waits for the next one. */
    async request(event, data) {
      await story.open;
      return story.ask(event, data);
    },
    ask(event, data) {
      return new Promise((resolve, reject) => {
        story.answers.set(story.next, { resolve, reject });
        story.socket.send(JSON.stringify({ id: story.next++, event, data }));
      });
    },
    /** Opens a socket and says who we are; when it is lost, opens another and takes part again. */
    connect() {
      const opening = (async () => {
        const socket = (story.socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws`));
        await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
        socket.onmessage = ({ data }) => story.frame(JSON.parse(data));
        socket.onclose = () => story.lost();
        await story.ask('authenticate', { token: story.token });
      })();
      story.open = opening;
      story.open.catch(() => {}); // told to whoever waits for it
      return opening;
    },
    async lost() {
      story.lostAt ??= performance.now();
      for (const { reject } of story.answers.values()) reject(Object.assign(new Error('the socket is gone'), { isPassing: true }));
      story.answers.clear();
      if (story.isLeaving) return;
      let opened;
      story.open = new Promise((resolve) => (opened = resolve));
      for (;;) {
        try {
          await story.connect();
          opened();
          await story.call?.rejoin();
          story.events.push({ at: performance.now(), name: 'back' });
          return;
        } catch (error) {
          if (error.code === 'calls/no-such-call') return;
          await new Promise((resolve) => setTimeout(resolve, 50));
          if (story.socket.readyState === WebSocket.OPEN && error.isPassing) story.socket.close();
        }
      }
    },
    frame(frame) {
      if ('reply' in frame) {
        const answer = story.answers.get(frame.reply);
        story.answers.delete(frame.reply);
        if (frame.error) answer?.reject(Object.assign(new Error(`${frame.error.code}: ${frame.error.detail}`), frame.error, { isPassing: frame.error.status >= 500 }));
        else answer?.resolve(frame.data);
      } else {
        story.events.push({ at: performance.now(), name: frame.event, data: frame.data });
        story.passOn(frame.event, frame.data);
      }
    },
    /** Where a network lies between, the server's candidates are those of the network. */
    async passOn(name, data) {
      if (name === 'answer' && globalThis.throughNetwork && !data.from) {
        const [, port] = data.sdp.match(/127\.0\.0\.1 (\d+) typ host/) ?? [];
        const proxy = await globalThis.throughNetwork(Number(port));
        const lines = data.sdp.split('\r\n').filter((line) => !/^a=candidate.* tcp /i.test(line));
        data.sdp = lines.join('\r\n').replaceAll(`127.0.0.1 ${port} typ`, `127.0.0.1 ${proxy} typ`);
      }
      if (name === 'answer' && story.tcpOnly && !data.from) {
        data.sdp = data.sdp.split('\r\n').filter((line) => !/^a=candidate.* udp /i.test(line)).join('\r\n');
      }
      // The browser need not find out slowly what its uplink carries.
      if (name === 'answer' && story.layers) data.sdp = data.sdp.replace(/^a=rtpmap:(\d+) VP8\/.*$/m, '$&\r\na=fmtp:$1 x-google-start-bitrate=1500');
      story.call?.hear(name, data);
    },
    /**
     * A picture that is hard to compress, so that it takes all the bits it may, and yet not so hard that the
     * encoder leaves out frames of the smaller layers.
     */
    noise({ width, height, frameRate }) {
      const canvas = Object.assign(document.createElement('canvas'), { width, height });
      const brush = canvas.getContext('2d');
      setInterval(() => {
        for (let n = 0; n < 6; n++) {
          brush.fillStyle = `hsl(${Math.random() * 360} 80% ${Math.random() * 100}%)`;
          brush.fillRect(Math.random() * width, Math.random() * height, 40, 40);
        }
      }, 1000 / frameRate);
      return canvas.captureStream(frameRate).getVideoTracks()[0];
    },
    /**
     * From now on cameras are sent in these layers, at the price of pictures per second and not of size when the
     * machine is busy.
     */
    film(layers) {
      story.layers = layers;
      const { addTransceiver } = RTCPeerConnection.prototype;
      RTCPeerConnection.prototype.addTransceiver = function (track, init) {
        if (!init?.sendEncodings) return addTransceiver.call(this, track, init);
        const transceiver = addTransceiver.call(this, track, { ...init, sendEncodings: structuredClone(layers) });
        const parameters = transceiver.sender.getParameters();
        transceiver.sender.setParameters({ ...parameters, degradationPreference: 'maintain-resolution' });
        return transceiver;
      };
    },
    elements: new Map(),
    /** Gives each track that plays an element that plays it. */
    show() {
      const playing = story.call.playing;
      const keys = new Set(playing.map(({ participant_id, source }) => `${participant_id}/${source}`));
      for (const [key, { element }] of story.elements) {
        if (keys.has(key)) continue;
        element.remove();
        story.elements.delete(key);
      }
      for (const { participant_id, source, track } of playing) {
        const key = `${participant_id}/${source}`;
        let entry = story.elements.get(key);
        if (!entry) {
          const element = document.createElement(track.kind);
          Object.assign(element, { autoplay: true, muted: track.kind === 'video' });
          if (track.kind === 'video') Object.assign(element, { width: 160, height: 120 });
          document.body.append(element);
          entry = { element, track: null, count: 0, last: null, first: null, longest: 0 };
          story.elements.set(key, entry);
          if (track.kind === 'video') {
            const seen = () => {
              const now = performance.now();
              if (entry.last !== null) entry.longest = Math.max(entry.longest, now - entry.last);
              entry.first ??= now;
              entry.last = now;
              entry.count += 1;
              element.requestVideoFrameCallback(seen);
            };
            element.requestVideoFrameCallback(seen);
          }
        }
        if (entry.track === track) continue;
        entry.track = track;
        entry.element.srcObject = new MediaStream([track]);
        entry.element.play().catch(() => {});
      }
    },
    async senses() {
      const frames = {}, energy = {}, inbound = {}, outbound = [];
      for (const [key, { track, count, last, first, longest }] of story.elements) {
        if (track.kind === 'video') {
          const still = last === null ? 0 : performance.now() - last;
          frames[key] = { count, first: first && first - story.joinedAt, longest: Math.max(longest, still) };
        }
      }
      let state = [];
      for (const connection of story.call?.connections ?? []) {
        state.push(connection.connectionState);
        for (const report of (await connection.getStats()).values()) {
          if (report.type === 'inbound-rtp') {
            const entry = [...story.elements].find(([, { track }]) => track.id === report.trackIdentifier);
            if (!entry) continue;
            if (report.kind === 'audio') energy[entry[0]] = report.totalAudioEnergy;
            inbound[entry[0]] = {
              packets: report.packetsReceived, lost: report.packetsLost, width: report.frameWidth, height: report.frameHeight, decoded: report.framesDecoded,
              freezes: report.freezeCount, nacks: report.nackCount, plis: report.pliCount, rtx: report.retransmittedPacketsReceived,
              bytes: report.bytesReceived, jitter: report.jitter,
            };
          }
          if (report.type === 'outbound-rtp') {
            outbound.push({ kind: report.kind, rid: report.rid, packets: report.packetsSent, rtx: report.retransmittedPacketsSent, frames: report.framesSent, width: report.frameWidth, active: report.active, target: report.targetBitrate, nacks: report.nackCount });
          }
        }
      }
      return { frames, energy, inbound, outbound, state, mode: story.call?.mode, participants: story.call ? [...story.call.participants.keys()] : [] };
    },
    forget() {
      for (const entry of story.elements.values()) Object.assign(entry, { longest: 0, last: entry.last === null ? null : performance.now() });
    },
  });
}
