// Runs several nodes of the real binary on one database, one broker and one cache.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { Balancer } from './balancer.mjs';
import { Server } from './server.mjs';
import { eventually } from './wait.mjs';

let databases = 0;

/** Whether the services are configured; without them the tests are skipped, unless all tests are required. */
export function servicesAvailable() {
  const configured = process.env.SECUREVOX_TEST_POSTGRES && process.env.SECUREVOX_TEST_AMQP && process.env.SECUREVOX_TEST_REDIS;
  if (!configured && process.env.SECUREVOX_TEST_ALL) assert.fail('the test services are not running: use `make test`');
  return Boolean(configured);
}

function psql(sql, database = 'postgres') {
  const url = process.env.SECUREVOX_TEST_POSTGRES.replace(/\/[^/]*$/, `/${database}`);
  return execFileSync(`${process.env.SECUREVOX_TEST_POSTGRES_BIN}/psql`, [url, '-XAtc', sql], { encoding: 'utf8' }).trim();
}

export class Cluster {
  balancers = [];

  /** `nodeSettings(n)` and `environment(n)` give extra settings and environment variables of one node. */
  static async start(count = 3, settings = {}, { nodeSettings = () => ({}), environment = () => ({}) } = {}) {
    const cluster = new Cluster();
    cluster.database = `e2e_${process.pid}_${++databases}`;
    psql(`CREATE DATABASE ${cluster.database}`);
    const url = process.env.SECUREVOX_TEST_POSTGRES.replace(/\/[^/]*$/, `/${cluster.database}`);
    cluster.settings = {
      DATABASE__URL: url,
      CLUSTER__AMQP_URL: process.env.SECUREVOX_TEST_AMQP,
      CLUSTER__REDIS_URL: process.env.SECUREVOX_TEST_REDIS,
      CLUSTER__REDIS_KEY_PREFIX: `${cluster.database}:`,
      TURN__SECRET: 'shared between the nodes of a test',
      SECRETS__KEYS: JSON.stringify([`1:${Buffer.alloc(32, 7).toString('base64')}`]),
      MEDIA__THREADS: 1,
      ...settings,
    };
    cluster.nodes = [];
    for (let n = 0; n < count; n++) {
      cluster.nodes.push(await Server.start({ ...cluster.settings, NODE__NAME: `node-${n}`, ...nodeSettings(n) }, environment(n)));
    }
    await cluster.waitForMembership(count);
    return cluster;
  }

  /** Waits until every running node is ready and sees all others. */
  async waitForMembership(count) {
    for (const node of this.runningNodes) {
      await eventually(20_000, 'all nodes see each other', () => this.#seesPeers(node, count - 1));
    }
  }

  async #seesPeers(node, others) {
    const page = await (await fetch(`${node.url}/metrics`)).text();
    const ready = (await fetch(`${node.url}/health/ready`)).ok;
    return ready && page.includes(`securevox_cluster_nodes ${others}\n`);
  }

  get runningNodes() {
    return this.nodes.filter((node) => node.process.exitCode === null && node.process.signalCode === null);
  }

  /** Starts a load balancer that connects to the first of these nodes that accepts. */
  async addBalancer(...order) {
    const nodes = order.map((n) => this.nodes[n]);
    const balancer = await new Balancer(() => nodes.map((node) => node.port)).listen();
    this.balancers.push(balancer);
    return balancer;
  }

  /** Runs a query on the database of the cluster; returns the output of psql. */
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
