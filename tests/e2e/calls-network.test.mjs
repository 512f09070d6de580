// Calls over bad networks: low bandwidth, packet loss, UDP blocked.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Network } from './network.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { retryAssertions } from './wait.mjs';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const VIDEO_360P = { width: 640, height: 360, frameRate: 15 };
/** Small enough that a busy machine can encode three layers; 300 kbit/s carry only the lowest. */
const SMALL_VIDEO = { width: 512, height: 288, frameRate: 8 };
const LAYERS = [
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 80_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 350_000 },
  { rid: 'h', scaleResolutionDownBy: 1, maxBitrate: 800_000 },
];
/** Without this flag browsers send small video in fewer layers. */
const UNLIMITED_LAYERS = '--force-fieldtrials=WebRTC-LegacySimulcastLayerLimit/Disabled/';

describe('call on a bad network', () => {
  let server, browser, people, networks;

  before(async () => {
    server = await Server.start();
    browser = await Browser.open([UNLIMITED_LAYERS]);
    people = await Promise.all(['Alice', 'Bob', 'Eve'].map((name) => Person.register(server, name)));
    networks = [];
  });
  const closeAll = async () => {
    await browser.closePages();
    for (const network of networks.splice(0)) network.close();
  };
  afterEach(closeAll);
  after(async () => {
    await browser?.close();
    await server?.end();
  });

  const network = () => {
    networks.push(new Network());
    return networks.at(-1);
  };

  /** Waits until the publisher sends the highest layer at full bitrate: at a low bitrate it would fit the narrow downlink. */
  const waitForFullBitrate = (peer) => peer.until('highest layer is sent at full bitrate', ({ outbound }) => outbound.some(({ target }) => target > 500_000), 30_000);

  it('layer drops on a narrow downlink, recovers when it widens and stays high for others', () => retryAssertions(3, async (run) => {
    await closeAll();
    const narrow = network();
    const target = { sessionId: `narrow-${run}` };
    const a = await browser.join(server, people[0], target, { size: VIDEO_360P, noise: true });
    const b = await browser.join(server, people[1], target, { publish: [], network: narrow });
    const c = await browser.join(server, people[2], target, { publish: [] });
    const width = (peer) => ({ inbound }) => inbound[`${a.id}/camera`]?.width;
    await b.until('Bob receives full width', (stats) => width()(stats) === 640, 20_000);
    await c.until('Eve receives full width', (stats) => width()(stats) === 640);
    await waitForFullBitrate(a);
    narrow.configure({ down: { rate: 300_000 } });
    const narrowedAt = Date.now();
    await b.until('Bob receives less than full width', (stats) => width()(stats) < 640, 10_000);
    const dropMs = Date.now() - narrowedAt;
    await sleep(3_000);
    await b.waitForMedia(a, { audio: false });
    assert.equal(width()(await c.stats()), 640, 'Eve still receives full width');
    narrow.configure({});
    const widenedAt = Date.now();
    await b.until('Bob receives full width again', (stats) => width()(stats) === 640, 20_000);
    const recoveryMs = Date.now() - widenedAt;

    console.log(`layer dropped after ${dropMs} ms, full width again after ${recoveryMs} ms`);
    assert.ok(dropMs < 3_000, `layer dropped only after ${dropMs} ms`);
    assert.ok(recoveryMs < 10_000, `full width only after ${recoveryMs} ms`);
  }));

  it('lowest of three layers is sent over a narrow lossy downlink while others keep the highest', () => retryAssertions(3, async (run) => {
    await closeAll();
    const narrow = network();
    const target = { sessionId: `three-${run}` };
    const a = await browser.join(server, people[0], target, { size: SMALL_VIDEO, noise: true, layers: LAYERS });
    const b = await browser.join(server, people[1], target, { publish: [], network: narrow });
    const c = await browser.join(server, people[2], target, { publish: [] });
    const height = ({ inbound }) => inbound[`${a.id}/camera`]?.height;
    await b.until('Bob receives the highest layer', (stats) => height(stats) === 288, 30_000);
    await c.until('Eve receives the highest layer', (stats) => height(stats) === 288);
    await waitForFullBitrate(a);
    const { outbound } = await a.stats();
    assert.deepEqual(outbound.filter(({ kind }) => kind === 'video').map(({ rid }) => rid).sort(), ['h', 'l', 'm']);
    // Samples the layer that Eve receives until the end.
    let isDone = false;
    const evesHeights = new Set();
    const sampling = (async () => {
      for (; !isDone; await sleep(100)) evesHeights.add(height(await c.stats()));
    })();
    await c.resetGaps();

    narrow.configure({ down: { rate: 300_000, loss: 0.02, delay: 10 } });
    const narrowedAt = Date.now();
    await b.until('Bob receives a lower layer', (stats) => height(stats) < 288, 10_000);
    const dropMs = Date.now() - narrowedAt;
    // The middle layer may fit for a moment, since its bitrate depends on the encoder.
    await b.until('Bob receives the lowest layer', (stats) => height(stats) === 72, 10_000);
    await sleep(3_000);
    await b.waitForMedia(a, { audio: false });
    assert.equal(height(await b.stats()), 72, 'Bob stays on the lowest layer while the downlink is narrow');
    narrow.configure({});
    const widenedAt = Date.now();
    await b.until('Bob receives the highest layer again', (stats) => height(stats) === 288, 20_000);
    const recoveryMs = Date.now() - widenedAt;
    isDone = true;
    await sampling;

    console.log(`layer dropped after ${dropMs} ms, highest again after ${recoveryMs} ms, longest gap of Eve ${Math.round(await c.longestGap(a))} ms`);
    assert.ok(dropMs < 3_000, `layer dropped only after ${dropMs} ms`);
    assert.ok(recoveryMs < 10_000, `highest layer only after ${recoveryMs} ms`);
    assert.deepEqual([...evesHeights], [288], 'Eve receives the highest layer all the time');
  }));

  for (const loss of [0.02, 0.05, 0.1]) {
    for (const direction of ['up', 'down']) {
      it(`video keeps playing with ${loss * 100} % loss and reordering on the ${direction}link`, () => retryAssertions(3, async (run) => {
        await closeAll();
        const lossy = network();
        const target = { sessionId: `loss-${direction}-${loss * 100}-${run}` };
        const a = await browser.join(server, people[0], target, { size: VIDEO_360P, noise: true, network: direction === 'up' ? lossy : undefined });
        const b = await browser.join(server, people[1], target, { publish: [], network: direction === 'down' ? lossy : undefined });
        await b.waitForMedia(a);
        lossy.configure({ [direction]: { loss, delay: 10, reorder: 0.01 } });
        await sleep(1_000);
        await b.resetGaps();
        const receiverBefore = await b.stats();
        const sent = (stats) => stats.outbound.reduce((sum, { packets, rtx }) => ({ packets: sum.packets + packets, rtx: sum.rtx + rtx }), { packets: 0, rtx: 0 });
        const framesPerLayer = ({ outbound }) => outbound.filter(({ kind }) => kind === 'video').map(({ frames }) => frames ?? 0);
        const senderBefore = await a.stats();
        const sentBefore = sent(senderBefore);
        const counts = { ...lossy.counts };
        await sleep(6_000);
        const lost = direction === 'up' ? lossy.counts.lostUp - counts.lostUp : lossy.counts.lostDown - counts.lostDown;
        const rate = lost / (lossy.counts[direction] - counts[direction]);
        const receiverAfter = await b.stats();
        const senderAfter = await a.stats();
        const sentAfter = sent(senderAfter);
        // Frames that the encoder itself dropped, on a busy machine or a bad uplink, cannot be decoded.
        const frames = Math.max(...framesPerLayer(senderAfter).map((count, layer) => count - (framesPerLayer(senderBefore)[layer] ?? 0)));
        const videoStats = ({ inbound }) => inbound[`${a.id}/camera`];
        const increase = (name) => (videoStats(receiverAfter)[name] ?? 0) - (videoStats(receiverBefore)[name] ?? 0);
        const gap = await b.longestGap(a);
        const retransmitted = direction === 'up' ? (sentAfter.rtx - sentBefore.rtx) / (sentAfter.packets - sentBefore.packets) : increase('rtx') / increase('packets');

        const summary = `${(100 * retransmitted).toFixed(1)} % retransmitted, ${(100 * rate).toFixed(1)} % lost`;
        console.log(`${loss * 100} % ${direction}: ${increase('decoded')} of ${frames} frames, longest gap ${Math.round(gap)} ms, ${summary}`);
        assert.ok(frames > 12 && increase('decoded') > 0.6 * frames, `${increase('decoded')} of ${frames} frames in 6 s`);
        assert.ok(gap < 1_000, `video stalled for ${gap} ms`);
        assert.ok(retransmitted < rate + 0.03, summary);
      }));
    }
  }

  it('media flows over TCP when UDP is blocked', async () => {
    const target = { sessionId: 'tcp' };
    const a = await browser.join(server, people[0], target, { tcpOnly: true });
    const b = await browser.join(server, people[1], target);
    await Promise.all([a.waitForMedia(b), b.waitForMedia(a)]);

    const protocol = await a.page.evaluate(async () => {
      const reports = [...(await globalThis.harness.call.connections[0].getStats()).values()];
      const pair = reports.find(({ type, nominated }) => type === 'candidate-pair' && nominated);
      return reports.find(({ id }) => id === pair.remoteCandidateId).protocol;
    });
    assert.equal(protocol, 'tcp');
  });
});
