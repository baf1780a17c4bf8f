import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { aborted } from '../aborted.ts';
import type { Finder, Finding } from '../enrich.ts';
import type { Incident } from '../incident.ts';
import {
  type ChosenLabels,
  type ContainerIdentity,
  containerIdentity,
} from '../inventory/container-identity.ts';
import { cgroupOwner } from '../kernel/cgroup-path.ts';
import { identityOfContainer } from './containers.ts';
import { podmanLabels } from './podman-labels.ts';

/** podman has no daemon that could be asked: what it knows is in the files of its storage (containers/storage). */
const SYSTEM_STORAGE = 'var/lib/containers/storage';
const USER_STORAGE = '.local/share/containers/storage';
/** Beside the images of each storage driver. `volatile`: made with --rm, since podman 4.4. */
const CONTAINERS = /^[a-z\d]{2,16}-containers$/;
const FILES = ['containers.json', 'volatile-containers.json'] as const;
/** Bytes: half a KiB for each container. */
const MOST_BYTES = 8 << 20;

interface StoredContainer {
  readonly id?: unknown;
  readonly names?: unknown;
  /** JSON, written by whoever made the container. */
  readonly metadata?: unknown;
}

/**
 * Names of podman's containers, of root and of other users, and labels of root's, read when one was killed. With `--rm` the record goes
 * some tenths of a second after the container.
 */
export class PodmanFinder implements Finder {
  readonly #roots: readonly string[];
  readonly #chosenLabels: ChosenLabels;
  /** The user's storage that is being read. */
  #reading: Promise<unknown> | undefined;

  /** @param roots where the host's root folder may be; the first one that knows the container is believed */
  constructor(roots: readonly string[], chosenLabels: ChosenLabels) {
    this.#roots = roots;
    this.#chosenLabels = chosenLabels;
  }

  concerns({ container }: Incident): boolean {
    return container?.runtime === 'podman' && container.id !== undefined && container.name === undefined;
  }

  async find({ container, process }: Incident, signal: AbortSignal): Promise<Finding | undefined> {
    const id = container?.id as string;
    const user = cgroupOwner(process.cgroup ?? '').userId;
    for (const root of this.#roots) {
      const home = user === undefined ? undefined : await homeOf(root, user);
      const storages = [...(home === undefined ? [] : [path.join(home, USER_STORAGE)]), SYSTEM_STORAGE];
      for (const storage of storages) {
        const folder = path.join(root, storage);
        const read = () => stored(folder, id);
        const container = await (storage === SYSTEM_STORAGE ? read() : this.#readOfUser(read, signal));
        if (container === undefined) continue;
        const labels = storage === SYSTEM_STORAGE ? podmanLabels(folder, id) : undefined;
        const identity = this.#identityOf(id, container, labels);
        return identity && { identity: identityOfContainer(identity), isPartial: false };
      }
    }
    return undefined;
  }

  /**
   * One after the other: a home on a server that does not answer holds one of the few threads (4) that read files and look up names for
   * the whole program, not all of them.
   *
   * @returns undefined also where its turn does not come in time
   */
  async #readOfUser<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    const late = aborted(signal);
    while (this.#reading !== undefined) {
      await Promise.race([this.#reading, late]);
      if (signal.aborted) return undefined;
    }
    const reading = read().finally(() => {
      this.#reading = undefined;
    });
    this.#reading = reading.catch(() => {});
    return reading;
  }

  #identityOf(
    id: string,
    { names, metadata }: StoredContainer,
    labels: unknown,
  ): ContainerIdentity | undefined {
    const { 'image-name': imageName, 'image-id': imageId } = Object(parsed(metadata)) as Record<
      string,
      unknown
    >;
    const stated = {
      id,
      runtime: 'podman' as const,
      name: Array.isArray(names) ? names[0] : undefined,
      imageName,
      imageId: typeof imageId === 'string' ? imageId.replace(/^(?=[\da-f]{64}$)/, 'sha256:') : undefined,
      labels,
    };
    return containerIdentity(stated, this.#chosenLabels);
  }
}

async function homeOf(root: string, user: number): Promise<string | undefined> {
  const passwd = (await readFile(path.join(root, 'etc/passwd'))) ?? '';
  const fields = passwd.split('\n').map((line) => line.split(':'));
  const home = fields.find(([, , uid]) => uid === String(user))?.[5];
  // Joined to the root above, it must not lead out of it.
  return home?.startsWith('/') && !home.split('/').includes('..') ? home : undefined;
}

async function stored(storage: string, id: string): Promise<StoredContainer | undefined> {
  const folders = await readdir(storage).catch(() => []);
  for (const folder of folders) {
    if (!CONTAINERS.test(folder)) continue;
    for (const file of FILES) {
      const text = await readFile(path.join(storage, folder, file));
      const container = listIn(text).find((each) => each?.id === id);
      if (container) return container;
    }
  }
  return undefined;
}

function listIn(text: string | undefined): readonly (StoredContainer | null)[] {
  const list = parsed(text);
  return Array.isArray(list) ? list : [];
}

function parsed(text: unknown): unknown {
  try {
    return JSON.parse(String(text));
  } catch {
    return undefined;
  }
}

/** A user may put anything where his files belong: a link, a pipe, a file without an end. */
async function readFile(file: string): Promise<string | undefined> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const status = await handle.stat();
    if (!status.isFile() || status.size > MOST_BYTES) return undefined;
    const buffer = Buffer.alloc(status.size);
    const { bytesRead } = await handle.read(buffer, 0, status.size, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } catch {
    return undefined;
  } finally {
    await handle.close();
  }
}
