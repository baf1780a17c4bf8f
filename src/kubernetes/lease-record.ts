import { isObject } from './status.ts';

/** What is read of a Lease. All else in it is kept as it is. */
export interface Lease {
  readonly metadata?: object;
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** A lease says how long it holds; nobody waits longer for a holder that is gone. */
const LONGEST_DURATION_MS = 3_600_000;

/** Empty: nobody. What is no name is nobody's either. */
export function holderOf(lease: Lease | undefined): string {
  const holder = isObject(lease?.spec) ? lease.spec.holderIdentity : '';
  return typeof holder === 'string' ? holder : '';
}

/** What one who waits has seen of a lease. */
export class LeaseSighting {
  #last:
    | { readonly renewal: string; readonly holder: string; readonly durationMs: number; readonly at: number }
    | undefined;

  /**
   * A deleted lease is one that is not renewed: its holder may not know yet.
   *
   * @param at by a clock that never jumps
   */
  see(lease: Lease | undefined, at: number, defaultMs: number): void {
    if (lease === undefined) return;
    const { renewTime, leaseTransitions, leaseDurationSeconds } = lease.spec ?? {};
    const holder = holderOf(lease);
    // Differs after each renewal, and never because of what others write beside it.
    const renewal = JSON.stringify([holder, renewTime, leaseTransitions]);
    if (renewal === this.#last?.renewal) return;
    const seconds = Number(leaseDurationSeconds);
    const durationMs = seconds > 0 ? Math.min(seconds * 1000, LONGEST_DURATION_MS) : defaultMs;
    this.#last = { renewal, holder, durationMs, at };
  }

  /** Whether nobody else holds it, or nobody has renewed it for as long as it lasts. */
  isFree(identity: string, at: number): boolean {
    const last = this.#last;
    if (last === undefined || last.holder === '' || last.holder === identity) return true;
    return at - last.at >= last.durationMs;
  }
}

/** Taken or renewed by `identity`. */
export function renewed(
  lease: Lease | undefined,
  name: string,
  identity: string,
  durationMs: number,
  now: number,
): Lease {
  const time = microTime(now);
  const before = lease?.spec ?? {};
  const isMine = holderOf(lease) === identity;
  const transitions = Number(before.leaseTransitions) || 0;
  const spec = {
    ...before,
    holderIdentity: identity,
    leaseDurationSeconds: Math.ceil(durationMs / 1000),
    acquireTime: isMine ? before.acquireTime : time,
    renewTime: time,
    leaseTransitions: isMine || lease === undefined ? transitions : transitions + 1,
  };
  const kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
  return lease === undefined ? { ...kind, metadata: { name }, spec } : { ...lease, spec };
}

/** Nobody's; as client-go leaves it. */
export function released(lease: Lease, now: number): Lease {
  const time = microTime(now);
  const spec = {
    ...lease.spec,
    holderIdentity: '',
    leaseDurationSeconds: 1,
    acquireTime: time,
    renewTime: time,
  };
  return { ...lease, spec };
}

export function annotationOf(lease: Lease | undefined, name: string): string | undefined {
  const metadata = isObject(lease?.metadata) ? lease.metadata : {};
  const annotations = isObject(metadata.annotations) ? metadata.annotations : {};
  const text = Object.hasOwn(annotations, name) ? annotations[name] : undefined;
  return typeof text === 'string' ? text : undefined;
}

export function annotated(lease: Lease, name: string, text: string): Lease {
  const metadata = isObject(lease.metadata) ? lease.metadata : {};
  const annotations = isObject(metadata.annotations) ? metadata.annotations : {};
  return { ...lease, metadata: { ...metadata, annotations: { ...annotations, [name]: text } } };
}

/** `2026-11-27T10:00:00.123000Z`: the API takes six digits and no other number. */
function microTime(now: number): string {
  return new Date(now).toISOString().replace('Z', '000Z');
}
