/** What is read of containerd's messages: api/events, api/services and api/types of github.com/containerd/containerd, v1. */
import { Message } from './wire.ts';

export interface ContainerdContainer {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image: string;
  /** Unix time, ms. */
  readonly createdAt: number;
}

export interface ContainerdTask {
  readonly containerId: string;
  readonly pid: number;
  readonly state: 'running' | 'stopped' | 'other';
  readonly exitCode: number;
  /** Unix time, ms; 0 while it runs. */
  readonly exitedAt: number;
}

interface Told {
  readonly namespace: string;
  readonly id: string;
  /** Unix time, ms. */
  readonly at: number;
}

export type ContainerdEvent =
  | (Told & { readonly type: 'create' | 'update' | 'delete' | 'oom' })
  | (Told & { readonly type: 'start'; readonly pid: number })
  /** `isFirst`: of the container's first process; others were started into it (`exec`). */
  | (Told & {
      readonly type: 'exit';
      readonly isFirst: boolean;
      readonly pid: number;
      readonly exitCode: number;
    });

/** Topic of an event -> what it tells. */
export const TOPICS = {
  '/containers/create': 'create',
  '/containers/update': 'update',
  '/containers/delete': 'delete',
  '/tasks/start': 'start',
  '/tasks/exit': 'exit',
  '/tasks/oom': 'oom',
} as const;

/** containerd.services.events.v1.Envelope; @returns undefined for a topic that is not among those */
export function eventOf(envelope: Buffer): ContainerdEvent | undefined {
  const outer = new Message(envelope, [1, 2, 3, 4]);
  const topic = outer.text(3);
  const any = outer.bytes(4);
  if (!Object.hasOwn(TOPICS, topic) || any === undefined) return undefined;
  const type = TOPICS[topic as keyof typeof TOPICS];
  const event = new Message(new Message(any, [2]).bytes(2) ?? Buffer.alloc(0), [1, 2, 3, 4, 5]);
  const told = { namespace: outer.text(2), id: event.text(1), at: timeOf(outer.bytes(1)) };
  if (type === 'start') return { ...told, type, pid: event.number(2) };
  if (type !== 'exit') return { ...told, type };
  return {
    ...told,
    type,
    at: timeOf(event.bytes(5)) || told.at,
    isFirst: event.text(2) === told.id,
    pid: event.number(3),
    exitCode: event.number(4),
  };
}

/** The only field of the answers that hold one container. */
export function containerIn(answer: Buffer): ContainerdContainer | undefined {
  const bytes = new Message(answer, [1]).bytes(1);
  if (bytes === undefined) return undefined;
  const container = new Message(bytes, [1, 2, 3, 8]);
  const labels = container.repeated(2).map((entry) => {
    const pair = new Message(entry, [1, 2]);
    return [pair.text(1), pair.text(2)] as const;
  });
  return {
    id: container.text(1),
    labels: Object.fromEntries(labels),
    image: container.text(3),
    createdAt: timeOf(container.bytes(8)),
  };
}

/** containerd.services.tasks.v1.ListTasksResponse */
export function tasksIn(answer: Buffer): ContainerdTask[] {
  return new Message(answer, [1]).repeated(1).map((bytes) => {
    const task = new Message(bytes, [1, 2, 3, 4, 9, 10]);
    const status = task.number(4);
    return {
      // Older versions leave the first one empty.
      containerId: task.text(1) || task.text(2),
      pid: task.number(3),
      // 4 and 5: paused, and about to be.
      state: status === 2 || status === 4 || status === 5 ? 'running' : status === 3 ? 'stopped' : 'other',
      exitCode: task.number(9),
      exitedAt: timeOf(task.bytes(10)),
    };
  });
}

/** containerd.services.namespaces.v1.ListNamespacesResponse */
export function namespacesIn(answer: Buffer): string[] {
  return new Message(answer, [1]).repeated(1).map((bytes) => new Message(bytes, [1]).text(1));
}

/** google.protobuf.Timestamp as Unix time in ms; 0 where there is none or it is before 1970 (Go's zero time). */
function timeOf(bytes: Buffer | undefined): number {
  if (bytes === undefined) return 0;
  const time = new Message(bytes, [1, 2]);
  const seconds = time.number(1);
  return seconds < 2 ** 40 ? seconds * 1000 + Math.floor(time.number(2) / 1e6) : 0;
}
