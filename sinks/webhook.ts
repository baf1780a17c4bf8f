import * as v from 'valibot';
import { lacksPartner, type Option } from '../src/config/option.ts';
import { type EncodedEvent, encodeEvents } from '../src/event-format.ts';
import { shown } from '../src/format.ts';
import {
  type HttpAnswer,
  HttpPost,
  isHttpUrl,
  isTemporary,
  retryAfterMs,
  type TlsMaterial,
} from '../src/net/http-post.ts';
import { crypto } from '../src/net/lazy-builtins.ts';
import { tlsMaterial } from '../src/net/tls-files.ts';
import { sendInOrder } from '../src/send-in-order.ts';
import { DELIVERED, type Delivery, type Outcome, type Sink, type SinkContext } from '../src/sink.ts';

export interface WebhookSettings {
  readonly url: URL;
  readonly secret?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls?: TlsMaterial;
}

export const options: readonly Option[] = [
  {
    name: 'webhook-url',
    value: 'URL',
    help: 'POST each incident as JSON to this address',
    schema: v.pipe(v.string(), v.check(isHttpUrl, 'must be an address like https://host/path')),
    secret: true,
  },
  {
    name: 'webhook-secret',
    value: 'TEXT',
    help: 'sign each request with it (header X-Oom-Witness-Signature, HMAC-SHA256)',
    schema: v.pipe(v.string(), v.minLength(1, 'must not be empty')),
    secret: true,
  },
  {
    name: 'webhook-header',
    value: 'NAME: VALUE,…',
    help: 'send these headers too, separated by commas or line ends',
    schema: v.pipe(v.string(), v.rawTransform(parseHeaders)),
    secret: true,
  },
  {
    name: 'webhook-ca',
    value: 'PATH',
    help: "PEM file of the authority that signed the server's certificate",
    schema: v.string(),
    file: true,
  },
  {
    name: 'webhook-cert',
    value: 'PATH',
    help: 'PEM file of the certificate to show to the server',
    schema: v.string(),
    file: true,
  },
  { name: 'webhook-key', value: 'PATH', help: 'PEM file of its private key', schema: v.string(), file: true },
];

export function settings(values: Readonly<Record<string, unknown>>): WebhookSettings | undefined {
  const url = values['webhook-url'] as string | undefined;
  if (url === undefined) {
    const orphan = options.find(({ name }) => values[name] !== undefined);
    if (orphan) throw lacksPartner(orphan.name, 'webhook-url', 'https://host/path');
    return undefined;
  }
  return {
    url: new URL(url),
    secret: values['webhook-secret'] as string | undefined,
    headers: (values['webhook-header'] as Record<string, string> | undefined) ?? {},
    tls: tlsMaterial('webhook', values),
  };
}

export async function open(settings: WebhookSettings, context: SinkContext): Promise<Sink> {
  return new WebhookSink(settings, context);
}

class WebhookSink implements Sink {
  readonly #settings: WebhookSettings;
  readonly #context: SinkContext;
  readonly #post: HttpPost;

  constructor(settings: WebhookSettings, context: SinkContext) {
    this.#settings = settings;
    this.#context = context;
    this.#post = new HttpPost(settings.url, settings.tls);
  }

  async deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const { eventFormat, kernelVersionLine } = this.#context;
    return sendInOrder(
      batch,
      ({ incident }) => encodeEvents(incident, eventFormat, kernelVersionLine),
      (event) => this.#send(event, signal),
    );
  }

  async close(): Promise<void> {
    this.#post.close();
  }

  async #send({ id, body }: EncodedEvent, signal: AbortSignal): Promise<Outcome> {
    const text = JSON.stringify(body);
    try {
      const answer = await this.#post.send(
        text,
        { ...this.#settings.headers, ...this.#ownHeaders(id, text) },
        signal,
      );
      return outcomeOf(answer, this.#context.now());
    } catch (error) {
      return { kind: 'retry', reason: `no answer: ${error instanceof Error ? error.message : error}` };
    }
  }

  #ownHeaders(id: string, body: string): Record<string, string> {
    const { secret } = this.#settings;
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'oom-witness',
      'x-oom-witness-delivery': id,
    };
    if (secret === undefined) return headers;
    const seconds = Math.floor(this.#context.now() / 1000);
    return { ...headers, 'x-oom-witness-signature': `t=${seconds},v1=${signature(secret, seconds, body)}` };
  }
}

/** Hexadecimal HMAC-SHA256 over `<seconds>.<body>`: with the time inside, an old request cannot be sent again unnoticed. */
export function signature(secret: string, seconds: number, body: string): string {
  return crypto().createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex');
}

/**
 * Not the incident is refused but who sends it, or where to: every other one would meet the same answer until the password, token or
 * key is mended, or has arrived in its file, or the receiver is back behind its address (an ingress answers 404 meanwhile).
 */
const REFUSES_ALL: readonly number[] = [401, 403, 404, 405, 407, 410];

function outcomeOf({ status, headers, body }: HttpAnswer, now: number): Outcome {
  if (status >= 200 && status < 300) return DELIVERED;
  const reason = `HTTP ${status}${body === '' ? '' : `: ${shown(body, 200)}`}`;
  if (isTemporary(status) || REFUSES_ALL.includes(status)) {
    const afterMs = retryAfterMs(headers['retry-after'], now);
    return { kind: 'retry', reason, ...(afterMs === undefined ? {} : { afterMs }) };
  }
  // Following would hand the incident, the headers and the signature to an address that nobody configured.
  if (status >= 300 && status < 400)
    return {
      kind: 'retry',
      reason: `HTTP ${status}: redirected to ${shown(headers.location ?? 'nowhere', 200)}, which is not followed; set --webhook-url to the final address`,
    };
  return { kind: 'rejected', reason };
}

/** Those that frame the message are not the user's to set. */
const FORBIDDEN_HEADERS = ['content-length', 'transfer-encoding', 'connection'];

function parseHeaders({
  dataset,
  addIssue,
  NEVER,
}: Parameters<Parameters<typeof v.rawTransform<string, Record<string, string>>>[0]>[0]): Record<
  string,
  string
> {
  const headers: Record<string, string> = {};
  // A comma ends a header only where the next one begins: values contain commas too.
  for (const line of dataset.value.split(/\n|,(?=\s*[\w-]+:)/)) {
    if (line.trim() === '') continue;
    const [, name, value] = /^\s*([\w!#$%&'*+.^`|~-]+):\s*([\t\x20-\x7e]*?)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) {
      addIssue({ message: 'must be NAME: VALUE, with printable ASCII characters only' });
      return NEVER;
    }
    if (FORBIDDEN_HEADERS.includes(name.toLowerCase())) {
      addIssue({ message: `must not set ${name.toLowerCase()}` });
      return NEVER;
    }
    headers[name.toLowerCase()] = value;
  }
  return headers;
}
