/** Pods that are made to be killed, each in another way. */
import { NODE_A, type NODE_B } from './addresses.ts';
import { VICTIM_IMAGE } from './parts.ts';

export interface HogOptions {
  /** Default: `node-a`. */
  readonly node?: typeof NODE_A.name | typeof NODE_B.name;
  /**
   * Who allocates until it is killed: the container's first process, or a child of it, which lives on (with cgroup v2, where
   * kubelet asks for group kills, it dies too).
   */
  readonly who?: 'first process' | 'child';
  /** How long it waits before; default 0. */
  readonly liveMs?: number;
  /** Instead: a line on its standard input (`TestNamespace.tell`), or the signal by which a container is asked to end. */
  readonly waitsFor?: 'line' | 'SIGTERM';
  /** Further words of its command line, by which a test knows it again. */
  readonly text?: readonly string[];
  /** Default 32Mi; `none`: only the node's memory is its limit. */
  readonly memory?: string;
  /** Requests are the limits. */
  readonly guaranteed?: boolean;
}

interface Container {
  readonly name: string;
  readonly image: string;
  readonly imagePullPolicy: 'Never';
  readonly command: readonly string[];
  readonly stdin?: boolean;
  readonly resources?: object;
}

export interface PodSpec {
  readonly nodeName?: string;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly restartPolicy?: 'Always' | 'OnFailure' | 'Never';
  readonly terminationGracePeriodSeconds?: number;
  readonly tolerations?: readonly object[];
}

export function hog(name: string, options: HogOptions = {}): Container {
  const { who = 'first process', liveMs = 0, text = [], memory = '32Mi', guaranteed = false } = options;
  const wait = options.waitsFor ?? String(liveMs);
  // It is in its cgroup already: the one to join is /dev/null.
  const command = who === 'child' ? ['parent', '/dev/null', wait] : ['hog', wait];
  const limits = { memory, ...(guaranteed && { cpu: '100m' }) };
  return {
    name,
    image: VICTIM_IMAGE,
    imagePullPolicy: 'Never',
    command: ['/victim', ...command, ...text],
    // A parent ends when its standard input does.
    ...((who === 'child' || wait === 'line') && { stdin: true }),
    ...(memory !== 'none' && { resources: { limits, requests: guaranteed ? limits : { memory: '16Mi' } } }),
  };
}

/** A container that does nothing until it is told to end. */
export function idle(name: string): Container {
  return { name, image: VICTIM_IMAGE, imagePullPolicy: 'Never', command: ['/pause'] };
}

/** Never started again, so that what is seen of it stays. */
export function once(containers: readonly Container[], more: Partial<PodSpec> = {}): PodSpec {
  return {
    nodeName: NODE_A.name,
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 1,
    containers,
    ...more,
  };
}

export function pod(name: string, spec: PodSpec, metadata: object = {}): object {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata }, spec };
}

export function hogPod(name: string, options: HogOptions = {}, metadata: object = {}): object {
  return pod(name, once([hog('hog', options)], { nodeName: options.node ?? NODE_A.name }), metadata);
}

export function deployment(
  name: string,
  spec: PodSpec,
  labels: Readonly<Record<string, string>> = {},
): object {
  const all = { app: name, ...labels };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: all }, spec: { ...spec, restartPolicy: 'Always' } },
    },
  };
}
