import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';
import { type Option, OptionError } from '../src/config/option.ts';
import type { Incident, IncidentKind } from '../src/incident.ts';
import { ApiError, type KubernetesApi } from '../src/kubernetes/api.ts';
import { type InvolvedObject, isObjectName } from '../src/kubernetes/event.ts';
import { type EventLimits, EventRecorder, type Happening } from '../src/kubernetes/event-recorder.ts';
import { NodeUids } from '../src/kubernetes/node-uids.ts';
import { concernsNode, eventMessage, involvedPod } from '../src/message/kubernetes-event.ts';
import {
  DELIVERED,
  type Delivery,
  type Outcome,
  type Sink,
  type SinkContext,
  type SinkSurroundings,
} from '../src/sink.ts';

export interface KubernetesSettings {
  readonly limits: { readonly ofNode: EventLimits; readonly ofCluster: EventLimits };
  /** An Event for each incident. */
  readonly kills: boolean;
  /** The Event of kubernetes-oom-event-generator for each restart. */
  readonly restarts: boolean;
}

export const options: readonly Option[] = [
  {
    name: 'kubernetes-events',
    value: 'on|off',
    help: 'an Event on the pod (or the node) for each incident; on with Kubernetes unless set',
    schema: v.picklist(['on', 'off'], 'must be on or off'),
  },
];

/** What comes while the sink waits for its turn is counted by the next write. */
export const batchSize = 100;

/**
 * A batch is over in well under the 30 s that it may take: at most 5 s for a busy object and 10 s for a hundred of them.
 * For comparison: client-go's recorders drop what is beyond 25 and then one in 5 minutes for each object.
 */
const OF_NODE: EventLimits = {
  overall: { burst: 50, everyMs: 200 },
  perObject: { burst: 10, everyMs: 5000 },
};
/** Of one program that tells of all nodes: the Events of a rollout that kills on 5,000 of them are there after 100 s. */
const OF_CLUSTER: EventLimits = { ...OF_NODE, overall: { burst: 50, everyMs: 20 } };

const COMPONENT = 'oom-witness';
/** The same everywhere, because people search and alert by it; kubelet's own word in the status of a container. */
const REASONS: Readonly<Record<IncidentKind, string>> = {
  oom_kill: 'OOMKilled',
  oom_unseen: 'OOMKilled',
  oom_warning: 'OOMWarning',
  oom_restart: 'PreviousContainerWasOOMKilled',
};

export function settings(
  values: Readonly<Record<string, unknown>>,
  { useKubernetes, tellRestarts }: SinkSurroundings,
): KubernetesSettings | undefined {
  const wish = values['kubernetes-events'] as 'on' | 'off' | undefined;
  if (wish === 'on' && !useKubernetes)
    throw new OptionError(
      'kubernetes-events',
      '--kubernetes-events is on but the API of Kubernetes is not used. Add --kubeconfig PATH (or --kubernetes on).',
    );
  if (tellRestarts && !useKubernetes)
    throw new OptionError(
      'kubernetes',
      '--kubernetes is off, and --replace kubernetes-oom-event-generator needs it. Leave one of them out.',
    );
  const kills = useKubernetes && wish !== 'off';
  const restarts = useKubernetes && tellRestarts;
  return kills || restarts
    ? { limits: { ofNode: OF_NODE, ofCluster: OF_CLUSTER }, kills, restarts }
    : undefined;
}

export function kinds({ kills, restarts }: KubernetesSettings): readonly IncidentKind[] {
  return [
    ...(kills ? (['oom_kill', 'oom_unseen', 'oom_warning'] as const) : []),
    ...(restarts ? (['oom_restart'] as const) : []),
  ];
}

export async function open({ limits }: KubernetesSettings, context: SinkContext): Promise<Sink> {
  if (context.kubernetes === undefined) throw new Error('the API of Kubernetes is not used');
  const { connect, everywhere } = context.kubernetes;
  return new KubernetesSink(await connect(), everywhere ? limits.ofCluster : limits.ofNode, context);
}

class KubernetesSink implements Sink {
  readonly #api: KubernetesApi;
  readonly #recorder: EventRecorder;
  readonly #log: SinkContext['log'];
  readonly #nodeName: string;
  readonly #nodeUids: NodeUids;
  readonly #said = new Set<string>();

