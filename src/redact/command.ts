import { isHarmlessValue, secretWord } from './names.ts';
import { PositionReader } from './position.ts';
import { type Program, programOf } from './programs.ts';
import { partOf, type Range } from './range.ts';
import { basicCredentialsEnd } from './shape.ts';

const ENTRY_POINT = '--entrypoint=';
const LOOKS_LIKE_OPTION = /^-(?:-[A-Za-z][A-Za-z_-]*|[A-Za-z][A-Za-z-]*)(?:=|$)|^--$/;
const OPTION_NAME = /^--?[A-Za-z_][\w.-]{0,126}$/;
const SETTING = /^[\w./:-]{1,128}$/;
const USER_OPTION = /^(?:-u|--user)(?:=|$)/;
/** Ids (`1000:1000`) and URLs (`pip install --user git+https://...`, `-u jdbc:hive2://...`) are no logins. */
const LOGIN = /^["']?[\w.@*$\\+][\w.@*$\\+-]{0,127}:(?!\/\/|[a-z][a-z0-9]{0,15}:\/\/|[\d:]+["']?$)(?=.)/s;
const BASIC = /(?:^|[:=])basic$/i;
/** A command names one or two; without a bound, each word could cost as much as there are programs. */
const MAX_PROGRAMS = 4;

/** Reads a command's words in order and tells for each which part of it is a secret. */
export class CommandReader {
  /** Those named last: `docker exec db mysql -px` is mysql's, and a mistake only hides too much. */
  #programs: readonly Program[] = [];
  #previous = '';
  /** What the next word is the value of. */
  #awaiting: { readonly word?: string; readonly value?: RegExp; readonly login?: true } | undefined;
  #positions: readonly PositionReader[] = [];

  /** Whether the next word is a secret, spaces and all. */
  get awaitsValue(): boolean {
    return this.#awaiting !== undefined || this.#positions.some(({ isCounting }) => isCounting);
  }

  /** Another command begins. */
  next(): void {
    this.#programs = [];
    this.#previous = '';
    this.#awaiting = undefined;
    this.#positions = [];
  }

  read(word: string): Range | undefined {
    const awaiting = this.#awaiting;
    this.#awaiting = undefined;
    // A switch that only sounds like a secret's name (`mongod --auth --port 1`) must not swallow the option after it.
    if (awaiting?.login) {
      const password = passwordOfLogin(word, 0);
      if (password) return password;
    } else if (awaiting && !LOOKS_LIKE_OPTION.test(word)) {
      // `--authorization Basic dTpw`: the secret is the word after it.
      const isScheme = awaiting.word?.startsWith('auth') && isBasic(word);
      if (isScheme) this.#previous = word;
      if (isScheme || (awaiting.word !== undefined && isHarmlessValue(awaiting.word, word))) return undefined;
      return partOf(word, 0, awaiting.value);
    }
    for (const positions of this.#positions) {
      const secret = positions.read(word);
      if (secret) return secret;
    }
    const previous = this.#previous;
    this.#previous = word;
    const credentialsEnd = isBasic(previous) ? basicCredentialsEnd(word, 0) : undefined;
    if (credentialsEnd !== undefined) return { start: 0, end: credentialsEnd };
    // `/p:password` of FreeRDP and of Windows' programs is one, too.
    if (word.startsWith('-') || word.startsWith('/p:')) return this.#option(word);
    // `aws configure set aws_secret_access_key x`, `redis-cli CONFIG SET requirepass x`
    if (previous === 'set' || previous === 'SET') this.#await(word, SETTING);
    const secret = this.#secretWord(word, 'words');
    const program = programOf(word);
    if (program) this.#begin(program);
    return secret;
  }

  #begin(program: Program): void {
    if (this.#programs.at(-1) !== program)
      this.#programs = [...this.#programs.filter((other) => other !== program), program].slice(-MAX_PROGRAMS);
    if (program.positions)
      this.#positions = program.positions.map((positions) => new PositionReader(positions));
  }

  #option(word: string): Range | undefined {
    const secret = this.#secretWord(word, 'options');
    if (secret || this.#awaiting) return secret;
    const user = USER_OPTION.exec(word)?.[0].length;
    if (user !== undefined && !this.#programs.some((program) => program.noLoginU)) {
      if (user < word.length) return passwordOfLogin(word, user);
      this.#awaiting = { login: true };
      return undefined;
    }
    // `docker run --entrypoint=htpasswd registry:2 -Bbn user password`
    const entry = word.startsWith(ENTRY_POINT) ? programOf(word.slice(ENTRY_POINT.length)) : undefined;
    if (entry) this.#begin(entry);
    const asks = word === '--password' && this.#programs.some((program) => program.asks);
    if (!asks) this.#await(word, OPTION_NAME);
    return undefined;
  }

  /** The secret in `word`, if a program says so; or what it says of the next word. */
  #secretWord(word: string, kind: 'options' | 'words'): Range | undefined {
    for (const program of this.#programs) {
      for (const { match, attachedOnly, value } of program[kind] ?? []) {
        const length = match.exec(word)?.[0].length;
        if (length === undefined) continue;
        if (length < word.length) {
          const secret = partOf(word, length, value);
          if (secret) return secret;
        } else if (!attachedOnly) {
          this.#awaiting = value === undefined ? {} : { value };
          return undefined;
        }
      }
    }
    return undefined;
  }

  #await(name: string, shape: RegExp): void {
    const secret = shape.test(name) ? secretWord(name) : undefined;
    if (secret !== undefined) this.#awaiting = { word: secret };
  }
}

/** `Basic`, `--auth=basic` */
function isBasic(word: string): boolean {
  return (word.endsWith('c') || word.endsWith('C')) && BASIC.test(word.slice(-8));
}

function passwordOfLogin(word: string, from: number): Range | undefined {
  const length = LOGIN.exec(word.slice(from))?.[0].length;
  if (length === undefined) return undefined;
  const quote = word[from];
  const isQuoted = (quote === '"' || quote === "'") && word.endsWith(quote);
  return { start: from + length, end: word.length - (isQuoted ? 1 : 0) };
}
