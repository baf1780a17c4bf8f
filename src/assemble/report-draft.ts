import type { KillPrefix, Observation } from '../kernel/observation.ts';
import { parseTaskRow } from '../kernel/oom-report.ts';
import type { KernelVictim, KillReport } from './kill-report.ts';
import { RawLines } from './raw-lines.ts';
import { ReportHead, type Seen } from './report-head.ts';
import { TaskTable } from './task-table.ts';

/** A kill report with what else its lines tell. */
export interface AssembledReport extends KillReport {
  /** The kernel's release, from the `CPU:` line. */
  readonly kernel?: string;
}

export interface DraftRecord {
  readonly sequence: number;
  readonly timestampUs?: number | undefined;
  readonly text: string;
}

export interface Kill {
  readonly record: DraftRecord;
  readonly seen: Seen<'kill'>;
}

const COMMONEST_PAGE_SIZE = 4096;

/** Kept in `raw` whatever else has to go. */
const ESSENTIAL: ReadonlySet<Observation['kind']> = new Set<Observation['kind']>([
  'header',
  'cpu',
  'usage',
  'choice',
  'old-choice',
  'old-cgroups',
  'group',
  'kill',
]);

/** What has been seen so far of one invocation of the OOM killer. */
export class ReportDraft {
  readonly firstSequence: number;
  readonly head = new ReportHead();
  /** `memory.oom.group`: the cgroup all of whose processes are killed. */
  group: string | undefined;
  /** A process that was to be killed was on its way out already: no kill, unless its group is killed. */
  exiting = false;
  /** Records were lost within it, so what follows may belong to another invocation. */
  lossy = false;
  #lastSequence: number;
  #sequenceBeforeKill: number;
  #lastTimestampUs: number | undefined;
  #columns: readonly string[] | undefined;
  #prefix: KillPrefix | undefined;
  readonly #tasks = new TaskTable();
  /** It says who, where the kill does not. */
  #choiceRecord: DraftRecord | undefined;
  #reaped: Seen<'reaped'> | undefined;
  #isAnnounced = false;
  readonly #victims = new Map<number, KernelVictim>();
  #groupMember: Kill | undefined;
  readonly #raw = new RawLines();

  constructor(record: DraftRecord) {
    this.firstSequence = record.sequence;
    this.#lastSequence = record.sequence;
    this.#sequenceBeforeKill = record.sequence;
    this.#lastTimestampUs = record.timestampUs;
  }

  /** Of the last record that belongs to it. */
  get lastTimestampUs(): number | undefined {
    return this.#lastTimestampUs;
  }

  get killed(): boolean {
    return this.#victims.size > 0;
  }

