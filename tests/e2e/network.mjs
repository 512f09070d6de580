// A UDP proxy between a browser and the server that drops, delays, reorders and rate-limits datagrams.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/**
 * Per direction: `loss` and `reorder` 0 to 1, `delay` in ms, `rate` in bits per second, `queue` in ms. A
 * reordered datagram is sent 15 ms late.
 */
const UNIMPAIRED = { loss: 0, reorder: 0, delay: 0, rate: Infinity, queue: 200 };
const REORDER_DELAY_MS = 15;

export class Network {
  #random = 0x2545f491;
  #proxies = new Map();
  #timers = new Set();
  up = { ...UNIMPAIRED };
  down = { ...UNIMPAIRED };
  counts = { up: 0, down: 0, lostUp: 0, lostDown: 0 };

  /** Sets the impairment of both directions; one that is left out, as in `{ down: { rate: 300_000 } }`, gets none. */
  configure({ up = {}, down = {} }) {
    this.up = { ...UNIMPAIRED, ...up };
    this.down = { ...UNIMPAIRED, ...down };
  }

  /** The port of the proxy for `port` of the server. */
  async proxyPort(port) {
    if (!this.#proxies.has(port)) {
      const front = createSocket('udp4');
      const backs = new Map();
      front.on('message', (data, from) => {
        const key = `${from.address}:${from.port}`;
        let back = backs.get(key);
        if (!back) {
          back = createSocket('udp4');
          back.bind(0, '127.0.0.1');
          back.on('message', (data) => this.#forward('down', data, () => front.send(data, from.port, from.address)));
          backs.set(key, back);
        }
        this.#forward('up', data, () => back.send(data, port, '127.0.0.1'));
      });
      front.bind(0, '127.0.0.1');
      await once(front, 'listening');
      this.#proxies.set(port, { front, backs });
    }
    return this.#proxies.get(port).front.address().port;
  }

  /** 0 to 1 by xorshift32, with a fixed seed: every run drops the same datagrams. */
  #randomFraction() {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return (this.#random >>> 0) / 2 ** 32;
  }

  #linkFreeAt = { up: 0, down: 0 };

  #forward(direction, data, send) {
    const { loss, reorder, delay, rate, queue } = this[direction];
    this.counts[direction] += 1;
    const drop = () => (this.counts[direction === 'up' ? 'lostUp' : 'lostDown'] += 1);
    if (this.#randomFraction() < loss) return drop();
    const now = performance.now();
    let wait = delay + (this.#randomFraction() < reorder ? REORDER_DELAY_MS : 0);
    if (rate !== Infinity) {
      const startsAt = Math.max(now, this.#linkFreeAt[direction]);
      if (startsAt - now > queue) return drop();
      this.#linkFreeAt[direction] = startsAt + (data.length + 28) * 8_000 / rate;
      wait += this.#linkFreeAt[direction] - now;
    }
    if (wait < 1) return send();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      send();
    }, wait);
    this.#timers.add(timer);
  }

  close() {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const { front, backs } of this.#proxies.values()) {
      front.close();
      for (const back of backs.values()) back.close();
    }
    this.#proxies.clear();
  }
}
