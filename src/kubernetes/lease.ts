import { shown } from '../format.ts';
import { ApiError, type KubernetesApi } from './api.ts';
import {
  annotated,
  annotationOf,
  holderOf,
  type Lease,
  LeaseSighting,
  released,
  renewed,
} from './lease-record.ts';
import { reasonOf } from './status.ts';

export interface LeaseSettings {
  readonly namespace: string;
  readonly name: string;
  /** Of this process and of no other, not even of the one before in the same pod: who shares it holds the lease together. */
  readonly identity: string;
  /** How long after its last renewal the others leave a lease alone. */
  readonly durationMs?: number;
  /** How long after its last renewal the holder acts: the difference is for what is under way when it loses the lease. */
  readonly renewWithinMs?: number;
  readonly retryMs?: number;
  /** What the holder leaves in the lease for the next one, each time it writes it. */
  readonly note?: LeaseNote;
}

export interface LeaseNote {
  /** The name of the annotation. */
  readonly annotation: string;
  readonly text: () => string;
}

/** What happens and is worth a log line and a metric. */
export interface LeaseObserver {
  leaseTaken(): void;
  leaseLost(reason: string): void;
  /** Somebody else's name; empty: nobody holds it. */
  leaseHeldBy(holder: string): void;
  leaseFailed(reason: string, delayMs: number): void;
}

export interface LeaseTools {
  readonly observer: LeaseObserver;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds that never jump. */
  readonly monotonic: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<unknown>;
  /** In [0, 1). */
  readonly random: () => number;
}

/** client-go's. */
const DEFAULTS = { durationMs: 15_000, renewWithinMs: 10_000, retryMs: 2000 };

/** For giving it back when the agent stops. */
const RELEASE_MS = 3000;

interface Moment {
  readonly monotonic: number;
  readonly now: number;
}

/**
 * Leader election by a coordination.k8s.io/v1 Lease, as client-go does it. No clock is compared with that of another machine: who waits
 * measures how long he himself has seen no renewal, who holds measures from the moment at which he asked for the last one. So a
 * holder has stopped `durationMs - renewWithinMs` before another may begin. The lease fences nothing off: what was sent before may arrive.
 *
 * The holder's time is over when either of its clocks says so: the monotonic one stands still while a virtual machine is paused, and
 * the other one may be set back.
 */
export class LeaseElection {
  readonly #api: Pick<KubernetesApi, 'get' | 'create' | 'replace'>;
  readonly #settings: LeaseSettings & typeof DEFAULTS;
  readonly #tools: LeaseTools;
  readonly #collection: string;
  #lease: Lease | undefined;
  readonly #sighting = new LeaseSighting();
  #holder: string | undefined;
  #note: string | undefined;
  #renewedAt: Moment | undefined;

  constructor(
    api: Pick<KubernetesApi, 'get' | 'create' | 'replace'>,
    settings: LeaseSettings,
    tools: LeaseTools,
  ) {
    this.#api = api;
    this.#settings = { ...DEFAULTS, ...settings };
    this.#tools = tools;
    this.#collection = `/apis/coordination.k8s.io/v1/namespaces/${settings.namespace}/leases`;
    const { durationMs, renewWithinMs, retryMs } = this.#settings;
    if (!(retryMs < renewWithinMs && renewWithinMs < durationMs))
      throw new RangeError(
        'a lease must last longer than its renewal may take, and that longer than a retry',
      );
  }

  /** Whether this process may act now. To be asked before each act: a paused process wakes up without its lease. */
  get holds(): boolean {
    return this.#remainingMs() > 0;
  }

  /** Who was last seen to hold it; empty: nobody. */
  get holder(): string | undefined {
    return this.#holder;
  }

  /** What the holder before has left; it may have been written by anybody. */
  get note(): string | undefined {
    return this.#note;
  }

  /**
   * Leads whenever the lease is held, until `stop`; then gives it back, so that another can begin at once.
   *
   * @param lead is to return soon after its signal has ended; if it returns before, the election is over
   * @throws what `lead` throws
   */
  async run(lead: (signal: AbortSignal) => Promise<void>, stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const delayMs = await this.#acquire(stop);
      if (delayMs > 0) await this.#pause(delayMs, stop);
      else if (await this.#hold(lead, stop)) return;
    }
  }