  constructor(api: KubernetesApi, limits: EventLimits, { host, kubernetes, now, log }: SinkContext) {
    this.#api = api;
    this.#nodeUids = new NodeUids(api);
    this.#log = log;
    this.#nodeName = kubernetes?.nodeName ?? host.name;
    this.#recorder = new EventRecorder(api, this.#nodeName, limits, now, (ms, signal) =>
      sleep(ms, undefined, { signal }),
    );
  }

  async deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const outcomes = new Map<Delivery, Outcome>();
    const happenings = new Map<Happening, Delivery>();
    for (const delivery of batch) {
      try {
        for (const happening of await this.#happeningsOf(delivery, signal))
          happenings.set(happening, delivery);
      } catch (error) {
        outcomes.set(delivery, this.#outcomeOf(error, signal));
      }
    }
    for (const [happening, failure] of await this.#recorder.record([...happenings.keys()], signal)) {
      const delivery = happenings.get(happening)!;
      if (failure !== undefined) outcomes.set(delivery, this.#outcomeOf(failure, signal));
    }
    return batch.map((delivery) => outcomes.get(delivery) ?? DELIVERED);
  }

  async close(): Promise<void> {
    this.#api.close();
  }

  /** One on the pod that was hit; one on the node where it is the node's matter or the pod has no name. */
  async #happeningsOf(delivery: Delivery, signal: AbortSignal): Promise<readonly Happening[]> {
    const { incident } = delivery;
    const pod = involvedPod(incident);
    if (incident.kind === 'oom_restart') return [restartOf(incident, pod)];
    const node =
      pod === undefined || concernsNode(incident) ? await this.#nodeOf(incident, signal) : undefined;
    return [pod, node]
      .filter((involved) => involved !== undefined)
      .map((involved) => ({
        id: incident.id,
        time: Date.parse(incident.time),
        involved,
        reason: REASONS[incident.kind],
        component: COMPONENT,
        likeness: incident.process.name,
        message: () => eventMessage(incident, delivery.recurrence, involved.kind),
      }));
  }

  async #nodeOf({ k8s }: Incident, signal: AbortSignal): Promise<InvolvedObject> {
    const name = (k8s?.node?.name ?? this.#nodeName).toLowerCase();
    if (!isObjectName(name))
      throw new RejectedError(`"${name}" is not the name of a node. Set --node-name NAME.`);
    return { apiVersion: 'v1', kind: 'Node', name, uid: await this.#uidOfNode(name, signal) };
  }

  async #uidOfNode(name: string, signal: AbortSignal): Promise<string> {
    try {
      return await this.#nodeUids.of(name, signal);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404)
        throw new RejectedError(`there is no node ${name} in the cluster. Set --node-name NAME.`);
      if (error.status !== 403) throw error;
      this.#sayOnce(
        "the uid of the node may not be read; its Events carry its name instead, as kubelet's do",
        error,
      );
      return name;
    }
  }

  #outcomeOf(error: unknown, signal: AbortSignal): Outcome {
    if (error instanceof RejectedError) return { kind: 'rejected', reason: error.message };
    if (signal.aborted || !(error instanceof ApiError)) {
      const { reason } = signal;
      const cause = signal.aborted && reason instanceof Error ? reason : (error as Error);
      return { kind: 'retry', reason: cause.message };
    }
    const { status, message, retryAfterMs } = error;
    if (isForGood(error)) return { kind: 'rejected', reason: `the API answered ${message}` };
    if (status === 403)
      this.#sayOnce(
        'Events may not be written; they wait until the service account may create and patch events',
        error,
      );
    return {
      kind: 'retry',
      reason: status === 0 ? message : `the API answered ${message}`,
      ...(retryAfterMs !== undefined && { afterMs: retryAfterMs }),
    };
  }

  /** The courier repeats the server's words; what to do about them is said here. */
  #sayOnce(message: string, { message: reason }: ApiError): void {
    if (this.#said.has(message)) return;
    this.#said.add(message);
    this.#log('error', message, { reason });
  }
}

/** No fault of the server: the same incident will never be taken. */
class RejectedError extends Error {}

/**
 * A namespace that has gone or is going (403 "because it is being terminated") takes its pod and their Events with it, and an
 * Event that is not valid stays so. Other 403s (no rule, a quota, a policy) end when a person acts: the courier asks again
 * about once a minute. To reject them would empty the queue into the dead-letter file meanwhile.
 */
function isForGood({ status, message }: ApiError): boolean {
  if (status === 403) return message.includes('because it is being terminated');
  return status >= 400 && status < 500 && ![401, 408, 409, 410, 429].includes(status);
}

/** Field for field the Event of kubernetes-oom-event-generator, v1.3.0. */
function restartOf(incident: Incident, pod: InvolvedObject | undefined): Happening {
  if (pod === undefined) throw new RejectedError('the pod has no name');
  const { container, k8s, id, kind, time } = incident;
  const { fieldPath: _, ...involved } = pod;
  const resourceVersion = k8s?.pod?.resource_version;
  const instance = `${container?.runtime}://${container?.id}`;
  return {
    id,
    time: Date.parse(time),
    involved: { ...involved, ...(resourceVersion !== undefined && { resourceVersion }) },
    reason: REASONS[kind],
    component: 'oom-event-generator',
    message: () =>
      `The previous instance of the container '${k8s?.container?.name}' (${instance}) was OOMKilled`,
  };
}
