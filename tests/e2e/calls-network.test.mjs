// Calls on bad networks: narrow, lossy, without UDP.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Network } from './network.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { bestOf } from './wait.mjs';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const WIDE = { width: 640, height: 360, frameRate: 15 };
/** Three layers that a busy machine encodes; 300 kbit/s carry the lowest only. */
const SMALL = { width: 512, height: 288, frameRate: 8 };
const LAYERS = [
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 80_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 350_000 },
  { rid: 'h', scaleResolutionDownBy: 1, maxBitrate: 800_000 },
];
/** Browsers send small pictures in fewer layers unless told that any number will do. */
const ANY_LAYERS = '--force-fieldtrials=WebRTC-LegacySimulcastLayerLimit/Disabled/';

describe('A call on a bad network', () => {
  let server, browser, people, networks;

  before(async () => {
    server = await Server.start();
    browser = await Browser.open([ANY_LAYERS]);
    people = await Promise.all(['Alice', 'Bob', 'Eve'].map((name) => Person.register(server, name)));
    networks = [];
  });
  const clear = async () => {
    await browser.clear();
    for (const network of networks.splice(0)) network.close();
  };
  afterEach(clear);
  after(async () => {
    await browser?.close();
    await server?.end();
  });

  const network = () => {
    networks.push(new Network());
    return networks.at(-1);
  };

  /** Waits until the publisher's own way is known to carry the highest layer in full: what it sends starved, fits any way. */
  const sendsAll = (peer) => peer.until('all is sent', ({ outbound }) => outbound.some(({ target }) => target > 500_000), 30_000);

  it('shows less through a narrow way, all again when it widens, and others all the time', () => bestOf(3, async (run) => {
    await clear();
    const narrow = network();
    const which = { sessionId: `narrow-${run}` };
    const a = await browser.join(server, people[0], which, { size: WIDE, noise: true });
    const b = await browser.join(server, people[1], which, { publish: [], network: narrow });
    const c = await browser.join(server, people[2], which, { publish: [] });
    const width = (peer) => ({ inbound }) => inbound[`${a.id}/camera`]?.width;
    await b.until('Bob sees all of it', (senses) => width()(senses) === 640, 20_000);
    await c.until('Eve sees all of it', (senses) => width()(senses) === 640);
    await sendsAll(a);
    narrow.become({ down: { rate: 300_000 } });
    const began = Date.now();
    await b.until('Bob is shown less', (senses) => width()(senses) < 640, 10_000);
    const dropped = Date.now() - began;
    await pause(3_000);
    await b.perceives(a, { audio: false });
    assert.equal(width()(await c.senses()), 640, 'Eve sees all of it meanwhile');
    narrow.become({});
    const ended = Date.now();
    await b.until('Bob sees all of it again', (senses) => width()(senses) === 640, 20_000);
    const back = Date.now() - ended;

    console.log(`less after ${dropped} ms, all again after ${back} ms`);
    assert.ok(dropped < 3_000, `it took ${dropped} ms to show less`);
    assert.ok(back < 10_000, `it took ${back} ms to show all again`);
  }));

  it('sends the lowest of three layers through a narrow, lossy way, and the highest to others all the time', () => bestOf(3, async (run) => {
    await clear();
    const narrow = network();
    const which = { sessionId: `three-${run}` };
    const a = await browser.join(server, people[0], which, { size: SMALL, noise: true, layers: LAYERS });
    const b = await browser.join(server, people[1], which, { publish: [], network: narrow });
    const c = await browser.join(server, people[2], which, { publish: [] });
    const height = ({ inbound }) => inbound[`${a.id}/camera`]?.height;
    await b.until('Bob sees the highest layer', (senses) => height(senses) === 288, 30_000);
    await c.until('Eve sees the highest layer', (senses) => height(senses) === 288);
    await sendsAll(a);
    const { outbound } = await a.senses();
    assert.deepEqual(outbound.filter(({ kind }) => kind === 'video').map(({ rid }) => rid).sort(), ['h', 'l', 'm']);
    // What Eve sees is looked at until the end.
    let over = false;
    const eves = new Set();
    const watching = (async () => {
      for (; !over; await pause(100)) eves.add(height(await c.senses()));
    })();
    await c.forget();

    narrow.become({ down: { rate: 300_000, loss: 0.02, delay: 10 } });
    const began = Date.now();
    await b.until('Bob is shown less', (senses) => height(senses) < 288, 10_000);
    const dropped = Date.now() - began;
    // What the middle one carries depends on what the encoder makes of it: for a moment it may fit.
    await b.until('Bob is shown the lowest layer', (senses) => height(senses) === 72, 10_000);
    await pause(3_000);
    await b.perceives(a, { audio: false });
    assert.equal(height(await b.senses()), 72, 'he stays with it while the way is narrow');
    narrow.become({});
    const ended = Date.now();
    await b.until('Bob sees the highest layer again', (senses) => height(senses) === 288, 20_000);
    const back = Date.now() - ended;
    over = true;
    await watching;

    console.log(`less after ${dropped} ms, highest again after ${back} ms, Eve's longest gap ${Math.round(await c.longestGap(a))} ms`);
    assert.ok(dropped < 3_000, `it took ${dropped} ms to show less`);
    assert.ok(back < 10_000, `it took ${back} ms to come back to the highest`);
    assert.deepEqual([...eves], [288], 'Eve sees the highest layer all the time');
  }));

  for (const loss of [0.02, 0.05, 0.1]) {
    for (const way of ['up', 'down']) {
      it(`keeps playing with ${loss * 100} % loss and reordering on the way ${way}`, () => bestOf(3, async (run) => {
        await clear();
        const lossy = network();
        const which = { sessionId: `loss-${way}-${loss * 100}-${run}` };
        const a = await browser.join(server, people[0], which, { size: WIDE, noise: true, network: way === 'up' ? lossy : undefined });
        const b = await browser.join(server, people[1], which, { publish: [], network: way === 'down' ? lossy : undefined });
        await b.perceives(a);
        lossy.become({ [way]: { loss, delay: 10, reorder: 0.01 } });
        await pause(1_000);
        await b.forget();
        const before = await b.senses();
        const sent = (senses) => senses.outbound.reduce((sum, { packets, rtx }) => ({ packets: sum.packets + packets, rtx: sum.rtx + rtx }), { packets: 0, rtx: 0 });
        const filmed = ({ outbound }) => outbound.filter(({ kind }) => kind === 'video').map(({ frames }) => frames ?? 0);
        const atFirst = await a.senses();
        const first = sent(atFirst);
        const counts = { ...lossy.counts };
        await pause(6_000);
        const lost = way === 'up' ? lossy.counts.lostUp - counts.lostUp : lossy.counts.lostDown - counts.lostDown;
        const rate = lost / (lossy.counts[way] - counts[way]);
        const now = await b.senses();
        const atLast = await a.senses();
        const last = sent(atLast);
        // What the browser's own encoder left out, on a busy machine or a bad uplink, cannot be shown.
        const frames = Math.max(...filmed(atLast).map((count, layer) => count - (filmed(atFirst)[layer] ?? 0)));
        const picture = ({ inbound }) => inbound[`${a.id}/camera`];
        const grown = (name) => (picture(now)[name] ?? 0) - (picture(before)[name] ?? 0);
        const gap = await b.longestGap(a);
        const extra = way === 'up' ? (last.rtx - first.rtx) / (last.packets - first.packets) : grown('rtx') / grown('packets');

        const again = `${(100 * extra).toFixed(1)} % sent again, ${(100 * rate).toFixed(1)} % lost`;
        console.log(`${loss * 100} % ${way}: ${grown('decoded')} of ${frames} frames, longest gap ${Math.round(gap)} ms, ${again}`);
        assert.ok(frames > 12 && grown('decoded') > 0.6 * frames, `${grown('decoded')} of ${frames} frames in 6 s`);
        assert.ok(gap < 1_000, `the picture stood still for ${gap} ms`);
        assert.ok(extra < rate + 0.03, again);
      }));
    }
  }

  it('goes over TCP where UDP does not get through', async () => {
    const which = { sessionId: 'tcp' };
    const a = await browser.join(server, people[0], which, { tcpOnly: true });
    const b = await browser.join(server, people[1], which);
    await Promise.all([a.perceives(b), b.perceives(a)]);

    const protocol = await a.page.evaluate(async () => {
      const reports = [...(await globalThis.story.call.connections[0].getStats()).values()];
      const pair = reports.find(({ type, nominated }) => type === 'candidate-pair' && nominated);
      return reports.find(({ id }) => id === pair.remoteCandidateId).protocol;
    });
    assert.equal(protocol, 'tcp');
  });
});
