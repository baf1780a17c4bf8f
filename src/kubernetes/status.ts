import { shown } from '../format.ts';
import { boundedWish } from '../net/backoff.ts';
import { retryAfterMs } from '../net/http-post.ts';
import { ApiError, type ApiFailure } from './api.ts';

/** A server says where the fault lies in its first words; what follows may be as long as a manifest. */
const LONGEST_MESSAGE = 500;
const LONGEST_REASON = 64;

/** Reasons of ours, for answers that are not Kubernetes' own; theirs are in CamelCase too. */
export type OwnReason = 'BadAnswer' | 'Timeout' | 'Credentials';

/** The answer is not what an API server says. The same request will meet it again: begin anew. */
export function badAnswer(message: string, status = 200, cause?: unknown): ApiError {
  const reason: OwnReason = 'BadAnswer';
  return new ApiError({ status, reason, message: oneLine(message) }, cause);
}

export function timedOut(message: string): ApiError {
  const reason: OwnReason = 'Timeout';
  return new ApiError({ status: 0, reason, message });
}

/** What the system says about the connection. */
export function noAnswer(error: unknown, host: string): ApiError {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const reason = typeof code === 'string' && code !== '' ? code : 'NoAnswer';
  const text = `${host}: ${oneLine(String(message || reason))}`;
  return new ApiError({ status: 0, reason, message: text }, error);
}

/** What an answer other than 2xx says: a `Status` object, or a page of whatever stands in between. */
export function refusal(
  status: number,
  statusText: string,
  retryAfter: string | undefined,
  body: string,
): ApiError {
  const wishMs = retryAfterMs(retryAfter, Date.now());
  const said = statusObject(body);
  const failure =
    said === undefined
      ? { status, reason: `Http${status}`, message: oneLine(`${status} ${statusText}: ${body}`) }
      : failureOf(said, status);
  return new ApiError(wishMs === undefined ? failure : { ...failure, retryAfterMs: wishMs });
}

/** A `Status` object (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/), as in a watch's ERROR event. */
export function refusalOf(object: unknown): ApiError {
  const status = isObject(object) && typeof object.code === 'number' ? object.code : 500;
  return new ApiError(failureOf(isObject(object) ? object : {}, status));
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function statusObject(body: string): Record<string, unknown> | undefined {
  try {
    const object: unknown = JSON.parse(body);
    return isObject(object) && object.kind === 'Status' ? object : undefined;
  } catch {
    return undefined;
  }
}

function failureOf(object: Record<string, unknown>, status: number): ApiFailure {
  const { reason, message, details } = object;
  const seconds = isObject(details) ? details.retryAfterSeconds : undefined;
  const text = typeof message === 'string' && message !== '' ? message : 'no message';
  return {
    status,
    reason: typeof reason === 'string' && reason !== '' ? shown(reason, LONGEST_REASON) : `Http${status}`,
    message: oneLine(`${status} ${text}`),
    ...(typeof seconds === 'number' && seconds > 0 ? { retryAfterMs: boundedWish(seconds * 1000) } : {}),
  };
}

/** One line that says why. */
export function reasonOf(error: unknown): string {
  const { message, code } = (error ?? {}) as { message?: unknown; code?: unknown };
  return oneLine(String(message || code || error));
}

function oneLine(text: string): string {
  return shown(text.replaceAll(/\s+/g, ' ').trim(), LONGEST_MESSAGE);
}
