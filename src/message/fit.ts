import { shown } from '../format.ts';

/** A shorter rest says nothing about a process. */
const LEAST_BYTES = 16;

/**
 * The command line without characters that act, cut in the middle until `bytesOf` it is at most `room`; undefined where
 * there is hardly any room.
 */
export function fitCommand(
  command: string,
  room: number,
  bytesOf: (text: string) => number,
): string | undefined {
  if (room < LEAST_BYTES) return undefined;
  // A character is a byte at least, so nothing longer than the room can fit.
  let limit = room;
  for (;;) {
    const text = shown(command, limit);
    const bytes = bytesOf(text);
    if (bytes <= room) return text;
    // In proportion, and always by some: ends after a few rounds even for escapes and four-byte characters.
    limit = Math.min(limit - 1, Math.floor((limit * room) / bytes));
  }
}
