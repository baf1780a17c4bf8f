/** Up to where a source of kills has been read and everything is told. This file imports nothing. */

/** In the kernel's own log: the sequence number of its last record. */
export interface KmsgPlace {
  readonly sequence: number;
}

/** In a log file, which may have another name or be a copy when we come back. */
export interface LogPlace {
  /** Rounded where it has more than 53 bits, as on some network file systems. */
  readonly inode: number;
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** How far it had been read, `offset` or more: what came after `offset` was not complete yet. */
  readonly end: number;
  /** Of the bytes before `end`: tells whether a file that is there now begins with what was read then. */
  readonly fingerprint: string;
}

export type Place = KmsgPlace | LogPlace;

/** @returns undefined for what is none, e.g. from a database that somebody edited */
export function parseLogPlace(json: string): LogPlace | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { inode, offset, end, fingerprint } = value as Record<string, unknown>;
  if (typeof inode !== 'number' || typeof fingerprint !== 'string') return undefined;
  if (!isSize(offset) || !isSize(end) || offset > end) return undefined;
  return { inode, offset, end, fingerprint };
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
