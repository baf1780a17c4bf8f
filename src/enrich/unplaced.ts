import { aborted } from '../aborted.ts';
import type { Finder, Finding } from '../enrich.ts';
import type { Incident } from '../incident.ts';
import type { PodOfContainer } from '../inventory/pod-table.ts';
import { identityOfPod } from './identity.ts';
import type { Owners } from './owners.ts';

/** A container that ended, in the words of its pod's status. */
export interface EndedContainer extends PodOfContainer {
  /** Of the instance that ended. */
  readonly id: string;
  /** When, Unix time in ms; of whole seconds. */
  readonly at: number;
}

export interface UnplacedFinderOptions {
  /** This machine's, of its present run. */
  readonly bootId: string | undefined;
  /** Containers that ended by an OOM kill which nobody else told of, between these Unix times in ms. */
  readonly untoldEnds: (from: number, to: number) => readonly EndedContainer[];
  readonly owners: Owners;
  readonly now: () => number;
}

/** An end is told in whole seconds, and comes after its kill. */
const APART_MS = 2000;
/** What is older was read from a log of the past, or is looked up once more after a restart: its status is not about to come. */
const RECENT_MS = 60_000;
/** Kills of which nobody knows where, to tell whether an end can belong to another one. */
const REMEMBERED = 256;

/**
 * A kill of which nobody knows where it was: the kernel left out its header, and /proc was not read in time. It was in the container
 * whose end by an OOM kill nothing else explains, where there is no other such kill and no other such end at that time: each of them
 * has a kill of its own in the kernel's log. With two of either, or a gap in that log, it cannot be decided, and what the status says is
 * told by itself; so it is where the status comes later than deliveries wait.
 */
export class UnplacedFinder implements Finder {
  readonly #options: UnplacedFinderOptions;
  /** Incident id -> Unix time in ms; the newest last. */
  readonly #unplaced = new Map<string, number>();
  /** Unix time in ms. */
  #gapAt = Number.NEGATIVE_INFINITY;

  constructor(options: UnplacedFinderOptions) {
    this.#options = options;
  }

  /** Records of the kernel were lost before they were read: one of them may be the kill that an end is of. */
  gap(): void {
    this.#gapAt = this.#options.now();
  }

  concerns({ kind, host, container, k8s, process, victims }: Incident): boolean {
    const isPlaced = container ?? k8s ?? victims.find((victim) => victim.process.cgroup !== undefined);
    // A log may hold the lines of other machines.
    const isHere = host.boot_id === this.#options.bootId;
    return kind === 'oom_kill' && process.pid !== 0 && isHere && isPlaced === undefined;
  }

  async find({ id, time }: Incident, signal: AbortSignal): Promise<Finding | undefined> {
    const at = Date.parse(time);
    if (this.#options.now() - at > RECENT_MS) return undefined;
    this.#remember(id, at);
    // Until then another one may come.
    await aborted(signal);
    if (this.#gapAt >= at - APART_MS) return undefined;
    const ends = this.#options.untoldEnds(at - APART_MS, at + APART_MS);
    const [end] = ends;
    if (end === undefined || ends.length > 1 || this.#isAnotherNear(end.at, id)) return undefined;
    const workload = await this.#options.owners.workload(end.pod, signal);
    const { container, k8s } = identityOfPod(end.pod, end.container, workload);
    const why = 'nobody knows it; container and pod are the only ones that were OOM killed at that time';
    return {
      identity: {
        container: { id: end.id, ...container },
        ...(k8s && { k8s }),
        unknown: { 'process.cgroup': why },
      },
      isPartial: false,
    };
  }

  #remember(id: string, at: number): void {
    this.#unplaced.set(id, at);
    if (this.#unplaced.size > REMEMBERED) this.#unplaced.delete(this.#unplaced.keys().next().value as string);
  }

  #isAnotherNear(time: number, id: string): boolean {
    return this.#unplaced.entries().some(([other, at]) => other !== id && Math.abs(at - time) <= APART_MS);
  }
}
