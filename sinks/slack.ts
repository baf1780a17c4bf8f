import type { FetchFunction, IncomingWebhook, IncomingWebhookSendArguments } from '@slack/webhook';
import * as v from 'valibot';
import { lacksPartner, type Option } from '../src/config/option.ts';
import { encodeEvents } from '../src/event-format.ts';
import { shown } from '../src/format.ts';
import type { Incident } from '../src/incident.ts';
import { escapeSlack, SLACK_LIMITS, slackMessage, slackStorm } from '../src/message/slack.ts';
import { type HttpAnswer, HttpPost, isHttpUrl, isTemporary, retryAfterMs } from '../src/net/http-post.ts';
import { sendInOrder } from '../src/send-in-order.ts';
import { DELIVERED, type Delivery, type Outcome, type Sink, type SinkContext } from '../src/sink.ts';

export interface SlackSettings {
  readonly url: string;
  readonly channel?: string;
  readonly link?: string;
}

export const options: readonly Option[] = [
  {
    name: 'slack-webhook',
    value: 'URL',
    help: 'post each incident to this incoming webhook of Slack',
    schema: v.pipe(
      v.string(),
      v.check(isHttpUrl, 'must be an address like https://hooks.slack.com/services/…'),
    ),
    secret: true,
    aliases: ['slw'],
  },
  {
    name: 'slack-channel',
    value: 'CHANNEL',
    help: "channel to post to, where the webhook may choose (apps' webhooks have a fixed one)",
    schema: v.pipe(v.string(), v.minLength(1, 'must be a name like #alerts')),
    aliases: ['slc'],
  },
  {
    name: 'slack-link',
    value: 'URL',
    help: 'link under each message, with {id}, {namespace}, {pod} and {node} filled in',
    schema: v.pipe(
      v.string(),
      v.check(isLinkTemplate, 'must be an address like https://grafana.example/d/pod?var-pod={pod}'),
    ),
  },
];

/** So many may be summed up in one message of a storm. */
export const batchSize = 100;
/** More than these at once are a storm: nobody reads six messages of the same second. */
const STORM_FROM = 6;
/** Somebody must act first: unarchive the channel or put the app back. */
const WITHDRAWN_RETRY_MS = 300_000;

export function settings(values: Readonly<Record<string, unknown>>): SlackSettings | undefined {
  const url = values['slack-webhook'] as string | undefined;
  if (url !== undefined)
    return {
      url,
      channel: values['slack-channel'] as string | undefined,
      link: values['slack-link'] as string | undefined,
    };
  for (const option of ['slack-channel', 'slack-link'])
    if (values[option] !== undefined)
      throw lacksPartner(option, 'slack-webhook', 'https://hooks.slack.com/services/…');
  return undefined;
}

export async function open(settings: SlackSettings, context: SinkContext): Promise<Sink> {
  const slack = await import('@slack/webhook');
  return new SlackSink(slack.IncomingWebhook, settings, context);
}

class SlackSink implements Sink {
  readonly #Client: typeof IncomingWebhook;
  readonly #settings: SlackSettings;
  readonly #context: SinkContext;
  readonly #post: HttpPost;

  constructor(Client: typeof IncomingWebhook, settings: SlackSettings, context: SinkContext) {
    this.#Client = Client;
    this.#settings = settings;
    this.#context = context;
    this.#post = new HttpPost(new URL(settings.url));
  }

