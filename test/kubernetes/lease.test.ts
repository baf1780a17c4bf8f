import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LeaseElection, type LeaseNote } from '../../src/kubernetes/lease.ts';
import { VirtualTime } from '../deliver/virtual-time.ts';
import { type ApiObject, ObjectStore, resourcePath } from './object-store.ts';
import { StoreApi, type Trouble } from './store-api.ts';

const PATH = resourcePath('/apis/coordination.k8s.io/v1/namespaces/oom-witness/leases/watch')!;

class Cluster {
  readonly time = new VirtualTime();
  readonly store = new ObjectStore();

  get lease(): ApiObject {
    return this.store.get(PATH)!;
  }

  change(spec: object, metadata: object = {}): void {
    const { lease } = this;
    this.store.put(PATH, {
      ...lease,
      spec: { ...lease.spec, ...spec },
      metadata: { ...lease.metadata, ...metadata },
    });
  }
}

class Candidate {
  readonly api: StoreApi;
  readonly election: LeaseElection;
  /** `leads`, `stops`, and what the observer was told. */
  readonly told: string[] = [];
  readonly running: Promise<void>;
  leads = false;
  /** What its clocks say beyond the time of all. */
  readonly ahead = { now: 0, monotonic: 0 };
  readonly #stop = new AbortController();

