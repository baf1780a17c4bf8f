import type { Task } from '../incident.ts';
import type { TaskRow } from '../kernel/oom-report.ts';

const MOST_TASKS = 200;
const PAGE_SIZES = [4096, 16_384, 65_536];

/** The kernel's table of candidates. Of a long one it keeps the biggest, so that memory stays bounded. */
export class TaskTable {
  #rows: TaskRow[] = [];
  #seen = 0;
  /** Rows about a thread whose process's first thread has exited: thread -> process. */
  readonly #processOf = new Map<number, number>();

  add(row: TaskRow): void {
    // Two daemons that write to one file.
    if (this.#rows.at(-1)?.pid === row.pid) return;
    this.#seen += 1;
    this.#rows.push(row);
    if (row.pid !== row.tgid && this.#processOf.size < MOST_TASKS) this.#processOf.set(row.pid, row.tgid);
    if (this.#rows.length >= 4 * MOST_TASKS) this.#keepBiggest();
  }

  get seen(): number {
    return this.#seen;
  }

  get cut(): boolean {
    return this.#seen > MOST_TASKS;
  }

  /** The process that a thread belongs to, where the table names it by that thread. */
  processOfThread(threadId: number): number | undefined {
    return this.#processOf.get(threadId);
  }

  find(pid: number): TaskRow | undefined {
    return this.#rows.find((row) => row.tgid === pid || row.pid === pid);
  }

  /**
   * The kernel's page size, by the one process that it prints in pages (the table) and in kB (the kill). Its other threads may
   * map more or less memory in between.
   *
   * @param totalVm bytes
   */
  pageSize(pid: number, totalVm: number | undefined): number | undefined {
    const pages = this.find(pid)?.totalVmPages;
    if (!totalVm || !pages) return undefined;
    return PAGE_SIZES.find((size) => Math.abs(pages * size - totalVm) < totalVm / 4);
  }

  tasks(pageSize: number): Task[] {
    this.#keepBiggest();
    return this.#rows.map((row) => ({
      pid: row.tgid,
      name: row.name,
      total_vm: bytes(row.totalVmPages, pageSize),
      rss: bytes(row.rssPages, pageSize),
      swap: bytes(row.swapPages, pageSize),
      oom_score_adj: row.oomScoreAdj,
    }));
  }

  #keepBiggest(): void {
    if (this.#rows.length <= MOST_TASKS) return;
    this.#rows = this.#rows.sort((a, b) => b.rssPages - a.rssPages).slice(0, MOST_TASKS);
  }
}

function bytes(pages: number, pageSize: number): number {
  return Math.min(Math.max(0, pages) * pageSize, Number.MAX_SAFE_INTEGER);
}
