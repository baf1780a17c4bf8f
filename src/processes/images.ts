/**
 * What processes are: read at exec, shared by forked children, bounded in all.
 *
 * A command line is kept as it was read, in the memory of this thread only, and its secrets are taken out once: when it
 * is asked for, and there is no other way to it. A process that nobody asks for costs no redaction (100 kB: 1 ms, hostile
 * ones 30 ms), so that a storm of huge command lines does not keep us from reading those of others.
 */
import type { CommandLine, ProcFiles } from '../kernel/proc-files.ts';
import { detached } from '../kernel/proc-files.ts';

const MAX_BYTES = 8 << 20;
/** What is left of a long command line for which there is no room; with very many of them, which the heap of this thread must hold. */
const SHORT_COMMAND = 1024;
const SHORTEST_COMMAND = 256;
const VERY_FULL_BYTES = 32 << 20;
/** Until its secrets are taken out, so many times as much is kept: what makes a word a secret may come after it (`| chpasswd`). */
const LOOK_AHEAD = 4;

const DROPPED = 'it had dropped its memory, or kept it locked, when its command line was read';

/** Arguments joined by NUL; undefined: there is none. */
interface Redacted {
  readonly args: string | undefined;
  readonly redacted: number;
  /** Of what was read; never leaves this thread. Absent: an earlier run read it. */
  readonly fingerprint?: string;
}

interface Unredacted {
  readonly args: string;
  readonly redact: (image: Image) => Redacted;
}

type Circumstances = Pick<Image, 'missing' | 'executable' | 'cgroup' | 'truncated' | 'readAt'>;

/** What one exec made of a process; shared by the children that it forks. */
export class Image {
  /** Why there are no arguments; undefined: there are. Unlike `args`, it costs nothing to ask. */
  readonly missing: string | undefined;
  readonly executable: string | undefined;
  readonly cgroup: string | undefined;
  readonly truncated: boolean;
  readAt: number;
  references = 0;
  #command: Redacted | Unredacted;

  constructor(command: Redacted | Unredacted, circumstances: Circumstances) {
    this.#command = command;
    this.missing = circumstances.missing;
    this.executable = circumstances.executable;
    this.cgroup = circumstances.cgroup;
    this.truncated = circumstances.truncated;
    this.readAt = circumstances.readAt;
  }

  /** Arguments joined by NUL, secrets taken out; undefined: see `missing`. */
  get args(): string | undefined {
    return this.#redacted().args;
  }

  /** How many secrets were taken out. */
  get redacted(): number {
    return this.#redacted().redacted;
  }

  /** Of the arguments, as they are kept now. */
  get length(): number {
    return this.#command.args?.length ?? 0;
  }

  /** The same as `args === other.args`; what was read twice in one run is not redacted to be compared. */
  hasArgsOf(other: Image): boolean {
    const isUnredacted = 'redact' in this.#command && 'redact' in other.#command;
    if (isUnredacted && this.#command.args === other.#command.args) return true;
    const fingerprint = this.#fingerprint;
    if (fingerprint !== undefined && fingerprint === other.#fingerprint) return true;
    if (this.args !== other.args) return false;
    // An earlier run read it, or only a secret is another one: the next time the fingerprint tells.
    other.#command = this.#command;
    return true;
  }

  get #fingerprint(): string | undefined {
    return 'redact' in this.#command ? fingerprintOf(this.#command.args) : this.#command.fingerprint;
  }

  #redacted(): Redacted {
    if ('redact' in this.#command) this.#command = this.#command.redact(this);
    return this.#command;
  }
}

export interface StoredImage {
  readonly args: readonly string[] | undefined;
  readonly executable: string | undefined;
  readonly cgroup: string | undefined;
  readonly truncated: boolean;
  readonly redacted: number;
  readonly readAt: number;
}

export interface ArgumentRedactor {
  args(args: readonly string[]): { args: readonly string[]; count: number };
}

/** Reads images, and counts what those in use hold. */
export class Images {
  readonly #files: ProcFiles;
  readonly #redactor: ArgumentRedactor;
  #bytes = 0;

