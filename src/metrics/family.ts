import type { Incident } from '../incident.ts';
import type { ContainerTable } from '../inventory/container-table.ts';
import type { PodTable } from '../inventory/pod-table.ts';
import type { UpdateType } from '../watch/oom-restarts.ts';

/** The metrics of a replaced program, under its names. */
export interface MetricFamily {
  /** In the text format of Prometheus; empty where there is nothing to show. */
  scrape(): Promise<string>;
  /** Kills, as soon as they are stored. */
  witnessed?(incidents: readonly Incident[]): void;
  /** The same as delivered, with the names of container and pod. */
  enriched?(incident: Incident): void;
  close?(): void;
}

export interface FamilySources {
  readonly containers: ContainerTable;
  /** Starts of containers by what became of each, in the words of kubernetes-oom-event-generator. */
  readonly containerUpdates: ReadonlyMap<UpdateType, number>;
  /** Undefined: pods are not watched. */
  readonly pods?: Pick<PodTable, 'listen'>;
  /** By --replace: it counts as that program did where that is a matter of taste. */
  readonly isReplacement: boolean;
  readonly now: () => number;
}

/** What the file of a family exports. */
export interface FamilyModule {
  openFamily(sources: FamilySources): MetricFamily;
}
