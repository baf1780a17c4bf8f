/** What Elasticsearch's answers mean for an incident. Every text in them is hostile and may be long. */
import { shown } from '../format.ts';
import { retryAfterMs } from '../net/http-post.ts';
import { DELIVERED, type Outcome } from '../sink.ts';

/** Where it was sent to, for the reasons that people read. */
export interface Target {
  readonly servers: readonly string[];
  readonly index: string;
}

const REASON_LENGTH = 300;

/** 400 answers that are about the place, not the document: somebody can mend them, and then the document goes in. */
const PLACE_FAULTS: ReadonlySet<string> = new Set([
  'index_closed_exception',
  'invalid_index_name_exception',
  'validation_exception', // the cluster has no shard left for a new index
]);
const NO_WRITE_INDEX = /^no write index is defined for alias/;

/** One `create` of a bulk answer: `{ create: { status, error?: { type, reason, caused_by? } } }`. */
export function outcomeOfItem(item: unknown, target: Target): Outcome {
  const result = field(item, 'create');
  const status = field(result, 'status');
  const error = field(result, 'error');
  if (typeof status !== 'number') return notUnderstood(target);
  if (status >= 200 && status < 300 && error === undefined) return DELIVERED;
  const type = text(field(error, 'type'));
  // The id is the incident's own, so a document that is already there is this one.
  if (status === 409 && type === 'version_conflict_engine_exception') return DELIVERED;
  const said = explained(error);
  if (status === 400 && !PLACE_FAULTS.has(type) && !NO_WRITE_INDEX.test(said))
    return { kind: 'rejected', reason: `Elasticsearch does not take this document: ${said}` };
  if (status === 403 && type === 'security_exception') return notAllowed(target, said);
  if (status === 404)
    return retry(`index ${target.index} does not exist and Elasticsearch does not create it: ${said}`);
  if (status === 429) return retry(`Elasticsearch takes no more at the moment: ${said}`);
  return retry(`Elasticsearch could not write to ${target.index} (${status}): ${said}`);
}

/** The answer to the whole request, or that there was none: an error of @elastic/transport, told by its name. */
export function outcomeOfFailure(error: unknown, target: Target, now: number): Outcome {
  const where = `Elasticsearch at ${target.servers.join(', ')}`;
  // The ports of a connection would make every try a different failure.
  const message = text(field(error, 'message')).replace(/ - Local: .*/s, '');
  switch (field(error, 'name')) {
    case 'ResponseError':
      return outcomeOfResponse(error, target, now);
    case 'ProductNotSupportedError':
      return retry(
        `what answers at ${target.servers.join(', ')} is not Elasticsearch (it sends no X-Elastic-Product header; OpenSearch is refused by Elasticsearch's client for that)`,
      );
    case 'RequestAbortedError':
      // So it calls an answer that is too long, too.
      if (message.startsWith('The content length')) return notUnderstood(target);
      return retry('stopped before Elasticsearch answered');
    case 'TimeoutError':
      return retry(`${where} did not answer in time`);
    case 'DeserializationError':
      return notUnderstood(target);
    default:
      return retry(`cannot reach ${where}: ${message || 'no connection'}${hint(message)}`);
  }
}

function outcomeOfResponse(error: unknown, target: Target, now: number): Outcome {
  const response = field(error, 'meta');
  const status = field(response, 'statusCode');
  const said = explained(field(field(response, 'body'), 'error'));
  const where = target.servers.join(', ');
  if (status === 401)
    return retry(`Elasticsearch at ${where} refuses the user, password or API key (401): ${said}`);
  if (status === 403) return notAllowed(target, said);
  if (status === 413)
    return {
      kind: 'rejected',
      reason: 'this document alone is larger than Elasticsearch, or a proxy before it, takes (413)',
    };
  if (isInvalidRequest(error))
    return { kind: 'rejected', reason: `Elasticsearch does not take this document: ${said}` };
  const afterMs = retryAfterMs(text(field(field(response, 'headers'), 'retry-after')) || undefined, now);
  const reason =
    status === 429
      ? `Elasticsearch takes no more at the moment: ${said}`
      : `Elasticsearch at ${where} answered ${status}: ${said}`;
  return { kind: 'retry', reason, ...(afterMs !== undefined && { afterMs }) };
}

/** The request as a whole was refused for what some of its documents are: a smaller one may be taken. */
export function isWorthSplitting(error: unknown): boolean {
  return field(field(error, 'meta'), 'statusCode') === 413 || isInvalidRequest(error);
}

function isInvalidRequest(error: unknown): boolean {
  const response = field(error, 'meta');
  const type = field(field(field(response, 'body'), 'error'), 'type');
  return field(response, 'statusCode') === 400 && type === 'action_request_validation_exception';
}

function notAllowed({ index }: Target, said: string): Outcome {
  return retry(
    `Elasticsearch forbids writing to ${index} (403); the user or API key needs the privileges create_doc and auto_configure on it: ${said}`,
  );
}

export function notUnderstood({ servers }: Target): Outcome {
  return retry(`what answers at ${servers.join(', ')} is not understood: is it Elasticsearch?`);
}

/** A server that wants TLS, or a client certificate, and gets none closes the connection without a word. */
function hint(message: string): string {
  if (/other side closed|ECONNRESET|alert|handshake/i.test(message))
    return '. If it is up: does it want https://, or a client certificate (--elasticsearch-cert, --elasticsearch-key)?';
  return /certificate|issuer|altnames/i.test(message)
    ? '. Is --elasticsearch-ca the authority that signed its certificate, and is its name in it?'
    : '';
}

/** `type: reason (cause)`, one line. A proxy's error may be a page or nothing. */
function explained(error: unknown): string {
  if (typeof error === 'string') return shown(error, REASON_LENGTH);
  const reason = text(field(error, 'reason'));
  const cause = text(field(field(error, 'caused_by'), 'reason'));
  const whole = [reason || text(field(error, 'type')), cause && !reason.includes(cause) ? `(${cause})` : '']
    .filter((part) => part !== '')
    .join(' ');
  return whole === '' ? 'no reason given' : shown(whole, REASON_LENGTH);
}

function retry(reason: string): Outcome {
  return { kind: 'retry', reason };
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
