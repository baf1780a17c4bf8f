const ROOT = 0;
const ASCII = 128;
/** The class of every character that no literal has. */
const OTHER = 0;

/**
 * Where any of many literals stands in a text, in upper or lower case: Aho and Corasick's automaton (1975). One step a
 * character, however many literals there are and whatever the text is.
 */
export class Literals<T> {
  /** Of each character of ASCII. */
  readonly classes = new Uint8Array(ASCII);
  /** How many classes there are. */
  readonly width: number;
  /** For each state and each class the next state. */
  readonly next: Uint16Array;
  /** For each state whether a literal ends there, and which: the longest. */
  readonly ends: Uint8Array;
  readonly #found: (Found<T> | undefined)[] = [];

  constructor(table: Iterable<readonly [literal: string, value: T]>) {
    const rows = [...table].map(([literal, value]) => ({ literal: literal.toLowerCase(), value }));
    this.width = this.#classify(rows.map(({ literal }) => literal).join(''));
    const tree: Branches[] = [new Map()];
    for (const { literal, value } of rows) this.#addBranch(tree, literal, value);
    if (tree.length > 0xffff) throw new RangeError(`${tree.length} states`);
    this.next = new Uint16Array(tree.length * this.width);
    this.#connect(tree);
    this.ends = Uint8Array.from(this.#found, (found) => (found ? 1 : 0));
  }

  in(text: string): LiteralCursor<T> {
    return new LiteralCursor(this, text);
  }

  found(state: number): Found<T> {
    return this.#found[state]!;
  }

  #classify(characters: string): number {
    let width = OTHER + 1;
    for (const character of new Set(characters)) {
      for (const form of [character, character.toUpperCase()]) this.classes[form.charCodeAt(0)] = width;
      width++;
    }
    return width;
  }

  #addBranch(tree: Branches[], literal: string, value: T): void {
    let state = ROOT;
    for (let i = 0; i < literal.length; i++) {
      const kind = this.classes[literal.charCodeAt(i)]!;
      const branches = tree[state]!;
      state = branches.get(kind) ?? tree.push(new Map()) - 1;
      branches.set(kind, state);
    }
    this.#found[state] = { length: literal.length, value };
  }

  /** Where a state has no branch, it goes on as the longest end of what it has read would. Those nearer to the root come first. */
  #connect(tree: readonly Branches[]): void {
    const { next, width } = this;
    const longestEnds = new Uint16Array(tree.length);
    const queue = [ROOT];
    for (const state of queue) {
      const end = longestEnds[state]!;
      this.#found[state] ??= this.#found[end];
      next.copyWithin(state * width, end * width, (end + 1) * width);
      for (const [kind, child] of tree[state]!) {
        // Of the root, which has read nothing, no end is left.
        longestEnds[child] = next[state * width + kind]!;
        next[state * width + kind] = child;
        queue.push(child);
      }
    }
  }
}

/** For each class the state that it leads to. */
type Branches = Map<number, number>;

interface Found<T> {
  readonly length: number;
  readonly value: T;
}

/** Goes from literal to literal of a text. */
export class LiteralCursor<T> {
  readonly #literals: Literals<T>;
  readonly #text: string;
  #state = ROOT;
  #start = 0;
  #end = 0;

  constructor(literals: Literals<T>, text: string) {
    this.#literals = literals;
    this.#text = text;
  }

  /** The place of the literal that was found last. */
  get start(): number {
    return this.#start;
  }

  get end(): number {
    return this.#end;
  }

  /** Finds nothing any more that begins before `at`. */
  skipTo(at: number): void {
    if (at <= this.#end) return;
    this.#end = at;
    this.#state = ROOT;
  }

  /** The value of the literal that ends next, undefined at the end of the text. */
  next(): T | undefined {
    const { classes, width, next, ends } = this.#literals;
    const text = this.#text;
    let state = this.#state;
    for (let at = this.#end; at < text.length; at++) {
      const code = text.charCodeAt(at);
      state = next[state * width + (code < ASCII ? classes[code]! : OTHER)]!;
      if (ends[state] === 0) continue;
      const { length, value } = this.#literals.found(state);
      this.#state = state;
      this.#end = at + 1;
      this.#start = this.#end - length;
      return value;
    }
    this.#end = text.length;
    return undefined;
  }
}
