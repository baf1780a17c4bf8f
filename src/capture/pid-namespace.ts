/** Whether the processes of /proc have the numbers that the kernel's log gives them: only in the initial pid namespace. */
import { readlinkSync } from 'node:fs';

/** The same on every kernel since 3.8 (PROC_PID_INIT_INO in include/linux/proc_ns.h). */
const INITIAL = 'pid:[4026531836]';

/**
 * Elsewhere process 4711 of the log is another process than 4711 of /proc: taken for it, a kill is told with the command
 * line of somebody who lives.
 *
 * @returns what that means and how to mend it, or undefined in the initial namespace and where it cannot be told
 */
export function foreignPidNamespace(procRoot: string): string | undefined {
  // Process 1 tells whose /proc this is; we ourselves may be somewhere else.
  for (const process of ['1', 'self'])
    try {
      if (readlinkSync(`${procRoot}/${process}/ns/pid`) === INITIAL) return undefined;
      return "this pid namespace is not the kernel's: processes have other numbers here than in its log. In a container: hostPID: true";
    } catch {
      // Process 1 may not be looked at without CAP_SYS_PTRACE.
    }
  return undefined;
}
