import type { Log, LogFields } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { RepeatLimit } from './repeat-limit.ts';

/** What is said in the log. What repeats itself is said at once, then at most once a minute with its count. */
export class Voice {
  readonly say: Log;
  readonly #suppressed: Metrics['logLinesSuppressed'];
  readonly #limit: RepeatLimit;

  constructor(log: Log, { logLinesSuppressed }: Metrics, now: () => number) {
    this.say = log;
    this.#suppressed = logLinesSuppressed;
    this.#limit = new RepeatLimit(now);
  }

  /** @param key what makes it the same again */
  repeat(level: 'warn' | 'error', key: string, message: string, fields: LogFields = {}, times = 1): void {
    const count = this.#limit.speak(key, times);
    if (count === undefined) this.#suppressed.inc();
    else this.say(level, message, { ...fields, ...(count > 1 && { times: count }) });
  }

  /** It is over: the next time is news. */
  forget(prefix: string): void {
    this.#limit.forget(prefix);
  }
}
