// Three nodes of the real binary over one database, one broker and one cache, for stories across nodes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { Balancer } from './balancer.mjs';
import { Server } from './server.mjs';
import { eventually } from './wait.mjs';

let databases = 0;

/** Whether the services are there; without them the stories are not told, unless all must be. */
export function isPossible() {
  const there = process.env.SECUREVOX_TEST_POSTGRES && process.env.SECUREVOX_TEST_AMQP && process.env.SECUREVOX_TEST_REDIS;
  if (!there && process.env.SECUREVOX_TEST_ALL) assert.fail('the services of the tests are not there: run `make test`');
  return Boolean(there);
}

function psql(sql, database = 'postgres') {
  const url = process.env.SECUREVOX_TEST_POSTGRES.replace(/\/[^/]*$/, `/${database}`);
  return execFileSync(`${process.env.SECUREVOX_TEST_POSTGRES_BIN}/psql`, [url, '-XAtc', sql], { encoding: 'utf8' }).trim();
}

export class Cluster {
  balancers = [];

  /** `own(n)` and `environment(n)` are further settings and the environment of one node. */
  static async start(count = 3, settings = {}, { own = () => ({}), environment = () => ({}) } = {}) {
    const cluster = new Cluster();
    cluster.database = `e2e_${process.pid}_${++databases}`;
    psql(`CREATE DATABASE ${cluster.database}`);
    const url = process.env.SECUREVOX_TEST_POSTGRES.replace(/\/[^/]*$/, `/${cluster.database}`);
    cluster.settings = {
      DATABASE__URL: url,
      CLUSTER__BUS: process.env.SECUREVOX_TEST_AMQP,
      CLUSTER__CACHE: process.env.SECUREVOX_TEST_REDIS,
      CLUSTER__CACHE_PREFIX: `${cluster.database}:`,
      TURN__SECRET: 'shared between the nodes of a test',
      SECRETS__KEYS: JSON.stringify([`1:${Buffer.alloc(32, 7).toString('base64')}`]),
      MEDIA__THREADS: 1,
      ...settings,
    };
    cluster.nodes = [];
    for (let n = 0; n < count; n++) {
      cluster.nodes.push(await Server.start({ ...cluster.settings, NODE__NAME: `node-${n}`, ...own(n) }, environment(n)));
    }
    await cluster.complete(count);
    return cluster;
  }

  /** Waits until every living node knows all others. */
  async complete(count) {
    for (const node of this.living) {
      await eventually(20_000, 'the nodes know each other', () => this.#knows(node, count - 1));
    }
  }

  async #knows(node, others) {
    const page = await (await fetch(`${node.url}/metrics`)).text();
    const ready = (await fetch(`${node.url}/health/ready`)).ok;
    return ready && page.includes(`securevox_cluster_nodes ${others}\n`);
  }

  get living() {
    return this.nodes.filter((node) => node.process.exitCode === null && node.process.signalCode === null);
  }

  /** A way in that leads to these nodes, the first that lives. */
  async way(...order) {
    const nodes = order.map((n) => this.nodes[n]);
    const balancer = await new Balancer(() => nodes.map((node) => node.port)).listen();
    this.balancers.push(balancer);
    return balancer;
  }

  /** What the database has. */
  sql(text) {
    return psql(text, this.database);
  }

  async end() {
    for (const balancer of this.balancers) await balancer.close();
    const problems = [];
    for (const node of this.nodes) await node.end().catch((error) => problems.push(error));
    psql(`DROP DATABASE ${this.database} WITH (FORCE)`);
    if (problems.length) throw problems[0];
  }
}
