import { appendFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { temporaryFolder } from '../temporary-folder.ts';

/** A log file, for --log-file, in which a test lets kills happen: for what is not about the kills. */
export class KillLog {
  readonly file: string;
  #pid = 3_319_000;

  constructor(t: { after(clean: () => void): void }) {
    this.file = path.join(temporaryFolder(t, 'oom-witness-log'), 'messages');
    writeFileSync(this.file, '');
  }

  kill(): void {
    appendFileSync(
      this.file,
      `${new Date().toISOString()} ${hostname()} kernel: Out of memory: Killed process ${++this.#pid} (victim) total-vm:17404kB, anon-rss:16256kB, file-rss:716kB, shmem-rss:0kB\n`,
    );
  }
}
