import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Incident } from '../incident.ts';
import { visibleJson } from '../json-line.ts';
import { renderPage } from '../page.ts';
import type { Recurrence } from '../sink.ts';
import { AccessToken, isLoopback, isOwnHost, type Renewal } from './access.ts';
import { PAGE_STYLE_HASH } from './page-style.ts';
import type { AgentStatus } from './status.ts';

/** The store's face towards readers. */
export interface IncidentSource {
  /** The newest first. `before`: only those that arrived before the incident of this id (none if it is unknown). */
  recent(limit: number, before?: string): readonly Incident[];
  get(id: string): Incident | undefined;
  recurrence(incident: Incident): Recurrence;
}

export interface SiteOptions extends Renewal {
  readonly address: {
    /** The host of --listen. */
    readonly configured: string;
    /** The address that it became. */
    readonly bound: string;
  };
  /** Asked for by the page and the API; without it they answer on loopback only. */
  readonly apiToken: string | undefined;
  readonly hostName: string;
  readonly incidents: IncidentSource;
  status(): AgentStatus;
  readonly metrics: { readonly contentType: string; scrape(): Promise<string> };
  readonly now: () => number;
  /** Something of ours failed while it answered. */
  readonly failed: (reason: string) => void;
}

const HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; style-src '${PAGE_STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};
const CHALLENGE = { 'www-authenticate': 'Basic realm="oom-witness", charset="UTF-8"' };
const JSON_TYPE = 'application/json; charset=utf-8';
const TEXT_TYPE = 'text/plain; charset=utf-8';

const MAX_URL = 1024;
const ON_PAGE = 30;
const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;
/** An incident with the task table of a large machine has a MiB: so many are in memory at a time. */
const READ_AT_ONCE = 10;

/** Who gets which answer. */
export class Site {
  readonly #options: SiteOptions;
  readonly #token: AccessToken | undefined;

  constructor(options: SiteOptions) {
    this.#options = options;
    const { apiToken } = options;
    this.#token = apiToken === undefined ? undefined : new AccessToken(apiToken, options);
  }

  /** Never throws: what fails of ours is told to `failed`, and the reader gets a 500. */
  answer(request: IncomingMessage, response: ServerResponse): void {
    this.#answer(request, response).catch((error: unknown) => {
      this.#options.failed(error instanceof Error ? error.message : String(error));
      if (response.headersSent) response.destroy();
      else text(response, 500, 'this failed, see the log of the agent');
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    const { method, url = '', headers } = request;
    if (method !== 'GET' && method !== 'HEAD') {
      response.setHeader('connection', 'close');
      return text(response, 405, 'only GET and HEAD', { allow: 'GET, HEAD' });
    }
    if (url.length > MAX_URL) return text(response, 414, `URLs have at most ${MAX_URL} characters`);
    if (!URL.canParse(url, 'http://x')) return text(response, 400, 'not a URL');
    const { pathname, searchParams } = new URL(url, 'http://x');
    const { configured, bound } = this.#options.address;
    const local = isLoopback(bound);
    if (local && !isOwnHost(headers.host, configured, bound))
      return text(
        response,
        421,
        'ask for localhost or 127.0.0.1: other names are refused against DNS rebinding',
      );

    switch (pathname) {
      case '/healthz':
        return this.#health(response);
      case '/readyz':
        return this.#readiness(response);
      case '/metrics':
        return this.#metrics(response, method === 'HEAD');
    }
    if (this.#token === undefined && !local)
      return text(
        response,
        403,
        'The page and the API answer on loopback only. To open them, write a token into a file and start with --api-token-file PATH (or OOM_WITNESS_API_TOKEN_FILE).',
      );
    if (this.#token !== undefined && !(await this.#token.isIn(headers)))
      return text(
        response,
        401,
        'The token of --api-token-file is needed: "Authorization: Bearer TOKEN", or in a browser any user with the token as password.',
        CHALLENGE,
      );
    if (pathname === '/') return this.#page(response, searchParams);
    if (pathname === '/api/incidents') return this.#list(response, searchParams, method === 'HEAD');
    if (pathname.startsWith('/api/incidents/'))
      return this.#incident(response, pathname.slice('/api/incidents/'.length));
    text(response, 404, 'not found. There are /, /api/incidents, /metrics, /healthz and /readyz');
  }

  #health(response: ServerResponse): void {
    const { alive } = this.#options.status();
    text(response, alive ? 200 : 503, alive ? 'ok' : 'capture stands still: restart the agent');
  }

  #readiness(response: ServerResponse): void {
    const { ready, parts } = this.#options.status();
    send(response, ready ? 200 : 503, JSON_TYPE, `${JSON.stringify({ ready, parts }, undefined, 2)}\n`);
  }

