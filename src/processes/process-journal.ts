/**
 * The process table on disk, so that a victim which was seen alive before the agent died is known after its restart.
 *
 * An append-only file of JSON arrays, one line each, in the order in which things happened: a line is a fork, an exit,
 * or what a process is. It is written without fsync: it survives `kill -9` of the agent in the page cache, and it need
 * not survive the machine, because another boot has other processes (the first line names the boot). When it has grown
 * enough it is written afresh from the table, beside the old one until that is done.
 *
 * A command line loses its secrets when its line is written, which short-lived processes never get to. A flush stops
 * after BUDGET_MS, and the next one waits REST times as long as it took; what is left stays in its order. So huge command
 * lines make the journal late, and nothing else; and so does a disk that is slow to take them. What waits is bounded: its
 * command lines count with those of the table (images.ts), and when it is too much the journal is written afresh instead: the
 * table knows without it who is there.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { BackgroundFile, type WritingIo } from '../kernel/background-file.ts';
import { type GivenPids, givenAway } from '../kernel/given-pids.ts';
import type { ProcFiles } from '../kernel/proc-files.ts';
import type { Image, Images } from './images.ts';
import { type Line, parseLine } from './journal-line.ts';
import type { JournalReplay } from './journal-replay.ts';
import type { Entry } from './process-entry.ts';
import type { ProcessJournal, ProcessTable } from './process-table.ts';

const FORMAT = 1;
/** Long enough to write a busy machine's short-lived processes not at all, short enough to lose nearly nothing. */
const FLUSH_EVERY_MS = 20;
/** Of one flush, and of the last one; its last line may take longer. */
const BUDGET_MS = 4;
const LAST_BUDGET_MS = 1_000;
/** Whatever a line takes, four fifths of the time are left for others. */
const REST = 4;
/** 100,000 lines, or 4,000 with command lines of 4 KiB, of which one process can execute as many as it likes. */
const MOST_PENDING_BYTES = 16 << 20;
/** Of a line without its command line; an estimate. */
const LINE_BYTES = 160;
/** How old the count of given numbers is at most when something is written; reading /proc/stat takes up to some ms on a large machine. */
const COUNT_EVERY_MS = 10_000;
const SIGKILL = 9;
/** After the disk failed. */
const DISK_RETRY_MS = 60_000;
const SMALLEST_REWRITE = 4 << 20;
const GROWTH = 4;
/** A child that is going to call exec has done so by then. */
const FORK_TO_EXEC_MS = 1_000;
/** A journal larger than this is none of ours: the rewrite keeps it far below. */
const LARGEST = 128 << 20;
const NEWLINE = 0x0a;

/** What a process was when the journal was told of it. */
interface Sight extends Pick<Entry, 'pid' | 'parentPid' | 'start' | 'source'> {
  readonly image: Image;
  readonly readAt: number;
  /** Of its command line. */
  readonly bytes: number;
}

export class ProcessJournalFile implements ProcessJournal {
  readonly #path: string;
  readonly #bootId: string;
  readonly #images: Pick<Images, 'retain' | 'release'>;
  readonly #files: Pick<ProcFiles, 'givenPids' | 'pidLimits'>;
  readonly #now: () => number;
  readonly #failed: (error: Error) => void;
  readonly #io: WritingIo | undefined;
  #file: BackgroundFile | undefined;
  /** What is to be written; undefined: taken back. */
  #pending: (Line | Sight | undefined)[] = [];
  /** How many lines came before the first pending one. */
  #settled = 0;
  /** Which lines are those of the processes that were forked and of which none has been written. */
  readonly #fresh = new Map<number, number[]>();
  readonly #freshParents = new Set<number>();
  /** CLOCK_MONOTONIC, ms */
  #flushAfter = 0;
  /** CLOCK_MONOTONIC, ms */
  #countAfter = 0;
  /** How many lines a rewrite has when it is complete; undefined: it is. */
  #completeAt: number | undefined;
  /** Something was not written to the file: another one is begun as soon as the disk has taken the rest. */
  #lacks = false;
  /** Bytes. */
  #rewriteAt = SMALLEST_REWRITE;
  /** Without those of a rewrite, whose command lines are the table's. */
  #pendingBytes = 0;

  /**
   * @param images counts what is pending
   * @param now CLOCK_MONOTONIC, ms
   * @param failed called when the journal cannot be written; the agent goes on without it and tries again later
   * @param io without it, the disk is waited for
   */
  constructor(
    path: string,
    bootId: string,
    images: Pick<Images, 'retain' | 'release'>,
    files: Pick<ProcFiles, 'givenPids' | 'pidLimits'>,
    now: () => number,
    failed: (error: Error) => void,
    io?: WritingIo,
  ) {
    this.#path = path;
    this.#bootId = bootId;
    this.#images = images;
    this.#files = files;
    this.#now = now;
    this.#failed = failed;
    this.#io = io;
  }

