import { NewerSchemaError } from './schema.ts';

/** SQLITE_ERROR (a table is missing: not our database), SQLITE_CORRUPT, SQLITE_FORMAT, SQLITE_NOTADB; https://sqlite.org/rescode.html */
const DAMAGE: ReadonlySet<number> = new Set([1, 11, 24, 26]);

export function sqliteCode(error: unknown): number | undefined {
  const { code, errcode } = error as { code?: string; errcode?: number };
  return code === 'ERR_SQLITE_ERROR' && errcode !== undefined ? errcode & 0xff : undefined;
}

export function isDiskTrouble(error: unknown): boolean {
  return sqliteCode(error) !== undefined || isDamage(error);
}

/** Waiting does not help: the content is wrong. (A SyntaxError is an incident that is no JSON any more.) */
export function isDamage(error: unknown): boolean {
  if (error instanceof SyntaxError || error instanceof NewerSchemaError) return true;
  return DAMAGE.has(sqliteCode(error) ?? 0);
}