  async #metrics(response: ServerResponse, isHead: boolean): Promise<void> {
    const { metrics } = this.#options;
    // Who reads nothing must not be taken for a reader of the last values.
    if (isHead) response.writeHead(200, { 'content-type': metrics.contentType }).end();
    else send(response, 200, metrics.contentType, await metrics.scrape());
  }

  #page(response: ServerResponse, query: URLSearchParams): void {
    const { incidents, status, now, hostName } = this.#options;
    const before = query.get('before') ?? undefined;
    const shown = incidents.recent(ON_PAGE + 1, before);
    const html = renderPage({
      hostName,
      now: now(),
      status: status(),
      isFirst: before === undefined,
      hasMore: shown.length > ON_PAGE,
      deliveries: shown
        .slice(0, ON_PAGE)
        .map((incident) => ({ incident, recurrence: incidents.recurrence(incident) })),
    });
    send(response, 200, 'text/html; charset=utf-8', html);
  }

  async #list(response: ServerResponse, query: URLSearchParams, isHead: boolean): Promise<void> {
    const wanted = query.get('limit') ?? String(DEFAULT_LIMIT);
    const limit = /^\d{1,3}$/.test(wanted) ? Number(wanted) : 0;
    if (limit < 1 || limit > MAX_LIMIT)
      return text(response, 400, `limit must be a whole number from 1 to ${MAX_LIMIT}`);
    response.writeHead(200, { 'content-type': JSON_TYPE });
    if (isHead) return void response.end();

    let last = query.get('before') ?? undefined;
    let count = 0;
    response.write('{"incidents":[');
    while (count < limit) {
      const wantedNow = Math.min(READ_AT_ONCE, limit - count);
      const incidents = this.#options.incidents.recent(wantedNow, last);
      for (const incident of incidents) {
        const isTaken = response.write(
          `${count++ === 0 ? '' : ','}\n${visibleJson(JSON.stringify(incident))}`,
        );
        if (!isTaken) await drained(response);
        if (response.destroyed) return;
      }
      last = incidents.at(-1)?.id ?? last;
      if (incidents.length < wantedNow) break;
    }
    const next = count === limit ? `,"next":${JSON.stringify(last)}` : '';
    response.end(`\n]${next}}\n`);
  }

  #incident(response: ServerResponse, encoded: string): void {
    let incident: Incident | undefined;
    try {
      incident = this.#options.incidents.get(decodeURIComponent(encoded));
    } catch (error) {
      if (!(error instanceof URIError)) throw error;
    }
    if (incident === undefined) text(response, 404, 'no such incident');
    else send(response, 200, JSON_TYPE, `${visibleJson(JSON.stringify(incident, undefined, 2))}\n`);
  }
}

/** Resolves when the reader takes more, or is gone. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      response.off('drain', settle);
      response.off('close', settle);
      resolve();
    };
    response.on('drain', settle);
    response.on('close', settle);
  });
}

function text(
  response: ServerResponse,
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  send(response, status, TEXT_TYPE, `${message}\n`, headers);
}

function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response
    .writeHead(status, { ...headers, 'content-type': type, 'content-length': Buffer.byteLength(body) })
    .end(body);
}
