import type { IncomingHttpHeaders } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { crypto } from '../net/lazy-builtins.ts';

/** Who may read what. */

const LOOPBACK_V4 = /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/i;

export function isLoopback(address: string): boolean {
  return address === '::1' || LOOPBACK_V4.test(address);
}

/**
 * Whether the request names a host that a person of this machine would type. A page of the web whose name was made to point
 * to 127.0.0.1 (DNS rebinding) names its own.
 *
 * @param header the Host header
 * @param configured the host of --listen
 * @param bound the address that it became
 */
export function isOwnHost(header: string | undefined, configured: string, bound: string): boolean {
  const host = /^(\[[\da-f:.]+\]|[^:[\]]+)(?::\d{1,5})?$/i.exec(header ?? '')?.[1]?.toLowerCase();
  if (host === undefined) return false;
  const own = [
    'localhost',
    '127.0.0.1',
    '[::1]',
    configured.toLowerCase(),
    bound,
    `[${bound}]`,
    `[${configured}]`,
  ];
  return own.includes(host);
}

/** For a look at the token's file, which may be on a dead network mount. */
const LOOK_MS = 1000;

export interface Renewal {
  /** The token as its file is now; fails where that cannot be used. */
  readonly renewedApiToken: () => Promise<string | undefined>;
  /** It could not: the one before goes on to count. */
  readonly tokenNotRenewed: (reason: string) => void;
}

/** Follows its file, and is asked for whatever becomes of that: half written or gone, it neither locks out nor lets in. */
export class AccessToken {
  readonly #renewal: Renewal;
  #digest: Buffer;
  #look: Promise<void> | undefined;

  constructor(token: string, renewal: Renewal) {
    this.#digest = digest(token);
    this.#renewal = renewal;
  }

  /**
   * `Authorization: Bearer TOKEN`, or, for browsers, Basic with any user and the token as password (RFC 6750, RFC 7617).
   * Digests have one length, so that the time of the comparison says nothing.
   */
  async isIn({ authorization = '' }: IncomingHttpHeaders): Promise<boolean> {
    const [, scheme, credentials] = /^(bearer|basic) +(\S+)$/i.exec(authorization) ?? [];
    if (scheme === undefined || credentials === undefined) return false;
    await this.#renew();
    if (scheme.toLowerCase() === 'bearer') return this.#equals(credentials);
    const pair = Buffer.from(credentials, 'base64').toString();
    const colon = pair.indexOf(':');
    return colon !== -1 && this.#equals(pair.slice(colon + 1));
  }

  /** One look at a time, however many ask: each that does not come back holds a thread that the rest of the agent needs. */
  async #renew(): Promise<void> {
    this.#look ??= this.#lookAtFile().finally(() => {
      this.#look = undefined;
    });
    const waiting = new AbortController();
    const limit = sleep(LOOK_MS, undefined, { signal: waiting.signal }).catch(() => {});
    await Promise.race([this.#look, limit]);
    waiting.abort();
  }

  async #lookAtFile(): Promise<void> {
    try {
      const token = await this.#renewal.renewedApiToken();
      if (token !== undefined) this.#digest = digest(token);
    } catch (error) {
      this.#renewal.tokenNotRenewed((error as Error).message);
    }
  }

  #equals(candidate: string): boolean {
    return crypto().timingSafeEqual(digest(candidate), this.#digest);
  }
}

function digest(text: string): Buffer {
  return crypto().createHash('sha256').update(text).digest();
}
