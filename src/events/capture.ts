import type { CaptureStatus, Reader } from '../capture/protocol.ts';
import { printable } from '../format.ts';
import type { Metrics } from '../metrics.ts';
import type { Voice } from './voice.ts';

const READER_NAMES = { kmsg: 'kmsg', 'log file': 'log_file', 'process events': 'proc_connector' } as const;
/** As the capture thread calls them. */
type ReaderName = keyof typeof READER_NAMES;

/**
 * Of the capture thread and its readers. Losses that it counts by itself are read from its counters at the scrape: here they have only
 * their line.
 */
export class CaptureEvents {
  readonly #voice: Voice;
  readonly #metrics: Metrics;

  constructor(voice: Voice, metrics: Metrics) {
    this.#voice = voice;
    this.#metrics = metrics;
  }

  /** @param ms since the start of the process, or of the thread that took the place of another */
  armed(status: CaptureStatus, ms: number): void {
    const kernelLog = this.#metrics.kernelLog === 'log_file' ? 'log file' : 'kmsg';
    this.#metrics.readerUp.set({ reader: this.#metrics.kernelLog }, Number(status.kernelLog.works));
    this.#metrics.readerUp.set({ reader: 'proc_connector' }, Number(status.processEvents.works));
    this.#voice.say('info', 'armed', {
      ms: Math.round(ms),
      processes: status.processes,
      ...(status.restored > 0 && { restored: status.restored }),
    });
    if (!status.kernelLog.works) this.readerBlind(kernelLog, status.kernelLog);
    if (!status.processEvents.works) this.readerBlind('process events', status.processEvents);
  }

  /** The agent ends. */
  nothingToSee(reason: string): void {
    this.#metrics.readerUp.set({ reader: this.#metrics.kernelLog }, 0);
    this.#voice.say('error', 'no kill can be seen here, and nothing else works without that: ending', {
      reason,
    });
  }

  /** Without the kernel's log nothing is seen, for whatever reason: that is an error also for whoever reads only those. */
  readerBlind(
    reader: ReaderName,
    { problem: reason = 'no reason given', cost = 'kills are not seen' }: Reader,
  ): void {
    const name = READER_NAMES[reader];
    this.#metrics.readerUp.set({ reader: name }, 0);
    const level = reader === 'process events' ? 'warn' : 'error';
    this.#voice.repeat(level, `blind ${name}`, `${reader}: blind`, { reason, cost });
  }

  readerRecovered(reader: ReaderName): void {
    const name = READER_NAMES[reader];
    this.#metrics.readerUp.set({ reader: name }, 1);
    this.#voice.forget(`blind ${name}`);
    this.#voice.say('info', `${reader}: works again`);
  }

  /** Capture as a whole has ended: nothing is seen any more. */
  captureFailed(reason: string): void {
    for (const reader of this.#metrics.readers) this.#metrics.readerUp.set({ reader }, 0);
    this.#voice.say('error', 'capture failed', { reason });
  }

  kmsgGap(records: number, sequence: number): void {
    this.#voice.repeat(
      'warn',
      'gap',
      'kmsg: records were overwritten before they were read',
      { sequence },
      records,
    );
  }

  /** By rotation, as a rule. */
  logFileChanged(how: 'renamed' | 'truncated' | 'made anew'): void {
    this.#voice.say('debug', `log file: ${how}, reading on`);
  }

  logFileGap(reason: string): void {
    this.#voice.repeat('warn', `log gap ${reason}`, 'log file: lines may have been missed', { reason });
  }

  overrun(reader: ReaderName): void {
    const message =
      reader === 'kmsg' ? 'kmsg: overrun, reading on' : 'process events: overrun, scanning /proc';
    this.#voice.repeat('warn', `overrun ${reader}`, message);
  }

  /** @param where of the kernel's log, or the incident's id */
  untold(where: string, reason: string): void {
    const message = 'what the kernel told could not be understood: please report this';
    this.#voice.repeat('error', `untold ${reason}`, message, { where, reason });
  }

  noVictim(cgroup: string | undefined, times: number): void {
    this.#metrics.noVictim.inc(times);
    const where = cgroup === undefined ? 'node' : printable(cgroup);
    this.#voice.repeat(
      'warn',
      `no victim ${where}`,
      'the OOM killer found nobody to kill',
      { cgroup: where },
      times,
    );
  }

  journalFailed(reason: string): void {
    this.#voice.repeat('warn', 'journal', 'the process table is not kept for the next start', { reason });
  }

  /** The watch goes on where an earlier run ended: after a record of the kernel's log, or within a file. */
  resumed(place: { readonly after_sequence: number } | { readonly offset: number }): void {
    this.#voice.say('info', 'resumed', { ...place });
  }

  /** Kills that happened while no agent ran, found in what the kernel still holds. */
  missed(incidents: number): void {
    this.#voice.say('warn', 'kills while the agent was down', { incidents });
  }
}
