import { partOf, type Range } from './range.ts';

/** Where a program takes secrets without an option before each. */
export interface Positions {
  /** The word after which arguments count. */
  readonly begins: RegExp;
  /** The secret is this one of them, the first is 1. */
  readonly secret: number;
  /** So are all up to this one. */
  readonly last?: number;
  /** The word that ends them before that. */
  readonly ends?: string;
  /** Only this group of each, with which the match ends. */
  readonly value?: RegExp;
  /** An option that makes it one less. */
  readonly oneLess?: RegExp;
  /** Options whose value is the next word. */
  readonly valued?: RegExp;
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
export const VAULT: Positions = { begins: /^(?:login|lookup|renew|revoke|unseal|unwrap)$/, secret: 1 };

/** `vault kv put path key=secret another=secret` */
export const VAULT_DATA: Positions = {
  begins: /^(?:put|patch|write)$/,
  secret: 1,
  last: Number.POSITIVE_INFINITY,
  value: /^[^=]*=(.*)/s,
};

/** `AUTH password`, `AUTH user password` of Redis */
export const REDIS_AUTH: Positions = { begins: /^auth$/i, secret: 1, last: 2 };

/** `qpdf --encrypt user-password owner-password 256 --` */
export const QPDF: Positions = { begins: /^--encrypt$/, secret: 1, last: 2, ends: '--' };

/** `openssl passwd -6 password` */
export const OPENSSL: Positions = { begins: /^passwd$/, secret: 1, valued: /^-(?:salt|in|rand)$/ };

/** `ipmitool user set password 2 secret`; what `password` is set to is taken for one, too. */
export const IPMITOOL: Positions = { begins: /^password$/, secret: 1 };

/** `virsh secret-set-value uuid base64` */
export const VIRSH: Positions = { begins: /^secret-set-value$/, secret: 2 };

/** `wpa_passphrase ssid passphrase` */
export const WPA: Positions = { begins: /^/, secret: 1 };

/** Counts a program's arguments up to those that are secret. */
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

  /** The secret in `word`. */
  read(word: string): Range | undefined {
    const { begins, secret, last, ends, value, oneLess, valued, optionsFirst } = this.#positions;
    if (this.#skipsNext) {
      this.#skipsNext = false;
      return undefined;
    }
    const takesOptions = !optionsFirst || this.#count === 0;
    const isOption = takesOptions && word.startsWith('-');
    if (isOption && oneLess?.test(word)) this.#secret = secret - 1;
    if (isOption && valued?.test(word)) this.#skipsNext = true;
    if (!this.#isCounting) {
      this.#isCounting = this.#count === 0 && begins.test(word);
      return undefined;
    }
    if (word === ends) this.#isCounting = false;
    if (isOption) return undefined;
    this.#count++;
    if (this.#count < this.#secret) return undefined;
    this.#isCounting = this.#count < (last ?? this.#secret);
    return partOf(word, 0, value);
  }
}
