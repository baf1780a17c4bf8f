import {
  appendFileSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { KERN, parseKmsgRecord } from '../../src/kernel/kmsg-record.ts';

/** A syslog daemon: appends what the kernel logs to a file, when it is told to. */
export class Syslogd {
  readonly file: string;
  readonly #kmsg: number;

  constructor(t: TestContext) {
    const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-log-'));
    this.file = path.join(folder, 'messages');
    writeFileSync(this.file, `${new Date().toISOString()} ${hostname()} systemd[1]: Started.\n`);
    this.#kmsg = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK);
    t.after(() => {
      closeSync(this.#kmsg);
      rmSync(folder, { recursive: true, force: true });
    });
    this.#drain();
  }

  /** @param isWanted by a record's text; default: all of them, those of other kills on this machine included */
  write(isWanted: (text: string) => boolean = () => true): void {
    for (const text of this.#drain().filter(isWanted)) this.append(text);
  }

  /** As if the kernel had logged it. */
  append(text: string, time = new Date()): void {
    appendFileSync(this.file, `${time.toISOString()} ${hostname()} kernel: ${text}\n`);
  }

  rotate(): void {
    renameSync(this.file, `${this.file}.1`);
    writeFileSync(this.file, '');
  }

  #drain(): string[] {
    const buffer = Buffer.alloc(16 << 10);
    const lines: string[] = [];
    for (;;)
      try {
        const record = parseKmsgRecord(buffer.subarray(0, readSync(this.#kmsg, buffer)));
        if (record?.facility === KERN)
          lines.push(`[${(record.timestampUs / 1e6).toFixed(6)}] ${record.text.replaceAll('\n', '#012')}`);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EAGAIN') return lines;
        // Overwritten meanwhile: the next read goes on with what is left.
        if (code !== 'EPIPE') throw error;
      }
  }
}
