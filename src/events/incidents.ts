import type { CrossCheckObserver } from '../cross-check.ts';
import type { EnricherObserver } from '../enrich.ts';
import type { Incident, Statement } from '../incident.ts';
import { killLabels, killScope } from '../metrics/kill-series.ts';
import type { Metrics } from '../metrics.ts';
import type { Voice } from './voice.ts';

/** Of incidents, from the store to what becomes known of them. */
export class IncidentEvents implements EnricherObserver, CrossCheckObserver {
  readonly #voice: Voice;
  readonly #metrics: Metrics;

  constructor(voice: Voice, metrics: Metrics) {
    this.#voice = voice;
    this.#metrics = metrics;
  }

  /** They are in the store; only now do they count. */
  committed(incidents: readonly Incident[]): void {
    for (const incident of incidents) {
      this.#metrics.incidents.inc({ scope: killScope(incident) });
      const { id, kind, victims, process } = incident;
      this.#voice.say('debug', 'incident', { id, kind, pid: process.pid, name: process.name });
      if (!isKill(kind)) continue;
      for (const [index, { capture, process }] of victims.entries()) {
        this.#metrics.captures.inc({ source: capture.source });
        this.#metrics.redactions.inc(capture.redacted);
        if (capture.source === 'kernel-comm') this.#captureMissing(incident, index, process.pid);
      }
    }
  }

  /** Whose it was is known now, as far as it will be when it is delivered: kills are counted by that. */
  enriched(incident: Incident): void {
    const { kind, victims, time } = incident;
    if (!isKill(kind)) return;
    const scope = killScope(incident);
    this.#metrics.kills.killed(killLabels(incident), scope, victims.length, Date.parse(time) / 1000);
  }

  /** Its deliveries have gone out without the pod; the history has it now. */
  enrichedLate({ id, k8s }: Incident): void {
    this.#metrics.late.inc();
    this.#voice.say('info', 'pod found after the incident was delivered', { id, pod: k8s?.pod?.name });
  }

  enrichFailed(id: string, reason: string): void {
    this.#metrics.enrichFailures.inc();
    this.#voice.repeat('warn', `enrich ${reason}`, 'container and pod could not be looked up', {
      id,
      reason,
    });
  }

  /** The cluster's word on a kill that the kernel told of. */
  stated({ id }: Incident, { agrees, says }: Statement): void {
    this.#metrics.statements.inc({ agrees: String(agrees) });
    this.#voice.say(
      agrees ? 'debug' : 'info',
      agrees ? 'the cluster confirms' : 'the cluster says something else',
      {
        id,
        says,
      },
    );
  }

  /** A container whose earlier instance was OOM killed runs again; stored for those who want to know. */
  restarted({ id, k8s }: Incident): void {
    this.#voice.say('debug', 'restart after an OOM kill', {
      id,
      namespace: k8s?.namespace?.name,
      pod: k8s?.pod?.name,
      container: k8s?.container?.name,
    });
  }

  #captureMissing({ id, unknown }: Incident, index: number, pid: number): void {
    const reason =
      unknown?.[`victims.${index}.process.command_line`] ??
      unknown?.['process.command_line'] ??
      'no reason given';
    this.#voice.repeat('warn', `missing ${reason}`, 'command line unknown', { id, pid, reason });
  }
}

function isKill(kind: Incident['kind']): boolean {
  return kind === 'oom_kill' || kind === 'oom_unseen';
}