  /** @returns whether `lead` ended by itself */
  async #hold(lead: (signal: AbortSignal) => Promise<void>, stop: AbortSignal): Promise<boolean> {
    this.#tools.observer.leaseTaken();
    const losing = new AbortController();
    const resting = new AbortController();
    let isOver = false;
    const leading = lead(losing.signal).finally(() => {
      isOver = !losing.signal.aborted;
      resting.abort();
    });
    // What it throws is thrown below, when nothing is under way any more.
    leading.catch(() => {});
    try {
      const why = await this.#keep(AbortSignal.any([stop, resting.signal]));
      losing.abort(new Error(why ?? 'the election is over'));
      if (why !== undefined) this.#tools.observer.leaseLost(why);
      await leading;
      return isOver;
    } finally {
      await this.#release();
    }
  }

  /** Renews until `end`. @returns why the lease is lost, if it is */
  async #keep(end: AbortSignal): Promise<string | undefined> {
    const { retryMs, renewWithinMs } = this.#settings;
    while (!end.aborted) {
      await this.#pause(Math.min(retryMs, this.#remainingMs()), end);
      if (end.aborted) return undefined;
      const remainingMs = this.#remainingMs();
      if (remainingMs <= 0) return `not renewed for ${renewWithinMs / 1000} s`;
      const other = await this.#limited(remainingMs, (limit) => this.#renew(AbortSignal.any([limit, end])));
      if (other !== undefined) {
        this.#renewedAt = undefined;
        return other === '' ? 'somebody has taken it away' : `it is held by ${shown(other, 200)}`;
      }
    }
    return undefined;
  }

  /** @returns who holds the lease instead */
  async #renew(signal: AbortSignal): Promise<string | undefined> {
    try {
      this.#lease ??= await this.#read(signal);
      const holder = holderOf(this.#lease);
      if (holder !== this.#settings.identity) return holder;
      await this.#write(this.#lease, signal);
    } catch (error) {
      // It may have arrived all the same: the next try looks first.
      this.#lease = undefined;
      if (!signal.aborted) this.#tools.observer.leaseFailed(reasonOf(error), this.#settings.retryMs);
    }
    return undefined;
  }

  /** @returns 0 when the lease is taken, else after how many milliseconds to try again */
  async #acquire(stop: AbortSignal): Promise<number> {
    const delayMs = this.#settings.retryMs * (1 + this.#tools.random());
    try {
      const isTaken = await this.#limited(this.#settings.renewWithinMs, async (limit) => {
        const signal = AbortSignal.any([limit, stop]);
        const lease = await this.#read(signal);
        if (!this.#isFree(lease)) return false;
        await this.#write(lease, signal);
        return true;
      });
      return isTaken ? 0 : delayMs;
    } catch (error) {
      if (stop.aborted) return delayMs;
      // Somebody was faster.
      if (error instanceof ApiError && error.status === 409) return delayMs;
      const waitMs = Math.max(delayMs, (error instanceof ApiError && error.retryAfterMs) || 0);
      this.#tools.observer.leaseFailed(reasonOf(error), waitMs);
      return waitMs;
    }
  }

  #isFree(lease: Lease | undefined): boolean {
    const holder = holderOf(lease);
    if (holder !== this.#holder) {
      this.#holder = holder;
      if (holder !== this.#settings.identity) this.#tools.observer.leaseHeldBy(shown(holder, 200));
    }
    this.#sighting.see(lease, this.#tools.monotonic(), this.#settings.durationMs);
    return this.#sighting.isFree(this.#settings.identity, this.#tools.monotonic());
  }

  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    try {
      return await this.#api.get<Lease>(this.#path, signal);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Takes it, or renews it. @throws ApiError of status 409 where `lease` is no longer what it was */
  async #write(lease: Lease | undefined, signal: AbortSignal): Promise<void> {
    const { identity, name, durationMs } = this.#settings;
    const asked = { monotonic: this.#tools.monotonic(), now: this.#tools.now() };
    const { note } = this.#settings;
    if (note && holderOf(lease) !== identity) this.#note = annotationOf(lease, note.annotation);
    // Who has just taken it has nothing to add yet, and must not lose what was there.
    const isHeld = this.#renewedAt !== undefined;
    const body = this.#noted(renewed(lease, name, identity, durationMs, asked.now), isHeld);
    this.#lease =
      lease === undefined
        ? await this.#api.create<Lease>(this.#collection, body, signal)
        : await this.#api.replace<Lease>(this.#path, body, signal);
    this.#renewedAt = asked;
    this.#holder = identity;
  }

  #noted(lease: Lease, isHeld: boolean): Lease {
    const { note } = this.#settings;
    return note && isHeld ? annotated(lease, note.annotation, note.text()) : lease;
  }

  /** The others need not wait: nobody acts for this process any more. */
  async #release(): Promise<void> {
    if (!this.holds) return;
    this.#renewedAt = undefined;
    const giveBack = async (limit: AbortSignal) => {
      const lease = this.#lease ?? (await this.#read(limit));
      if (lease === undefined || holderOf(lease) !== this.#settings.identity) return;
      await this.#api.replace(this.#path, this.#noted(released(lease, this.#tools.now()), true), limit);
      this.#holder = '';
    };
    try {
      await this.#limited(RELEASE_MS, giveBack);
    } catch (error) {
      this.#tools.observer.leaseFailed(`not given back: ${reasonOf(error)}`, 0);
    }
    this.#lease = undefined;
  }

  get #path(): string {
    return `${this.#collection}/${this.#settings.name}`;
  }

  #remainingMs(): number {
    if (this.#renewedAt === undefined) return 0;
    const passedMs = Math.max(
      this.#tools.monotonic() - this.#renewedAt.monotonic,
      this.#tools.now() - this.#renewedAt.now,
    );
    return this.#settings.renewWithinMs - passedMs;
  }

  /** The work's signal ends after `ms`. */
  async #limited<R>(ms: number, work: (limit: AbortSignal) => Promise<R>): Promise<R> {
    const limit = new AbortController();
    const done = new AbortController();
    const late = this.#pause(ms, done.signal).then(() => limit.abort());
    try {
      return await work(limit.signal);
    } finally {
      done.abort();
      await late;
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await this.#tools.sleep(Math.max(0, ms), signal).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }
}
