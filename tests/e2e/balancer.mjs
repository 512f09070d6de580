// A small TCP load balancer: connects each client to the first node of a list that accepts, or to all nodes round-robin.
// usage: node balancer.mjs PORT HOST:PORT…     round-robin, listens on all addresses of this machine
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

export class Balancer {
  #sockets = new Set();
  #next = 0;

  /** `nodes()` returns the ports (or host:port) to try, in order of preference. */
  constructor(nodes) {
    this.nodes = nodes;
    this.server = createServer((client) => this.#forward(client));
  }

  /** Starts each connection at the next node; skips nodes that refuse. */
  static roundRobin(nodes) {
    const balancer = new Balancer(() => {
      balancer.#next += 1;
      const first = balancer.#next % nodes.length;
      return [...nodes.slice(first), ...nodes.slice(0, first)];
    });
    return balancer;
  }

  async listen(port = 0, host = '127.0.0.1') {
    this.server.listen(port, host);
    await once(this.server, 'listening');
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  async #forward(client) {
    this.#track(client);
    for (const node of this.nodes()) {
      const [host, port] = String(node).includes(':') ? node.split(':') : ['127.0.0.1', node];
      const server = connect({ host, port: Number(port), noDelay: true });
      try {
        await once(server, 'connect');
      } catch {
        continue; // try the next node
      }
      this.#track(server);
      client.pipe(server).pipe(client);
      client.on('close', () => server.destroy());
      server.on('close', () => client.destroy());
      if (client.destroyed) server.destroy();
      return;
    }
    client.destroy();
  }

  #track(socket) {
    socket.on('error', () => {}); // 'close' follows
    socket.setNoDelay(true);
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  async close() {
    this.server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** A TCP proxy to one server with a mode: `forward`, `refuse` (closes all connections, accepts none) or `blackhole` (keeps connections, forwards nothing). */
export class TcpProxy {
  mode = 'forward';
  #pairs = new Set();

  constructor(port) {
    this.server = createServer((client) => {
      if (this.mode === 'refuse') return void client.destroy();
      const server = connect({ host: '127.0.0.1', port, noDelay: true });
      const pair = [client, server];
      this.#pairs.add(pair);
      for (const [from, to] of [pair, [server, client]]) {
        from.on('data', (bytes) => this.mode === 'forward' && !to.destroyed && to.write(bytes));
        from.on('error', () => {}); // 'close' follows
        from.on('close', () => {
          if (this.mode !== 'blackhole') to.destroy();
          this.#pairs.delete(pair);
        });
      }
    });
  }

  async listen() {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = this.server.address().port;
    return this;
  }

  /** Leaving `blackhole` closes its connections too, since bytes were lost on them. */
  setMode(mode) {
    const before = this.mode;
    this.mode = mode;
    if (mode === 'refuse' || before === 'blackhole') for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  close() {
    this.setMode('refuse');
    this.server.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port, ...nodes] = process.argv.slice(2);
  await Balancer.roundRobin(nodes).listen(Number(port), '0.0.0.0');
}
