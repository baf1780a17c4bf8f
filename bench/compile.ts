import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const compiled = new Map<string, string>();

/** Compiles one of the C programs beside this file, once; the result goes when this process ends. */
export function compile(source: string): string {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const program = path.join(folder, path.parse(source).name);
  execFileSync('cc', ['-O2', '-o', program, path.join(import.meta.dirname, source)]);
  compiled.set(source, program);
  return program;
}
