// A small load balancer: passes TCP connections on to the first node of its list that takes them, or to all in turn.
// usage: node balancer.mjs PORT HOST:PORT…     in turn, on all addresses of this machine
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

export class Balancer {
  #sockets = new Set();
  #next = 0;

  /** `nodes()` gives the ports (or host:port) to try, the best first. */
  constructor(nodes) {
    this.nodes = nodes;
    this.server = createServer((client) => this.#pass(client));
  }

  /** To all nodes in turn, whichever lives. */
  static inTurn(nodes) {
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

  async #pass(client) {
    this.#keep(client);
    for (const node of this.nodes()) {
      const [host, port] = String(node).includes(':') ? node.split(':') : ['127.0.0.1', node];
      const server = connect({ host, port: Number(port), noDelay: true });
      try {
        await once(server, 'connect');
      } catch {
        continue; // the next one
      }
      this.#keep(server);
      client.pipe(server).pipe(client);
      client.on('close', () => server.destroy());
      server.on('close', () => client.destroy());
      if (client.destroyed) server.destroy();
      return;
    }
    client.destroy();
  }

  #keep(socket) {
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

/** A line to one server that can be cut: `pass`, `refuse` (all connections end, none is taken) or `hole` (they stay, nothing comes through). */
export class Line {
  mode = 'pass';
  #pairs = new Set();

  constructor(port) {
    this.server = createServer((client) => {
      if (this.mode === 'refuse') return void client.destroy();
      const server = connect({ host: '127.0.0.1', port, noDelay: true });
      const pair = [client, server];
      this.#pairs.add(pair);
      for (const [from, to] of [pair, [server, client]]) {
        from.on('data', (bytes) => this.mode === 'pass' && !to.destroyed && to.write(bytes));
        from.on('error', () => {}); // 'close' follows
        from.on('close', () => {
          if (this.mode !== 'hole') to.destroy();
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

  /** What was in a hole is lost for good, and so are its connections. */
  set(mode) {
    const before = this.mode;
    this.mode = mode;
    if (mode === 'refuse' || before === 'hole') for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  close() {
    this.set('refuse');
    this.server.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port, ...nodes] = process.argv.slice(2);
  await Balancer.inTurn(nodes).listen(Number(port), '0.0.0.0');
}
