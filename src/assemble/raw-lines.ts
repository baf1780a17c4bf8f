import { escapeControls } from '../kernel/visible-text.ts';

const MOST_LINES = 500;
const MOST_CHARACTERS = 64 << 10;
const LONGEST_LINE = 8 << 10;
/** Kept free for what matters most: the kernel prints it last. */
const RESERVED_LINES = 200;
const RESERVED_CHARACTERS = 24 << 10;

/** The kernel's lines of one report, safe to print, within 500 lines and 64 KiB. Header, choice and kills go first. */
export class RawLines {
  readonly #lines: string[] = [];
  #characters = 0;
  #dropped = 0;

  add(text: string, essential: boolean): void {
    const escaped = escapeControls(text);
    const line = escaped.length > LONGEST_LINE ? `${escaped.slice(0, LONGEST_LINE)}…` : escaped;
    const lines = this.#lines.length + 1;
    const characters = this.#characters + line.length;
    if (
      lines > (essential ? MOST_LINES : MOST_LINES - RESERVED_LINES) ||
      characters > (essential ? MOST_CHARACTERS : MOST_CHARACTERS - RESERVED_CHARACTERS)
    ) {
      this.#dropped += 1;
      return;
    }
    this.#lines.push(line);
    this.#characters = characters;
  }

  /** Takes back the line that was added last, if it was this one. */
  takeBack(text: string): void {
    const last = this.#lines.at(-1);
    if (last === undefined || last !== escapeControls(text)) return;
    this.#lines.pop();
    this.#characters -= last.length;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  get dropped(): number {
    return this.#dropped;
  }
}
