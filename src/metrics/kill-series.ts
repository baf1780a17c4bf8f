import type Counter from 'prom-client/lib/counter.js';
import type Gauge from 'prom-client/lib/gauge.js';
import type { Incident, OomScope } from '../incident.ts';
import { isOfAllPods } from '../kernel/cgroup-path.ts';

/** Whose kills a series counts; empty where it was a process of the machine itself, or is not known. */
export interface KillLabels {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

export const HOST_LABELS: KillLabels = Object.freeze({ namespace: '', pod: '', container: '' });

export function killLabels({ k8s, container }: Incident): KillLabels {
  return {
    namespace: k8s?.namespace?.name ?? '',
    pod: k8s?.pod?.name ?? '',
    container: k8s?.container?.name ?? container?.name ?? '',
  };
}

/** `allocatable`: what a node has for pods, or for a class of them, was used up. To the kernel that is a cgroup as others are. */
export type KillScope = OomScope | 'allocatable';

export function killScope({ oom: { scope, limit_owner: owner, limit_cgroup: cgroup } }: Incident): KillScope {
  const isOfPods = owner === 'qos' || (cgroup !== undefined && isOfAllPods(cgroup));
  return scope === 'cgroup' && isOfPods ? 'allocatable' : scope;
}

interface Subject {
  readonly labels: KillLabels;
  /** The time of the last kill in each that has a series, Unix time in seconds; 0: none yet. */
  readonly lastKills: { [scope in KillScope]?: number };
  /** What happened to it has been read by somebody. */
  scraped: boolean;
  /** It will not be killed again. */
  leaving: boolean;
}

/** A node of 500 pods with four containers each. */
export const MOST_OF_NODE = 2000;
/** Of a whole cluster those only that were killed: a bad rollout on each of 5,000 nodes, three times. */
export const MOST_OF_CLUSTER = 15_000;

/**
 * The series of kills, with a label for each pod and container of this machine: bounded, there with 0 before the first
 * kill, and gone when the pod is forgotten, ten minutes after its end (a container without one: five), so that whoever scrapes has
 * read the last kill; and not before two scrapes in a row had it, so that of a pair of Prometheus, which take turns, each has.
 */
export class KillSeries {
  readonly #kills: Counter<string>;
  readonly #lastKill: Gauge<string>;
  readonly #most: number;
  readonly #subjects = new Map<string, Subject>();

  constructor(kills: Counter<string>, lastKill: Gauge<string>, most: number) {
    this.#kills = kills;
    this.#lastKill = lastKill;
    this.#most = most;
  }

  /** A container that can be killed. */
  expect(labels: KillLabels): void {
    const subject = this.#subject(labels);
    subject.leaving = false;
    this.#count(subject, 'cgroup', 0);
  }

  /** @param time Unix time, seconds */
  killed(labels: KillLabels, scope: KillScope, victims: number, time: number): void {
    const subject = this.#subject(labels);
    subject.scraped = false;
    this.#count(subject, scope, victims);
    // A log that is read late tells of older ones.
    const lastKill = Math.max(subject.lastKills[scope] ?? 0, time);
    subject.lastKills[scope] = lastKill;
    this.#lastKill.set({ ...labels, scope }, lastKill);
  }

  /** They will not be killed again: what has these labels is gone for good. */
  leave(labels: Partial<KillLabels>): void {
    const { namespace, pod, container } = labels;
    const isOne = (wanted: string | undefined, own: string) => wanted === undefined || wanted === own;
    // The pod first: it tells most of them apart.
    for (const subject of this.#subjects.values()) {
      const own = subject.labels;
      if (isOne(pod, own.pod) && isOne(namespace, own.namespace) && isOne(container, own.container))
        subject.leaving = true;
    }
  }

  /** To be called after a scrape was answered. */
  scraped(): void {
    for (const [key, subject] of this.#subjects) {
      if (subject.leaving && subject.scraped) this.#remove(key, subject);
      subject.scraped = true;
    }
  }

  #subject(labels: KillLabels): Subject {
    const key = `${labels.namespace}/${labels.pod}/${labels.container}`;
    const known = this.#subjects.get(key);
    if (known) return known;
    if (this.#subjects.size >= this.#most) this.#makeRoom();
    const subject: Subject = {
      labels,
      lastKills: {},
      scraped: false,
      leaving: false,
    };
    this.#subjects.set(key, subject);
    return subject;
  }

  #makeRoom(): void {
    const others = () =>
      this.#subjects.entries().filter(([, { labels }]) => labels.pod !== '' || labels.container !== '');
    const victim = others().find(([, { leaving }]) => leaving) ?? others().next().value;
    if (victim) this.#remove(...victim);
  }

  #count({ labels, lastKills }: Subject, scope: KillScope, victims: number): void {
    lastKills[scope] ??= 0;
    this.#kills.inc({ ...labels, scope }, victims);
  }

  #remove(key: string, { labels, lastKills }: Subject): void {
    for (const scope of Object.keys(lastKills)) {
      this.#kills.remove({ ...labels, scope });
      this.#lastKill.remove({ ...labels, scope });
    }
    this.#subjects.delete(key);
  }
}
