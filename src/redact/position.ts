/** Where a program takes a secret without an option before it. */
export interface Positions {
  /** The word after which arguments count. */
  readonly begins: RegExp;
  /** The secret is this one of them, the first is 1. */
  readonly secret: number;
  /** An option that makes it one less. */
  readonly oneLess?: RegExp;
  /** Options whose value is the next word. */
  readonly valued: RegExp;
  /** The first argument ends the options: a password may begin with `-`. */
  readonly optionsFirst?: true;
}

/** `htpasswd -b file user password`; `-n` prints instead and takes no file. */
export const HTPASSWD: Positions = {
  begins: /^-[a-zA-Z0-9]{0,16}b/,
  secret: 3,
  oneLess: /^-[a-zA-Z0-9]{0,16}n/,
  valued: /^-[a-zA-Z0-9]{0,16}[Cr]$/,
  optionsFirst: true,
};

/** `rabbitmqctl add_user name password` */
export const RABBITMQCTL: Positions = {
  begins: /^(?:add_user|change_password|authenticate_user)$/,
  secret: 2,
  valued: /^(?:-[nptl]|--(?:node|timeout|vhost))$/,
};

/** `mysqladmin -u root password new` */
export const MYSQLADMIN: Positions = {
  begins: /^(?:old-)?password$/,
  secret: 1,
  valued: /^-[hSPu]$/,
};

/** `mc alias set name url access-key secret-key` of MinIO; `mc config host add` before 2020 */
export const MC: Positions = {
  begins: /^(?:set|add)$/,
  secret: 4,
  valued: /^--(?:api|path|config-dir)$/,
};

/** `vault login token`, `vault operator unseal key` */
export const VAULT: Positions = {
  begins: /^(?:login|lookup|renew|revoke|unseal|unwrap)$/,
  secret: 1,
  valued: /^$/,
};

/** Counts a program's arguments up to the one that is a secret. */
export class PositionReader {
  readonly #positions: Positions;
  #secret: number;
  #isCounting = false;
  #count = 0;
  #skipsNext = false;

  constructor(positions: Positions) {
    this.#positions = positions;
    this.#secret = positions.secret;
  }

  /** Whether arguments count now, so that an empty one (`""`) does, too. */
  get isCounting(): boolean {
    return this.#isCounting;
  }

  /** Whether `word` is the secret. */
  read(word: string): boolean {
    const { begins, oneLess, valued, optionsFirst } = this.#positions;
    if (this.#skipsNext) {
      this.#skipsNext = false;
      return false;
    }
    const takesOptions = !optionsFirst || this.#count === 0;
    if (takesOptions && oneLess?.test(word)) this.#secret = this.#positions.secret - 1;
    if (takesOptions && word.startsWith('-')) this.#skipsNext = valued.test(word);
    if (!this.#isCounting) {
      this.#isCounting = begins.test(word) && this.#count === 0;
      return false;
    }
    if (takesOptions && word.startsWith('-')) return false;
    this.#count++;
    if (this.#count < this.#secret) return false;
    this.#isCounting = false;
    return true;
  }
}
