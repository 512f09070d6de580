// A network between a browser and the server: loses, delays, reorders and limits datagrams as told.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/**
 * Each way: `loss` and `reorder` 0 to 1, `delay` in ms, `rate` in bits per second, `queue` in ms. What is
 * reordered comes 15 ms later than its turn.
 */
const CLEAR = { loss: 0, reorder: 0, delay: 0, rate: Infinity, queue: 200 };
const LATE = 15;

export class Network {
  #random = 0x2545f491;
  #proxies = new Map();
  #timers = new Set();
  up = { ...CLEAR };
  down = { ...CLEAR };
  counts = { up: 0, down: 0, lostUp: 0, lostDown: 0 };

  /** Sets both ways, or one of them, as in `{ down: { rate: 300_000 } }`. */
  become({ up = {}, down = {} }) {
    this.up = { ...CLEAR, ...up };
    this.down = { ...CLEAR, ...down };
  }

  /** The port through which `port` of the server is reached. */
  async through(port) {
    if (!this.#proxies.has(port)) {
      const front = createSocket('udp4');
      const backs = new Map();
      front.on('message', (data, from) => {
        const key = `${from.address}:${from.port}`;
        let back = backs.get(key);
        if (!back) {
          back = createSocket('udp4');
          back.bind(0, '127.0.0.1');
          back.on('message', (data) => this.#pass('down', data, () => front.send(data, from.port, from.address)));
          backs.set(key, back);
        }
        this.#pass('up', data, () => back.send(data, port, '127.0.0.1'));
      });
      front.bind(0, '127.0.0.1');
      await once(front, 'listening');
      this.#proxies.set(port, { front, backs });
    }
    return this.#proxies.get(port).front.address().port;
  }

  /** xorshift32: the same losses in every run. */
  #dice() {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return (this.#random >>> 0) / 2 ** 32;
  }

  #free = { up: 0, down: 0 };

  #pass(way, data, send) {
    const { loss, reorder, delay, rate, queue } = this[way];
    this.counts[way] += 1;
    const lose = () => (this.counts[way === 'up' ? 'lostUp' : 'lostDown'] += 1);
    if (this.#dice() < loss) return lose();
    const now = performance.now();
    let wait = delay + (this.#dice() < reorder ? LATE : 0);
    if (rate !== Infinity) {
      const begins = Math.max(now, this.#free[way]);
      if (begins - now > queue) return lose();
      this.#free[way] = begins + (data.length + 28) * 8_000 / rate;
      wait += this.#free[way] - now;
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