  constructor(
    cluster: Cluster,
    identity: string,
    lead?: (signal: AbortSignal) => Promise<void>,
    note?: LeaseNote,
  ) {
    const { time } = cluster;
    const tell = (what: string) => this.told.push(what);
    this.api = new StoreApi(cluster.store);
    this.election = new LeaseElection(
      this.api,
      { namespace: 'oom-witness', name: 'watch', identity, ...(note && { note }) },
      {
        observer: {
          leaseTaken: () => tell('taken'),
          leaseLost: (reason) => tell(`lost: ${reason}`),
          leaseHeldBy: (holder) => tell(`held by ${holder || 'nobody'}`),
          leaseFailed: (reason) => tell(`failed: ${reason}`),
        },
        now: () => time.now() + this.ahead.now,
        monotonic: () => time.now() + this.ahead.monotonic,
        sleep: time.sleep,
        random: () => 0.5,
      },
    );
    this.running = this.election.run(lead ?? ((signal) => this.#lead(signal)), this.#stop.signal);
    // A test that wants its error awaits it.
    this.running.catch(() => {});
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.running;
  }

  #lead(signal: AbortSignal): Promise<void> {
    this.leads = true;
    return new Promise((resolve) =>
      signal.addEventListener('abort', () => {
        this.leads = false;
        resolve();
      }),
    );
  }
}

async function withTwo(): Promise<{ cluster: Cluster; a: Candidate; b: Candidate }> {
  const cluster = new Cluster();
  const a = new Candidate(cluster, 'a');
  await cluster.time.rest();
  const b = new Candidate(cluster, 'b');
  await cluster.time.rest();
  return { cluster, a, b };
}

describe('LeaseElection', () => {
  it('lets one of two lead, who renews every 2 s', async () => {
    const { cluster, a, b } = await withTwo();
    await cluster.time.advance(60_000);
    assert.deepEqual([a.leads, a.election.holds, b.leads, b.election.holds], [true, true, false, false]);
    assert.deepEqual([a.election.holder, b.election.holder], ['a', 'a']);
    assert.deepEqual([a.api.writes, b.api.writes], [31, 0]);
    const { spec } = cluster.lease;
    const renewTime = new Date(cluster.time.now()).toISOString().replace('Z', '000Z');
    assert.deepEqual(
      [spec.holderIdentity, spec.leaseDurationSeconds, spec.leaseTransitions, spec.renewTime],
      ['a', 15, 0, renewTime],
    );
  });

  it('gives the lease back when it is told to stop, and the other begins at its next look', async () => {
    const { cluster, a, b } = await withTwo();
    await a.stop();
    assert.equal(cluster.lease.spec.holderIdentity, '');
    await cluster.time.advance(3000);
    assert.equal(b.leads, true);
    assert.deepEqual([cluster.lease.spec.holderIdentity, cluster.lease.spec.leaseTransitions], ['b', 1]);
  });

  it('stops 10 s after the last renewal, and another begins 15 s after it at the earliest', async () => {
    const { cluster, a, b } = await withTwo();
    await cluster.time.advance(20_000);
    const renewedAt = Date.parse(cluster.lease.spec.renewTime);
    a.api.trouble = 'refused';
    await cluster.time.until(() => !a.leads, 'a stops');
    assert.equal(cluster.time.now() - renewedAt, 10_000);
    await cluster.time.until(() => b.leads, 'b leads');
    assert.ok(cluster.time.now() - renewedAt >= 15_000);
    assert.ok(cluster.time.now() - renewedAt <= 15_000 + 2 * 3000);
    assert.match(a.told.join('\n'), /failed: nobody answers\n.*lost: not renewed for 10 s/s);
  });

  it('stops in time where the server takes requests and never answers', async () => {
    const { cluster, a } = await withTwo();
    await cluster.time.advance(20_000);
    const renewedAt = Date.parse(cluster.lease.spec.renewTime);
    a.api.trouble = 'hangs';
    await cluster.time.until(() => !a.leads, 'a stops');
    assert.equal(cluster.time.now() - renewedAt, 10_000);
  });

  it('keeps leading when answers are lost, or somebody labels the lease', async () => {
    const { cluster, a } = await withTwo();
    a.api.trouble = 'answers are lost';
    await cluster.time.advance(5000);
    a.api.trouble = 'none';
    await cluster.time.advance(5000);
    cluster.change({}, { labels: { seen: 'yes' } });
    await cluster.time.advance(30_000);
    assert.equal(a.leads, true);
    assert.ok(!a.told.join().includes('lost'), a.told.join('\n'));
    assert.equal(cluster.lease.metadata.labels.seen, 'yes');
  });

  it('stops at once when it sees that another holds the lease', async () => {
    const { cluster, a } = await withTwo();
    cluster.change({ holderIdentity: 'c\u001b[2J' });
    await cluster.time.advance(4000);
    assert.equal(a.leads, false);
    assert.match(a.told.join('\n'), /lost: it is held by c\\x1b\[2J/);
  });

  it('stops when the lease is deleted, before another who knew it begins', async () => {
    const { cluster, a, b } = await withTwo();
    await cluster.time.advance(20_000);
    const deletedAt = cluster.time.now();
    cluster.store.remove(PATH);
    a.api.trouble = 'hangs';
    await cluster.time.until(() => !a.leads, 'a stops');
    assert.equal(b.leads, false);
    await cluster.time.until(() => b.leads, 'b leads');
    assert.ok(cluster.time.now() - deletedAt > 10_000);
    await b.stop();
    a.api.trouble = 'none';
    await cluster.time.until(() => a.leads, 'a leads again');
    cluster.store.remove(PATH);
    await cluster.time.until(() => a.told.includes('lost: somebody has taken it away'), 'a sees it');
  });

  it('knows at once after a pause that it may not act any more', async () => {
    const { cluster, a } = await withTwo();
    // A paused machine: the monotonic clock stood still, and the other was put right.
    a.ahead.now += 60_000;
    assert.equal(a.election.holds, false);
    assert.equal(a.leads, true);
    await cluster.time.advance(2000);
    assert.match(a.told.join('\n'), /lost: not renewed for 10 s/);
  });

  it('does not mind clocks that are set back, its own or those of others', async () => {
    const { cluster, a, b } = await withTwo();
    a.ahead.now -= 3_600_000;
    b.ahead.now += 86_400_000;
    await cluster.time.advance(60_000);
    assert.deepEqual([a.leads, b.leads], [true, false]);
    a.api.trouble = 'refused';
    await cluster.time.until(() => b.leads, 'b leads');
    assert.equal(a.leads, false);
  });

  for (const spec of [
    null,
    {},
    { holderIdentity: 7 },
    { holderIdentity: '', leaseDurationSeconds: 'x', leaseTransitions: {} },
  ])
    it(`takes a lease that nobody holds: ${JSON.stringify(spec)}`, async () => {
      const cluster = new Cluster();
      cluster.store.put(PATH, { spec });
      const a = new Candidate(cluster, 'a');
      await cluster.time.rest();
      assert.equal(a.leads, true);
    });

  it('waits for as long as the lease of another says, and no longer than an hour', async () => {
    const cluster = new Cluster();
    cluster.store.put(PATH, { spec: { holderIdentity: 'gone', leaseDurationSeconds: 1e12 } });
    const a = new Candidate(cluster, 'a');
    await cluster.time.advance(3_599_000);
    assert.equal(a.leads, false);
    await cluster.time.advance(5000);
    assert.equal(a.leads, true);
  });

  it('is over when the work is, and throws what that throws, with the lease given back', async () => {
    const cluster = new Cluster();
    const done = new Candidate(cluster, 'a', async () => {});
    await done.running;
    assert.equal(cluster.lease.spec.holderIdentity, '');
    const failed = new Candidate(cluster, 'b', async () => {
      await cluster.time.sleep(5000, new AbortController().signal);
      throw new Error('broken');
    });
    const broken = assert.rejects(failed.running, /^Error: broken$/);
    await cluster.time.advance(6000);
    await broken;
    assert.equal(cluster.lease.spec.holderIdentity, '');
  });

  it('never has two who may act, whatever fails', async () => {
    const { cluster, a, b } = await withTwo();
    const troubles: readonly Trouble[] = ['none', 'none', 'refused', 'answers are lost', 'hangs'];
    let seed = 7;
    const random = () => {
      // Numerical Recipes' generator: the same faults in every run.
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed / 2 ** 32;
    };
    const led = new Set<string>();
    for (let step = 0; step < 600; step++) {
      for (const each of [a, b])
        if (random() < 0.2) each.api.trouble = troubles[Math.floor(random() * troubles.length)]!;
      await cluster.time.advance(Math.floor(random() * 6000));
      assert.ok(!(a.leads && b.leads), `both lead after step ${step}`);
      assert.ok(!(a.election.holds && b.election.holds), `both hold after step ${step}`);
      if (a.leads) led.add('a');
      if (b.leads) led.add('b');
    }
    assert.deepEqual([...led].sort(), ['a', 'b']);
  });

  it('carries a note from one holder to the next, over a hand-over and over a kill', async () => {
    const cluster = new Cluster();
    const noted = (identity: string) =>
      new Candidate(cluster, identity, undefined, {
        annotation: 'example.org/done',
        text: () => `by ${identity}`,
      });
    const a = noted('a');
    await cluster.time.rest();
    const b = noted('b');
    await cluster.time.advance(10_000);
    assert.equal(a.election.note, undefined);
    assert.deepEqual(cluster.lease.metadata?.annotations, { 'example.org/done': 'by a' });
    await a.stop();
    await cluster.time.until(() => b.leads, 'b leads');
    assert.equal(b.election.note, 'by a');
    b.api.trouble = 'refused';
    const c = noted('c');
    await cluster.time.until(() => c.leads, 'c leads');
    assert.equal(c.election.note, 'by a', 'b was cut off before it could write another one');
  });

  it('takes a note that is none for none', async () => {
    const cluster = new Cluster();
    cluster.store.put(PATH, { metadata: { annotations: ['x'] }, spec: {} } as unknown as ApiObject);
    const a = new Candidate(cluster, 'a', undefined, { annotation: 'example.org/done', text: () => 'x' });
    await cluster.time.rest();
    assert.equal(a.leads, true);
    assert.equal(a.election.note, undefined);
  });

  it('refuses times that could not work', () => {
    const { api } = new Candidate(new Cluster(), 'a');
    const settings = { namespace: 'n', name: 'l', identity: 'a', renewWithinMs: 15_000 };
    assert.throws(() => new LeaseElection(api, settings, {} as never), RangeError);
  });
});
