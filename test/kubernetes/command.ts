import { spawn } from 'node:child_process';
import { PATIENCE_MS } from '../patience.ts';

export interface CommandOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
}

/**
 * @returns what it printed
 * @throws with what it printed on stderr, when it does not end with 0 in time
 */
export async function run(
  [command = '', ...args]: readonly string[],
  { input = '', timeoutMs = PATIENCE_MS }: CommandOptions = {},
): Promise<string> {
  const child = spawn(command, args, { stdio: 'pipe', timeout: timeoutMs });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  // It may end without having read it.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...end) => resolve(end));
  });
  if (code !== 0) throw new Error(`${[command, ...args].join(' ')}: ${signal ?? code}\n${stderr || stdout}`);
  return stdout;
}
