import type { Range } from './range.ts';

/** The word before, a blank, the word. */
const READS_A_SECRET = /[ /]chpasswd$| --password-stdin$| --stdin$|\bsudo -[A-Za-z]*S$/;

const NONE: readonly Range[] = [];

/** Finds what a script prints into a program that reads a secret: `echo x | docker login --password-stdin`. */
export class PipeReader {
  #previous = '';
  /** Of the command that is being read, if it prints. */
  #printed: Range[] | undefined;
  /** Of the command before the pipe. */
  #piped: readonly Range[] = [];

  /** @param at the place of what separates words, and maybe commands */
  separator(text: string, at: number): void {
    const character = text[at];
    if (character !== '|' && character !== '&' && character !== ';' && character !== '\n') return;
    const isPipe = character === '|' && text[at + 1] !== '|' && text[at - 1] !== '|';
    this.#piped = isPipe ? (this.#printed ?? []) : [];
    this.#printed = undefined;
    this.#previous = '';
  }

  /** @returns what turns out to be secret now */
  word(word: string, range: Range): readonly Range[] {
    const previous = this.#previous;
    this.#previous = word.slice(-64);
    if (prints(word)) this.#printed = [];
    else if (!word.startsWith('-')) this.#printed?.push(range);
    if (this.#piped.length === 0 || !READS_A_SECRET.test(`${previous} ${word.slice(0, 64)}`)) return NONE;
    const secret = this.#piped;
    this.#piped = [];
    return secret;
  }
}

function prints(word: string): boolean {
  return word === 'echo' || word === 'printf' || word.endsWith('/echo') || word.endsWith('/printf');
}