  get victims(): readonly KernelVictim[] {
    return [...this.#victims.values()];
  }

  /** The words before its first kill. */
  get prefix(): KillPrefix | undefined {
    return this.#prefix;
  }

  get victimCount(): number {
    return this.#victims.size;
  }

  /** Whether this process has been killed here already, under its own number or a thread's. */
  knows(pid: number): boolean {
    return this.#victims.has(this.#tasks.processOfThread(pid) ?? pid);
  }

  /** Whether the kill of `pid` can be the one that was announced here. */
  expects(pid: number): boolean {
    const { choice, oldChoice } = this.head;
    const chosen = choice?.pid ?? oldChoice?.pid;
    if (chosen === undefined || chosen === pid || this.#tasks.processOfThread(pid) === chosen) return true;
    // Before 5.1 a child died in place of its parent; later a thread stands for its process.
    return oldChoice !== undefined || !this.lossy;
  }

  take(record: DraftRecord, seen: Observation): void {
    if (this.#takes(record, seen)) this.#keep(record, seen.kind);
  }

  /** Hands over the kill that was printed last, if it came after the group's line and so may be another invocation's. */
  giveLastKill(): Kill | undefined {
    const last = this.#groupMember;
    if (last === undefined || this.exiting) return undefined;
    this.#groupMember = undefined;
    for (const [pid, victim] of this.#victims)
      if (victim.sequence === last.record.sequence) this.#victims.delete(pid);
    this.#raw.takeBack(last.record.text);
    this.#lastSequence = this.#sequenceBeforeKill;
    return last;
  }

  /** The kernel says whom it chose immediately before it kills: the line that says so is missing. */
  killChosen(): void {
    const { choice, oldChoice } = this.head;
    const chosen = choice ?? oldChoice ?? this.#reaped;
    if (this.killed || this.exiting || chosen === undefined || this.#choiceRecord === undefined) return;
    this.#isAnnounced = true;
    this.#kill({
      record: this.#choiceRecord,
      seen: { kind: 'kill', pid: chosen.pid, name: chosen.name, memory: {} },
    });
  }

  /** @returns undefined when nobody was killed */
  report(): AssembledReport | undefined {
    const victims = this.victims;
    const first = victims[0];
    if (first === undefined) return undefined;
    const unknown: Record<string, string> = {};
    const pageSize =
      this.head.pageSize ?? this.#tasks.pageSize(first.pid, first.memory?.total_vm) ?? COMMONEST_PAGE_SIZE;
    const memory = this.head.memory(pageSize);
    const oom = this.head.oom(this.#prefix, this.group !== undefined, unknown);
    if (this.#isAnnounced) unknown.victims = this.#announcement();
    if (this.#tasks.cut) unknown.tasks = `the 200 with the most memory of ${this.#tasks.seen}`;
    if (this.#raw.dropped > 0) unknown.raw = `${this.#raw.dropped} more lines are left out`;
    return {
      firstSequence: this.firstSequence,
      lastSequence: this.#lastSequence,
      ...(first.timestampUs !== undefined && { timestampUs: first.timestampUs }),
      oom,
      victims,
      ...(Object.keys(memory).length > 0 && { memory }),
      ...(this.#tasks.seen > 0 && { tasks: this.#tasks.tasks(pageSize) }),
      unknown,
      raw: this.#raw.lines,
      ...(this.head.kernel !== undefined && { kernel: this.head.kernel }),
    };
  }

  #announcement(): string {
    const { choice, oldChoice } = this.head;
    const known = (choice ?? oldChoice) ? 'whom the kernel chose' : 'whose memory the kernel freed';
    return `the log says ${known}, and not that it was killed${oldChoice ? ': a child may have died in its place' : ''}`;
  }

  #takes(record: DraftRecord, seen: Observation): boolean {
    switch (seen.kind) {
      case 'task-columns':
        if (this.#columns !== undefined) return false;
        this.#columns = seen.columns;
        return true;
      case 'task-row': {
        const row = this.#columns && parseTaskRow(seen.text, this.#columns);
        if (row) this.#tasks.add(row);
        return row !== undefined;
      }
      case 'group':
        this.group = seen.cgroup;
        for (const [pid, victim] of this.#victims) this.#victims.set(pid, { cgroup: seen.cgroup, ...victim });
        return true;
      case 'already-exiting':
        this.exiting = true;
        return true;
      case 'choice':
      case 'old-choice':
        this.#choiceRecord = record;
        return this.head.take(seen);
      case 'reaped':
        if (this.#choiceRecord !== undefined || this.killed) return false;
        this.#choiceRecord = record;
        this.#reaped = seen;
        return true;
      case 'kill':
        this.#kill({ record, seen });
        return true;
      default:
        return this.head.take(seen);
    }
  }

  #keep(record: DraftRecord, kind: Observation['kind']): void {
    if (kind === 'kill') this.#sequenceBeforeKill = this.#lastSequence;
    this.#lastSequence = Math.max(this.#lastSequence, record.sequence);
    this.#lastTimestampUs = record.timestampUs ?? this.#lastTimestampUs;
    this.#raw.add(record.text, ESSENTIAL.has(kind));
  }

  #kill(kill: Kill): void {
    this.#groupMember = undefined;
    // The kernel prints the first victim of a group twice.
    if (this.knows(kill.seen.pid)) return;
    const victim = this.#victim(kill);
    if (this.#victims.size === 0) this.#prefix = kill.seen.prefix ?? this.head.oldChoice?.prefix;
    if (this.group !== undefined) this.#groupMember = kill;
    this.#victims.set(victim.pid, victim);
  }

  #victim({ record, seen }: Kill): KernelVictim {
    const { choice, oldChoice, taskCgroup, childCgroup } = this.head;
    const first = this.#victims.size === 0;
    const process = this.#tasks.processOfThread(seen.pid) ?? (first ? this.#threadOfChoice(seen) : undefined);
    const pid = process ?? seen.pid;
    const named = choice ?? oldChoice;
    const chosen = pid === named?.pid;
    const cgroup = (chosen ? taskCgroup : first ? childCgroup : undefined) ?? this.group;
    const userId = seen.userId ?? (chosen ? choice?.userId : undefined);
    const oomScoreAdj = seen.oomScoreAdj ?? this.#tasks.find(seen.pid)?.oomScoreAdj;
    return {
      pid,
      ...(process !== undefined && { threadId: seen.pid }),
      name: process !== undefined && chosen ? named.name : seen.name,
      ...(userId !== undefined && { userId }),
      ...(cgroup !== undefined && { cgroup }),
      ...(Object.keys(seen.memory).length > 0 && { memory: seen.memory }),
      ...(oomScoreAdj !== undefined && { oomScoreAdj }),
      sequence: record.sequence,
      ...(record.timestampUs !== undefined && { timestampUs: record.timestampUs }),
    };
  }

  /** When a process's first thread has exited, the kernel chooses the process and names one of its living threads. */
  #threadOfChoice(seen: Seen<'kill'>): number | undefined {
    const { choice, oldChoice } = this.head;
    if (choice === undefined || oldChoice !== undefined || choice.pid === seen.pid || this.exiting)
      return undefined;
    const another = this.#tasks.find(seen.pid)?.tgid === seen.pid;
    return another || this.lossy || (seen.userId ?? choice.userId) !== choice.userId ? undefined : choice.pid;
  }
}
