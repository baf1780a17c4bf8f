import type { Range } from './range.ts';

const PRINTS = /(?:^|\/)(?:echo|printf)$/;
/** The word before, a blank, the word. */
const READS_A_SECRET = /[ /]chpasswd$| --password-stdin$| --stdin$|\bsudo -[A-Za-z]*S$/;

/** Finds what a script prints into a program that reads a secret: `echo x | docker login --password-stdin`. */
export class PipeReader {
  #previous = '';
  /** Of the command that is being read, if it prints. */
  #printed: Range[] | undefined;
  /** Of the command before the pipe. */
  #piped: readonly Range[] = [];

  /** @param at the place of what separates words, and maybe commands */
  separator(text: string, at: number): void {
    if (!/[;\n&|]/.test(text[at]!)) return;
    const isPipe = text[at] === '|' && text[at + 1] !== '|' && text[at - 1] !== '|';
    this.#piped = isPipe ? (this.#printed ?? []) : [];
    this.#printed = undefined;
    this.#previous = '';
  }

  /** @returns what turns out to be secret now */
  word(word: string, range: Range): readonly Range[] {
    const pair = `${this.#previous} ${word.slice(0, 64)}`;
    this.#previous = word.slice(-64);
    if (PRINTS.test(word.slice(-64))) this.#printed = [];
    else if (!word.startsWith('-')) this.#printed?.push(range);
    if (this.#piped.length === 0 || !READS_A_SECRET.test(pair)) return [];
    const secret = this.#piped;
    this.#piped = [];
    return secret;
  }
}
