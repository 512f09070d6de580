// Chromium with fake cameras and microphones, and statistics of the media that a call delivers to a page.
import { chromium } from 'playwright-core';
import { withTimeout } from './wait.mjs';

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

  /** Opens a page of the server's origin, so that its scripts can be imported. */
  async page(server) {
    // One window per page: a covered window is drawn only once a second.
    const context = await this.chromium.newContext();
    const page = await context.newPage();
    page.on('pageerror', (error) => console.error('page error:', error));
    if (process.env.E2E_CONSOLE) page.on('console', (message) => console.log('browser:', message.text()));
    await page.goto(`${server.url}/demo/call`);
    await page.evaluate(install);
    return page;
  }

  /** Opens a page and joins a call. `target` is the data of `join_call`. */
  async join(server, person, target, { network, ...options } = {}) {
    const peer = new Peer(await this.page(server));
    if (network) await peer.page.exposeFunction('networkProxyPort', (port) => network.proxyPort(port));
    await peer.join(person.token, target, options);
    return peer;
  }

  /** Closes all pages. */
  async closePages() {
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

  async join(token, target, options = {}) {
    const joined = await withTimeout(20_000, 'a browser joins the call', this.page.evaluate(
      ([token, target, options]) => globalThis.harness.join(token, target, options), [token, target, options],
    ));
    this.id = joined.participant_id;
    this.call = joined.call_id;
    return joined;
  }

  /** Statistics of received and sent media, see `install`. */
  stats() {
    return this.page.evaluate(() => globalThis.harness.stats());
  }

  /** Waits until `condition(stats)` returns something truthy, and returns that. */
  async until(description, condition, ms = 15_000) {
    const start = Date.now();
    let stats;
    for (;;) {
      stats = await this.stats();
      const result = condition(stats);
      if (result) return result;
      if (Date.now() - start > ms) throw new Error(`timed out after ${ms} ms: ${description}; ${JSON.stringify(stats)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Waits until new video frames and audio of the other participant arrive. */
  async waitForMedia(other, { video = true, audio = true } = {}, ms = 15_000) {
    const before = await this.stats();
    const frames = before.frames[`${other.id}/camera`]?.count ?? 0;
    await this.until(`${this.id} receives media of ${other.id}`, ({ frames: now, energy }) => {
      const videoArrives = !video || (now[`${other.id}/camera`]?.count ?? 0) > frames + 5;
      const audioArrives = !audio || (energy[`${other.id}/microphone`] ?? 0) > 0;
      return videoArrives && audioArrives;
    }, ms);
  }

  /** The longest time without a new video frame since `resetGaps`, in ms. */
  async longestGap(other, source = 'camera') {
    return (await this.stats()).frames[`${other.id}/${source}`]?.longest;
  }

  resetGaps() {
    return this.page.evaluate(() => globalThis.harness.resetGaps());
  }
}

/** Runs in the page. Frames are counted when they are displayed; energy is that of the decoded audio. */
function install() {
  const harness = (globalThis.harness = {
    events: [],
    async join(token, target, { publish = ['microphone', 'camera'], size = { width: 320, height: 240, frameRate: 15 }, configuration = {}, tcpOnly = false, noise = false, layers } = {}) {
      Object.assign(harness, { tcpOnly, token });
      const { Call } = await import('/assets/call-client.js');
      if (layers) harness.setCameraLayers(layers);
      await harness.connect();
      const request = (event, data) => harness.request(event, data);
      const call = (harness.call = new Call(request, configuration));
      call.addEventListener('change', () => harness.attachTracks());
      harness.joinedAt = performance.now();
      const joined = await call.join(target);
      if (publish.length) {
        const stream = await navigator.mediaDevices.getUserMedia({ audio: publish.includes('microphone'), video: publish.includes('camera') && !noise && size });
        if (noise) stream.addTrack(harness.noiseTrack(size));
        for (const track of stream.getTracks()) call.publish(track, track.kind === 'audio' ? 'microphone' : 'camera');
      }
      return joined;
    },
    pending: new Map(),
    next: 1,
    /** Sends one request; while there is no socket it waits for the next one. */
    async request(event, data) {
      await harness.ready;
      return harness.sendRequest(event, data);
    },
    sendRequest(event, data) {
      return new Promise((resolve, reject) => {
        harness.pending.set(harness.next, { resolve, reject });
        harness.socket.send(JSON.stringify({ id: harness.next++, event, data }));
      });
    },
    /** Opens a socket and authenticates; when the socket closes, opens another and rejoins the call. */
    connect() {
      const connecting = (async () => {
        const socket = (harness.socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws`));
        await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
        socket.onmessage = ({ data }) => harness.handleFrame(JSON.parse(data));
        socket.onclose = () => harness.handleClose();
        await harness.sendRequest('authenticate', { token: harness.token });
      })();
      harness.ready = connecting;
      harness.ready.catch(() => {}); // reported to those who await it
      return connecting;
    },
    async handleClose() {
      harness.closedAt ??= performance.now();
      for (const { reject } of harness.pending.values()) reject(Object.assign(new Error('the socket closed'), { isPassing: true }));
      harness.pending.clear();
      if (harness.isLeaving) return;
      let markReady;
      harness.ready = new Promise((resolve) => (markReady = resolve));
      for (;;) {
        try {
          await harness.connect();
          markReady();
          await harness.call?.rejoin();
          harness.events.push({ at: performance.now(), name: 'reconnected' });
          return;
        } catch (error) {
          if (error.code === 'calls/call-not-found') return;
          await new Promise((resolve) => setTimeout(resolve, 50));
          if (harness.socket.readyState === WebSocket.OPEN && error.isPassing) harness.socket.close();
        }
      }
    },
    handleFrame(frame) {
      if ('reply' in frame) {
        const request = harness.pending.get(frame.reply);
        harness.pending.delete(frame.reply);
        if (frame.error) request?.reject(Object.assign(new Error(`${frame.error.code}: ${frame.error.detail}`), frame.error, { isPassing: frame.error.status >= 500 }));
        else request?.resolve(frame.data);
      } else {
        harness.events.push({ at: performance.now(), name: frame.event, data: frame.data });
        harness.dispatch(frame.event, frame.data);
      }
    },
    /** Behind an emulated network the candidates of the server are replaced by those of its proxy. */
    async dispatch(name, data) {
      if (name === 'answer' && globalThis.networkProxyPort && !data.from) {
        const [, port] = data.sdp.match(/127\.0\.0\.1 (\d+) typ host/) ?? [];
        const proxy = await globalThis.networkProxyPort(Number(port));
        const lines = data.sdp.split('\r\n').filter((line) => !/^a=candidate.* tcp /i.test(line));
        data.sdp = lines.join('\r\n').replaceAll(`127.0.0.1 ${port} typ`, `127.0.0.1 ${proxy} typ`);
      }
      if (name === 'answer' && harness.tcpOnly && !data.from) {
        data.sdp = data.sdp.split('\r\n').filter((line) => !/^a=candidate.* udp /i.test(line)).join('\r\n');
      }
      // Skips the slow start of the browser's bandwidth estimation.
      if (name === 'answer' && harness.layers) data.sdp = data.sdp.replace(/^a=rtpmap:(\d+) VP8\/.*$/m, '$&\r\na=fmtp:$1 x-google-start-bitrate=1500');
      harness.call?.onEvent(name, data);
    },
    /**
     * Video that is hard to compress, so that it uses the full bitrate, but not so hard that the encoder drops
     * frames of the smaller layers.
     */
    noiseTrack({ width, height, frameRate }) {
      const canvas = Object.assign(document.createElement('canvas'), { width, height });
      const context2d = canvas.getContext('2d');
      setInterval(() => {
        for (let n = 0; n < 6; n++) {
          context2d.fillStyle = `hsl(${Math.random() * 360} 80% ${Math.random() * 100}%)`;
          context2d.fillRect(Math.random() * width, Math.random() * height, 40, 40);
        }
      }, 1000 / frameRate);
      return canvas.captureStream(frameRate).getVideoTracks()[0];
    },
    /**
     * From now on cameras are sent in these simulcast layers; a busy machine lowers their frame rate, not their
     * resolution.
     */
    setCameraLayers(layers) {
      harness.layers = layers;
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
    /** Attaches each playing track to a media element. */
    attachTracks() {
      const playing = harness.call.playing;
      const keys = new Set(playing.map(({ participant_id, source }) => `${participant_id}/${source}`));
      for (const [key, { element }] of harness.elements) {
        if (keys.has(key)) continue;
        element.remove();
        harness.elements.delete(key);
      }
      for (const { participant_id, source, track } of playing) {
        const key = `${participant_id}/${source}`;
        let entry = harness.elements.get(key);
        if (!entry) {
          const element = document.createElement(track.kind);
          Object.assign(element, { autoplay: true, muted: track.kind === 'video' });
          if (track.kind === 'video') Object.assign(element, { width: 160, height: 120 });
          document.body.append(element);
          entry = { element, track: null, count: 0, last: null, first: null, longest: 0 };
          harness.elements.set(key, entry);
          if (track.kind === 'video') {
            const countFrame = () => {
              const now = performance.now();
              if (entry.last !== null) entry.longest = Math.max(entry.longest, now - entry.last);
              entry.first ??= now;
              entry.last = now;
              entry.count += 1;
              element.requestVideoFrameCallback(countFrame);
            };
            element.requestVideoFrameCallback(countFrame);
          }
        }
        if (entry.track === track) continue;
        entry.track = track;
        entry.element.srcObject = new MediaStream([track]);
        entry.element.play().catch(() => {});
      }
    },
    async stats() {
      const frames = {}, energy = {}, inbound = {}, outbound = [];
      for (const [key, { track, count, last, first, longest }] of harness.elements) {
        if (track.kind === 'video') {
          const sinceLast = last === null ? 0 : performance.now() - last;
          frames[key] = { count, first: first && first - harness.joinedAt, longest: Math.max(longest, sinceLast) };
        }
      }
      let state = [];
      for (const connection of harness.call?.connections ?? []) {
        state.push(connection.connectionState);
        for (const report of (await connection.getStats()).values()) {
          if (report.type === 'inbound-rtp') {
            const entry = [...harness.elements].find(([, { track }]) => track.id === report.trackIdentifier);
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
      return { frames, energy, inbound, outbound, state, mode: harness.call?.mode, participants: harness.call ? [...harness.call.participants.keys()] : [] };
    },
    resetGaps() {
      for (const entry of harness.elements.values()) Object.assign(entry, { longest: 0, last: entry.last === null ? null : performance.now() });
    },
  });
}
