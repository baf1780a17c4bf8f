import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { ApiRequest } from './api-double.ts';
import type { WatchRequest } from './api-double-watch.ts';
import {
  type ApiObject,
  matcher,
  mergePatch,
  type ObjectStore,
  type ResourcePath,
  resourcePath,
} from './object-store.ts';

export type Answer =
  | { readonly kind: 'object'; readonly status: number; readonly body: object }
  | { readonly kind: 'watch'; readonly watch: WatchRequest };

/** continue token -> what is left of that list, and the version of the store when it was begun. */
const rests = new Map<string, { readonly items: readonly ApiObject[]; readonly version: number }>();

/** What ApiDouble says when nothing is wrong, and when the request is. */
export function answerTo(
  request: Omit<ApiRequest, 'at' | 'headerLines'>,
  store: ObjectStore,
  tokens: ReadonlySet<string>,
): Answer {
  const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined || !tokens.has(token)) return failure(401, 'Unauthorized', 'Unauthorized');
  const path = resourcePath(request.path);
  if (path === undefined) return failure(404, 'NotFound', 'the server could not find the requested resource');
  const object = path.name === undefined ? undefined : store.get(path);
  if (path.name !== undefined && object === undefined)
    return failure(404, 'NotFound', `${path.collection} "${path.name}" not found`);
  switch (request.method) {
    case 'GET':
      return object === undefined ? listOrWatch(request.query, path, store) : ok(object);
    case 'POST':
      return created(request.body, path, store);
    case 'PUT':
      return replaced(request.body, path, object, store);
    case 'PATCH':
      return replaced(mergePatch(object, request.body) as ApiObject, path, object, store);
    case 'DELETE':
      return ok(store.remove(path) ?? {});
    default:
      return failure(
        405,
        'MethodNotAllowed',
        'the server does not allow this method on the requested resource',
      );
  }
}

function listOrWatch(query: URLSearchParams, path: ResourcePath, store: ObjectStore): Answer {
  let matches: (object: ApiObject) => boolean;
  try {
    matches = matcher(query.get('fieldSelector'), query.get('labelSelector'));
  } catch (error) {
    return failure(400, 'BadRequest', (error as Error).message);
  }
  if (query.get('watch') !== null) return { kind: 'watch', watch: { path, query } };
  const token = query.get('continue');
  const rest = token === null ? undefined : rests.get(token);
  if (token !== null && (rest === undefined || rest.version < store.compacted))
    return failure(
      410,
      'Expired',
      'The provided continue parameter is too old to display a consistent list result.',
    );
  const { items, version } = rest ?? { items: store.list(path).filter(matches), version: store.version };
  // From its cache a real one gives all at once.
  const limit =
    query.get('resourceVersion') === '0' ? items.length : Number(query.get('limit') ?? items.length);
  const following = items.length > limit ? randomBytes(9).toString('base64url') : undefined;
  if (following !== undefined) rests.set(following, { items: items.slice(limit), version });
  return ok({
    kind: 'List',
    apiVersion: path.apiVersion,
    metadata: {
      resourceVersion: String(version),
      ...(following === undefined ? {} : { continue: following }),
    },
    items: items.slice(0, limit),
  });
}

function created(body: ApiObject, path: ResourcePath, store: ObjectStore): Answer {
  const { name, generateName, namespace } = body.metadata ?? {};
  if (namespace !== undefined && namespace !== path.namespace)
    return failure(
      400,
      'BadRequest',
      'the namespace of the provided object does not match the namespace sent on the request',
    );
  const chosen = name ?? (generateName && `${generateName}${randomBytes(3).toString('hex')}`);
  if (chosen === undefined)
    return failure(422, 'Invalid', 'metadata.name: Required value: name or generateName is required');
  const place = { ...path, name: chosen };
  if (store.get(place) !== undefined)
    return failure(409, 'AlreadyExists', `${path.collection} "${chosen}" already exists`);
  const wrong = wrongTime(body) ?? wrongEvent(body);
  return wrong ?? { kind: 'object', status: 201, body: store.put(place, body) };
}

function replaced(
  body: ApiObject,
  path: ResourcePath,
  object: ApiObject | undefined,
  store: ObjectStore,
): Answer {
  const version = body.metadata?.resourceVersion;
  if (version !== undefined && version !== object?.metadata.resourceVersion)
    return failure(
      409,
      'Conflict',
      `Operation cannot be fulfilled on "${path.name}": the object has been modified; please apply your changes to the latest version and try again`,
    );
  // What changes nothing is not written.
  if (isDeepStrictEqual(body, object)) return ok(body);
  return wrongTime(body) ?? wrongEvent(body) ?? ok(store.put(placeOf(path, object), body));
}

/** MicroTime has six digits, as Go's time.Parse wants them. */
function wrongTime({ spec, eventTime }: ApiObject): Answer | undefined {
  const times = [spec?.renewTime, spec?.acquireTime, eventTime].filter(
    (time) => time !== undefined && time !== null,
  );
  return times.every((time) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(time))
    ? undefined
    : failure(400, 'BadRequest', `parsing time "${times}" as "2006-01-02T15:04:05.000000Z07:00"`);
}

/** Validation of core/v1 Event, for those with an `eventTime`. */
function wrongEvent({
  involvedObject,
  eventTime,
  message,
  reportingComponent,
}: ApiObject): Answer | undefined {
  if (involvedObject === undefined || !eventTime) return undefined;
  const wrong =
    (Buffer.byteLength(message ?? '') > 1024 && 'message: Invalid value: can have at most 1024 characters') ||
    (!reportingComponent && 'reportingComponent: Required value');
  return wrong ? failure(422, 'Invalid', wrong) : undefined;
}

/** The object's own namespace: a path without one names cluster-wide objects only. */
function placeOf(path: ResourcePath, object: ApiObject | undefined): ResourcePath {
  return { ...path, namespace: path.namespace ?? object?.metadata.namespace };
}

function ok(body: object): Answer {
  return { kind: 'object', status: 200, body };
}

function failure(code: number, reason: string, message: string): Answer {
  const body = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code };
  return { kind: 'object', status: code, body };
}
