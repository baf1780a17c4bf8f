import type { Incident } from './incident.ts';

/** `incident`: the JSON of DESIGN's incident. `oom-notifier`: the exact JSON of the program of that name, one per victim. */
export const EVENT_FORMATS = ['incident', 'oom-notifier'] as const;
export type EventFormat = (typeof EVENT_FORMATS)[number];

export interface EncodedEvent {
  /** Unique and the same on every delivery: usable as document id or key. */
  readonly id: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * The JSON objects that machines get for one incident. oom-notifier knows no groups, so each victim is an event of its
 * own; all its values are strings, its keys alphabetical. Its `time`, in ms since the epoch, is when it had seen the kill, up to ten
 * seconds late, and then it sent the event or lost it; here events may wait for a sink for hours, so it is that of the kill.
 *
 * @param kernelVersionLine the content of /proc/version, trimmed
 */
export function encodeEvents(
  incident: Incident,
  format: EventFormat,
  kernelVersionLine: string,
): readonly EncodedEvent[] {
  if (format === 'incident')
    return [{ id: incident.id, body: incident as unknown as Record<string, unknown> }];
  return incident.victims.map((victim, index) => ({
    id: index === 0 ? incident.id : `${incident.id}:${index}`,
    body: {
      cmdline: victim.process.command_line ?? '',
      hostname: incident.host.name,
      kernel: kernelVersionLine,
      pid: String(victim.process.pid),
      time: String(Date.parse(incident.time)),
    },
  }));
}
