import { close, fdatasync, openSync } from 'node:fs';

/**
 * Brings the write-ahead log to the disk without stopping the main thread, so that a power cut (or the hard reset that often
 * follows an OOM kill) takes at most the incidents of the last few milliseconds. Requests that come while a sync is
 * under way are answered together by the next one.
 *
 * Opening the log a second time is safe: SQLite keeps its POSIX locks on the database and the `-shm` file, not on the log.
 */
export class WalSync {
  readonly #path: string;
  readonly #failed: (reason: string) => void;
  #file: number | undefined;
  #running = false;
  #again = false;
  #closed = false;

  constructor(databasePath: string, failed: (reason: string) => void) {
    this.#path = `${databasePath}-wal`;
    this.#failed = failed;
  }

  request(): void {
    if (this.#closed) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    try {
      this.#file ??= openSync(this.#path, 'r+');
    } catch (error) {
      this.#failed((error as Error).message);
      return;
    }
    this.#running = true;
    fdatasync(this.#file, (error) => {
      this.#running = false;
      if (error) this.#failed(error.message);
      if (this.#closed) this.#release();
      else if (this.#again) {
        this.#again = false;
        this.request();
      }
    });
  }

  close(): void {
    this.#closed = true;
    if (!this.#running) this.#release();
  }

  #release(): void {
    if (this.#file !== undefined) close(this.#file, () => {});
    this.#file = undefined;
  }
}
