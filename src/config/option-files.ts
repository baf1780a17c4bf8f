import { stat } from 'node:fs';
import { promisify } from 'node:util';
import { readSmallFile } from './small-file.ts';

// node:fs/promises is a module of its own that nothing else needs at the start.
const status = promisify(stat);

interface Known {
  /** Undefined: there was no regular file. */
  readonly version: string | undefined;
  readonly text: string;
}

/**
 * The files that the options of a sink name: secrets (`--NAME-file`), certificates and keys. They are replaced while the agent runs:
 * renamed over, written in place, or by the swap of a symlink (a Secret that is mounted). The rule for all of them, kept by
 * the courier for all sinks: each time there is something to deliver, it is looked whether one has changed; then the sink is closed
 * and opened with what they hold now. Where that cannot be used (half written, a certificate whose key has not come yet)
 * nothing is sent with the old: what is to be delivered waits and is tried again, as when the server is down.
 */
export class OptionFiles {
  readonly #signal: AbortSignal | undefined;
  readonly #known = new Map<string, Known>();

  /** @param signal ends the wait for the content of a pipe */
  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** @throws Error that says in a few words why it cannot be read */
  async read(path: string): Promise<string> {
    // Asked before it is read, so that a change meanwhile is one the next time.
    const version = await versionOf(path);
    const known = this.#known.get(path);
    if (known !== undefined && isStill(known, version)) return known.text;
    const text = await readSmallFile(path, this.#signal);
    this.#known.set(path, { version, text });
    return text;
  }

  get isEmpty(): boolean {
    return this.#known.size === 0;
  }

  /** Whether one of those that were read is not what it was then. */
  async haveChanged(): Promise<boolean> {
    for (const [path, known] of this.#known) if (!isStill(known, await versionOf(path))) return true;
    return false;
  }
}

/** A pipe gives its content once; what was taken away is not replaced yet. */
function isStill(known: Known, version: string | undefined): boolean {
  return version === undefined || version === known.version;
}

/** The kernel sets the time of change by itself, whatever a tool restores of the other times. */
async function versionOf(path: string): Promise<string | undefined> {
  const file = await status(path, { bigint: true }).catch(() => undefined);
  return file?.isFile() ? `${file.dev} ${file.ino} ${file.size} ${file.ctimeNs}` : undefined;
}
