import type { IncomingHttpHeaders } from 'node:http';
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

export class AccessToken {
  readonly #digest: Buffer;

  constructor(token: string) {
    this.#digest = digest(token);
  }

  /**
   * `Authorization: Bearer TOKEN`, or, for browsers, Basic with any user and the token as password (RFC 6750, RFC 7617).
   * Digests have one length, so that the time of the comparison says nothing.
   */
  isIn({ authorization = '' }: IncomingHttpHeaders): boolean {
    const [, scheme, credentials] = /^(bearer|basic) +(\S+)$/i.exec(authorization) ?? [];
    if (scheme === undefined || credentials === undefined) return false;
    if (scheme.toLowerCase() === 'bearer') return this.#equals(credentials);
    const pair = Buffer.from(credentials, 'base64').toString();
    const colon = pair.indexOf(':');
    return colon !== -1 && this.#equals(pair.slice(colon + 1));
  }

  #equals(candidate: string): boolean {
    return crypto().timingSafeEqual(digest(candidate), this.#digest);
  }
}

function digest(text: string): Buffer {
  return crypto().createHash('sha256').update(text).digest();
}