  async deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]> {
    if (this.#context.eventFormat === 'incident' && batch.length >= STORM_FROM) {
      const outcome = await this.#send(slackStorm(batch.map(({ incident }) => incident)), signal);
      return batch.map(() => outcome);
    }
    return sendInOrder(
      batch,
      (delivery) => this.#messages(delivery),
      (message) => this.#send(message, signal),
    );
  }

  async close(): Promise<void> {
    this.#post.close();
  }

  #messages(delivery: Delivery): readonly object[] {
    const { eventFormat, kernelVersionLine } = this.#context;
    const { incident } = delivery;
    if (eventFormat === 'incident')
      return [slackMessage(incident, delivery.recurrence, linkTo(this.#settings.link, incident))];
    return encodeEvents(incident, eventFormat, kernelVersionLine).map(({ body }) => notifierMessage(body));
  }

  async #send(message: object, signal: AbortSignal): Promise<Outcome> {
    const { url, channel } = this.#settings;
    let answer: HttpAnswer | undefined;
    // One client for each message, because it has no other place for the signal; the connection is kept all the same.
    // Its errors leave out the headers, and Retry-After with them, so the answer is taken here.
    const client = new this.#Client(url, {
      ...(channel === undefined ? {} : { channel }),
      retryConfig: { retries: 0 },
      fetch: async (_url, init) => {
        const received = await this.#post.send(String(init?.body), init?.headers ?? {}, signal);
        answer = received;
        return asFetchResponse(received, url);
      },
    });
    try {
      await client.send(message as IncomingWebhookSendArguments);
      return DELIVERED;
    } catch (error) {
      if (answer) return outcomeOf(answer, this.#context.now());
      return { kind: 'retry', reason: error instanceof Error ? error.message : String(error) };
    }
  }
}

/** The message of the program oom-notifier; only a command line that Slack would refuse for its length is cut. */
function notifierMessage(event: Readonly<Record<string, unknown>>): object {
  const text = (cmdline: string) =>
    escapeSlack(
      `- cmdline:${cmdline}\n- pid:${event.pid}\n- hostname:${event.hostname}\n- kernel:${event.kernel}`,
    );
  const whole = text(String(event.cmdline));
  return {
    icon_emoji: ':firecracker:',
    username: 'oom-notifier',
    // Escaping makes at most five characters of one.
    text:
      whole.length <= SLACK_LIMITS.text ? whole : text(shown(String(event.cmdline), SLACK_LIMITS.text / 6)),
  };
}

/** Undefined unless every part that the template names is known. */
function linkTo(template: string | undefined, { id, k8s, host }: Incident): string | undefined {
  const parts: Readonly<Record<string, string | undefined>> = {
    id,
    namespace: k8s?.namespace?.name,
    pod: k8s?.pod?.name,
    node: k8s?.node?.name ?? host.name,
  };
  let known = true;
  const link = template?.replace(/\{(\w+)\}/g, (_, name: string) => {
    const part = parts[name];
    known &&= part !== undefined;
    return encodeURIComponent((part ?? '').toWellFormed());
  });
  return known ? link : undefined;
}

/** `|`, `<` and `>` would end Slack's link early. */
function isLinkTemplate(text: string): boolean {
  const names = [...text.matchAll(/\{(\w*)\}/g)].map(([, name]) => name!);
  const known = names.every((name) => ['id', 'namespace', 'pod', 'node'].includes(name));
  return known && !/[|<>\s]/.test(text) && isHttpUrl(text.replace(/[{}]/g, ''));
}

type FetchResponse = Awaited<ReturnType<FetchFunction>>;

/** The part of a fetch response that the client looks at. */
function asFetchResponse({ status, statusText, body }: HttpAnswer, url: string): FetchResponse {
  return {
    ok: status >= 200 && status < 300,
    status,
    statusText,
    url,
    headers: new Map() as unknown as FetchResponse['headers'],
    text: async () => body,
    json: async () => JSON.parse(body),
    arrayBuffer: async () => new TextEncoder().encode(body).buffer,
  };
}

function outcomeOf({ status, headers, body }: HttpAnswer, now: number): Outcome {
  const reason = `Slack answered ${status}: ${shown(body, 200)}`;
  if (isTemporary(status)) {
    const afterMs = retryAfterMs(headers['retry-after'], now);
    return { kind: 'retry', reason, ...(afterMs === undefined ? {} : { afterMs }) };
  }
  // The webhook was withdrawn (404 no_service, 403 invalid_token) or its channel archived (410): that is no fault of the message, every
  // other one would meet the same answer, and it ends when a person acts. To reject would empty the whole queue into
  // the dead-letter file meanwhile. A channel that never existed (404 channel_not_found) is a wrong setting.
  const isWithdrawn =
    status === 410 ||
    (status === 404 && !body.includes('channel_not_found')) ||
    (status === 403 && body.includes('invalid_token'));
  if (isWithdrawn)
    return {
      kind: 'retry',
      reason: `${reason}; make a new webhook or bring back its channel`,
      afterMs: WITHDRAWN_RETRY_MS,
    };
  return { kind: 'rejected', reason };
}
