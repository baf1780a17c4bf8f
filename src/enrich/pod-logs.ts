import { readdir } from 'node:fs/promises';
import path from 'node:path';

/** What the names of kubelet's log files say of a pod, without any API. */
export interface LoggedPod {
  readonly namespace: string;
  readonly name: string;
  /** Absent where the pod has several and none of them is known by this id. */
  readonly container?: string;
}

const NAME = '[a-z\\d](?:[a-z\\d.-]{0,251}[a-z\\d])?';
/** `/var/log/pods/<namespace>_<pod>_<uid>/<container>/` */
const POD_FOLDER = new RegExp(`^(${NAME})_(${NAME})_([a-f\\d-]{32,36})$`);
/** `/var/log/containers/<pod>_<namespace>_<container>-<container id>.log` */
const CONTAINER_LINK = new RegExp(`^(${NAME})_(${NAME})_(${NAME})-([a-f\\d]{64})\\.log$`);

/**
 * kubelet makes a folder for each pod before its containers start, and a link for each container as it starts. Both stay for as
 * long as the pod is there, and a little longer.
 */
export class PodLogs {
  readonly #places: readonly string[];
  /** What is being read: the kills of a storm share it. */
  readonly #reading = new Map<string, Promise<readonly string[]>>();

  /** @param places where the host's /var/log may be; the first one that tells anything is believed */
  constructor(places: readonly string[]) {
    this.#places = places;
  }

  async find(podUid: string | undefined, containerId: string | undefined): Promise<LoggedPod | undefined> {
    for (const logs of this.#places) {
      const found = (await this.#byLink(logs, containerId)) ?? (await this.#byFolder(logs, podUid));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #byLink(logs: string, containerId: string | undefined): Promise<LoggedPod | undefined> {
    if (containerId === undefined) return undefined;
    const links = await this.#names(path.join(logs, 'containers'));
    const link = links.find((each) => each.endsWith(`-${containerId}.log`));
    const [, name, namespace, container] = CONTAINER_LINK.exec(link ?? '') ?? [];
    return name && namespace && container ? { namespace, name, container } : undefined;
  }

  async #byFolder(logs: string, podUid: string | undefined): Promise<LoggedPod | undefined> {
    if (podUid === undefined) return undefined;
    const folders = await this.#names(path.join(logs, 'pods'));
    const folder = folders.find((each) => each.endsWith(`_${podUid}`));
    const [, namespace, name] = POD_FOLDER.exec(folder ?? '') ?? [];
    if (folder === undefined || !namespace || !name) return undefined;
    const containers = await this.#names(path.join(logs, 'pods', folder));
    const [only] = containers.length === 1 ? containers : [];
    return { namespace, name, ...(only !== undefined && { container: only }) };
  }

  /** A folder that is not there has nothing in it. */
  #names(folder: string): Promise<readonly string[]> {
    const reading = this.#reading.get(folder) ?? readdir(folder).catch(() => []);
    this.#reading.set(folder, reading);
    void reading.then(() => this.#reading.delete(folder));
    return reading;
  }
}
