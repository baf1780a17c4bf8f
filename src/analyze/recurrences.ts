import type { Incident } from '../incident.ts';
import { isTimeKnown } from '../message/names.ts';
import type { Recurrence } from '../sink.ts';
import { workloadKey } from '../store/workload-key.ts';

const DAY_MS = 86_400_000;

/** Earlier kills of the same in what was read so far, counted as the store does: those of the last day. */
export class Recurrences {
  /** Ascending, of each key. Logs may be read in any order: of rotated files the newest often comes first. */
  readonly #times = new Map<string, number[]>();

  /** Counts this one, too. */
  of(incident: Incident): Recurrence {
    const key = workloadKey(incident);
    const times = this.#times.get(key) ?? [];
    this.#times.set(key, times);
    const time = Date.parse(incident.time);
    const place = firstAfter(times, time);
    const first = firstAfter(times, time - DAY_MS);
    const earlier = place - first;
    const spans = earlier > 0 && isTimeKnown(incident);
    const recurrence: Recurrence = {
      nth: earlier + 1,
      ...(spans && { firstTime: isoTime(times[first]!), lastTime: isoTime(times[place - 1]!) }),
    };
    times.splice(place, 0, time);
    return recurrence;
  }
}

/** Index of the first element that is greater. */
function firstAfter(ascending: readonly number[], value: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

function isoTime(time: number): string {
  return new Date(time).toISOString();
}
