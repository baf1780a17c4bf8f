/** One document of a bulk request: the text of its two lines. */
import type { EncodedEvent, EventFormat } from '../event-format.ts';
import type { Incident } from '../incident.ts';

export interface Document {
  readonly id: string;
  readonly text: string;
  /**
   * The same without its open maps, whose keys strangers choose (labels, annotations, resources, `unknown`); undefined
   * if it has none. An index without a template makes a field of each key, so that `app` beside `app.kubernetes.io/name`,
   * a label that is a date once, or the 1000th field turn whole documents away.
   */
  readonly withoutOpenMaps: () => string | undefined;
}

/**
 * The event exactly, and in an incident `@timestamp` (the same as `time`), which data streams demand and Kibana sorts by.
 */
export function documentOf(incident: Incident, { id, body }: EncodedEvent, format: EventFormat): Document {
  if (format !== 'incident') return { id, text: lines(id, body), withoutOpenMaps: () => undefined };
  return {
    id,
    text: lines(id, { '@timestamp': incident.time, ...body }),
    withoutOpenMaps: () => {
      const { unknown, k8s, container, ...rest } = incident;
      const { limits, requests, pod, ...workload } = k8s ?? {};
      const { labels, annotations, ...named } = pod ?? {};
      const { labels: ofContainer, ...itself } = container ?? {};
      if (!unknown && !limits && !requests && !labels && !annotations && !ofContainer) return undefined;
      const known = {
        ...(container && { container: itself }),
        ...(k8s && { k8s: { ...workload, ...(pod && { pod: named }) } }),
      };
      return lines(id, { '@timestamp': incident.time, ...rest, ...known });
    },
  };
}

function lines(id: string, document: unknown): string {
  return `${JSON.stringify({ create: { _id: id } })}\n${JSON.stringify(document)}`;
}
