import assert from 'node:assert/strict';
import type { Incident } from '../../../src/incident.ts';
import { until } from '../../sinks/contract.ts';
import type { EventObject, TestNamespace } from '../cluster-test.ts';

/** node-b is emulated. */
const PATIENCE_MS = 300_000;

/** The Events of the agent on this pod, as soon as there is one. */
async function untilShown(namespace: TestNamespace, pod: string): Promise<readonly EventObject[]> {
  let events: readonly EventObject[] = [];
  await until(
    async () => {
      events = (await namespace.events('Pod', pod)).filter(({ reason }) => reason === 'OOMKilled');
      return events.length > 0;
    },
    `an Event on ${pod}`,
    PATIENCE_MS,
  );
  return events;
}

/**
 * What `kubectl get events` prints of a kill, and `kubectl describe pod`: one Warning on the pod, with the victim's command line.
 *
 * @param uid by which `kubectl describe` finds a pod's Events
 */
export async function assertShown(
  namespace: TestNamespace,
  pod: string,
  incident: Incident,
  uid = incident.k8s?.pod?.uid,
): Promise<void> {
  const message = await assertListed(namespace, pod, incident, uid);
  const described = await namespace.kubectl('describe', 'pod', pod);
  assert.match(described, /^ +Warning +OOMKilled +\S+( \([^)]*\))? +oom-witness +/m);
  assert.ok(described.includes(message));
}

/** What `kubectl get events` prints, also when the pod is gone. @returns the message */
export async function assertListed(
  namespace: TestNamespace,
  pod: string,
  incident: Incident,
  uid = incident.k8s?.pod?.uid,
): Promise<string> {
  const [event, ...more] = await untilShown(namespace, pod);
  assert.deepEqual(more, []);
  assert.equal(event?.type, 'Warning');
  assert.equal(event.involvedObject.uid, uid);
  const { name, pid, command_line = '' } = incident.process;
  const were = incident.victims.length > 1 ? 'were' : 'was';
  assert.ok(event.message.startsWith(`${name} (pid ${pid})`), event.message);
  assert.ok(
    event.message.includes(` in container ${incident.k8s?.container?.name} ${were} killed: `),
    event.message,
  );
  assert.ok(event.message.includes(command_line), event.message);
  assert.match(await namespace.kubectl('get', 'events'), new RegExp(`Warning +OOMKilled +pod/${pod} `));
  return event.message;
}

/** Why a name is not there; nothing, when all are. */
export function namesMissing({ unknown = {} }: Incident): readonly string[] {
  return Object.entries(unknown)
    .filter(([field]) => /^(k8s|container)\b/.test(field))
    .map(([field, reason]) => `${field}: ${reason}`);
}