  constructor(files: ProcFiles, redactor: ArgumentRedactor) {
    this.#files = files;
    this.#redactor = redactor;
  }

  /** Of the command lines in use. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param pid a process, or a living thread of one */
  read(pid: number, now: number): Image {
    return this.#imageOf(pid, this.#files.commandLine(pid), now);
  }

  /** Of who has just executed something. */
  readAtOnce(pid: number, now: number): Image {
    return this.#imageOf(pid, this.#files.commandLineAtOnce(pid), now);
  }

  #imageOf(pid: number, command: CommandLine | undefined, now: number): Image {
    if (command === undefined)
      return new Image(
        { args: undefined, redacted: 0 },
        {
          missing: DROPPED,
          executable: undefined,
          cgroup: this.#files.cgroup(pid),
          truncated: false,
          readAt: now,
        },
      );
    const args = command.args.join('\0');
    const room = this.#roomFor(args);
    const cut = room < args.length;
    return new Image(cut ? this.#cut(args, room) : this.#unredacted(args), {
      missing: undefined,
      executable: this.#files.executable(pid),
      cgroup: this.#files.cgroup(pid),
      truncated: cut || command.truncated,
      readAt: now,
    });
  }

  /** What an earlier run knew, without its secrets; the same bounds hold. */
  restore(record: StoredImage): Image {
    const { executable, cgroup, redacted, readAt } = record;
    const args = record.args?.join('\0');
    const room = args === undefined ? 0 : this.#roomFor(args);
    const cut = args !== undefined && room < args.length;
    return new Image(
      { args: cut ? short(args, room) : args, redacted },
      {
        missing: args === undefined ? DROPPED : undefined,
        executable,
        cgroup,
        truncated: cut || record.truncated,
        readAt,
      },
    );
  }

  #roomFor({ length }: string): number {
    if (length <= SHORT_COMMAND || this.#bytes + length <= MAX_BYTES) return length;
    return this.#bytes < VERY_FULL_BYTES ? SHORT_COMMAND : SHORTEST_COMMAND;
  }

  /** One more has it. */
  retain(image: Image): Image {
    if (image.references++ === 0) this.#bytes += image.length;
    return image;
  }

  /** One less has it. */
  release(image: Image): void {
    if (--image.references === 0) this.#bytes -= image.length;
  }

  #cut(args: string, most: number): Unredacted {
    return this.#unredacted(wholeWords(args, most * LOOK_AHEAD), (redacted) => short(redacted, most));
  }

  /** @param cut what is kept of it without its secrets */
  #unredacted(args: string, cut = (redacted: string) => redacted): Unredacted {
    const redact = (image: Image) => {
      const { args: redacted, count } = this.#redactor.args(args.split('\0'));
      const kept = cut(count === 0 ? args : redacted.join('\0'));
      if (image.references > 0) this.#bytes += kept.length - args.length;
      return { args: kept, redacted: count, fingerprint: fingerprintOf(args) };
    };
    return { args, redact };
  }
}

/** Others in each run, so that nobody can make up two command lines that have the same fingerprint. */
const SEEDS = [Math.random() * 2 ** 32, Math.random() * 2 ** 32] as const;

/** Two hashes in the manner of FNV-1a. A collision leaves a new title unnoticed, and node:crypto would cost an idle thread 0.8 MB. */
function fingerprintOf(args: string): string {
  let [a, b]: [number, number] = [...SEEDS];
  for (let at = 0; at < args.length; at++) {
    const code = args.charCodeAt(at);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x9e3779b1);
  }
  return `${args.length} ${a} ${b}`;
}

/** Only of what is redacted: half a secret's key would let the other half through. */
function short(args: string, most: number): string {
  return args.length > most ? detached(args.slice(0, most)).toWellFormed() : args;
}

/** Not half a word, for what makes a word a secret may be at its end: `//user:password@`. */
function wholeWords(args: string, most: number): string {
  if (args.length <= most) return args;
  let end = most;
  while (end > 0 && !/[\0\s]/.test(args[end] as string)) end--;
  return detached(args.slice(0, end));
}
