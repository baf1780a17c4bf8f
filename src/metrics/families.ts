import type { Replaced } from '../config/replaced.ts';
import type { Incident } from '../incident.ts';
import type { PartStatus } from '../part-status.ts';
import { OWN_FAMILY, PROGRAMS } from '../replaced/programs.ts';
import type { FamilySources, MetricFamily } from './family.ts';
import { ProgramPort, type ProgramPortObserver } from './program-port.ts';

/** What the agent's own metrics have in common with a family. */
export interface OwnMetrics {
  readonly contentType: string;
  scrape(): Promise<string>;
}

export interface FamiliesObserver extends ProgramPortObserver {
  answerFailed(reason: string): void;
}

export interface FamiliesOptions extends Omit<FamilySources, 'isReplacement'> {
  readonly own: OwnMetrics;
  /** Of --metrics. */
  readonly shown: ReadonlySet<string>;
  /** Of --replace. */
  readonly replaced: readonly Replaced[];
}

/** The metrics that are asked for: those of the agent, and those of programs that it replaces. */
export class Families {
  readonly contentType: string;
  readonly #own: OwnMetrics | undefined;
  readonly #families = new Map<string, MetricFamily>();
  readonly #ports: ProgramPort[] = [];

  private constructor({ own, shown }: FamiliesOptions) {
    this.contentType = own.contentType;
    this.#own = shown.has(OWN_FAMILY) ? own : undefined;
  }

  /** Loads those that are asked for and no other. */
  static async open(options: FamiliesOptions): Promise<Families> {
    const { shown, replaced } = options;
    const families = new Families(options);
    for (const program of PROGRAMS) {
      const isReplacement = replaced.some((each) => each.program === program);
      if (!isReplacement && !shown.has(program.name)) continue;
      const { openFamily } = await program.family();
      families.#families.set(program.name, openFamily({ ...options, isReplacement }));
    }
    return families;
  }

  /** Opens the ports of replaced programs; one that cannot be had is told, and opened as soon as it can be. */
  async listen(replaced: readonly Replaced[], observer: FamiliesObserver): Promise<void> {
    if (replaced.length === 0) return;
    const { openMetricsPort } = await import('../server/metrics-port.ts');
    for (const each of replaced) {
      const family = this.#families.get(each.program.name)!;
      const answers = {
        contentType: this.contentType,
        scrape: () => family.scrape(),
        failed: (reason: string) => observer.answerFailed(reason),
      };
      const port = new ProgramPort(each, answers, openMetricsPort, observer);
      this.#ports.push(port);
      await port.open();
    }
  }

  /** For /readyz and the page. */
  parts(): PartStatus[] {
    return this.#ports.map(({ part }) => part);
  }

  /** All of them, for /metrics of the agent. */
  async scrape(): Promise<string> {
    const texts = [this.#own, ...this.#families.values()].map((each) => each?.scrape() ?? '');
    return (await Promise.all(texts)).filter((text) => text !== '').join('\n');
  }

  witnessed(incidents: readonly Incident[]): void {
    for (const family of this.#families.values()) family.witnessed?.(incidents);
  }

  enriched(incident: Incident): void {
    for (const family of this.#families.values()) family.enriched?.(incident);
  }

  async close(): Promise<void> {
    await Promise.all(this.#ports.map((port) => port.close()));
    for (const family of this.#families.values()) family.close?.();
  }
}
