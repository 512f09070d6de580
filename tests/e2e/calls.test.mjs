// Calls between browsers: forwarded by the SFU, and peer to peer.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { retryAssertions, withTimeout } from './wait.mjs';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

describe('call between browsers', () => {
  let server, browser, alice, bob, eve, dan, operator;

  before(async () => {
    server = await Server.start({ TELEMETRY__METRICS_ALLOW_LOOPBACK: true });
    browser = await Browser.open();
    [alice, bob, eve, dan] = await Promise.all(['Alice', 'Bob', 'Eve', 'Dan'].map((name) => Person.register(server, name)));
    operator = await Person.operator(server);
  });
  afterEach(async () => {
    await browser.closePages();
  });
  after(async () => {
    await browser?.close();
    await server?.end();
  });

  /** Registers users; all others are contacts of the first. */
  async function registerContacts(...names) {
    const [first, ...others] = await Promise.all(names.map((name) => Person.register(server, name)));
    for (const other of others) {
      await first.call('POST', '/api/contacts', { user_id: other.id });
      await other.call('POST', `/api/contacts/${first.id}/accept`);
    }
    return [first, ...others];
  }

  const join = (person, target, options) => browser.join(server, person, target, options);
  const waitForMediaBetweenAll = (peers, kinds, ms) =>
    Promise.all(peers.flatMap((one) => peers.filter((other) => other !== one).map((other) => one.waitForMedia(other, kinds, ms))));

  it('mute in a call of two is signalled, stops audio packets and can be undone', async () => {
    const a = await join(alice, { sessionId: 'two' });
    const b = await join(bob, { sessionId: 'two' });
    await waitForMediaBetweenAll([a, b]);

    await a.page.evaluate(() => globalThis.harness.call.mute('video', true));
    await b.page.waitForFunction((id) => globalThis.harness.call.participants.get(id).video === false, a.id);
    await a.page.evaluate(() => globalThis.harness.call.mute('audio', true));
    await b.page.waitForFunction((id) => globalThis.harness.call.participants.get(id).audio === false, a.id);
    const packetsBefore = (await b.stats()).inbound[`${a.id}/microphone`].packets;
    await sleep(1_000);
    const packetsAfter = (await b.stats()).inbound[`${a.id}/microphone`].packets;
    assert.ok(packetsAfter - packetsBefore <= 10, `${packetsAfter - packetsBefore} audio packets received while muted`);
    await a.page.evaluate(() => globalThis.harness.call.mute('video', false));
    await a.page.evaluate(() => globalThis.harness.call.mute('audio', false));
    await waitForMediaBetweenAll([a, b]);
  });

  it('video between four participants never stalls for 500 ms', () => retryAssertions(3, async (run) => {
    await browser.closePages();
    const peers = [];
    for (const person of [alice, bob, eve, dan]) peers.push(await join(person, { sessionId: `four-${run}` }));
    await waitForMediaBetweenAll(peers, {}, 30_000);
    await Promise.all(peers.map((peer) => peer.resetGaps()));
    await sleep(4_000);

    for (const one of peers) {
      for (const other of peers.filter((other) => other !== one)) {
        const gap = await one.longestGap(other);
        assert.ok(gap < 500, `video of ${other.id} stalled at ${one.id} for ${gap} ms`);
      }
    }
  }));

  it('late joiner sees the first frame within 1 s', () => retryAssertions(3, async (run) => {
    await browser.closePages();
    const a = await join(alice, { sessionId: `late-${run}` });
    const b = await join(bob, { sessionId: `late-${run}` });
    await waitForMediaBetweenAll([a, b]);
    const c = await join(eve, { sessionId: `late-${run}` }, { publish: [] });
    await c.waitForMedia(a, { audio: false });

    const { first } = (await c.stats()).frames[`${a.id}/camera`];
    assert.ok(first < 1_000, `first frame ${first} ms after joining`);
  }));

  it('screen share is shown next to the camera, ends on unpublish and its transceiver is reused', async () => {
    const a = await join(alice, { sessionId: 'screen' });
    const b = await join(bob, { sessionId: 'screen' });
    await waitForMediaBetweenAll([a, b]);
    await a.page.evaluate(async () => {
      const canvas = document.createElement('canvas');
      Object.assign(canvas, { width: 800, height: 600 });
      const context = canvas.getContext('2d');
      setInterval(() => context.fillRect(Math.random() * 800, Math.random() * 600, 20, 20), 50);
      const [track] = canvas.captureStream(10).getVideoTracks();
      globalThis.harness.call.publish(track, 'screen');
    });
    await b.until('screen share is shown', ({ frames }) => frames[`${a.id}/screen`]?.count > 5);
    await b.waitForMedia(a);
    await a.page.evaluate(() => globalThis.harness.call.unpublish('screen'));
    await b.until('screen share is removed', ({ frames }) => !frames[`${a.id}/screen`]);
    await waitForMediaBetweenAll([a, b]);
    // A second screen share must reuse the media section of the first.
    const sections = () => b.page.evaluate(() => globalThis.harness.call.connections[0].getTransceivers().length);
    const before = await sections();
    await a.page.evaluate(() => {
      const canvas = document.createElement('canvas');
      const context = canvas.getContext('2d');
      setInterval(() => context.fillRect(Math.random() * 300, Math.random() * 150, 9, 9), 50);
      globalThis.harness.call.publish(canvas.captureStream(10).getVideoTracks()[0], 'screen');
    });
    await b.until('second screen share is shown', ({ frames }) => frames[`${a.id}/screen`]?.count > 5);
    assert.equal(await sections(), before);
  });

  it('call continues after one participant leaves and another reloads the page', async () => {
    const [a, b, c] = [await join(alice, { sessionId: 'reload' }), await join(bob, { sessionId: 'reload' }), await join(eve, { sessionId: 'reload' })];
    await waitForMediaBetweenAll([a, b, c], {}, 30_000);
    await c.page.evaluate(() => globalThis.harness.call.leave());
    await a.until('one participant has left', ({ participants }) => participants.length === 1);
    await b.page.close();
    const reloaded = await join(bob, { sessionId: 'reload' });
    await waitForMediaBetweenAll([a, reloaded]);

    assert.deepEqual((await a.stats()).participants, [reloaded.id], 'no duplicate participant');
  });

  it('ICE restart stalls video for less than 500 ms', () => retryAssertions(3, async (run) => {
    await browser.closePages();
    const a = await join(alice, { sessionId: `restart-${run}` });
    const b = await join(bob, { sessionId: `restart-${run}` });
    await waitForMediaBetweenAll([a, b]);
    await b.resetGaps();
    const ufrag = () => a.page.evaluate(() => globalThis.harness.call.connections[0].localDescription.sdp.match(/ice-ufrag:(\S+)/)[1]);
    const before = await ufrag();
    await a.page.evaluate(() => globalThis.harness.call.restart());
    await a.page.waitForFunction((old) => {
      const { currentLocalDescription: description, signalingState } = globalThis.harness.call.connections[0];
      return signalingState === 'stable' && !description.sdp.includes(`ice-ufrag:${old}`);
    }, before);
    await waitForMediaBetweenAll([a, b]);

    const gap = await b.longestGap(a);
    assert.ok(gap < 500, `video stalled for ${gap} ms`);
  }));

  it('p2p call switches to the SFU when a third participant joins and video stalls for less than 500 ms', () => retryAssertions(3, async () => {
    await browser.closePages();
    const [alice, bob, eve] = await registerContacts('Ann', 'Ben', 'Eva');
    const request = async (peer, event, data) => peer.page.evaluate(([event, data]) => globalThis.harness.request(event, data), [event, data]);
    const caller = await browser.page(server);
    const { call_id } = await withTimeout(10_000, 'reply to start_call', caller.evaluate(async ([token, user_id]) => {
      const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws`);
      await new Promise((resolve) => (socket.onopen = resolve));
      return new Promise((resolve) => {
        socket.onmessage = ({ data }) => {
          const frame = JSON.parse(data);
          if (frame.reply === 2) resolve(frame.data);
        };
        socket.send(JSON.stringify({ id: 1, event: 'authenticate', data: { token } }));
        socket.send(JSON.stringify({ id: 2, event: 'start_call', data: { user_id, media: 'video' } }));
      });
    }, [alice.token, bob.id]));
    const a = await join(alice, { call_id });
    const b = await join(bob, { call_id });
    await waitForMediaBetweenAll([a, b]);
    assert.equal((await a.stats()).mode, 'p2p');
    await request(a, 'invite_call', { call_id, user_id: eve.id });
    await Promise.all([a.resetGaps(), b.resetGaps()]);
    const c = await join(eve, { call_id });
    await waitForMediaBetweenAll([a, b, c], {}, 30_000);
    await a.until('p2p connection is closed', ({ state }) => state.length === 1);
    await waitForMediaBetweenAll([a, b]);

    assert.equal((await a.stats()).mode, 'sfu');
    for (const [one, other] of [[a, b], [b, a]]) {
      const gap = await one.longestGap(other);
      assert.ok(gap < 500, `video of ${other.id} stalled at ${one.id} for ${gap} ms`);
    }
  }));

  it('call recovers within 2 s after its room is killed and other calls lose no packets', () => retryAssertions(3, async (run) => {
    await browser.closePages();
    const [a, b] = [await join(alice, { sessionId: `killed-${run}` }), await join(bob, { sessionId: `killed-${run}` })];
    const [c, d] = [await join(eve, { sessionId: `beside-${run}` }), await join(dan, { sessionId: `beside-${run}` })];
    await waitForMediaBetweenAll([a, b]);
    await waitForMediaBetweenAll([c, d]);
    const { items } = await operator.call('GET', '/api/admin/calls');
    const { path } = items.find(({ session_id }) => session_id === `killed-${run}`);
    const lost = (await d.stats()).inbound[`${c.id}/camera`].lost;
    await d.resetGaps();
    await b.resetGaps();
    await operator.call('POST', `/api/admin/actors${path}/restart`);
    await b.page.waitForFunction(() => globalThis.harness.events.some(({ name }) => name === 'call_moved'));
    await waitForMediaBetweenAll([a, b]);

    const gap = await b.longestGap(a);
    assert.ok(gap === undefined || gap < 2_000, `video stalled for ${gap} ms`);
    const recoveryMs = await b.page.evaluate((id) => {
      const { at } = globalThis.harness.events.findLast(({ name }) => name === 'call_moved');
      return globalThis.harness.elements.get(`${id}/camera`).first - at;
    }, a.id);
    assert.ok(recoveryMs < 2_000, `video recovered after ${recoveryMs} ms`);
    assert.equal((await d.stats()).inbound[`${c.id}/camera`].lost, lost);
    assert.ok((await d.longestGap(c)) < 500);
  }));
});
