import { AgentEvents } from './events/agent.ts';
import { CaptureEvents } from './events/capture.ts';
import { DeliveryEvents } from './events/delivery.ts';
import { IncidentEvents } from './events/incidents.ts';
import { KubernetesEvents } from './events/kubernetes.ts';
import { RuntimeEvents } from './events/runtimes.ts';
import { StoreEvents } from './events/store.ts';
import { Voice } from './events/voice.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';

/** Each noteworthy happening, by where it happens: its log line and its metric together. The metric counts also what the log leaves out. */
export class Events {
  readonly agent: AgentEvents;
  readonly capture: CaptureEvents;
  readonly incidents: IncidentEvents;
  readonly kubernetes: KubernetesEvents;
  readonly runtimes: RuntimeEvents;
  readonly delivery: DeliveryEvents;
  readonly store: StoreEvents;

  constructor(log: Log, metrics: Metrics, now: () => number) {
    const voice = new Voice(log, metrics, now);
    this.agent = new AgentEvents(voice);
    this.capture = new CaptureEvents(voice, metrics);
    this.incidents = new IncidentEvents(voice, metrics);
    this.kubernetes = new KubernetesEvents(voice, metrics);
    this.runtimes = new RuntimeEvents(voice, metrics);
    this.delivery = new DeliveryEvents(voice, metrics);
    this.store = new StoreEvents(voice, metrics);
  }
}
