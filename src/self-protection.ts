import { readFileSync, writeFileSync } from 'node:fs';

/** Nearly never chosen (proc_pid_oom_score_adj(5)); -1000 would make a leak of ours unkillable. */
const WANTED = -999;

/**
 * Asks the kernel to choose nearly anybody else before this process.
 *
 * @returns why that was refused, or undefined
 */
export function protectSelf(procRoot: string): string | undefined {
  const file = `${procRoot}/self/oom_score_adj`;
  try {
    if (Number(readFileSync(file, 'utf8')) <= WANTED) return undefined;
    writeFileSync(file, String(WANTED));
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM') return message;
    return `lowering oom_score_adj to ${WANTED} needs CAP_SYS_RESOURCE: a node-wide shortage may kill the agent itself`;
  }
}
