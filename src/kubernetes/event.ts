/**
 * Events of core/v1. events.k8s.io/v1 is the same object behind another form, and kubectl shows that one worse: there `lastTimestamp`
 * must be unset, by which `kubectl describe` and `--sort-by=.lastTimestamp` sort (kubectl v1.34, SortableEvents), so that such an
 * Event stands above older ones; and its message cannot be changed later, so that a series would show its first kill for ever.
 */
import { crypto } from '../net/lazy-builtins.ts';

export interface InvolvedObject {
  readonly apiVersion: 'v1';
  readonly kind: 'Pod' | 'Node';
  readonly namespace?: string;
  readonly name: string;
  /** `kubectl describe` finds only Events with the object's own. */
  readonly uid?: string;
  readonly resourceVersion?: string;
  /** `spec.containers{shop}` */
  readonly fieldPath?: string;
}

/** Core/v1 Event, as far as it is written and read back here. */
export interface ApiEvent {
  readonly apiVersion: 'v1';
  readonly kind: 'Event';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly type: 'Warning';
  readonly reason: string;
  readonly message: string;
  readonly involvedObject: InvolvedObject;
  readonly source: { readonly component: string; readonly host?: string };
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
  readonly count: number;
  readonly eventTime?: string;
  readonly action?: string;
  readonly reportingComponent: string;
  readonly reportingInstance: string;
}

/** Where an Event of an object without a namespace has to be (core/v1 validation). */
export const NODE_NAMESPACE = 'default';

const NAME_LIMIT = 253;
const NAMESPACE = /^[a-z\d]([a-z\d-]{0,61}[a-z\d])?$/;
const NAME = /^[a-z\d]([a-z\d.-]{0,251}[a-z\d])?$/;

/** Names come from paths, logs and answers: only what the API could have given goes into a request's path. */
export function isNamespace(text: string | undefined): text is string {
  return text !== undefined && NAMESPACE.test(text);
}

export function isObjectName(text: string | undefined): text is string {
  return text !== undefined && NAME.test(text);
}

/** `shop-5d8f7c-x2x.1f0a…`: as client-go's recorder writes it, but the digits are of the key, the same every time. */
export function eventName(object: string, key: string): string {
  const digits = shortHash(key, 16);
  const prefix = object.slice(0, NAME_LIMIT - digits.length - 1).replace(/[.-]+$/, '');
  return `${prefix}.${digits}`;
}

export function shortHash(text: string, digits: number): string {
  return crypto().createHash('sha256').update(text).digest('hex').slice(0, digits);
}

export function eventsPath(namespace: string, name?: string): string {
  const all = `/api/v1/namespaces/${namespace}/events`;
  return name === undefined ? all : `${all}/${name}`;
}

/** Of metav1.Time: whole seconds. */
export function seconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+/, '');
}

/** Of metav1.MicroTime, which takes exactly six digits. */
export function microseconds(ms: number): string {
  return new Date(ms).toISOString().replace(/(\.\d{3})Z$/, '$1000Z');
}