  image({ pid, parentPid, start, source, image }: Entry): void {
    const { readAt, length: bytes } = image;
    this.#append(pid, { pid, parentPid, start, source, image, readAt, bytes });
  }

  fork(pid: number, parentPid: number, time: number): void {
    if (this.#file === undefined) return;
    this.#fresh.set(pid, []);
    this.#freshParents.add(parentPid);
    this.#append(pid, ['fork', pid, parentPid, time]);
  }

  /** Most processes live for milliseconds and die by themselves: those leave no line at all. */
  exit(pid: number, status: number, time: number): void {
    const lines = this.#fresh.get(pid);
    if (lines !== undefined && status !== SIGKILL && !this.#freshParents.has(pid)) {
      for (const line of lines) this.#takeBack(line - this.#settled);
      this.#fresh.delete(pid);
    } else this.#append(pid, ['exit', pid, status, time]);
  }

  /** When `flush` will have something to do; CLOCK_MONOTONIC, ms. */
  get dueAt(): number {
    const isIdle = this.#pending.length === 0 && !this.#file?.isWriting;
    return isIdle ? Number.POSITIVE_INFINITY : this.#flushAfter;
  }

  /** Tells again what the last run was told, if that was in this boot. @returns how many lines were read */
  restore(replay: JournalReplay): number {
    const bytes = readJournal(this.#path);
    if (bytes === undefined) return 0;
    let count = 0;
    let last = 0;
    let given: { pids: GivenPids; at: number } | undefined;
    // Line by line: the whole as one text and its lines as another would be three times the file.
    for (let from = 0, to: number; from < bytes.length; from = to + 1) {
      to = bytes.indexOf(NEWLINE, from);
      if (to < 0) break;
      const text = bytes.toString('utf8', from, to);
      if (from === 0) {
        if (!sameBoot(text, this.#bootId)) return 0;
        continue;
      }
      const line = parseLine(text);
      if (line === undefined) continue;
      if (line[0] === 'pids') given = { pids: { count: line[1], last: line[2] }, at: line[3] };
      else tell(line, replay);
      last = Math.max(last, line[0] === 'is' ? line[5] : line[3]);
      count++;
    }
    replay.distrustStartsSince(last - FORK_TO_EXEC_MS);
    const now = this.#files.givenPids();
    const limits = this.#files.pidLimits();
    if (given && now && limits) replay.distrustNumbers(given.at, givenAway(given.pids, now, limits));
    return count;
  }

  /** Starts afresh with what the table holds; until all of that is written, the next run reads the old journal. */
  rewrite(table: ProcessTable): void {
    this.#settle(this.#pending.length);
    this.close();
    try {
      // What stands there, be it a link or a pipe, is not written to.
      rmSync(this.#newPath, { force: true });
      const fd = openSync(this.#newPath, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
      this.#file = new BackgroundFile(fd, this.#io);
      this.#countAfter = 0;
      table.tell(this);
      this.#completeAt = this.#settled + this.#pending.length;
      this.#rewriteAt = Number.POSITIVE_INFINITY;
      this.#lacks = false;
      this.#pendingBytes = 0;
      const firstLine = `${JSON.stringify({ format: FORMAT, boot_id: this.#bootId })}\n`;
      this.#writePending(BUDGET_MS, firstLine);
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /**
   * Writes what has been told since the last flush, in one write(2) and within BUDGET_MS; does nothing before it is due. So
   * what happened in the last FLUSH_EVERY_MS before a `kill -9` is not in the journal; the next run's scan finds whoever is
   * still there.
   *
   * @param now CLOCK_MONOTONIC, ms; infinity: the last flush, due in any case, and LAST_BUDGET_MS
   */
  flush(table: ProcessTable, now: number): void {
    const isLast = now === Number.POSITIVE_INFINITY;
    if (this.#file === undefined) {
      if (now >= this.#flushAfter && !isLast) this.rewrite(table);
      return;
    }
    if (now < this.dueAt) return;
    try {
      if (!this.#isWritten(isLast ? LAST_BUDGET_MS : 0)) this.#flushAfter = this.#now() + FLUSH_EVERY_MS;
      else if (this.#file.size > this.#rewriteAt && !isLast) this.rewrite(table);
      else if (!this.#lacks) this.#writePending(isLast ? LAST_BUDGET_MS : BUDGET_MS);
      if (isLast) this.#isWritten(LAST_BUDGET_MS);
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    if (this.#pendingBytes > MOST_PENDING_BYTES) this.#startOver();
    if (this.#lacks && !this.#file?.isWriting) this.rewrite(table);
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  #append(pid: number, line: Line | Sight): void {
    if (this.#file === undefined) return;
    this.#fresh.get(pid)?.push(this.#settled + this.#pending.length);
    this.#pending.push(line);
    this.#pendingBytes += bytesOf(line);
    if ('image' in line) this.#images.retain(line.image);
  }

  #takeBack(index: number): void {
    const line = this.#pending[index];
    this.#pending[index] = undefined;
    if (line === undefined) return;
    const isOfRewrite = this.#completeAt !== undefined && this.#settled + index < this.#completeAt;
    if (!isOfRewrite) this.#pendingBytes -= bytesOf(line);
    if ('image' in line) this.#images.release(line.image);
  }

  #writePending(budget: number, firstLine = ''): void {
    const startedAt = this.#now();
    let text = firstLine + this.#countLine(startedAt);
    let count = 0;
    for (const line of this.#pending) {
      if (line !== undefined) text += lineText('image' in line ? lineOf(line) : line);
      count++;
      if (this.#now() - startedAt >= budget) break;
    }
    this.#settle(count);
    if (text !== '') this.#file?.write(text);
    this.#isWritten(0);
    const now = this.#now();
    this.#flushAfter = now + Math.max(FLUSH_EVERY_MS, REST * (now - startedAt));
  }

  /** Whether the disk has taken what it was given, after this time at most; a complete rewrite is then the journal. */
  #isWritten(waitMs: number): boolean {
    if (!this.#file?.isWritten(waitMs)) return false;
    if (this.#completeAt !== undefined && this.#settled >= this.#completeAt)
      this.#replaceOld(this.#file.size);
    return true;
  }

  /** As soon as the disk has taken what it was given; nothing is added to that, which lacks something now. */
  #startOver(): void {
    this.#settle(this.#pending.length);
    this.#pendingBytes = 0;
    this.#completeAt = Number.POSITIVE_INFINITY;
    this.#lacks = true;
  }

  /** Before the lines that it is older than. */
  #countLine(now: number): string {
    if (now < this.#countAfter) return '';
    this.#countAfter = now + COUNT_EVERY_MS;
    const given = this.#files.givenPids();
    return given === undefined ? '' : lineText(['pids', given.count, given.last, now]);
  }

  /** Nothing more is to be done with so many lines. */
  #settle(count: number): void {
    for (let index = 0; index < count; index++) {
      const line = this.#pending[index];
      if (line === undefined) continue;
      this.#takeBack(index);
      this.#fresh.delete('image' in line ? line.pid : line[1]);
      if ('image' in line || line[0] !== 'fork') continue;
      // A parent's own first line stands before this one.
      this.#fresh.delete(line[2]);
      this.#freshParents.delete(line[2]);
    }
    this.#pending = this.#pending.slice(count);
    this.#settled += count;
    if (this.#pending.length === 0) this.#freshParents.clear();
  }

  get #newPath(): string {
    return `${this.#path}.new`;
  }

  #replaceOld(size: number): void {
    renameSync(this.#newPath, this.#path);
    this.#completeAt = undefined;
    this.#rewriteAt = Math.max(SMALLEST_REWRITE, Math.min(size * GROWTH, LARGEST / 2));
  }

  #fail(error: Error): void {
    this.#settle(this.#pending.length);
    this.close();
    this.#flushAfter = this.#now() + DISK_RETRY_MS;
    this.#failed(error);
  }
}

/** Undefined where there is none. Opening a pipe would wait for its writer, and reading a device has no end. */
function readJournal(path: string): Buffer | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const status = fstatSync(fd);
    return status.isFile() && status.size <= LARGEST ? readFileSync(fd) : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function bytesOf(line: Line | Sight): number {
  return LINE_BYTES + ('image' in line ? line.bytes : 0);
}

function lineText(line: Line): string {
  return `${JSON.stringify(line)}\n`;
}

function lineOf({ pid, parentPid, start, source, readAt, image }: Sight): Line {
  return [
    'is',
    pid,
    parentPid ?? null,
    start ?? null,
    source,
    readAt,
    image.args?.split('\0') ?? null,
    image.executable ?? null,
    image.cgroup ?? null,
    image.truncated,
    image.redacted,
  ];
}

function tell(line: Exclude<Line, ['pids', ...unknown[]]>, replay: JournalReplay): void {
  switch (line[0]) {
    case 'fork':
      replay.fork(line[1], line[2], line[3]);
      return;
    case 'exit':
      replay.exit(line[1], line[2], line[3]);
      return;
    case 'is':
      replay.image({
        pid: line[1],
        parentPid: line[2] ?? undefined,
        start: line[3] ?? undefined,
        source: line[4],
        readAt: line[5],
        args: line[6] ?? undefined,
        executable: line[7] ?? undefined,
        cgroup: line[8] ?? undefined,
        truncated: line[9],
        redacted: line[10],
      });
      return;
  }
}

function sameBoot(line: string, bootId: string): boolean {
  try {
    const header = JSON.parse(line);
    return header.format === FORMAT && header.boot_id === bootId;
  } catch {
    return false;
  }
}
