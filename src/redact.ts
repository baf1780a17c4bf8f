import { CommandReader } from './redact/command.ts';
import { isOpen, MASK, mask, type Range } from './redact/range.ts';
import { privateKeys } from './redact/shape.ts';
import { isSuspicious, MAX_SECRETS, secretsInArgument, secretsInText } from './redact/text.ts';

/**
 * Takes secrets out of command lines before anything is stored or sent: a secret becomes `***`, its key, quotes and
 * separators stay. Redacting twice changes nothing. The time is proportional to the length, whatever the content (own
 * patterns excepted: they are the user's regular expressions). In doubt it hides too much rather than too little: all
 * that follows the 500th secret, too.
 *
 * It runs for every process that lives for longer than an instant: a command line without anything suspicious costs one
 * search.
 */
export class Redactor {
  readonly #patterns: readonly RegExp[];

  /** @param patterns more secrets: the group called `secret`, else the first group, else the whole match */
  constructor(patterns: readonly RegExp[] = []) {
    this.#patterns = patterns.map(
      (pattern) => new RegExp(pattern.source, `${pattern.flags.replaceAll(/[dgy]/g, '')}dg`),
    );
  }

  /** `count`: how many secrets were taken out. Own patterns see the arguments joined by one space. */
  args(args: readonly string[]): { args: string[]; count: number } {
    if (this.#patterns.length === 0 && !args.some(isSuspicious)) return { args: [...args], count: 0 };
    return settle({ args: [...args], count: 0 }, ({ args }) => this.#argsOnce(args));
  }

  /** The same for a text that is not taken apart into arguments, e.g. a script or a log line. */
  text(text: string): { text: string; count: number } {
    return settle({ text, count: 0 }, ({ text }) =>
      mask(text, [...secretsInText(text), ...this.#ownSecrets(text)]),
    );
  }

  #argsOnce(args: readonly string[]): { args: string[]; count: number } {
    const found: Range[][] = [];
    const reader = new CommandReader();
    let secrets = 0;
    for (const [index, argument] of args.entries()) {
      const ranges =
        secrets < MAX_SECRETS
          ? secretsInArgument(argument, isScript(args[index - 1]))
          : [{ start: 0, end: argument.length }];
      const range = reader.read(argument);
      if (range && isOpen(argument, range)) ranges.push(range);
      secrets += ranges.length;
      found.push(ranges);
    }
    const line = args.join(' ');
    // A key that the shell took apart at its blanks is one only in the whole line.
    spread([...privateKeys(line), ...this.#ownSecrets(line)], args, found);

    let count = 0;
    const masked = args.map((argument, index) => {
      const result = mask(argument, found[index]!);
      count += result.count;
      return result.text;
    });
    return { args: masked, count };
  }

  #ownSecrets(text: string): Range[] {
    const ranges: Range[] = [];
    for (const pattern of this.#patterns) {
      for (const match of text.matchAll(pattern)) {
        const place = match.indices?.groups?.secret ?? match.indices?.[1] ?? match.indices?.[0];
        if (place && text.slice(...place) !== MASK) ranges.push({ start: place[0], end: place[1] });
      }
    }
    return ranges;
  }
}

const MAX_ROUNDS = 6;

/**
 * Repeats until there is nothing left to take out: a secret that is gone can make its neighbours read differently
 * (`Bearer a:` beside `'`). One round and its proof for real command lines, two more in 0.02 % of random ones.
 */
function settle<T extends { readonly count: number }>(start: T, round: (before: T) => T): T {
  let result = round(start);
  const { count } = result;
  for (let rounds = 1; result.count > 0 && rounds < MAX_ROUNDS; rounds++) result = round(result);
  return { ...result, count };
}

/** `sh -c`, `bash -lc`: what follows is a script, not one `NAME=value`. */
function isScript(previous: string | undefined): boolean {
  return previous !== undefined && /^-[a-z]{0,4}c$/.test(previous);
}

/** Gives each argument its part of the ranges in the joined command line. */
function spread(ranges: readonly Range[], args: readonly string[], found: Range[][]): void {
  let next = 0;
  let offset = 0;
  const ordered = ranges.toSorted((a, b) => a.start - b.start);
  for (const [index, { length }] of args.entries()) {
    while (next < ordered.length && ordered[next]!.start < offset + length) {
      const { start, end } = ordered[next]!;
      found[index]!.push({ start: Math.max(0, start - offset), end: Math.min(length, end - offset) });
      if (end > offset + length) break;
      next++;
    }
    offset += length + 1;
  }
}
