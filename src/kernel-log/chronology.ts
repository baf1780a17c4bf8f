import type { LogRecord } from './decoder.ts';

/** So sure it has to be: each difference of two times counts 1, each pair of lines whose order the kernel never changes this. */
const SURE = 8;
const PAIR = 4;
/** Nobody has decided by then: the log is as it mostly is. */
const MOST_UNDECIDED = 1_000;
/** The table of 100,000 candidates. */
const MOST_CHARACTERS = 16 << 20;
/** Nothing that the OOM killer began is still going on after this. */
const ABANDONED_MS = 60_000;

/**
 * Records in the order in which the kernel made them, also those of a log with the newest line first (journalctl -r, and the
 * lists of many web interfaces). Such are held until the header of their report has come.
 */
export class Chronology {
  #records: LogRecord[] = [];
  #characters = 0;
  /** Positive: the oldest first. */
  #evidence = 0;
  #newestFirst: boolean | undefined;

  /** Records are held here. */
  get open(): boolean {
    return this.#records.length > 0;
  }

  /** @returns what is to be read now, the oldest first */
  push(record: LogRecord): readonly LogRecord[] {
    if (this.#newestFirst === false) return [record];
    const last = this.#records.at(-1);
    if (this.#newestFirst === undefined) {
      if (last !== undefined) this.#evidence += order(last, record);
      this.#hold(record);
      if (Math.abs(this.#evidence) < SURE && this.#records.length < MOST_UNDECIDED && !this.#isFull)
        return [];
      this.#newestFirst = this.#evidence <= -SURE;
      return this.#newestFirst ? this.#complete() : this.end();
    }
    const isApart = last !== undefined && (ms(last, record) ?? 0) > ABANDONED_MS;
    const before = isApart || this.#isFull ? this.end() : [];
    this.#hold(record);
    return isHeader(record) ? [...before, ...this.end()] : before;
  }

  /** What is held: there is no more that belongs to it. */
  end(): readonly LogRecord[] {
    const records = this.#records;
    this.#records = [];
    this.#characters = 0;
    return (this.#newestFirst ?? this.#evidence <= -PAIR) ? records.reverse() : records;
  }

  get #isFull(): boolean {
    return this.#characters >= MOST_CHARACTERS;
  }

  #hold(record: LogRecord): void {
    this.#records.push(record);
    this.#characters += record.text.length;
  }

  /** Of what was held until it was clear how to read it, the reports whose headers have come. */
  #complete(): readonly LogRecord[] {
    const records = this.#records;
    const complete = records.findLastIndex(isHeader) + 1;
    this.#records = [];
    this.#characters = 0;
    for (const record of records.slice(complete)) this.#hold(record);
    const reports: LogRecord[][] = [[]];
    for (const record of records.slice(0, complete)) {
      reports.at(-1)?.push(record);
      if (isHeader(record)) reports.push([]);
    }
    return reports.flatMap((report) => report.reverse());
  }
}

/** Which of two records that follow each other in the log is the older one: the first for more than 0. */
function order(first: LogRecord, second: LogRecord): number {
  return (
    pair(first.text, second.text) || -pair(second.text, first.text) || Math.sign(-(ms(first, second) ?? 0))
  );
}

/** By how much the first is later, where both know the time. */
function ms(first: LogRecord, second: LogRecord): number | undefined {
  if (first.host !== second.host) return undefined;
  if (first.timestampUs !== undefined && second.timestampUs !== undefined)
    return (first.timestampUs - second.timestampUs) / 1000;
  if (first.wallTime === undefined || second.wallTime === undefined) return undefined;
  return first.wallTime - second.wallTime;
}

/** The kernel prints them in this order, one immediately after the other. */
function pair(first: string, second: string): number {
  const chosen = /^oom-kill:.*,pid=(\d+),uid=\d+$|: [Kk]ill process (\d+) /s.exec(first);
  const pid = chosen?.[1] ?? chosen?.[2];
  if (pid !== undefined) return new RegExp(`(?:^|: )Killed process ${pid}\\b`).test(second) ? PAIR : 0;
  return / invoked oom-killer: /.test(first) && /^CPU: \d|^Pid: \d| cpuset=/.test(second) ? PAIR : 0;
}

function isHeader({ text }: LogRecord): boolean {
  return text.includes(' invoked oom-killer');
}
