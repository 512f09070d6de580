// Browsers hold calls through the server's own forwarding, and straight with each other.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Browser } from './browser.mjs';
import { Person } from './people.mjs';
import { Server } from './server.mjs';
import { bestOf, within } from './wait.mjs';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

describe('A call in browsers', () => {
  let server, browser, alice, bob, eve, dan, operator;

  before(async () => {
    server = await Server.start({ TELEMETRY__METRICS_LOCAL: true });
    browser = await Browser.open();
    [alice, bob, eve, dan] = await Promise.all(['Alice', 'Bob', 'Eve', 'Dan'].map((name) => Person.register(server, name)));
    operator = await Person.operator(server);
  });
  afterEach(async () => {
    await browser.clear();
  });
  after(async () => {
    await browser?.close();
    await server?.end();
  });

  /** People who are contacts of the first. */
  async function friends(...names) {
    const [first, ...others] = await Promise.all(names.map((name) => Person.register(server, name)));
    for (const other of others) {
      await first.call('POST', '/api/contacts', { user_id: other.id });
      await other.call('POST', `/api/contacts/${first.id}/accept`);
    }
    return [first, ...others];
  }

  const join = (person, which, options) => browser.join(server, person, which, options);
  const everybodyPerceives = (peers, senses, ms) =>
    Promise.all(peers.flatMap((one) => peers.filter((other) => other !== one).map((other) => one.perceives(other, senses, ms))));

  it('of two: both see and hear each other, and mute, and stop their cameras', async () => {
    const a = await join(alice, { sessionId: 'two' });
    const b = await join(bob, { sessionId: 'two' });
    await everybodyPerceives([a, b]);

    await a.page.evaluate(() => globalThis.story.call.mute('video', true));
    await b.page.waitForFunction((id) => globalThis.story.call.participants.get(id).video === false, a.id);
    await a.page.evaluate(() => globalThis.story.call.mute('audio', true));
    await b.page.waitForFunction((id) => globalThis.story.call.participants.get(id).audio === false, a.id);
    const quiet = (await b.senses()).inbound[`${a.id}/microphone`].packets;
    await pause(1_000);
    const still = (await b.senses()).inbound[`${a.id}/microphone`].packets;
    assert.ok(still - quiet <= 10, `${still - quiet} packets of a muted voice`);
    await a.page.evaluate(() => globalThis.story.call.mute('video', false));
    await a.page.evaluate(() => globalThis.story.call.mute('audio', false));
    await everybodyPerceives([a, b]);
  });

  it('of four: everybody sees and hears everybody, without a pause', () => bestOf(3, async (run) => {
    await browser.clear();
    const peers = [];
    for (const person of [alice, bob, eve, dan]) peers.push(await join(person, { sessionId: `four-${run}` }));
    await everybodyPerceives(peers, {}, 30_000);
    await Promise.all(peers.map((peer) => peer.forget()));
    await pause(4_000);

    for (const one of peers) {
      for (const other of peers.filter((other) => other !== one)) {
        const gap = await one.longestGap(other);
        assert.ok(gap < 500, `${one.id} saw ${other.id} stand still for ${gap} ms`);
      }
    }
  }));

  it('shows a late joiner the first frame within a second', () => bestOf(3, async (run) => {
    await browser.clear();
    const a = await join(alice, { sessionId: `late-${run}` });
    const b = await join(bob, { sessionId: `late-${run}` });
    await everybodyPerceives([a, b]);
    const c = await join(eve, { sessionId: `late-${run}` }, { publish: [] });
    await c.perceives(a, { audio: false });

    const { first } = (await c.senses()).frames[`${a.id}/camera`];
    assert.ok(first < 1_000, `the first frame came ${first} ms after joining`);
  }));

  it('shares a screen beside the camera, and takes it back', async () => {
    const a = await join(alice, { sessionId: 'screen' });
    const b = await join(bob, { sessionId: 'screen' });
    await everybodyPerceives([a, b]);
    await a.page.evaluate(async () => {
      const canvas = document.createElement('canvas');
      Object.assign(canvas, { width: 800, height: 600 });
      const brush = canvas.getContext('2d');
      setInterval(() => brush.fillRect(Math.random() * 800, Math.random() * 600, 20, 20), 50);
      const [track] = canvas.captureStream(10).getVideoTracks();
      globalThis.story.call.publish(track, 'screen');
    });
    await b.until('the screen is seen', ({ frames }) => frames[`${a.id}/screen`]?.count > 5);
    await b.perceives(a);
    await a.page.evaluate(() => globalThis.story.call.unpublish('screen'));
    await b.until('the screen is gone', ({ frames }) => !frames[`${a.id}/screen`]);
    await everybodyPerceives([a, b]);
    // The section that the screen had is used again.
    const sections = () => b.page.evaluate(() => globalThis.story.call.connections[0].getTransceivers().length);
    const before = await sections();
    await a.page.evaluate(() => {
      const canvas = document.createElement('canvas');
      const brush = canvas.getContext('2d');
      setInterval(() => brush.fillRect(Math.random() * 300, Math.random() * 150, 9, 9), 50);
      globalThis.story.call.publish(canvas.captureStream(10).getVideoTracks()[0], 'screen');
    });
    await b.until('the screen is seen again', ({ frames }) => frames[`${a.id}/screen`]?.count > 5);
    assert.equal(await sections(), before);
  });

  it('goes on when one leaves, and when one reloads the page', async () => {
    const [a, b, c] = [await join(alice, { sessionId: 'reload' }), await join(bob, { sessionId: 'reload' }), await join(eve, { sessionId: 'reload' })];
    await everybodyPerceives([a, b, c], {}, 30_000);
    await c.page.evaluate(() => globalThis.story.call.leave());
    await a.until('one has left', ({ participants }) => participants.length === 1);
    await b.page.close();
    const again = await join(bob, { sessionId: 'reload' });
    await everybodyPerceives([a, again]);

    assert.deepEqual((await a.senses()).participants, [again.id], 'nobody is doubled');
  });

  it('survives a change of the network by an ICE restart', () => bestOf(3, async (run) => {
    await browser.clear();
    const a = await join(alice, { sessionId: `restart-${run}` });
    const b = await join(bob, { sessionId: `restart-${run}` });
    await everybodyPerceives([a, b]);
    await b.forget();
    const ufrag = () => a.page.evaluate(() => globalThis.story.call.connections[0].localDescription.sdp.match(/ice-ufrag:(\S+)/)[1]);
    const before = await ufrag();
    await a.page.evaluate(() => globalThis.story.call.restart());
    await a.page.waitForFunction((old) => {
      const { currentLocalDescription: description, signalingState } = globalThis.story.call.connections[0];
      return signalingState === 'stable' && !description.sdp.includes(`ice-ufrag:${old}`);
    }, before);
    await everybodyPerceives([a, b]);

    const gap = await b.longestGap(a);
    assert.ok(gap < 500, `the picture stood still for ${gap} ms`);
  }));

  it('of two who call each other goes straight, and through the server without a pause when a third joins', () => bestOf(3, async () => {
    await browser.clear();
    const [alice, bob, eve] = await friends('Ann', 'Ben', 'Eva');
    const started = async (peer, event, data) => peer.page.evaluate(([event, data]) => globalThis.story.request(event, data), [event, data]);
    const caller = await browser.page(server);
    const { call_id } = await within(10_000, 'a call starts', caller.evaluate(async ([token, user_id]) => {
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
    await everybodyPerceives([a, b]);
    assert.equal((await a.senses()).mode, 'p2p');
    await started(a, 'invite_call', { call_id, user_id: eve.id });
    await Promise.all([a.forget(), b.forget()]);
    const c = await join(eve, { call_id });
    await everybodyPerceives([a, b, c], {}, 30_000);
    await a.until('the direct connection is gone', ({ state }) => state.length === 1);
    await everybodyPerceives([a, b]);

    assert.equal((await a.senses()).mode, 'sfu');
    for (const [one, other] of [[a, b], [b, a]]) {
      const gap = await one.longestGap(other);
      assert.ok(gap < 500, `${one.id} saw ${other.id} stand still for ${gap} ms`);
    }
  }));

  it('is back within two seconds when its room is killed, and others lose nothing', () => bestOf(3, async (run) => {
    await browser.clear();
    const [a, b] = [await join(alice, { sessionId: `killed-${run}` }), await join(bob, { sessionId: `killed-${run}` })];
    const [c, d] = [await join(eve, { sessionId: `beside-${run}` }), await join(dan, { sessionId: `beside-${run}` })];
    await everybodyPerceives([a, b]);
    await everybodyPerceives([c, d]);
    const { items } = await operator.call('GET', '/api/admin/calls');
    const { path } = items.find(({ session_id }) => session_id === `killed-${run}`);
    const lost = (await d.senses()).inbound[`${c.id}/camera`].lost;
    await d.forget();
    await b.forget();
    await operator.call('POST', `/api/admin/actors${path}/restart`);
    await b.page.waitForFunction(() => globalThis.story.events.some(({ name }) => name === 'call_moved'));
    await everybodyPerceives([a, b]);

    const gap = await b.longestGap(a);
    assert.ok(gap === undefined || gap < 2_000, `the picture stood still for ${gap} ms`);
    const back = await b.page.evaluate((id) => {
      const { at } = globalThis.story.events.findLast(({ name }) => name === 'call_moved');
      return globalThis.story.elements.get(`${id}/camera`).first - at;
    }, a.id);
    assert.ok(back < 2_000, `the picture was back after ${back} ms`);
    assert.equal((await d.senses()).inbound[`${c.id}/camera`].lost, lost);
    assert.ok((await d.longestGap(c)) < 500);
  }));
});
