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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port, ...nodes] = process.argv.slice(2);
  await Balancer.inTurn(nodes).listen(Number(port), '0.0.0.0');
}
